// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's message buffer, where its lines stand whole even when they were cut
//! on the console.

use alloc::string::ToString;
use alloc::vec;

use super::command::{Failure, Outcome, number};
use super::sys::text_of;
use super::sysctl;

/// `dmesg tail LINES`; `dmesg clear` (the next `tail` has only what came since).
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["tail", lines] => tail(number(lines, "lines")?),
        ["clear"] => {
            sysctl::set("kern.msgbuf_clear", "1")?;
            Ok(vec![])
        }
        _ => Err(Failure::usage("dmesg tail LINES | clear")),
    }
}

fn tail(lines: usize) -> Outcome {
    let (mut pages, used) = sysctl::raw("kern.msgbuf")?;
    let text = text_of(&pages.bytes_mut()[..used]);
    let skip = text.lines().count().saturating_sub(lines);
    Ok(text.lines().skip(skip).map(ToString::to_string).collect())
}
