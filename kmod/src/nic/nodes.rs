// SPDX-License-Identifier: BSD-2-Clause
//! `dev.<driver>.<n>`: what a card and each of its queues have done, and what of it can be set.
//!
//! Numbers of queues are labels, so that prometheus_sysctl_exporter(8) makes one metric of all.

use alloc::vec::Vec;
use core::ffi::CStr;

use weft_engine::nic::{Label, RxFigures, Scope, TxFigures};

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
use crate::queue_nodes::{self, Owner, Servants, Tuning, Watched};

/// What an index is about, in its highest byte. Then come the queue's number and the figure's
/// place, a byte each; 0 is for settings and figures of the engine's queues.
const TX: u32 = 1 << 24;
const RX: u32 = 2 << 24;
const DEVICE: u32 = 3 << 24;
const LABEL: u32 = 4 << 24;
const SETTING: u32 = 5 << 24;
const HELP: u32 = 6 << 24;

type Figure<F> = (&'static CStr, fn(&F) -> u64, &'static CStr);

const TX_FIGURES: [Figure<TxFigures>; 10] = [
    (c"frames", |f| f.frames, c"Frames given to the card"),
    (c"done", |f| f.done, c"Frames that it was done with"),
    (
        c"lost",
        |f| f.lost,
        c"Frames that a reset or stop took from it",
    ),
    (
        c"linearized",
        |f| f.linearized,
        c"Frames that were in too many pieces and were copied",
    ),
    (
        c"full",
        |f| f.full,
        c"Frames refused since the card's queue was full",
    ),
    (
        c"no_memory",
        |f| f.no_memory,
        c"Frames that there was no memory to map or copy: long segments are cut then, others dropped",
    ),
    (
        c"unfit",
        |f| f.unfit,
        c"Frames that the card can't take in any form: long segments are cut then, others dropped",
    ),
    (
        c"kicks",
        |f| f.kicks,
        c"Times that the card was told of frames: frames by kicks is the size of a burst",
    ),
    (
        c"hangs",
        |f| f.hangs,
        c"Times that the card did nothing for five seconds, and was reset",
    ),
    (
        c"bogus",
        |f| f.bogus,
        c"Completions for frames that the card was not given; each is a reset",
    ),
];

const HELP_FIGURES: [Figure<Helped>; 5] = [
    (
        c"cut",
        |f| f.completed.cut,
        c"Long segments of TCP that were cut before the card got them",
    ),
    (
        c"parts",
        |f| f.completed.parts,
        c"Frames that they were cut into",
    ),
    (
        c"summed",
        |f| f.completed.summed,
        c"Frames that were not cut and whose checksums were filled in",
    ),
    (
        c"tagged",
        |f| f.completed.tagged,
        c"Packets into which a VLAN tag was put, long ones counted once",
    ),
    (
        c"lost",
        |f| f.lost,
        c"Packets dropped since they asked for what can't be done, for want of memory, or since software_offload is 0",
    ),
];

const RX_FIGURES: [Figure<RxFigures>; 13] = [
    (c"frames", |f| f.frames, c"Frames received"),
    (c"bytes", |f| f.bytes, c"Bytes of these frames"),
    (
        c"merged",
        |f| f.merged,
        c"Those of them that the card has put together of several (LRO)",
    ),
    (c"bad", |f| f.bad, c"Frames that the card said are broken"),
    (
        c"no_packet",
        |f| f.no_packet,
        c"Frames dropped for want of memory",
    ),
    (
        c"no_buffer",
        |f| f.no_buffer,
        c"Times that there was no memory for a buffer",
    ),
    (c"given", |f| f.given, c"Buffers given to the card"),
    (
        c"returned",
        |f| f.returned,
        c"Buffers that came back from it",
    ),
    (
        c"withdrawn",
        |f| f.withdrawn,
        c"Buffers that a reset or stop took from it",
    ),
    (
        c"cut_off",
        |f| f.cut_off,
        c"Frames of which only a part was there at a reset or stop",
    ),
    (
        c"left",
        |f| f.left,
        c"Whole frames that had come and were not taken before a reset or stop",
    ),
    (
        c"kicks",
        |f| f.kicks,
        c"Times that the card was told of buffers",
    ),
    (
        c"bogus",
        |f| f.bogus,
        c"Completions for buffers that the card was not given; each is a reset",
    ),
];

type OfDevice<D> = (
    &'static CStr,
    fn(&Core<D>, &mut Sleepable) -> u64,
    &'static CStr,
);

fn device_figures<D: Driven>() -> [OfDevice<D>; 4] {
    [
        (
            c"resets",
            |core, sleepable| {
                core.control
                    .with(sleepable, |_, control| control.port.resets().0)
            },
            c"Times that the card was reset, since it was stuck or asked for it",
        ),
        (
            c"failed_resets",
            |core, sleepable| {
                core.control
                    .with(sleepable, |_, control| control.port.resets().1)
            },
            c"Of these, those that failed; they are tried again",
        ),
        (
            c"vectors",
            |core, _| core.vectors.count.into(),
            c"Interrupts in use",
        ),
        (
            c"moved",
            |core, _| core.queues.lost(),
            c"Frames that found no room in the queue to which their flow was moved",
        ),
    ]
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
                TX_FIGURES.get(place).map(|(_, read, _)| read(&figures))
            }),
            HELP => core.lanes.get(number).and_then(|lane| {
                let figures = lane.helped();
                HELP_FIGURES.get(place).map(|(_, read, _)| read(&figures))
            }),
            RX => core.receivers.get(number).and_then(|receiver| {
                let figures = receiver.with(|queue| queue.figures());
                RX_FIGURES.get(place).map(|(_, read, _)| read(&figures))
            }),
            DEVICE => device_figures::<D>()
                .get(place)
                .map(|(_, read, _)| read(core, sleepable)),
            LABEL => Some(core.control.with(sleepable, |_, control| {
                let nic = control.port.nic();
                nic.refresh();
                nic.statistic(place, number as u16)
            })),
            SETTING => Some(self.settings().read(place, sleepable)),
            _ => Some(queue_nodes::read(self, index)),
        };
        value.unwrap_or(0)
    }

    fn write(&self, index: u32, sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        let place = (index & 0xff) as usize;
        match index & 0xff << 24 {
            SETTING => self.settings().write(place, sleepable, value),
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
        for (place, (name, _, about)) in device_figures::<D>().iter().enumerate().rev() {
            branch.figure(top, name, None, DEVICE | place as u32, about)?;
        }
        let about = c"Receive queues";
        let rx = branch.tree().node(top, c"rx", about)?;
        for number in 0..core.receivers.len() {
            let node = queue(&mut branch, rx, number, c"A receive queue")?;
            figures(&mut branch, node, RX | (number as u32) << 8, &RX_FIGURES)?;
            labels(&mut branch, node, (&counted, Scope::Rx), number)?;
        }
        let about = c"Transmit queues: who waits, and what the card does";
        let tx = branch.tree().node(top, c"tx", about)?;
        for number in 0..core.lanes.len() {
            let queue = queue_nodes::add(&mut branch, tx, number, Servants::Any)?;
            let about = c"The card's part of the queue";
            let node = branch.tree().node(queue, c"card", about)?;
            figures(&mut branch, node, TX | (number as u32) << 8, &TX_FIGURES)?;
            labels(&mut branch, node, (&counted, Scope::Tx), number)?;
            let about =
                c"What packets asked for and was done in software, since the card does not do it";
            let node = branch.tree().node(queue, c"software", about)?;
            figures(
                &mut branch,
                node,
                HELP | (number as u32) << 8,
                &HELP_FIGURES,
            )?;
        }
        labels(&mut branch, top, (&counted, Scope::Device), 0)?;
        let settings = outlet.settings();
        settings.add(sleepable, &mut branch, top, SETTING)?;
        Ok(Self { _branch: branch })
    }
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

fn figures<T: Subject, F>(
    branch: &mut Branch<T>,
    node: Parent,
    base: u32,
    figures: &[Figure<F>],
) -> Result<(), Errno> {
    for (place, (name, _, about)) in figures.iter().enumerate().rev() {
        branch.figure(node, name, None, base | place as u32, about)?;
    }
    Ok(())
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
        branch.figure(node, name.as_c_str(), None, index, about.as_c_str())?;
    }
    Ok(())
}
