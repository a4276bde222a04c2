// SPDX-License-Identifier: BSD-2-Clause
//! What can be set of a card, below `dev.<driver>.<n>`; also by the loader, by the same names.

use core::ffi::CStr;
use core::fmt::{self, Write as _};

use weft_engine::nic::{
    Extras, KeyText, Offer, Range, Rss, Setup, TableText, parse_key, parse_table,
};

use super::Driven;
use super::control::Unset;
use super::core::Core;
use super::help::Software;
use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::sysctl::{Branch, Parent, Subject, TEXT};
use crate::kpi::text::Text;

/// The longest description, its NUL included.
const ABOUT: usize = 320;
/// Microseconds that interrupts are kept apart at most.
const LONGEST_GAP: u16 = 10_000;
const MICROSECOND: u32 = 1_000;

/// Where indices of texts are.
const KEY: u32 = 0;
const TABLE: u32 = 1;

/// What a setting may be, by what a card offers and how many queues of each kind there is room
/// for.
type Allowed = fn(&Offer, [u16; 2]) -> Range;

/// A number that can be set.
struct Setting {
    name: &'static CStr,
    about: &'static str,
    /// Of cards that have one of these; of all, if it is empty.
    of: Extras,
    allowed: Allowed,
    kind: Kind,
}

enum Kind {
    /// Of how the card is set up, which stops and starts it.
    Setup {
        read: fn(&Setup) -> u16,
        write: fn(&mut Setup, u16),
    },
    /// The least time between interrupts.
    Least,
    /// The longest.
    Most,
    /// What is done in software.
    Software,
}

/// By number.
const SOFTWARE: [Software; 3] = [Software::Nothing, Software::Lacking, Software::All];

const SETTINGS: [Setting; 8] = [
    Setting {
        name: c"tx_queues",
        about: "Transmit queues in use; more let more CPUs send at once. Flows keep their order",
        of: Extras::empty(),
        allowed: |_, [tx, _]| Range::new(1, tx, 1, tx),
        kind: Kind::Setup {
            read: |setup| setup.tx_queues,
            write: |setup, value| setup.tx_queues = value,
        },
    },
    Setting {
        name: c"rx_queues",
        about: "Receive queues in use; more let more CPUs receive at once. Spreads flows evenly anew",
        of: Extras::empty(),
        allowed: |_, [_, rx]| Range::new(1, rx, 1, rx),
        kind: Kind::Setup {
            read: |setup| setup.rx_queues,
            write: |setup, value| {
                setup.rx_queues = value;
                setup.rss.table = Rss::even(value).table;
            },
        },
    },
    Setting {
        name: c"tx_descriptors",
        about: "Descriptors of each transmit queue; more take longer bursts from the stack",
        of: Extras::empty(),
        allowed: |offer, _| offer.tx_slots,
        kind: Kind::Setup {
            read: |setup| setup.tx_slots,
            write: |setup, value| setup.tx_slots = value,
        },
    },
    Setting {
        name: c"rx_descriptors",
        about: "Descriptors of each receive queue; more take longer bursts from the wire, and memory",
        of: Extras::empty(),
        allowed: |offer, _| offer.rx_slots,
        kind: Kind::Setup {
            read: |setup| setup.rx_slots,
            write: |setup, value| setup.rx_slots = value,
        },
    },
    Setting {
        name: c"interrupt_gap_min_us",
        about: "Microseconds between receive interrupts at least, 0 for none: while few frames come it is this; fixed if interrupt_gap_max_us is the same",
        of: Extras::MODERATE,
        allowed: |_, _| Range::new(0, LONGEST_GAP, 1, 0),
        kind: Kind::Least,
    },
    Setting {
        name: c"interrupt_gap_max_us",
        about: "Microseconds between receive interrupts at most: the more frames come at a time, the nearer to this. Lower answers sooner, higher costs less CPU",
        of: Extras::MODERATE,
        allowed: |_, _| Range::new(0, LONGEST_GAP, 1, 125),
        kind: Kind::Most,
    },
    Setting {
        name: c"software_offload",
        about: "Checksums, TSO and VLAN tags done in software: 1 those that the card lacks, has turned off, or can't do for a packet; 2 all, to see whether the card does them wrong; 0 none, such packets are dropped",
        of: Extras::empty(),
        allowed: |_, _| Range::new(0, 2, 1, 1),
        kind: Kind::Software,
    },
    Setting {
        name: c"interrupt_moderation",
        about: "Whether the card keeps interrupts apart as it finds best; 0 answers sooner, 1 costs less CPU",
        of: Extras::MODERATES_ITSELF,
        allowed: |_, _| Range::new(0, 1, 1, 1),
        kind: Kind::Setup {
            read: |setup| setup.extras.contains(Extras::MODERATES_ITSELF).into(),
            write: |setup, value| setup.extras.set(Extras::MODERATES_ITSELF, value == 1),
        },
    },
];

/// Says which values there are, and what else holds of them.
struct Values(Range, Option<&'static str>);

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range {
            least, most, step, ..
        } = self.0;
        match step {
            _ if least == most => write!(f, "{least} only"),
            0 => write!(f, "powers of two from {least} to {most}"),
            1 => write!(f, "{least} to {most}"),
            step => write!(f, "multiples of {step} from {least} to {most}"),
        }?;
        self.1.map_or(Ok(()), |rule| write!(f, ", {rule}"))
    }
}

/// A card's settings.
pub(super) struct Settings<'c, D: Driven> {
    pub(super) core: &'c Core<D>,
    /// The node that they are below, for the log.
    pub(super) node: &'c str,
}

impl<D: Driven> Settings<'_, D> {
    /// What a setting may be.
    fn values(&self, sleepable: &mut Sleepable, setting: &Setting) -> Values {
        let made = [self.core.lanes.len(), self.core.receivers.len()];
        let mut range = self.core.control.with(sleepable, |_, control| {
            (setting.allowed)(control.port.offer(), made.map(|count| count as u16))
        });
        let (least, most) = self.gaps();
        match setting.kind {
            Kind::Least => range.most = (most / MICROSECOND) as u16,
            Kind::Most => range.least = (least / MICROSECOND) as u16,
            Kind::Setup { .. } | Kind::Software => {}
        }
        let is_count = [c"tx_queues", c"rx_queues"].contains(&setting.name);
        Values(range, D::QUEUES.filter(|_| is_count))
    }

    /// Says that a value was refused, and what is allowed.
    fn refuse(&self, name: &CStr, value: fmt::Arguments<'_>, allowed: fmt::Arguments<'_>) -> Errno {
        let (node, name) = (self.node, name.to_str().unwrap_or_default());
        log::warning(format_args!(
            "{node}.{name}={value}: refused, allowed are {allowed}"
        ));
        Errno::EINVAL
    }

    /// Between how many nanoseconds interrupts are kept apart.
    fn gaps(&self) -> (u32, u32) {
        let first = self.core.receivers.first();
        first.map_or((0, 0), |receiver| receiver.with(|queue| queue.moderated()))
    }

    /// A setting's value.
    pub(super) fn read(&self, place: usize, sleepable: &mut Sleepable) -> u64 {
        let (least, most) = self.gaps();
        match SETTINGS.get(place).map(|setting| &setting.kind) {
            Some(Kind::Setup { read, .. }) => {
                let control = &self.core.control;
                control.with(sleepable, |_, control| read(&control.setup).into())
            }
            Some(Kind::Software) => {
                let control = &self.core.control;
                let on = control.with(sleepable, |_, control| control.software());
                SOFTWARE.iter().position(|one| *one == on).unwrap_or(0) as u64
            }
            Some(Kind::Least) => (least / MICROSECOND).into(),
            Some(Kind::Most) => (most / MICROSECOND).into(),
            None => 0,
        }
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// `EINVAL` for a value that can't be, which has been logged with those that can; why the
    /// card did not start with it.
    pub(super) fn write(
        &self,
        place: usize,
        sleepable: &mut Sleepable,
        value: u64,
    ) -> Result<(), Errno> {
        let setting = SETTINGS.get(place).ok_or(Errno::EINVAL)?;
        let values = self.values(sleepable, setting);
        let fits = |new: &u16| values.0.fit(*new) == *new;
        let new = u16::try_from(value).ok().filter(fits);
        let done = match (new, &setting.kind) {
            (None, _) => Err(None),
            (Some(new), Kind::Setup { write, .. }) => {
                let change = &mut |setup: &mut Setup| {
                    write(setup, new);
                    if D::HAS_PAIRS && values.1.is_some() {
                        (setup.tx_queues, setup.rx_queues) = (new, new);
                    }
                };
                self.core.set(sleepable, change).map_err(failed)
            }
            (Some(new), Kind::Software) => {
                let software = SOFTWARE.get(usize::from(new)).copied();
                let software = software.unwrap_or(Software::Lacking);
                self.core.set_software(sleepable, software);
                Ok(())
            }
            (Some(new), kind) => {
                self.moderate(kind, u32::from(new) * MICROSECOND);
                Ok(())
            }
        };
        done.map_err(|error| {
            let said = format_args!("{value}");
            error.unwrap_or_else(|| self.refuse(setting.name, said, format_args!("{values}")))
        })
    }

    /// Changes a limit of the time between interrupts.
    fn moderate(&self, kind: &Kind, new: u32) {
        let (least, most) = match (kind, self.gaps()) {
            (Kind::Least, (_, most)) => (new, most),
            (_, (least, _)) => (least, new),
        };
        for receiver in &self.core.receivers {
            receiver.with(|queue| queue.moderate(least, most));
        }
    }

    /// The text of a setting that is one.
    pub(super) fn read_text(&self, text: u32, sleepable: &mut Sleepable, to: &mut Text<TEXT>) {
        self.core.control.with(sleepable, |_, control| {
            let rss = &control.setup.rss;
            // It fits.
            let _ = match text {
                KEY => write!(to, "{}", KeyText(&rss.key)),
                _ => write!(to, "{}", TableText(&rss.table)),
            };
        });
    }

    /// Changes it.
    ///
    /// # Errors
    /// As for [`write`](Settings::write).
    pub(super) fn write_text(
        &self,
        text: u32,
        sleepable: &mut Sleepable,
        new: &str,
    ) -> Result<(), Errno> {
        let (core, said) = (self.core, format_args!("{new:.60}"));
        let set = match text {
            KEY => {
                let Some(key) = parse_key(new) else {
                    let allowed = format_args!("40 bytes in hexadecimal, with colons or without");
                    return Err(self.refuse(c"rss.key", said, allowed));
                };
                core.set_spreading(sleepable, &mut |rss| rss.key = key)
            }
            _ => {
                let queues = core
                    .control
                    .with(sleepable, |_, control| control.setup.rx_queues);
                let Some(table) = parse_table(new, queues) else {
                    let last = queues.saturating_sub(1);
                    let allowed = format_args!("1 to 128 numbers of queues, 0 to {last}");
                    return Err(self.refuse(c"rss.table", said, allowed));
                };
                core.set_spreading(sleepable, &mut |rss| rss.table = table)
            }
        };
        set.map_err(|unset| failed(unset).unwrap_or(Errno::EINVAL))
    }

    /// Adds the settings of a card that is stopped; the loader may have set them.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn add<T: Subject>(
        &self,
        sleepable: &mut Sleepable,
        branch: &mut Branch<T>,
        top: Parent,
        base: u32,
    ) -> Result<(), Errno> {
        let offers = |extras: Extras| {
            move |sleepable: &mut Sleepable| {
                let control = &self.core.control;
                control.with(sleepable, |_, control| {
                    control.port.offer().extras.contains(extras)
                })
            }
        };
        for (place, setting) in (0..).zip(&SETTINGS) {
            if offers(setting.of)(sleepable) {
                let values = self.values(sleepable, setting);
                let (about, usual) = (setting.about, values.0.usual);
                let about =
                    Text::<ABOUT>::format(format_args!("{about}; {values}; {usual} at first"));
                branch.setting_said(top, setting.name, base | place, about.as_c_str())?;
            }
        }
        if offers(Extras::RSS)(sleepable) && self.core.receivers.len() > 1 {
            add_spreading(branch, top, base)?;
        }
        Ok(())
    }
}

/// Why a card is not as it was set; `None` if it can't be so.
fn failed(unset: Unset) -> Option<Errno> {
    match unset {
        Unset::Refused => None,
        Unset::Failed(error) => Some(error),
    }
}

fn add_spreading<T: Subject>(branch: &mut Branch<T>, top: Parent, base: u32) -> Result<(), Errno> {
    let about =
        c"How received flows are spread over queues: a hash with a key, and a table of queues";
    let node = branch.tree().node(top, c"rss", about)?;
    branch.text_said(
        node,
        c"key",
        base | KEY,
        c"The hash's key, 40 bytes in hexadecimal: one that is not known keeps others from choosing flows that meet in one queue",
    )?;
    branch.text_said(
        node,
        c"table",
        base | TABLE,
        c"The queue of each of 128 hashes, the first ones repeated: 0 0 0 1 gives queue 0 three times what queue 1 gets",
    )
}
