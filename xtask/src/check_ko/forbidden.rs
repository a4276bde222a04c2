// SPDX-License-Identifier: BSD-2-Clause
//! Rule 8: no infallible allocation is compiled in.
//!
//! `alloc`'s growing methods end in `capacity_overflow` or `handle_alloc_error`,
//! a panic when memory is short. A name that holds one of the forbidden words,
//! of a symbol or of the section a compiler put it in, says that such code was
//! kept. The shipped file may have lost its local names, so the file before
//! stripping is read too when it is given, and in the shipped file the panics'
//! own texts are looked for.

use super::module::{Module, demangle};
use super::violation::Violation;
use memchr::memmem;
use std::path::Path;

/// Checks the names of symbols and sections in `module`, which was read from
/// `file`, for any of `words`.
pub(super) fn check_names(module: &Module<'_>, file: &Path, words: &[String]) -> Vec<Violation> {
    let symbols = module.symbols.iter().map(|s| ("symbol", s.name));
    let sections = module.sections.iter().map(|s| ("section", s.name));
    symbols
        .chain(sections)
        .filter_map(|(what, name)| {
            let name = if what == "symbol" {
                demangle(name)
            } else {
                name.to_owned()
            };
            let word = words
                .iter()
                .find(|word| name.contains(word.as_str()))?
                .clone();
            Some(Violation::ForbiddenSymbol {
                what,
                name,
                file: file.to_owned(),
                word,
            })
        })
        .collect()
}

/// Checks the contents of the loaded sections for any of `texts`.
pub(super) fn check_texts(module: &Module<'_>, texts: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, section) in module
        .sections
        .iter()
        .enumerate()
        .filter(|(_, s)| s.is_loaded())
    {
        for text in texts {
            if let Some(offset) = memmem::find(section.data, text.as_bytes()) {
                let (text, place) = (text.clone(), module.place(index, offset as u64));
                found.push(Violation::ForbiddenText { text, place });
            }
        }
    }
    found
}
