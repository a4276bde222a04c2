// SPDX-License-Identifier: BSD-2-Clause
//! Text of bounded length, formatted without allocation, for log(9), panic(9)
//! and string sysctls.

use core::ffi::{CStr, c_char};
use core::fmt;

/// Up to `N - 1` bytes of text and a final NUL. What does not fit is left out.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub(crate) const fn new() -> Self {
        assert!(N > 0);
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// The formatted arguments.
    pub(crate) fn format(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        // Writing cannot fail: what does not fit is left out.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// The text without its NUL.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The text as C wants it.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// The text as a C string of at most `N` bytes.
    pub(super) fn storage(&mut self) -> *mut c_char {
        self.bytes.as_mut_ptr().cast()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..N - 1).unwrap_or_default();
        let taken = room.len().min(text.len());
        for (to, from) in room.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        self.len += taken;
        Ok(())
    }
}
