// SPDX-License-Identifier: BSD-2-Clause
//! What a driver in C says of itself and of its device, looked at once.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_void};
use core::ops::RangeInclusive;
use core::ptr::NonNull;

use weft_bindings::kernel as c;
use weft_engine::link::Capabilities;
use weft_engine::nic::{
    Cuts, Extras, Label, Limits, MOST_SEGMENTS, Offer, Range, Scope, SegmentSums,
};

use super::calls::{Calls, FEATURES};
use crate::kpi::device::Device;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet;
use crate::kpi::log;
use crate::kpi::memory::collected;

/// Bytes of a frame beside its MTU: the Ethernet header and a tag.
const HEADERS: u32 = 18;
/// Bytes of the largest receive buffer.
const LARGEST_BUFFER: u32 = 16 << 10;
/// Bytes of a descriptor at most.
const LARGEST_DESCRIPTOR: u64 = 1024;
/// What each device does, as the library asks for it.
const ALWAYS: Capabilities = Capabilities::STATE.union(Capabilities::VLAN_MTU);
/// The longest frame that a device may cut.
const LONGEST: u64 = 65_535 + HEADERS as u64;

/// A driver's table and its device's offer, which have been looked at.
pub(crate) struct Table {
    /// The functions.
    pub(crate) calls: Calls,
    /// What the device offers.
    pub(crate) offer: Offer,
    /// Bytes of a transmit and of a receive descriptor.
    pub(crate) bytes: [usize; 2],
    /// Of what a ring's address is a multiple.
    pub(crate) align: usize,
    /// Descriptors that a frame may need beside one for each segment.
    pub(crate) extra: u16,
    /// Descriptors that are never filled.
    pub(crate) spare: u16,
    /// Bytes of a receive buffer; 0: for the longest frame.
    pub(crate) buffer: u32,
    /// Whether it is the driver who finds out that the device interrupts.
    pub(crate) has_own_interrupts: bool,
    /// What the device counts.
    pub(crate) labels: Vec<Label>,
}

/// What is checked: what it is, the value, and what is allowed.
type Check = (&'static str, u64, RangeInclusive<u64>);

/// Looks at each.
fn check(device: &Device, checks: &[Check]) -> Result<(), Errno> {
    let wrong = checks
        .iter()
        .find(|(_, value, within)| !within.contains(value));
    let Some((what, value, within)) = wrong else {
        return Ok(());
    };
    let (least, most) = (within.start(), within.end());
    log::error(format_args!(
        "{}: its driver says {value} for {what}; allowed: {least} to {most}",
        device.name()
    ));
    Err(Errno::EINVAL)
}

impl Table {
    /// Looks at what a driver says.
    ///
    /// # Errors
    /// `EPROGMISMATCH` if it is of another version; `EINVAL` for what is out of range; both
    /// have been logged. `ENOMEM`.
    ///
    /// # Safety
    /// Both are there, at least as far as `size` says, and stay so as the header says.
    #[inline(never)]
    pub(super) unsafe fn read(
        device: &Device,
        driver: NonNull<c::weft_nic_driver>,
        offer: &c::weft_nic_offer,
        softc: *mut c_void,
    ) -> Result<Self, Errno> {
        let raw = driver.as_ptr();
        // SAFETY: the two are there in each version.
        let (abi, size) = unsafe { ((*raw).abi, (*raw).size) };
        let known = size_of::<c::weft_nic_driver>() as u32;
        if abi != c::WEFT_NIC_ABI || size != known {
            log::error(format_args!(
                "{}: not attached: its driver has version {abi} of weft_nic.h, with a table of \
                 {size} bytes; allowed: version {} with {known}",
                device.name(),
                c::WEFT_NIC_ABI
            ));
            return Err(Errno::EPROGMISMATCH);
        }
        // SAFETY: the caller's promise; it is of the version that is known here.
        let table = unsafe { driver.as_ref() };
        has_all(device, table)?;
        check_table(device, table)?;
        check_offer(device, offer)?;
        let (tx_slots, rx_slots) = check_slots(device, table, offer)?;
        Ok(Self {
            calls: Calls { driver, softc },
            offer: offer_of(offer, tx_slots, rx_slots),
            bytes: [table.tx_bytes.into(), table.rx_bytes.into()],
            align: table.align.into(),
            extra: table.extra,
            spare: table.spare,
            buffer: offer.rx_bytes,
            has_own_interrupts: offer.features & c::WEFT_NIC_OWN_INTERRUPTS != 0,
            // SAFETY: the caller's promise.
            labels: unsafe { labels(device, table) }?,
        })
    }
}

/// Whether the functions are there that must be.
#[inline(never)]
fn has_all(device: &Device, table: &c::weft_nic_driver) -> Result<(), Errno> {
    let needed = [
        ("tx_init", table.tx_init.is_some()),
        ("rx_init", table.rx_init.is_some()),
        ("start", table.start.is_some()),
        ("stop", table.stop.is_some()),
        ("link", table.link.is_some()),
        ("figure", table.figure.is_some() || table.nfigures == 0),
        ("tx_put", table.tx_put.is_some()),
        ("tx_kick", table.tx_kick.is_some()),
        ("tx_done", table.tx_done.is_some()),
        ("tx_arm", table.tx_arm.is_some()),
        ("rx_put", table.rx_put.is_some()),
        ("rx_kick", table.rx_kick.is_some()),
        ("rx_take", table.rx_take.is_some()),
        ("rx_arm", table.rx_arm.is_some()),
    ];
    let Some((name, _)) = needed.iter().find(|(_, is_there)| !is_there) else {
        return Ok(());
    };
    log::error(format_args!("{}: its driver has no {name}", device.name()));
    Err(Errno::EINVAL)
}

/// What is the driver's, and the same for all of its devices.
#[inline(never)]
fn check_table(device: &Device, table: &c::weft_nic_driver) -> Result<(), Errno> {
    let most_figures = if table.figures.is_null() { 0 } else { 255 };
    check(
        device,
        &[
            ("tx_bytes", table.tx_bytes.into(), 1..=LARGEST_DESCRIPTOR),
            ("rx_bytes", table.rx_bytes.into(), 1..=LARGEST_DESCRIPTOR),
            ("bits in align", table.align.count_ones().into(), 1..=1),
            ("extra", table.extra.into(), 0..=16),
            ("spare", table.spare.into(), 0..=1024),
            ("nfigures", table.nfigures.into(), 0..=most_figures),
        ],
    )
}

/// What is the device's.
#[inline(never)]
fn check_offer(device: &Device, offer: &c::weft_nic_offer) -> Result<(), Errno> {
    const KNOWN: u32 = c::WEFT_NIC_RSS | c::WEFT_NIC_HASH | c::WEFT_NIC_OWN_INTERRUPTS;
    let capabilities = offer.capabilities & !ifnet::bits_of(Capabilities::all());
    let features = offer.features & !KNOWN;
    let queues = 1..=u64::from(u16::MAX);
    check(
        device,
        &[
            ("mac's bit of groups", (offer.mac[0] & 1).into(), 0..=0),
            ("plain_sums", offer.plain_sums.into(), 0..=1),
            ("unknown capabilities", capabilities.into(), 0..=0),
            ("unknown features", features.into(), 0..=0),
            ("tx_queues", offer.tx_queues.into(), queues.clone()),
            ("rx_queues", offer.rx_queues.into(), queues.clone()),
            ("vectors", offer.vectors.into(), queues),
        ],
    )?;
    check_frames(device, offer)
}

/// How long frames may be.
#[inline(never)]
fn check_frames(device: &Device, offer: &c::weft_nic_offer) -> Result<(), Errno> {
    let cuts = offer.capabilities & (c::WEFT_IFCAP_TSO4 | c::WEFT_IFCAP_TSO6) != 0;
    let longest = if cuts { 1518..=LONGEST } else { 0..=LONGEST };
    let largest = u64::from(LARGEST_BUFFER);
    let (buffer, frame) = match offer.rx_bytes {
        0 => (0..=0, LARGEST_BUFFER),
        _ => (64..=largest, u32::from(u16::MAX)),
    };
    check(
        device,
        &[
            ("segments", offer.segments.into(), 1..=MOST_SEGMENTS as u64),
            (
                "segment_bytes",
                offer.segment_bytes.into(),
                64..=u32::MAX.into(),
            ),
            ("longest", offer.longest.into(), longest),
            ("rx_bytes of a buffer", offer.rx_bytes.into(), buffer),
            (
                "most_mtu",
                offer.most_mtu.into(),
                1500..=(frame - HEADERS).into(),
            ),
        ],
    )
}

/// The ranges of descriptors, if all of their values are good for some frame.
#[inline(never)]
fn check_slots(
    device: &Device,
    table: &c::weft_nic_driver,
    offer: &c::weft_nic_offer,
) -> Result<(Range, Range), Errno> {
    let range = |of: &c::weft_nic_range| Range {
        least: of.least,
        most: of.most,
        step: of.step,
        usual: of.usual,
    };
    let (tx, rx) = (range(&offer.tx_slots), range(&offer.rx_slots));
    let spare = u64::from(table.spare);
    let frame = u64::from(offer.segments) + u64::from(table.extra) + spare;
    let most = u64::from(u16::MAX);
    let usual = |range: &Range| u64::from(range.fit(range.usual));
    check(
        device,
        &[
            ("tx_slots.least", tx.least.into(), frame..=most),
            ("tx_slots.most", tx.most.into(), tx.least.into()..=most),
            ("tx_slots.usual", tx.usual.into(), usual(&tx)..=usual(&tx)),
            ("rx_slots.least", rx.least.into(), spare + 1..=most),
            ("rx_slots.most", rx.most.into(), rx.least.into()..=most),
            ("rx_slots.usual", rx.usual.into(), usual(&rx)..=usual(&rx)),
        ],
    )?;
    Ok((tx, rx))
}

fn offer_of(offer: &c::weft_nic_offer, tx_slots: Range, rx_slots: Range) -> Offer {
    let extras = extras_of(offer.features);
    Offer {
        mac: offer.mac,
        capabilities: ifnet::capabilities_of(offer.capabilities) | ALWAYS,
        extras,
        usual_extras: extras,
        tx_queues: offer.tx_queues,
        rx_queues: offer.rx_queues,
        tx_slots,
        rx_slots,
        most_mtu: offer.most_mtu,
        limits: Limits {
            segments: offer.segments,
            segment_bytes: offer.segment_bytes,
            longest: offer.longest,
            sums: match offer.plain_sums {
                0 => SegmentSums::WithLength,
                _ => SegmentSums::WithoutLength,
            },
            cuts: Cuts::ORDINARY,
        },
        vectors: offer.vectors,
        mbps: offer.mbps,
    }
}

/// The names of what the device counts.
///
/// # Safety
/// The strings are there as long as the device is attached, and so are the labels.
#[inline(never)]
unsafe fn labels(device: &Device, table: &c::weft_nic_driver) -> Result<Vec<Label>, Errno> {
    collected(table.nfigures.into(), |place| {
        // SAFETY: the caller's promise.
        let figure = unsafe { &*table.figures.add(place) };
        let scope = match u32::from(figure.scope) {
            c::WEFT_NIC_OF_DEVICE => Some(Scope::Device),
            c::WEFT_NIC_OF_TX => Some(Scope::Tx),
            c::WEFT_NIC_OF_RX => Some(Scope::Rx),
            _ => None,
        };
        // SAFETY: as above.
        let (name, what) = unsafe { (text(figure.name), text(figure.about)) };
        let is_name = |name: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            (1..32).contains(&name.len()) && name.bytes().all(is_plain)
        };
        let label = scope.zip(name.filter(is_name)).zip(what);
        let label = label.map(|((scope, name), what)| Label { scope, name, what });
        label.ok_or_else(|| {
            log::error(format_args!(
                "{}: its driver's figure {place} has no scope, name or description; a name is \
                 1 to 31 letters, digits or _",
                device.name()
            ));
            Errno::EINVAL
        })
    })
}

/// # Safety
/// A string, or null, which is there for as long as the result is used.
unsafe fn text(raw: *const c_char) -> Option<&'static str> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(raw) }.to_str().ok()
}

fn extras_of(features: u32) -> Extras {
    let there = FEATURES.iter().filter(|(_, bit)| features & bit != 0);
    there.fold(Extras::empty(), |all, (one, _)| all | *one)
}
