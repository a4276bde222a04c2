// SPDX-License-Identifier: BSD-2-Clause
//! What a program left in a file, for the host to read.

use alloc::string::{String, ToString};

use super::command::{Failure, Outcome};
use super::sys::Fd;

/// `text PATH`: the file's lines.
pub(super) fn command(words: &[&str]) -> Outcome {
    let [path] = words else {
        return Err(Failure::usage("text PATH"));
    };
    let bytes = Fd::open(path, libc::O_RDONLY)?.read_to_end()?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(ToString::to_string).collect())
}
