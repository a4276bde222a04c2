// SPDX-License-Identifier: BSD-2-Clause
//! Sending a context to another thread, or lending it one.
use weft_engine::context::{NetEpoch, Sleepable, Vnet};

fn send(_: impl Send) {}

fn main() {
    send(unsafe { NetEpoch::assume() });
    send(&unsafe { NetEpoch::assume() });
    send(unsafe { Sleepable::assume() });
    send(unsafe { Vnet::assume() });
}
