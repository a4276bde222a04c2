// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's error numbers. Header: `sys/errno.h`.

use core::ffi::c_int;
use core::num::NonZero;

use weft_bindings::kernel as c;

/// An error number: never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(NonZero<c_int>);

/// Turns one of the header's constants, which are all positive, into an `Errno`.
const fn errno(value: u32) -> Errno {
    match NonZero::new(value as c_int) {
        Some(number) => Errno(number),
        None => panic!("no error has the number 0"),
    }
}

impl Errno {
    /// The device, here the module, is in use.
    pub(crate) const EBUSY: Self = errno(c::EBUSY);
    /// It can't be had now; to be tried again.
    pub(crate) const EAGAIN: Self = errno(c::EAGAIN);
    /// There is one of that name already.
    pub(crate) const EEXIST: Self = errno(c::EEXIST);
    /// The frame is not its sender's to send.
    pub(crate) const EACCES: Self = errno(c::EACCES);
    /// A packet is longer than the interface below takes.
    pub(crate) const EMSGSIZE: Self = errno(c::EMSGSIZE);
    /// Whom the frame is to is gone.
    pub(crate) const EHOSTUNREACH: Self = errno(c::EHOSTUNREACH);
    /// The interface is down.
    pub(crate) const ENETDOWN: Self = errno(c::ENETDOWN);
    /// The interface's queue is full, or it takes nothing that long.
    pub(crate) const ENOBUFS: Self = errno(c::ENOBUFS);
    /// A name is too long.
    pub(crate) const ENOSPC: Self = errno(c::ENOSPC);
    /// The interface, or the module, is going away.
    pub(crate) const ENXIO: Self = errno(c::ENXIO);
    /// What was read is wrong.
    pub(crate) const EIO: Self = errno(c::EIO);
    /// An argument is out of its range.
    pub(crate) const EINVAL: Self = errno(c::EINVAL);
    /// There is no such route table.
    pub(crate) const ENOENT: Self = errno(c::ENOENT);
    /// No memory at this moment.
    pub(crate) const ENOMEM: Self = errno(c::ENOMEM);
    /// That is not allowed here.
    pub(crate) const EPERM: Self = errno(c::EPERM);
    /// There is no such operation.
    pub(crate) const EOPNOTSUPP: Self = errno(c::EOPNOTSUPP);
    /// The module was built for another kernel.
    pub(crate) const EPROGMISMATCH: Self = errno(c::EPROGMISMATCH);

    /// What a C function returned: 0 is success.
    pub(crate) fn check(returned: c_int) -> Result<(), Self> {
        match NonZero::new(returned) {
            None => Ok(()),
            Some(number) => Err(Self(number)),
        }
    }

    /// The number, for C.
    pub(crate) fn number(self) -> c_int {
        self.0.get()
    }
}

/// A result as C wants it: 0 or the error's number.
pub(crate) fn returned(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.number(),
    }
}
