// SPDX-License-Identifier: BSD-2-Clause
//! Running other programs with the console as their standard descriptors, for
//! hosts whose root has more than the agent (bhyve inside Bochs).

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::command::{Failure, Outcome};
use super::sys;

const ENVIRONMENT: [&str; 3] = [
    "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/rescue",
    "TERM=dumb",
    "HOME=/",
];

/// `exec PROGRAM ARGUMENTS...`: waits for the program; its exit status is the
/// reply's line, and it alone has the console meanwhile.
pub(super) fn command(words: &[&str]) -> Outcome {
    let Some(path) = words.first() else {
        return Err(Failure::usage("exec PROGRAM ARGUMENTS..."));
    };
    match sys::fork()? {
        Some(pid) => {
            let status = sys::wait(pid, true)?.map_or(0, |(_, status)| status);
            match status & 0x7f {
                0 => Ok(vec![format!("{}", (status >> 8) & 0xff)]),
                signal => Err(Failure::new(format!("{path} died of signal {signal}"))),
            }
        }
        None => {
            // A command that takes too long is killed; its program must not stay.
            let _ = sys::die_with_parent();
            let args: Vec<String> = words.iter().map(|&word| word.into()).collect();
            let error = sys::exec(path, &args, &ENVIRONMENT);
            let _ = sys::Fd::standard(2).write_all(format!("\r\n{path}: {error}\r\n").as_bytes());
            sys::exit(127)
        }
    }
}
