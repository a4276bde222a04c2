// SPDX-License-Identifier: BSD-2-Clause
//! Having a second token that allows sleep.
use weft_engine::context::Sleepable;

fn moved() {
    let sleepable = unsafe { Sleepable::assume() };
    let second = sleepable;
    drop((sleepable, second));
}

fn main() {
    let sleepable = unsafe { Sleepable::assume() };
    drop(sleepable.clone());
}
