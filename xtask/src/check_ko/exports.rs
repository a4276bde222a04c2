// SPDX-License-Identifier: BSD-2-Clause
//! Rule 5: nothing is global but the module's own C interface.
//!
//! The kernel's linker resolves any `STB_GLOBAL` or `STB_WEAK` symbol of a
//! loaded module for the modules that depend on it, hidden visibility or not.
//! A Rust or libcore symbol left global could shadow, or be taken for, another
//! module's. Common symbols are refused too: the linker never allocates them.

use super::module::{Home, Module, Symbol, demangle};
use super::violation::Violation;
use object::elf;

const PREFIX: &str = "weft_";

/// Checks that the global symbols that `module` defines are exactly `exports`.
pub(super) fn check(module: &Module<'_>, exports: &[String]) -> Vec<Violation> {
    let mut found: Vec<Violation> = exports
        .iter()
        .filter_map(|e| check_listed(module, e))
        .collect();
    for symbol in &module.symbols {
        match symbol.home {
            Home::Undefined => {}
            Home::Common => found.push(Violation::Common {
                symbol: symbol.name.to_owned(),
                size: symbol.size,
            }),
            Home::Section(_) | Home::Absolute => {
                found.extend(check_defined(module, symbol, exports))
            }
        }
    }
    found
}

fn check_listed(module: &Module<'_>, export: &str) -> Option<Violation> {
    let symbol = export.to_owned();
    if !export.starts_with(PREFIX) {
        return Some(Violation::ExportName { symbol });
    }
    let defined = module
        .symbols
        .iter()
        .any(|s| s.name == export && s.bind == elf::STB_GLOBAL && s.home != Home::Undefined);
    (!defined).then_some(Violation::ExportMissing { symbol })
}

fn check_defined(
    module: &Module<'_>,
    symbol: &Symbol<'_>,
    exports: &[String],
) -> Option<Violation> {
    let bind = match symbol.bind {
        elf::STB_LOCAL => return None,
        elf::STB_GLOBAL if exports.iter().any(|e| e == symbol.name) => return None,
        elf::STB_GLOBAL => "global",
        elf::STB_WEAK => "weak",
        _ => "non-local",
    };
    Some(Violation::Exported {
        bind,
        symbol: demangle(symbol.name),
        place: match symbol.home {
            Home::Section(section) => module.place(section, symbol.value).to_string(),
            _ => format!("absolute {:#x}", symbol.value),
        },
        allowed: allowed(exports),
    })
}

fn allowed(exports: &[String]) -> String {
    match exports {
        [] => "no export is listed".to_owned(),
        listed => format!("allowed as global: {}", listed.join(", ")),
    }
}
