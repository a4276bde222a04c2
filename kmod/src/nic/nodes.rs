// SPDX-License-Identifier: BSD-2-Clause
//! `dev.<driver>.<n>`: what a card and each of its queues have done, and what of it can be set.
//!
//! Numbers of queues are labels, so that prometheus_sysctl_exporter(8) makes one metric of all.

use alloc::vec::Vec;
use core::ffi::CStr;

use weft_engine::nic::{JoinFigures, Label, RxFigures, Scope, TxFigures};
use weft_engine::stats::{
    COMPLETION, CardStat, Declared, JoinStat, ReceiveStat, SendStat, SoftwareStat,
};

use super::Driven;
use super::core::Core;
use super::help::Helped;
use super::settings::Settings;
use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::device::Device;
use crate::kpi::errno::Errno;
use crate::kpi::jail;
use crate::kpi::memory::collected;
use crate::kpi::shared::Shared;
use crate::kpi::sysctl::{Branch, Parent, Subject, TEXT};
use crate::kpi::text::Text;
use crate::latency::{self, INDEX_BITS, Timed};
use crate::queue_nodes::{self, Owner, Servants, Tuning, Watched};
use crate::stats;

/// What an index is about, in its highest byte. Then come the queue's number and the figure's
/// place, a byte each; 0 is for settings and figures of the engine's queues.
const TX: u32 = 1 << 24;
const RX: u32 = 2 << 24;
const DEVICE: u32 = 3 << 24;
const LABEL: u32 = 4 << 24;
const SETTING: u32 = 5 << 24;
const COMPLETIONS: u32 = 6 << 24;
/// The queue's number and what [`latency`] adds.
const TIMES: u32 = 7 << 24;
const SOFTWARE: u32 = 8 << 24;
const JOINED: u32 = 9 << 24;

fn sent(figures: &TxFigures, stat: SendStat) -> u64 {
    match stat {
        SendStat::Frames => figures.frames,
        SendStat::Done => figures.done,
        SendStat::Lost => figures.lost,
        SendStat::Linearized => figures.linearized,
        SendStat::Full => figures.full,
        SendStat::NoMemory => figures.no_memory,
        SendStat::Unfit => figures.unfit,
        SendStat::Kicks => figures.kicks,
        SendStat::Hangs => figures.hangs,
        SendStat::Bogus => figures.bogus,
    }
}

fn helped(figures: &Helped, stat: SoftwareStat) -> u64 {
    match stat {
        SoftwareStat::Cut => figures.completed.cut,
        SoftwareStat::Parts => figures.completed.parts,
        SoftwareStat::Summed => figures.completed.summed,
        SoftwareStat::Tagged => figures.completed.tagged,
        SoftwareStat::Lost => figures.lost,
    }
}

fn received(figures: &RxFigures, stat: ReceiveStat) -> u64 {
    match stat {
        ReceiveStat::Frames => figures.frames,
        ReceiveStat::Bytes => figures.bytes,
        ReceiveStat::Merged => figures.merged,
        ReceiveStat::Bad => figures.bad,
        ReceiveStat::NoPacket => figures.no_packet,
        ReceiveStat::NoBuffer => figures.no_buffer,
        ReceiveStat::Given => figures.given,
        ReceiveStat::Returned => figures.returned,
        ReceiveStat::Withdrawn => figures.withdrawn,
        ReceiveStat::CutOff => figures.cut_off,
        ReceiveStat::Left => figures.left,
        ReceiveStat::Kicks => figures.kicks,
        ReceiveStat::Bogus => figures.bogus,
    }
}

fn joined(figures: &JoinFigures, stat: JoinStat) -> u64 {
    match stat {
        JoinStat::Joined => figures.frames,
        JoinStat::Packets => figures.packets,
    }
}

fn of_card<D: Driven>(core: &Core<D>, stat: CardStat, sleepable: &mut Sleepable) -> u64 {
    let control = &core.control;
    match stat {
        CardStat::Resets => control.with(sleepable, |_, control| control.port.resets().0),
        CardStat::FailedResets => control.with(sleepable, |_, control| control.port.resets().1),
        CardStat::Vectors => core.vectors.count.into(),
        CardStat::Moved => core.queues.lost(),
    }
}

/// What the nodes are about.
pub(super) struct Outlet<D: Driven> {
    core: Shared<Core<D>>,
    tuning: Tuning,
    name: Text<32>,
}

impl<D: Driven> Outlet<D> {
    fn settings(&self) -> Settings<'_, D> {
        Settings {
            core: &self.core,
            node: self.name.as_c_str().to_str().unwrap_or_default(),
        }
    }
}

impl<D: Driven> Owner for Outlet<D> {
    fn queue(&self, number: usize) -> Option<&dyn Watched> {
        let queue = self.core.queues.queues().get(number)?;
        Some(queue)
    }

    fn tuning(&self) -> &Tuning {
        &self.tuning
    }
}

impl<D: Driven> Subject for Outlet<D> {
    fn is_shown(&self, sleepable: &Sleepable, _vnet: &Vnet<'_>) -> bool {
        jail::current(sleepable).is_none()
    }

    fn read(&self, index: u32, sleepable: &mut Sleepable) -> u64 {
        let (number, place) = ((index >> 8 & 0xff) as usize, (index & 0xff) as usize);
        let core = &*self.core;
        let value = match index & 0xff << 24 {
            TX => core.lanes.get(number).and_then(|lane| {
                let figures = lane.with(|queue| queue.figures());
                SendStat::at(place as u32).map(|stat| sent(&figures, stat))
            }),
            SOFTWARE => core.lanes.get(number).and_then(|lane| {
                let figures = lane.helped();
                SoftwareStat::at(place as u32).map(|stat| helped(&figures, stat))
            }),
            RX => core.receivers.get(number).and_then(|receiver| {
                let figures = receiver.with(|queue| queue.figures());
                ReceiveStat::at(place as u32).map(|stat| received(&figures, stat))
            }),
            JOINED => core.joiners.get(number).and_then(|joiner| {
                let figures = joiner.with(|joiner| joiner.figures());
                JoinStat::at(place as u32).map(|stat| joined(&figures, stat))
            }),
            DEVICE => CardStat::at(place as u32).map(|stat| of_card(core, stat, sleepable)),
            COMPLETIONS => core
                .lanes
                .get(number)
                .map(|lane| lane.completions.read(index)),
            TIMES => {
                let number = (index - TIMES) >> INDEX_BITS;
                let lane = core.lanes.get(number as usize);
                lane.map(|lane| lane.completions.latency(index))
            }
            LABEL => Some(core.control.with(sleepable, |_, control| {
                let nic = control.port.nic();
                nic.refresh();
                nic.statistic(place, number as u16)
            })),
            SETTING => Some(self.settings().read(place as u32, sleepable)),
            _ => Some(queue_nodes::read(self, index)),
        };
        value.unwrap_or(0)
    }

    fn read_row(
        &self,
        index: u32,
        sleepable: &mut Sleepable,
        row: &mut [u64],
    ) -> Result<(), Errno> {
        let Some(index) = index.checked_sub(TIMES) else {
            return queue_nodes::read_row(self, index, sleepable, row);
        };
        let lane = self.core.lanes.get((index >> INDEX_BITS) as usize);
        let lane = lane.ok_or(Errno::EINVAL)?;
        lane.completions.latency_row(sleepable, row)
    }

    fn write(&self, index: u32, sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        let place = (index & 0xff) as usize;
        match index & 0xff << 24 {
            SETTING => self.settings().write(place as u32, sleepable, value),
            _ => queue_nodes::write(self, index, value),
        }
    }

    fn read_text(&self, index: u32, sleepable: &mut Sleepable, to: &mut Text<TEXT>) {
        self.settings().read_text(index & 0xff, sleepable, to);
    }

    fn write_text(&self, index: u32, sleepable: &mut Sleepable, text: &str) -> Result<(), Errno> {
        self.settings().write_text(index & 0xff, sleepable, text)
    }
}

/// A card's nodes. Dropping it waits for those who read or write there.
pub(super) struct Node<D: Driven> {
    _branch: Branch<Outlet<D>>,
}

impl<D: Driven> Node<D> {
    /// Adds the nodes of a device.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new(
        sleepable: &mut Sleepable,
        device: &Device,
        core: &Shared<Core<D>>,
    ) -> Result<Self, Errno> {
        let tuning = Tuning::new(format_args!("the transmit queues of {}", device.name()))?;
        let counted = counted(sleepable, core)?;
        let core = core.clone();
        let name = Text::format(format_args!("dev.{}.{}", D::NAME, device.unit()));
        let outlet = Shared::made(|| Ok(Outlet { core, tuning, name }))?;
        let mut branch = Branch::new(sleepable, outlet.clone())?;
        let top = device.sysctls();
        let core = &outlet.core;
        let settings = outlet.settings();
        settings.add(sleepable, &mut branch, top, SETTING)?;
        stats::add(&mut branch, top, DEVICE, |_: CardStat| true)?;
        let receivers = (core.receivers.len(), core.joiners.len());
        add_receivers(&mut branch, top, receivers, &counted)?;
        add_lanes(&mut branch, top, core.lanes.len(), &counted)?;
        add_times(sleepable, &mut branch, device, core.lanes.len())?;
        labels(&mut branch, top, (&counted, Scope::Device), 0)?;
        Ok(Self { _branch: branch })
    }
}

#[inline(never)]
fn add_receivers<T: Subject>(
    branch: &mut Branch<T>,
    top: Parent,
    (count, joiners): (usize, usize),
    counted: &[Label],
) -> Result<(), Errno> {
    let about = c"Receive queues";
    let rx = branch.tree().node(top, c"rx", about)?;
    for number in 0..count {
        let node = queue(branch, rx, number, c"A receive queue")?;
        let base = RX | (number as u32) << 8;
        stats::add(branch, node, base, |_: ReceiveStat| true)?;
        labels(branch, node, (counted, Scope::Rx), number)?;
        if number < joiners {
            let about = c"What is done in software, since the card does not do it";
            let node = branch.tree().node(node, c"software", about)?;
            let base = JOINED | (number as u32) << 8;
            stats::add(branch, node, base, |_: JoinStat| true)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn add_lanes<T: Subject>(
    branch: &mut Branch<T>,
    top: Parent,
    count: usize,
    counted: &[Label],
) -> Result<(), Errno> {
    let about = c"Transmit queues: who waits, and what the card does";
    let tx = branch.tree().node(top, c"tx", about)?;
    for number in 0..count {
        let queue = queue_nodes::add(branch, tx, number, Servants::Any)?;
        let about = c"The card's part of the queue";
        let node = branch.tree().node(queue, c"card", about)?;
        let base = (number as u32) << 8;
        stats::add(branch, node, TX | base, |_: SendStat| true)?;
        stats::add_histogram(branch, node, COMPLETIONS | base, &COMPLETION)?;
        labels(branch, node, (counted, Scope::Tx), number)?;
        let about =
            c"What packets asked for and was done in software, since the card does not do it";
        let node = branch.tree().node(queue, c"software", about)?;
        stats::add(branch, node, SOFTWARE | base, |_: SoftwareStat| true)?;
    }
    Ok(())
}

#[inline(never)]
fn add_times<T: Subject>(
    sleepable: &mut Sleepable,
    branch: &mut Branch<T>,
    device: &Device,
    count: usize,
) -> Result<(), Errno> {
    let times = latency::parent(sleepable, Timed::Completion)?;
    let name = Text::<16>::format(format_args!("{}", device.name()));
    let tree = branch.tree();
    let times = tree.node_labelled(times, name.as_c_str(), c"device", c"A network card")?;
    for number in 0..count {
        let node = queue(branch, times, number, c"A transmit queue")?;
        latency::add(branch, node, TIMES | (number as u32) << INDEX_BITS)?;
    }
    Ok(())
}

/// What the card itself counts.
#[inline(never)]
fn counted<D: Driven>(sleepable: &mut Sleepable, core: &Core<D>) -> Result<Vec<Label>, Errno> {
    core.control.with(sleepable, |_, control| {
        let labels = control.port.nic().labels();
        collected(labels.len(), |n| {
            labels.get(n).copied().ok_or(Errno::EINVAL)
        })
    })
}

fn queue<T: Subject>(
    branch: &mut Branch<T>,
    parent: Parent,
    number: usize,
    about: &'static CStr,
) -> Result<Parent, Errno> {
    let name = Text::<8>::format(format_args!("{number}"));
    let tree = branch.tree();
    tree.node_labelled(parent, name.as_c_str(), c"queue", about)
}

/// Adds what the card itself counts of that scope, in a node of its own, if it counts any.
fn labels<T: Subject>(
    branch: &mut Branch<T>,
    node: Parent,
    (labels, scope): (&[Label], Scope),
    number: usize,
) -> Result<(), Errno> {
    if !labels.iter().any(|label| label.scope == scope) {
        return Ok(());
    }
    let about = c"What the card itself counts";
    let node = branch.tree().node(node, c"device", about)?;
    for (place, label) in labels.iter().enumerate() {
        if label.scope != scope {
            continue;
        }
        let name = Text::<48>::format(format_args!("{}", label.name));
        let about = Text::<160>::format(format_args!("{}", label.what));
        let index = LABEL | (number as u32) << 8 | place as u32;
        branch.figure(node, name.as_c_str(), index, about.as_c_str())?;
    }
    Ok(())
}
