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
/// `JAIL_SYS_INHERIT`: the parent's addresses.
const SAME_STACK: i32 = 2;

/// `jail create NAME` (the jail lives without processes, has its own network stack,
/// and may open raw sockets), `jail share NAME` (the same with the host's network stack), `jail remove NAME`, `jail id NAME`.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["create", name] => create(name, &[("vnet", NEW_STACK)]),
        ["share", name] => create(name, &[("ip4", SAME_STACK), ("ip6", SAME_STACK)]),
        ["remove", name] => {
            sys::jail_remove(find(name)?)?;
            Ok(vec![])
        }
        ["id", name] => Ok(vec![format!("{}", find(name)?)]),
        _ => Err(Failure::usage(
            "jail create NAME | share NAME | remove NAME | id NAME",
        )),
    }
}

fn create(name: &str, stack: &[(&str, i32)]) -> Outcome {
    let mut list = vec![
        Parameter::Text("name", name),
        Parameter::Text("path", "/"),
        Parameter::Text("host.hostname", name),
        Parameter::Flag("persist"),
        Parameter::Flag("allow.raw_sockets"),
    ];
    list.extend(
        stack
            .iter()
            .map(|(name, value)| Parameter::Number(name, *value)),
    );
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
