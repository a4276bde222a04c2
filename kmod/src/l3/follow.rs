// SPDX-License-Identifier: BSD-2-Clause
//! What follows the parent: hardware address, MTU and link of its interfaces; and the
//! tables, which follow addresses.

use alloc::vec::Vec;

use super::child::Child;
use super::trunk::Trunk;
use super::{CONFIG, FOLLOW, TRUNKS};
use crate::kpi::context::{NetEpoch, Sleepable};
use crate::kpi::epoch::{NetEpochs, in_net_epoch};
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::Port;
use crate::kpi::link::{Handle, Watcher};
use crate::kpi::memory::collected;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::task::Work;
use weft_engine::queue::Sections;

/// Held while interfaces are changed that must not go meanwhile.
static FOLLOWING: Slept<()> = Slept::new(());

/// Has done soon what only who may sleep can do. Does not sleep.
pub(super) fn ask_in(epoch: &NetEpoch<'_>) {
    if let Some(task) = FOLLOW.get(epoch) {
        task.ask();
    }
}

/// The same.
pub(super) fn ask(sleepable: &mut Sleepable) {
    in_net_epoch(sleepable, ask_in);
}

/// The work of the kernel's thread.
pub(super) struct Follow;

impl Work for Follow {
    fn run(&mut self, sleepable: &mut Sleepable) {
        TRUNKS.reap(sleepable);
        let Ok(trunks) = in_net_epoch(sleepable, copied) else {
            return;
        };
        for trunk in &trunks {
            trunk.reap(sleepable);
            FOLLOWING.with(sleepable, |sleepable, ()| follow(sleepable, trunk));
        }
    }
}

fn copied(epoch: &NetEpoch<'_>) -> Result<Vec<Shared<Trunk>>, Errno> {
    let trunks = TRUNKS.get(epoch).map_or(&[][..], Vec::as_slice);
    collected(trunks.len(), |n| {
        let trunk = trunks.get(n).ok_or(Errno::EINVAL)?;
        Ok(trunk.clone())
    })
}

/// Gives a parent's interfaces its hardware address, and no larger MTU.
fn follow(sleepable: &mut Sleepable, trunk: &Trunk) {
    let handles = in_net_epoch(sleepable, |epoch| {
        let table = trunk.table(epoch);
        let mut members = table.into_iter().flat_map(|table| table.members());
        collected(table.map_or(0, |table| table.len()), |_| {
            let (_, handle) = members.next().ok_or(Errno::EINVAL)?;
            Ok(handle.clone())
        })
    });
    let Ok(handles) = handles else { return };
    for handle in handles {
        let port = handle.port();
        let (mac, mtu) = (trunk.mac(), trunk.parent().mtu());
        let has = in_net_epoch(sleepable, |epoch| {
            let child: &Child = handle.get(epoch)?;
            (!child.is_away()).then(|| port.mac(epoch))
        });
        match has {
            Some(has) if !trunk.is_gone() => {
                if has != mac {
                    port.set_mac(sleepable, mac);
                }
                if port.mtu() > mtu {
                    port.set_mtu(sleepable, mtu);
                }
            }
            _ => {}
        }
    }
}

/// Gives an interface that is new what its parent has.
pub(super) fn begin(sleepable: &mut Sleepable, port: &Port) {
    let parent = in_net_epoch(sleepable, |epoch| {
        let parent = handle_of(port, epoch)?.0.parent();
        Some((parent.mtu(), parent.has_link()))
    });
    if let Some((mtu, link)) = parent {
        port.set_mtu(sleepable, mtu);
        port.set_link(link);
    }
    ask(sleepable);
}

/// What is told of all interfaces of the system.
pub(crate) struct Follower;

/// The trunk of which that port is the parent.
fn trunk_of<'e>(port: &Port, epoch: &NetEpoch<'e>) -> Option<&'e Shared<Trunk>> {
    let mut trunks = TRUNKS.get(epoch)?.iter();
    trunks.find(|trunk| trunk.parent().is(port) && !trunk.is_gone())
}

/// The handle of the interface that has that port, and its trunk.
fn handle_of<'e>(
    port: &Port,
    epoch: &NetEpoch<'e>,
) -> Option<(&'e Shared<Trunk>, &'e Handle<Child>)> {
    let mut trunks = TRUNKS.get(epoch)?.iter();
    trunks.find_map(|trunk| Some((trunk, trunk.handle_of(port, epoch)?)))
}

/// Notes that an interface is, or is no more, between two network stacks, and what
/// addresses it has. Whether it is one of the module's.
fn note_away(sleepable: &mut Sleepable, port: &Port, is_away: bool) -> bool {
    let is_ours = in_net_epoch(sleepable, |epoch| handle_of(port, epoch).is_some());
    if is_ours {
        FOLLOWING.with(sleepable, |sleepable, ()| {
            in_net_epoch(sleepable, |epoch| {
                if let Some((trunk, handle)) = handle_of(port, epoch) {
                    if let Some(child) = handle.get(epoch) {
                        child.set_away(is_away);
                    }
                    trunk.refresh(epoch);
                }
            });
        });
    }
    is_ours
}

impl Watcher for Follower {
    fn arrived(sleepable: &mut Sleepable, port: &Port) {
        if note_away(sleepable, port, false) {
            port.take_opaque_addresses(sleepable);
        }
    }

    fn departed(sleepable: &mut Sleepable, port: &Port) {
        if note_away(sleepable, port, true) {
            return;
        }
        if !in_net_epoch(sleepable, |epoch| trunk_of(port, epoch).is_some()) {
            return;
        }
        CONFIG.with(sleepable, |sleepable, entries| {
            // It stays on the list until its last interface goes.
            for entry in entries.iter_mut().filter(|entry| entry.is_of(port)) {
                entry.trunk.set_gone();
                entry.hook = None;
                port.receive_all_groups(sleepable, false);
                NetEpochs.wait();
                in_net_epoch(sleepable, |epoch| set_links(&entry.trunk, false, epoch));
            }
        });
    }

    fn turned_on(sleepable: &mut Sleepable, port: &Port) {
        if in_net_epoch(sleepable, |epoch| handle_of(port, epoch).is_some()) {
            port.form_link_local(sleepable);
        }
    }

    fn readdressed(epoch: &NetEpoch<'_>, port: &Port) {
        let trunk = trunk_of(port, epoch);
        if let Some(trunk) = trunk.or_else(|| Some(handle_of(port, epoch)?.0)) {
            trunk.refresh(epoch);
        }
    }

    fn rewired(epoch: &NetEpoch<'_>, port: &Port) {
        if let Some(trunk) = trunk_of(port, epoch) {
            trunk.set_mac(port.mac(epoch));
            ask_in(epoch);
        } else if handle_of(port, epoch).is_some() {
            ask_in(epoch);
        }
    }

    fn link_changed(epoch: &NetEpoch<'_>, port: &Port) {
        if let Some(trunk) = trunk_of(port, epoch) {
            set_links(trunk, port.has_link(), epoch);
        }
    }
}

/// Tells a parent's interfaces that their link is up or down.
fn set_links(trunk: &Trunk, up: bool, epoch: &NetEpoch<'_>) {
    for (_, handle) in trunk
        .table(epoch)
        .into_iter()
        .flat_map(|table| table.members())
    {
        if handle.get(epoch).is_some() {
            handle.port().set_link(up);
        }
    }
}
