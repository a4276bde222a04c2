// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces on top of others, wip(4).

use crate::stats::{Below, Cause, Stat, declare};

static LOST: Below = Below {
    name: c"lost",
    label: Some(c"reason"),
    about: c"Frames that it was to receive and that were lost, by the reason; together they are the interface's input drops",
};

static UNSENT: Below = Below {
    name: c"unsent",
    label: Some(c"reason"),
    about: c"Frames that it sent and that were lost, by the reason; together they are the interface's output drops and errors",
};

declare! {
    /// What is counted of all of them.
    LayersStat: "All interfaces on top of others, wip(4)" at ["net.weft.l3"];

    Interfaces = Stat::gauge(
        c"interfaces",
        c"Interfaces that there are, in all jails; the module can be unloaded when there are none",
    );
}

declare! {
    /// What is counted of one.
    LayerStat: "An interface on top of another one" at ["net.weft.l3.<l3>"];

    Steered = Stat::counter(c"steered", c"Frames that the parent received for it");
    Local = Stat::counter(c"local", c"Frames that siblings and the parent sent to it");
    ToSiblings = Stat::counter(
        c"to_siblings",
        c"Frames that it sent to siblings, each copy counted",
    );
    ToParent = Stat::counter(
        c"to_parent",
        c"Frames that it sent to the parent's network stack",
    );
    ToWire = Stat::counter(c"to_wire", c"Frames that it sent by way of the parent");
    ParentLost = Stat::counter(
        c"parent_lost",
        c"Of those to the parent's network stack, frames that found the parent down or gone, or no memory; the parent counts them as input drops",
    );
    LostFull = Stat::lost(Cause::Full).below(&LOST);
    LostDown = Stat::lost(Cause::Down).below(&LOST);
    LostMemory = Stat::lost(Cause::NoMemory).below(&LOST);
    UnsentFull = Stat::lost(Cause::Full).below(&UNSENT);
    UnsentDown = Stat::lost(Cause::Down).below(&UNSENT);
    UnsentMemory = Stat::lost(Cause::NoMemory).below(&UNSENT);
    UnsentForged = Stat::lost(Cause::Forged).below(&UNSENT);
    UnsentAbsent = Stat::lost(Cause::Absent).below(&UNSENT);
    UnsentLong = Stat::lost(Cause::TooLong).below(&UNSENT);
    UnsentParent = Stat::lost(Cause::Parent).below(&UNSENT);
}
