// SPDX-License-Identifier: BSD-2-Clause
//! What a guest's network cards are connected to: the host, which looks at each frame.
//!
//! QEMU's `stream` back end carries frames over a Unix socket, each behind its length, and
//! neither side loses one: who is slow has the other one wait. QEMU drops, and does not count,
//! frames to a card whose cable is pulled or that is stopped: a vmxnet3 that is not active takes
//! all and drops them, others have them wait but for moments of a start. Whatever else is
//! missing was lost in the guest.
//!
//! | part | is |
//! | --- | --- |
//! | [`Port`] | the other end of one card: frames in and out, and what was seen |
//! | [`check`] | whether a frame's checksums are right, by adding up all of it |
//! | [`made`] | frames to be completed by a card, and what must become of them |
//! | [`tcp`] | streams of TCP of such a host, of bytes that are known |
//! | [`station`] | a host of its own behind a port: answers ARP, neighbour discovery, echoes, datagrams, DHCP |
//! | [`Monitor`] | QEMU's own, by which links go down and up |

pub mod check;
pub mod made;
mod monitor;
mod port;
mod station;
pub mod stream;
mod tcp;

pub use monitor::Monitor;
pub use port::{Behaviour, Figures, NUMBERED, Port};
pub use station::Station;
pub use tcp::{Stream, Tcp};

use std::path::Path;

use anyhow::Result;

/// A network card of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nic {
    /// QEMU's name of the device, with options of its own behind commas.
    pub device: &'static str,
}

/// All of a guest's network, and the way to its cables.
pub struct Lan {
    /// The ports, in the order of the cards.
    pub ports: Vec<Port>,
    /// QEMU's monitor.
    pub monitor: Monitor,
}

/// The slot of the first card on QEMU's PCI bus, which is `pci0:0:SLOT:0` to FreeBSD. Lower
/// ones are the machine's own.
pub const FIRST_SLOT: usize = 8;

/// The hardware address of a card.
#[must_use]
pub const fn card_mac(number: usize) -> [u8; 6] {
    [0x52, 0x54, 0, 0x77, 0, number as u8]
}

impl Lan {
    /// Ports that wait for QEMU to connect, with their sockets in `folder`.
    ///
    /// # Errors
    /// If a socket cannot be made.
    pub fn new(folder: &Path, nics: &[Nic]) -> Result<Self> {
        let ports = (0..nics.len()).map(|number| Port::listen(&socket(folder, number)));
        Ok(Self {
            ports: ports.collect::<Result<_>>()?,
            monitor: Monitor::at(&folder.join("monitor")),
        })
    }
}

fn socket(folder: &Path, number: usize) -> std::path::PathBuf {
    folder.join(format!("nic{number}"))
}

/// QEMU's arguments for such cards, connected to a [`Lan`] with sockets in `folder`.
#[must_use]
pub fn arguments(folder: &Path, nics: &[Nic]) -> Vec<String> {
    if nics.is_empty() {
        return Vec::new();
    }
    let text = |path: &Path| path.display().to_string().replace(',', ",,");
    let mut words = Vec::new();
    for (number, nic) in nics.iter().enumerate() {
        let path = text(&socket(folder, number));
        let mac = card_mac(number).map(|byte| format!("{byte:02x}")).join(":");
        let slot = FIRST_SLOT + number;
        words.push("-netdev".into());
        words.push(format!(
            "stream,id=net{number},server=off,addr.type=unix,addr.path={path}"
        ));
        words.push("-device".into());
        words.push(format!(
            "{},netdev=net{number},id=nic{number},mac={mac},addr={slot:#x}",
            nic.device
        ));
    }
    words.push("-qmp".into());
    let path = text(&folder.join("monitor"));
    words.push(format!("unix:{path},server=on,wait=off"));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_has_a_socket_a_slot_and_an_address() {
        let nics = [Nic { device: "vmxnet3" }, Nic { device: "e1000" }];
        let line = arguments(Path::new("/a,b"), &nics).join(" ");
        for part in [
            "stream,id=net0,server=off,addr.type=unix,addr.path=/a,,b/nic0",
            "vmxnet3,netdev=net0,id=nic0,mac=52:54:00:77:00:00,addr=0x8",
            "e1000,netdev=net1,id=nic1,mac=52:54:00:77:00:01,addr=0x9",
            "-qmp unix:/a,,b/monitor,server=on,wait=off",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert!(arguments(Path::new("/"), &[]).is_empty());
    }
}
