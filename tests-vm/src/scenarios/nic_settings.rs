// SPDX-License-Identifier: BSD-2-Clause
//! What can be set of a card with the module's driver, set while datagrams and streams go both
//! ways between it and the host: it is so afterwards, traffic goes on, and no frame is lost of
//! which nobody says so. What can't be is refused with one line, and nothing has changed.

use std::time::Duration;

use super::nic::Wire;
use super::nic_traffic::{Books, Traffic};
use super::nic_tuned::{Stage, Tuned};
use super::pair::LIMIT;
use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::{FIRST_SLOT, Nic};

const ORDINARY: Scenario = Scenario {
    about: "what can be set of a card of the module's drivers, set while traffic runs both ways: \
            at work at once, each frame received, counted, or sent to a card that stood; what \
            can't be refused in a line; how long frames take",
    limit: Duration::from_secs(300),
    klds: &["if_vlan"],
    ..Scenario::ORDINARY
};

pub(super) const VMX: Scenario = Scenario {
    name: "nic-settings-vmx",
    group: "nic-settings-vmx",
    nics: &[Nic { device: "vmxnet3" }],
    run: |context| WVMX.run(context),
    ..ORDINARY
};

pub(super) const EM: Scenario = Scenario {
    name: "nic-settings-em",
    group: "nic-settings-em",
    nics: &[Nic { device: "e1000" }],
    run: |context| WEM.run(context),
    ..ORDINARY
};

pub(super) const EM_EXPRESS: Scenario = Scenario {
    name: "nic-settings-em-express",
    group: "nic-settings-em-express",
    nics: &[Nic { device: "e1000e" }],
    run: |context| WEM_EXPRESS.run(context),
    ..ORDINARY
};

pub(super) const VTNET: Scenario = Scenario {
    name: "nic-settings-vtnet",
    group: "nic-settings-vtnet",
    nics: &[Nic {
        device: "virtio-net-pci",
    }],
    run: |context| WVTNET.run(context),
    ..ORDINARY
};

/// A card, and what is different of it. All offer a filter of VLANs.
pub(super) struct Card {
    pub(super) driver: &'static str,
    pub(super) name: &'static str,
    /// Queues each way, with two CPUs.
    pub(super) queues: [u16; 2],
    /// Descriptors of a queue each way: other ones than at first, and some that can't be.
    pub(super) descriptors: [(u16, u16); 2],
    pub(super) moderation: Moderation,
    /// The card fills in sums and cuts segments: the figure that counts those, of the queue or
    /// card.
    pub(super) cuts: Option<&'static str>,
    pub(super) joins: Joins,
}

/// Who joins segments that are received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joins {
    /// Nobody, since the card does not look at sums.
    Nobody,
    /// The card, it says.
    Card,
    /// Its receive queues, in software.
    Software,
}

pub(super) enum Moderation {
    None,
    Own,
    Gaps,
}

const WVMX: Card = Card {
    driver: "wvmx",
    name: "wvmx0",
    queues: [2, 2],
    descriptors: [(1024, 1000), (256, 4096)],
    moderation: Moderation::Own,
    cuts: Some("tso_packets"),
    joins: Joins::Card,
};

const WEM: Card = Card {
    driver: "wem",
    name: "wem0",
    queues: [1, 1],
    descriptors: [(1024, 1001), (256, 8192)],
    moderation: Moderation::Gaps,
    cuts: Some("segmented"),
    joins: Joins::Software,
};

const WEM_EXPRESS: Card = Card {
    queues: [2, 2],
    ..WEM
};

const WVTNET: Card = Card {
    driver: "wvtnet",
    name: "wvtnet0",
    queues: [1, 1],
    descriptors: [(128, 100), (128, 512)],
    moderation: Moderation::None,
    cuts: None,
    joins: Joins::Nobody,
};

/// The only card.
const NUMBER: usize = 0;

impl Card {
    fn run(&self, context: &mut Context<'_>) -> Result<()> {
        for kld in ORDINARY.klds {
            context.load_kld(kld)?;
        }
        context.load_weft()?;
        let place = format!("pci0:0:{FIRST_SLOT}:0");
        let set = format!("devctl set {place} {}", self.driver);
        context.guest.call_within(&set, LIMIT)?;
        let wire = Wire::new(NUMBER);
        wire.connect(context, self.name)?;
        // QEMU 7.2 spoils segments of IPv6 that it cuts.
        context
            .guest
            .call(&format!("if capability {} -tso6", self.name))?;
        wire.answers(context, self.name)?;
        let stages: [Stage<'_>; 10] = [
            Tuned::completions,
            Tuned::queues,
            Tuned::descriptors,
            Tuned::moderation,
            Tuned::spreading,
            Tuned::mtu,
            Tuned::capabilities,
            Tuned::vlans,
            Tuned::promiscuous,
            Tuned::suspended,
        ];
        // In the long form the books are closed behind each of them.
        let at_once = if context.full { 1 } else { stages.len() };
        for stages in stages.chunks(at_once) {
            let traffic = Traffic::begin(context, &wire, self.driver, self.name)?;
            let mut tuned = Tuned {
                card: self,
                node: Books::node(self.driver, self.name),
                place: &place,
                wire: &wire,
                traffic,
            };
            for stage in stages {
                stage(&mut tuned, context)?;
            }
            tuned.traffic.end(context)?;
        }
        wire.disconnect(context, self.name)?;
        let detach = format!("devctl detach {place}");
        context.guest.call_within(&detach, LIMIT)?;
        context.unload_weft()
    }
}
