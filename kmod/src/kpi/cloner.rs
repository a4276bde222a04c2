// SPDX-License-Identifier: BSD-2-Clause
//! The cloner of pairs of interfaces: what `ifconfig <name> create` and `destroy` call.
//! Header: `net/if_clone.h`.
//!
//! The shim attaches it to each network stack. A pair is one unit of it, whose two
//! interfaces have the unit's name and `a` or `b` behind. Either can be moved to another
//! network stack; destroying one destroys both. The kernel calls in with
//! `ifnet_detach_sxlock` held, so one unit at a time is destroyed.

use alloc::boxed::Box;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::NonNull;

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::{Errno, returned};
use super::ifnet::{Port, Unattached, detach, is_bare, stay};
use super::netmap::{Offered, Rings, Shape};
use super::text::Text;

/// An end that was made and is to be attached.
pub(crate) type Made<E> = (Unattached<E>, Box<E>);

/// What pairs are made of.
pub(crate) trait Pairs {
    /// An end.
    type End: HasPeer;

    /// Makes both ends of a pair, of these names, in the current network stack. Nothing
    /// is in the system yet.
    ///
    /// # Errors
    /// `ENOMEM`; `ENXIO` while the module is going. Nothing is left behind.
    fn make(
        sleepable: &mut Sleepable,
        unit: u32,
        names: [&CStr; 2],
    ) -> Result<[Made<Self::End>; 2], Errno>;

    /// Both ends are in the system.
    fn begin(ends: [&Port; 2]);

    /// What is left of a pair, both of whose ends are out of the system.
    fn end(sleepable: &mut Sleepable, ends: [Box<Self::End>; 2]);
}

/// An interface that has a peer.
pub(crate) trait HasPeer: Rings {
    /// The peer's.
    fn peer(&self) -> &Port;

    /// Its rings, as programs can have them.
    fn shape(&self) -> Shape;

    /// Keeps that they can be had, until it [retires](super::ifnet::Interface::retire).
    fn keep(&self, sleepable: &mut Sleepable, offered: Option<Offered<Self>>)
    where
        Self: Sized;
}

/// The cloner's name.
pub(crate) const NAME: &CStr = match CStr::from_bytes_with_nul(c::WEFT_PAIR) {
    Ok(name) => name,
    Err(_) => panic!("the shim's constant ends in NUL"),
};

/// Bytes of an interface's name, its NUL included.
pub(crate) const NAME_SIZE: usize = c::IFNAMSIZ as usize;

/// Puts the cloner into all network stacks that are there, or takes it out of them; who
/// makes one later gets it in any case. None of its interfaces is left.
pub(crate) fn set_attached(_sleepable: &mut Sleepable, attached: bool) {
    // SAFETY: the caller may sleep, and holds no lock.
    unsafe { c::weft_shim_cloners(c::WEFT_CLONER_PAIR, attached) };
}

/// Whether the module is loaded: a load that fails leaves no cloner to be taken out.
#[unsafe(no_mangle)]
extern "C" fn weft_pair_is_open() -> bool {
    crate::pair::is_open()
}

/// Whether a name is that of the cloner, perhaps with a unit's number; those of ends are
/// not.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_pair_match(_cloner: *mut c::if_clone, name: *const c_char) -> c_int {
    // SAFETY: the kernel passes a string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let unit = name.strip_prefix(NAME.to_bytes());
    c_int::from(unit.is_some_and(|unit| unit.iter().all(u8::is_ascii_digit)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_pair_create(
    cloner: *mut c::if_clone,
    name: *mut c_char,
    size: usize,
    _data: *mut c_void,
    made: *mut *mut c::ifnet,
) -> c_int {
    let mut unit: c_int = -1;
    // SAFETY: the kernel's cloner and a name in a buffer of that size; its thread may sleep.
    returned(unsafe {
        Errno::check(c::ifc_name2unit(name, &raw mut unit))
            .and_then(|()| Errno::check(c::ifc_alloc_unit(cloner, &raw mut unit)))
            .and_then(|()| {
                let mut sleepable = Sleepable::assume();
                match create::<crate::pair::Wpair>(&mut sleepable, cloner, unit) {
                    Ok((ifp, first)) => {
                        put_name(name, size, first.as_c_str());
                        *made = ifp.as_ptr();
                        Ok(())
                    }
                    Err(error) => {
                        c::ifc_free_unit(cloner, unit);
                        Err(error)
                    }
                }
            })
    })
}

/// Writes a name back for the kernel.
///
/// # Safety
/// So many bytes are there to be written.
pub(super) unsafe fn put_name(place: *mut c_char, size: usize, name: &CStr) {
    let bytes = name.to_bytes_with_nul();
    if bytes.len() <= size {
        // SAFETY: the bytes fit.
        unsafe { place.copy_from_nonoverlapping(name.as_ptr(), bytes.len()) };
    }
}

/// A unit's end's name.
fn name_of(unit: c_int, end: char) -> Result<Text<NAME_SIZE>, Errno> {
    let name = NAME.to_str().unwrap_or_default();
    // One byte more, to see whether it fits.
    let longer = Text::<{ NAME_SIZE + 1 }>::format(format_args!("{name}{unit}{end}"));
    if longer.as_bytes().len() >= NAME_SIZE {
        return Err(Errno::ENOSPC);
    }
    Ok(Text::format(format_args!("{name}{unit}{end}")))
}

/// # Safety
/// The cloner is the one that the kernel calls for, and the unit was taken from it.
unsafe fn create<P: Pairs>(
    sleepable: &mut Sleepable,
    cloner: *mut c::if_clone,
    unit: c_int,
) -> Result<(NonNull<c::ifnet>, Text<NAME_SIZE>), Errno> {
    let names = [name_of(unit, 'a')?, name_of(unit, 'b')?];
    for name in &names {
        // SAFETY: looks for an interface of that name.
        if !unsafe { c::ifunit(name.as_c_str().as_ptr()) }.is_null() {
            return Err(Errno::EEXIST);
        }
    }
    let [first, second] = &names;
    let made = P::make(
        sleepable,
        unit as u32,
        [first.as_c_str(), second.as_c_str()],
    )?;
    let [(a, end_a), (b, end_b)] = made;
    let (port_a, port_b) = (a.port(), b.port());
    let a = a.attach(sleepable, end_a);
    let b = b.attach(sleepable, end_b);
    // SAFETY: attached above; the kernel puts the first one on the list itself.
    unsafe { c::if_clone_addif(cloner, b.as_ptr()) };
    P::begin([&port_a, &port_b]);
    for (ifp, port) in [(a, &port_a), (b, &port_b)] {
        // SAFETY: attached above, as such an end.
        let _ = unsafe {
            stay::<P::End>(ifp.as_ptr(), |end, sleepable| {
                let offered = Offered::of(port.another(), &end.shape());
                end.keep(sleepable, offered);
                Ok(())
            })
        };
    }
    let [first, _] = names;
    Ok((a, first))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_pair_destroy(
    cloner: *mut c::if_clone,
    ifp: *mut c::ifnet,
    _flags: u32,
) -> c_int {
    let Some(ifp) = NonNull::new(ifp) else {
        return Errno::ENXIO.number();
    };
    // SAFETY: the kernel destroys what this cloner has created, one at a time, in a thread
    // that may sleep.
    unsafe {
        // The second end: the kernel is called for it below.
        if is_bare(ifp) {
            return 0;
        }
        destroy::<crate::pair::Wpair>(&mut Sleepable::assume(), cloner, ifp);
    }
    0
}

/// # Safety
/// One of the interfaces of a pair that `create` made, which is there; and no other thread
/// destroys one.
unsafe fn destroy<P: Pairs>(
    sleepable: &mut Sleepable,
    cloner: *mut c::if_clone,
    ifp: NonNull<c::ifnet>,
) {
    // SAFETY: as promised; the ends of a pair know one another, and are attached and
    // detached together.
    unsafe {
        let unit = c::if_getdunit(ifp.as_ptr());
        let Some((end, bare)) = detach::<P::End>(sleepable, ifp) else {
            return;
        };
        let other = end.peer().another();
        let Some((other_end, other_bare)) = detach::<P::End>(sleepable, other.raw_ifnet()) else {
            return;
        };
        // Has nothing left to destroy, but takes it off the cloner's list.
        c::weft_shim_ifnet_unlist(cloner, other.raw_ifnet().as_ptr());
        P::end(sleepable, [end, other_end]);
        drop((bare, other_bare));
        c::ifc_free_unit(cloner, unit);
    }
}
