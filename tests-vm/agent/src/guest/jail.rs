// SPDX-License-Identifier: BSD-2-Clause
//! Jails with a network stack of their own, by name.

use alloc::format;
use alloc::vec;

use super::command::{Failure, Outcome};
use super::sys::{self, Parameter};

/// `JAIL_CREATE` of `sys/jail.h`.
const JAIL_CREATE: i32 = 1;
/// `JAIL_SYS_NEW`: a network stack of its own, not the parent's.
const NEW_STACK: i32 = 1;

/// `jail create NAME` (the jail lives without processes, has its own network stack,
/// and may open raw sockets), `jail remove NAME`, `jail id NAME`.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["create", name] => create(name),
        ["remove", name] => {
            sys::jail_remove(find(name)?)?;
            Ok(vec![])
        }
        ["id", name] => Ok(vec![format!("{}", find(name)?)]),
        _ => Err(Failure::usage("jail create NAME | remove NAME | id NAME")),
    }
}

fn create(name: &str) -> Outcome {
    let list = [
        Parameter::Text("name", name),
        Parameter::Text("path", "/"),
        Parameter::Text("host.hostname", name),
        Parameter::Number("vnet", NEW_STACK),
        Parameter::Flag("persist"),
        Parameter::Flag("allow.raw_sockets"),
    ];
    Ok(vec![format!("{}", sys::jail_set(&list, JAIL_CREATE)?)])
}

/// The number of the jail `name`.
pub(super) fn find(name: &str) -> Result<i32, Failure> {
    sys::jail_get(&[Parameter::Text("name", name)])
        .map_err(|refused| Failure::new(format!("jail {name}: {}", Failure::from(refused))))
}

/// Puts this process into the jail `name`.
pub(super) fn enter(name: &str) -> Result<(), Failure> {
    sys::jail_attach(find(name)?)?;
    Ok(sys::chdir("/")?)
}
