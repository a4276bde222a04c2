// SPDX-License-Identifier: BSD-2-Clause
//! Where in `weft.ko` memory is allocated, by its symbols and relocations: which function a
//! return address is in, and which calls there are at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};

/// Functions that allocate for whoever calls them, by a part of their name: their callers
/// are the sites.
const THROUGH: [&str; 12] = [
    "__rust_alloc",
    "__rustc",
    "__rg_alloc",
    "alloc::alloc::",
    "alloc::raw_vec::",
    "alloc::vec::Vec",
    "kpi::memory::",
    "::shared::Shared<",
    "fib::heap::",
    "fib::owned::",
    "packet::slab::",
    "kpi::sysctl::Sysctls::",
];

/// Code of a module, as its file has it.
pub(super) struct Code {
    /// Where each function begins and ends, and its name.
    functions: BTreeMap<u64, (u64, String)>,
    /// Who is called from where: the place behind the call, and the function called.
    calls: Vec<(u64, u64)>,
    /// The functions that the linker put before those that may fail.
    gates: BTreeSet<u64>,
}

impl Code {
    /// Reads a module.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let data = std::fs::read(path)?;
        let file: ElfFile64<'_> = ElfFile64::parse(&*data)?;
        let text = file
            .section_by_name(".text")
            .ok_or_else(|| anyhow::anyhow!("no .text"))?;
        let mut code = Self {
            functions: BTreeMap::new(),
            calls: Vec::new(),
            gates: BTreeSet::new(),
        };
        for symbol in file.symbols() {
            if symbol.kind() != SymbolKind::Text || symbol.section_index() != Some(text.index()) {
                continue;
            }
            let name = symbol.name()?;
            let plain = format!("{:#}", rustc_demangle::demangle(name));
            if name.starts_with("__wrap_") {
                code.gates.insert(symbol.address());
            }
            let end = symbol.address() + symbol.size();
            code.functions.insert(symbol.address(), (end, plain));
        }
        for (at, relocation) in text.relocations() {
            let base = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    let symbol = file.symbol_by_index(index)?;
                    if symbol.section_index() != Some(text.index()) {
                        continue;
                    }
                    symbol.address()
                }
                _ => continue,
            };
            // A call's operand is relative to what is behind it.
            let called = base.wrapping_add_signed(relocation.addend() + 4);
            code.calls.push((at + 4, called));
        }
        Ok(code)
    }

    /// The function that a place in the code is in.
    pub(super) fn function(&self, at: u64) -> &str {
        let before = self.functions.range(..=at).next_back();
        match before {
            Some((_, (end, name))) if at <= *end => name,
            _ => "?",
        }
    }

    /// Whether a function allocates for its callers.
    fn is_way(name: &str) -> bool {
        THROUGH.iter().any(|part| name.contains(part))
    }

    /// The places behind all calls by which memory is asked for, each once, at the first
    /// function that does not do so for its callers.
    pub(super) fn sites(&self) -> BTreeSet<u64> {
        let mut sites = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut targets: Vec<u64> = self.gates.iter().copied().collect();
        while let Some(target) = targets.pop() {
            if !seen.insert(target) {
                continue;
            }
            for &(at, called) in &self.calls {
                if called != target {
                    continue;
                }
                let Some((begin, (_, name))) = self.functions.range(..at).next_back() else {
                    continue;
                };
                if name.starts_with("__wrap_") {
                    continue;
                }
                match Self::is_way(name) {
                    true => targets.push(*begin),
                    false => {
                        sites.insert(at);
                    }
                }
            }
        }
        sites
    }

    /// The first of a call's places that is in no function that allocates for its callers.
    pub(super) fn site(&self, places: &[u64]) -> u64 {
        let own = |at: &&u64| **at != 0 && !Self::is_way(self.function(**at));
        places
            .iter()
            .find(own)
            .or(places.first())
            .copied()
            .unwrap_or(0)
    }
}
