// SPDX-License-Identifier: BSD-2-Clause
//! The statistics that the chips keep themselves: which register counts what.
//!
//! All are cleared when they are read. Octets have 64 bits in two registers, of which the
//! upper one clears both. Source: 8254x manual 13.7, 82574 datasheet 10.2.8.

use super::registers::STATISTICS;
use weft_engine::nic::{Label, Scope};

/// What a register counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// For people.
    pub label: Label,
    /// Where it is.
    pub register: u32,
    /// Whether the next register has the upper 32 bits.
    pub is_long: bool,
}

const fn short(offset: u32, name: &'static str, what: &'static str) -> Statistic {
    Statistic {
        label: Label {
            scope: Scope::Device,
            name,
            what,
        },
        register: STATISTICS + offset,
        is_long: false,
    }
}

const fn long(offset: u32, name: &'static str, what: &'static str) -> Statistic {
    Statistic {
        is_long: true,
        ..short(offset, name, what)
    }
}

/// How many there are.
pub const COUNT: usize = 58;

/// The labels of [`ALL`], in its order.
pub const LABELS: [Label; COUNT] = {
    let mut labels = [ALL[0].label; COUNT];
    let mut n = 0;
    while n < COUNT {
        labels[n] = ALL[n].label;
        n += 1;
    }
    labels
};

/// All of them.
pub const ALL: [Statistic; COUNT] = [
    short(0x00, "crc_errors", "Received frames with a wrong CRC"),
    short(
        0x04,
        "alignment_errors",
        "Received frames that did not end at a byte",
    ),
    short(0x08, "symbol_errors", "Symbols that the PHY could not read"),
    short(
        0x0c,
        "receive_errors",
        "Frames that the PHY reported errors in",
    ),
    short(0x10, "missed", "Frames lost for want of room in the chip"),
    short(0x14, "single_collisions", "Frames sent after one collision"),
    short(
        0x18,
        "excess_collisions",
        "Frames not sent after 16 collisions",
    ),
    short(
        0x1c,
        "multiple_collisions",
        "Frames sent after several collisions",
    ),
    short(0x20, "late_collisions", "Collisions after 64 bytes"),
    short(0x28, "collisions", "Collisions"),
    short(0x30, "deferred", "Frames that waited for the wire"),
    short(0x34, "no_carrier", "Frames sent without carrier sense"),
    short(0x38, "sequence_errors", "Wrong sequences of symbols"),
    short(0x3c, "carrier_errors", "Errors of carrier extension"),
    short(
        0x40,
        "length_errors",
        "Received frames that are longer or shorter than they say",
    ),
    short(0x48, "xon_received", "Frames received that end a pause"),
    short(0x4c, "xon_sent", "Frames sent that end a pause"),
    short(
        0x50,
        "xoff_received",
        "Frames received that ask for a pause",
    ),
    short(0x54, "xoff_sent", "Frames sent that ask for a pause"),
    short(
        0x58,
        "control_unsupported",
        "Frames received of flow control that is not known",
    ),
    short(0x5c, "received_64", "Frames received of 64 bytes"),
    short(0x60, "received_127", "Frames received of 65 to 127 bytes"),
    short(0x64, "received_255", "Frames received of 128 to 255 bytes"),
    short(0x68, "received_511", "Frames received of 256 to 511 bytes"),
    short(
        0x6c,
        "received_1023",
        "Frames received of 512 to 1023 bytes",
    ),
    short(
        0x70,
        "received_1522",
        "Frames received of 1024 bytes and more",
    ),
    short(
        0x74,
        "received_good",
        "Frames received without error, passed by the filters",
    ),
    short(0x78, "received_broadcast", "Of these, to all stations"),
    short(0x7c, "received_multicast", "Of these, to groups"),
    short(0x80, "sent_good", "Frames sent without error"),
    long(
        0x88,
        "received_good_octets",
        "Bytes of frames received without error",
    ),
    long(
        0x90,
        "sent_good_octets",
        "Bytes of frames sent without error",
    ),
    short(
        0xa0,
        "no_buffers",
        "Times a frame found no receive descriptor",
    ),
    short(0xa4, "undersize", "Frames received of less than 64 bytes"),
    short(0xa8, "fragments", "Short frames received with a wrong CRC"),
    short(0xac, "oversize", "Frames received that were too long"),
    short(0xb0, "jabber", "Long frames received with a wrong CRC"),
    short(
        0xb4,
        "management_received",
        "Frames received for the management controller",
    ),
    short(0xb8, "management_dropped", "Frames for it that were lost"),
    short(0xbc, "management_sent", "Frames sent by it"),
    long(
        0xc0,
        "received_octets",
        "Bytes received, of frames of any kind",
    ),
    long(0xc8, "sent_octets", "Bytes sent, of frames of any kind"),
    short(0xd0, "received", "Frames received, of any kind"),
    short(0xd4, "sent", "Frames sent, of any kind"),
    short(0xd8, "sent_64", "Frames sent of 64 bytes"),
    short(0xdc, "sent_127", "Frames sent of 65 to 127 bytes"),
    short(0xe0, "sent_255", "Frames sent of 128 to 255 bytes"),
    short(0xe4, "sent_511", "Frames sent of 256 to 511 bytes"),
    short(0xe8, "sent_1023", "Frames sent of 512 to 1023 bytes"),
    short(0xec, "sent_1522", "Frames sent of 1024 bytes and more"),
    short(0xf0, "sent_multicast", "Frames sent to groups"),
    short(0xf4, "sent_broadcast", "Frames sent to all stations"),
    short(0xf8, "segmented", "Long segments cut by the chip"),
    short(
        0xfc,
        "segment_failures",
        "Long segments that could not be cut",
    ),
    short(0x100, "interrupts", "Interrupts sent"),
    short(0x104, "receive_timers", "Interrupts by the receive timer"),
    short(0x120, "receive_low", "Times receive descriptors ran low"),
    short(
        0x124,
        "overruns",
        "Interrupts for frames lost for want of room",
    ),
];
