// SPDX-License-Identifier: BSD-2-Clause
//! Kernel modules: load, unload, list; and the kernel's environment, from which a
//! module takes its tunables when it is loaded.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::command::{Failure, Outcome};
use super::sys;

/// `kld load PATH`, `kld unload NAME`, `kld stat`.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["load", path] => Ok(vec![format!("{}", sys::kldload(path)?)]),
        ["unload", name] => {
            sys::kldunload(sys::kldfind(name)?)?;
            Ok(vec![])
        }
        ["stat"] => list(),
        _ => Err(Failure::usage("kld load PATH | unload NAME | stat")),
    }
}

/// `kenv set NAME VALUE`.
pub(super) fn environment(words: &[&str]) -> Outcome {
    match words {
        ["set", name, value @ ..] => {
            sys::kenv_set(name, &value.join(" "))?;
            Ok(vec![])
        }
        _ => Err(Failure::usage("kenv set NAME VALUE")),
    }
}

/// One line a file: name, references, bytes, path.
fn list() -> Outcome {
    let mut lines = Vec::new();
    let mut id = sys::kldnext(0)?;
    while id != 0 {
        let (name, references, bytes, path) = sys::kldstat(id)?.parts();
        lines.push(format!("{name} {references} {bytes} {path}"));
        id = sys::kldnext(id)?;
    }
    Ok(lines)
}
