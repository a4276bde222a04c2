// SPDX-License-Identifier: BSD-2-Clause
//! Contexts as types: what the code that runs now may do.
//!
//! The kernel has rules that C keeps in comments: do not sleep inside a network
//! epoch, do not keep what you found in one past its end, set `curvnet` before
//! you touch a VNET's state. Here each context is a token of size zero, and what
//! needs the context asks for the token. A token is made by `unsafe` code at the
//! border only, where the kernel calls in; it cannot be copied, and cannot leave
//! its thread.
//!
//! | token            | means                               | lets you                    |
//! | ---------------- | ----------------------------------- | --------------------------- |
//! | [`Sleepable`]    | may sleep                           | take `&mut Sleepable`: wait |
//! | [`NetEpoch<'e>`] | between `NET_EPOCH_ENTER` and `EXIT`| keep what you found for `'e`|
//! | [`Vnet<'v>`]     | `curvnet` is this one               | reach its state for `'v`    |
//!
//! A function that may sleep takes `&mut Sleepable`. A `NetEpoch` that is made
//! from a `Sleepable` borrows it mutably, so while one is held the other cannot
//! be used. Where a context is entered and left within one function, do it as
//! [`NetEpoch::during`] and [`Vnet::during`] do: their closures take the token
//! for *every* lifetime, hence nothing that bears it can be carried out.
//!
//! These are types only. Entering and leaving is the platform's, which wraps the
//! constructors here.

use core::fmt;
use core::marker::PhantomData;

/// Makes a token neither `Send` nor `Sync`: a context belongs to a thread.
type OfThread = [*mut (); 0];

/// The thread may sleep: it holds no lock but sleepable ones, and is in no epoch.
pub struct Sleepable {
    _thread: OfThread,
}

impl Sleepable {
    /// The token for a context in which sleeping is allowed.
    ///
    /// # Safety
    ///
    /// The calling thread may sleep, now and as long as the token is used, but
    /// for the times when it is borrowed mutably. It has no other such token.
    pub unsafe fn assume() -> Self {
        Self { _thread: [] }
    }
}

/// The thread is inside a network epoch, and stays there for `'e`. What is found
/// by way of the token may be kept for `'e`.
///
/// It is also the read section of [`fib`](crate::fib) in the kernel.
pub struct NetEpoch<'e> {
    epoch: PhantomData<&'e ()>,
    _thread: OfThread,
}

impl<'e> NetEpoch<'e> {
    /// The token for code that the kernel calls inside the network epoch.
    ///
    /// # Safety
    ///
    /// The thread is in the epoch, and does not leave it during `'e`, a lifetime
    /// that the caller chooses: let it be no longer than the call from C.
    pub unsafe fn assume() -> Self {
        Self {
            epoch: PhantomData,
            _thread: [],
        }
    }

    /// The token for a thread that was sleepable and has entered the epoch. As
    /// long as anything bears `'e`, `sleepable` cannot be used. Keep the token in
    /// a guard that leaves the epoch when it is dropped: then that is until the
    /// epoch is left, not until the token was last used.
    ///
    /// # Safety
    ///
    /// As for [`assume`](NetEpoch::assume).
    pub unsafe fn assume_from(sleepable: &'e mut Sleepable) -> Self {
        let _ = sleepable;
        Self {
            epoch: PhantomData,
            _thread: [],
        }
    }

    /// Runs `inside` between `enter` and `exit`, which are given the tracker
    /// that `enter` made (`struct epoch_tracker` in the kernel).
    ///
    /// # Safety
    ///
    /// `enter` enters the network epoch and `exit` leaves it, on this thread.
    pub unsafe fn during<T, R>(
        sleepable: &mut Sleepable,
        enter: impl FnOnce() -> T,
        inside: impl for<'i> FnOnce(&NetEpoch<'i>) -> R,
        exit: impl FnOnce(T),
    ) -> R {
        let tracker = enter();
        // SAFETY: the caller promises that `enter` entered it. The token and
        // what bears its lifetime are gone when `inside` returns.
        let result = inside(&unsafe { NetEpoch::assume_from(sleepable) });
        exit(tracker);
        result
    }
}

/// `curvnet` is set to one VNET, and stays set for `'v`. Two tokens of different
/// scopes have different types: state reached by one cannot be used as the other's.
pub struct Vnet<'v> {
    /// Invariant in `'v`, so that one VNET's lifetime never passes as another's.
    scope: PhantomData<fn(&'v ()) -> &'v ()>,
    _thread: OfThread,
}

impl Vnet<'_> {
    /// The token for code that the kernel calls with `curvnet` set.
    ///
    /// # Safety
    ///
    /// `curvnet` is set, and is not changed by this thread during the lifetime
    /// of the result, which the caller chooses.
    pub unsafe fn assume() -> Self {
        Self {
            scope: PhantomData,
            _thread: [],
        }
    }

    /// Runs `inside` between `set` and `restore`, which is given what `set`
    /// returned (the VNET that was current before).
    ///
    /// # Safety
    ///
    /// `set` sets `curvnet` and `restore` sets it back, on this thread.
    pub unsafe fn during<T, R>(
        set: impl FnOnce() -> T,
        inside: impl for<'i> FnOnce(&Vnet<'i>) -> R,
        restore: impl FnOnce(T),
    ) -> R {
        let before = set();
        // SAFETY: the caller promises that `set` set it; as in `NetEpoch::during`.
        let result = inside(&unsafe { Vnet::assume() });
        restore(before);
        result
    }
}

impl fmt::Debug for Sleepable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleepable")
    }
}

impl fmt::Debug for NetEpoch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetEpoch")
    }
}

impl fmt::Debug for Vnet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vnet")
    }
}

const _: () =
    assert!(size_of::<Sleepable>() + size_of::<NetEpoch<'_>>() + size_of::<Vnet<'_>>() == 0);
