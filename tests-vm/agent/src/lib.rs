// SPDX-License-Identifier: BSD-2-Clause
//! The program that runs inside the test guest, and the protocol it speaks.
//!
//! Two halves. [`frame`] is the line protocol on the serial console; it is plain
//! `no_std` code that the host runner uses too, and so is [`pattern`], of which streams
//! are made. Everything else is the guest's half (feature `guest`, FreeBSD only): a static program without libc that is
//! PID 1 of a test root, or an ordinary process in a stock image, and carries out
//! the host's commands one by one.
//!
//! Every command runs in a child process, so that a fault in one is an error
//! reply and not the end of PID 1 (which would be the end of the kernel).

#![no_std]

extern crate alloc;

pub mod frame;
pub mod pattern;

#[cfg(all(feature = "guest", target_os = "freebsd"))]
mod guest;
