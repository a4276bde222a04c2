// SPDX-License-Identifier: BSD-2-Clause
//! The cloner of interfaces on top of others, which are named after them as those of
//! vlan(4): `em0.ip3` is the one of number 3 on `em0`; `em0.ip` asks for the lowest number
//! that is free. vlan(4) takes names that end in digits alone behind the point.
//! Header: `net/if_clone.h`.
//!
//! The shim attaches the cloner to each network stack. The kernel destroys an interface
//! with `ifnet_detach_sxlock` held, one at a time.

use alloc::boxed::Box;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::NonNull;

use weft_bindings::kernel as c;

use super::cloner::{Made, NAME_SIZE, put_name};
use super::context::{Sleepable, Vnet, with_current_vnet};
use super::errno::{Errno, returned};
use super::ifnet::{Interface, Port, Unattached, detach};
use super::text::Text;

/// What the cloner makes.
pub(crate) trait Derived {
    /// An interface.
    type Interface: Interface;

    /// Makes an interface of that name on top of `parent`, in the current network stack,
    /// which is the parent's. It is not in the system yet, and will be.
    ///
    /// # Errors
    /// `EINVAL` for a parent that will not do; `ENOMEM`; `ENXIO` while the parent or the
    /// module is going. Nothing is left behind.
    fn make(
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        parent: Port,
        name: &CStr,
    ) -> Result<Made<Self::Interface>, Errno>;

    /// The hardware address that it is to have.
    fn mac(interface: &Self::Interface) -> [u8; 6];

    /// It is in the system.
    fn begin(sleepable: &mut Sleepable, interface: &Port);

    /// What is left of one that is out of the system.
    fn end(sleepable: &mut Sleepable, interface: Box<Self::Interface>);
}

/// The cloner's name.
pub(crate) const NAME: &CStr = match CStr::from_bytes_with_nul(c::WEFT_L3) {
    Ok(name) => name,
    Err(_) => panic!("the shim's constant ends in NUL"),
};

/// What is between the parent's name and the number.
const INFIX: &str = ".ip";

/// The most interfaces of a parent.
const NUMBERS: u32 = 1 << 16;

/// Puts the cloner into all network stacks that are there, or takes it out of them; who
/// makes one later gets it in any case. None of its interfaces is left.
pub(crate) fn set_attached(_sleepable: &mut Sleepable, attached: bool) {
    // SAFETY: the caller may sleep, and holds no lock.
    unsafe { c::weft_shim_cloners(c::WEFT_CLONER_L3, attached) };
}

#[unsafe(no_mangle)]
extern "C" fn weft_l3_is_open() -> bool {
    crate::l3::is_open()
}

/// A name's parent, and its number if it has one. `None` if it is not of this form.
fn parse(name: &[u8]) -> Option<(&[u8], Option<u32>)> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let (head, digits) = name.split_at_checked(name.len() - digits.count())?;
    let parent = head.strip_suffix(INFIX.as_bytes())?;
    let number = match digits {
        [] => None,
        // A number has one name.
        [b'0', _, ..] => return None,
        _ => Some(core::str::from_utf8(digits).ok()?.parse().ok()?),
    };
    let in_range = number.is_none_or(|number| number < NUMBERS);
    (!parent.is_empty() && in_range).then_some((parent, number))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_l3_match(_cloner: *mut c::if_clone, name: *const c_char) -> c_int {
    // SAFETY: the kernel passes a string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    c_int::from(parse(name).is_some())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_l3_create(
    _cloner: *mut c::if_clone,
    name: *mut c_char,
    size: usize,
    _data: *mut c_void,
    made: *mut *mut c::ifnet,
) -> c_int {
    // SAFETY: the kernel passes a string; its thread may sleep.
    let (asked, mut sleepable) = unsafe { (CStr::from_ptr(name), Sleepable::assume()) };
    let created = with_current_vnet(&mut sleepable, |sleepable, vnet| {
        create::<crate::l3::Wip>(sleepable, vnet, asked.to_bytes())
    });
    returned(match created {
        Some(Ok((ifp, full))) => {
            // SAFETY: so much room is there; the string that was asked for is not read
            // any more.
            unsafe {
                put_name(name, size, full.as_c_str());
                *made = ifp.as_ptr();
            }
            Ok(())
        }
        Some(Err(error)) => Err(error),
        None => Err(Errno::EINVAL),
    })
}

type Name = Text<NAME_SIZE>;

fn create<D: Derived>(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    asked: &[u8],
) -> Result<(NonNull<c::ifnet>, Name), Errno> {
    let (parent, number) = parse(asked).ok_or(Errno::EINVAL)?;
    let parent = core::str::from_utf8(parent).map_err(|_| Errno::EINVAL)?;
    let parent_name = Name::format(format_args!("{parent}"));
    let port = Port::find(sleepable, vnet, parent_name.as_c_str()).ok_or(Errno::ENXIO)?;
    let name = match number {
        Some(number) => name_of(parent, number)?,
        None => free_name(sleepable, vnet, parent)?,
    };
    let (bare, interface) = D::make(sleepable, vnet, port, name.as_c_str())?;
    let port = bare.port();
    let mac = D::mac(&interface);
    let ifp = bare.attach_as(sleepable, interface, mac);
    D::begin(sleepable, &port);
    Ok((ifp, name))
}

fn name_of(parent: &str, number: u32) -> Result<Name, Errno> {
    // One byte more, to see whether it fits.
    let longer = Text::<{ NAME_SIZE + 1 }>::format(format_args!("{parent}{INFIX}{number}"));
    if longer.as_bytes().len() >= NAME_SIZE {
        return Err(Errno::ENOSPC);
    }
    Ok(Text::format(format_args!("{parent}{INFIX}{number}")))
}

/// The name with the lowest number that no interface has.
fn free_name(sleepable: &mut Sleepable, vnet: &Vnet<'_>, parent: &str) -> Result<Name, Errno> {
    for number in 0..NUMBERS {
        let name = name_of(parent, number)?;
        if Port::find(sleepable, vnet, name.as_c_str()).is_none() {
            return Ok(name);
        }
    }
    Err(Errno::ENOSPC)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_l3_destroy(
    _cloner: *mut c::if_clone,
    ifp: *mut c::ifnet,
    _flags: u32,
) -> c_int {
    let Some(ifp) = NonNull::new(ifp) else {
        return Errno::ENXIO.number();
    };
    // SAFETY: the kernel destroys what this cloner has created, one at a time, in a thread
    // that may sleep.
    unsafe { destroy::<crate::l3::Wip>(&mut Sleepable::assume(), ifp) };
    0
}

/// # Safety
/// Attached by `create`, and no other thread takes it out.
unsafe fn destroy<D: Derived>(sleepable: &mut Sleepable, ifp: NonNull<c::ifnet>) {
    // SAFETY: as promised.
    let out: Option<(_, Unattached<D::Interface>)> = unsafe { detach(sleepable, ifp) };
    if let Some((interface, bare)) = out {
        D::end(sleepable, interface);
        drop(bare);
    }
}
