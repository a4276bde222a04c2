// SPDX-License-Identifier: BSD-2-Clause
//! The system log, log(9). Any context; each call is one line of at most 200
//! bytes, beginning with `weft: `.

use core::ffi::c_int;
use core::fmt;

use weft_bindings::kernel as c;

use super::text::Text;

/// Longest line, without its prefix.
const LINE: usize = 200;

fn log(level: u32, arguments: fmt::Arguments<'_>) {
    let line = Text::<LINE>::format(arguments);
    let bytes = line.as_bytes();
    // SAFETY: the pointer and the length are those of one live slice, and the
    // shim prints no more than that many bytes of it.
    unsafe { c::weft_shim_log(level as c_int, bytes.as_ptr().cast(), bytes.len()) }
}

/// Something failed, and the user has to know.
pub(crate) fn error(arguments: fmt::Arguments<'_>) {
    log(c::LOG_ERR, arguments);
}

/// Something was refused or is odd, and the user may want to act.
pub(crate) fn warning(arguments: fmt::Arguments<'_>) {
    log(c::LOG_WARNING, arguments);
}

/// Something ordinary happened.
pub(crate) fn info(arguments: fmt::Arguments<'_>) {
    log(c::LOG_INFO, arguments);
}
