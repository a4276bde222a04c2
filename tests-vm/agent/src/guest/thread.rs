// SPDX-License-Identifier: BSD-2-Clause
//! Threads, the kernel's among them, as ps(1) shows them.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::mem::offset_of;

use super::command::{Failure, Outcome};
use super::sys::{self, text_of};
use super::sysctl;

/// `threads [PREFIX]`: how many threads there are, or how many whose process or own name
/// begins so.
pub(super) fn command(words: &[&str]) -> Outcome {
    let prefix = match words {
        [] => "",
        [prefix] => prefix,
        _ => return Err(Failure::usage("threads [PREFIX]")),
    };
    let (mut pages, used) = sysctl::raw("kern.proc.all")?;
    let mut rest = &pages.bytes_mut()[..used];
    let mut count = 0;
    while let Some(size) = sys::read_plain::<u32>(rest).filter(|&size| size > 0) {
        let Some((one, others)) = rest.split_at_checked(size as usize) else {
            return Err(Failure::new("a list of threads that ends early"));
        };
        let thread =
            name_at::<{ libc::TDNAMLEN + 1 }>(one, offset_of!(libc::kinfo_proc, ki_tdname));
        let process = name_at::<{ libc::COMMLEN + 1 }>(one, offset_of!(libc::kinfo_proc, ki_comm));
        count += u32::from(thread.starts_with(prefix) || process.starts_with(prefix));
        rest = others;
    }
    Ok(vec![format!("{count}")])
}

fn name_at<const N: usize>(record: &[u8], at: usize) -> String {
    record.get(at..at + N).map_or_else(String::new, text_of)
}
