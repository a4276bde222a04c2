// SPDX-License-Identifier: BSD-2-Clause
//! Sleeping inside an epoch.
use weft_engine::context::{NetEpoch, Sleepable};

fn wait(_: &mut Sleepable) {}

fn use_epoch(_: &NetEpoch<'_>) {}

fn in_a_scope(sleepable: &mut Sleepable) {
    let epoch = unsafe { NetEpoch::assume_from(sleepable) };
    wait(sleepable);
    use_epoch(&epoch);
}

struct Guard<'e> {
    _epoch: NetEpoch<'e>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {}
}

fn under_a_guard(sleepable: &mut Sleepable) {
    let _guard = Guard { _epoch: unsafe { NetEpoch::assume_from(sleepable) } };
    wait(sleepable);
}

fn in_a_closure(sleepable: &mut Sleepable) {
    unsafe { NetEpoch::during(sleepable, || (), |_| wait(sleepable), |()| ()) };
}

fn main() {}
