// SPDX-License-Identifier: BSD-2-Clause
//! Rule 10: the file does not say on which machine it was built.
//!
//! Panic locations, debug information and `__FILE__` carry source paths; one of
//! the build machine's makes every builder's file differ, and tells its owner's
//! name. `--remap-path-prefix` and `-ffile-prefix-map` are the cure.

use super::module::Module;
use super::violation::Violation;
use memchr::memmem;
use object::elf;

/// How much of the text around a find is shown, in bytes.
const SHOWN: usize = 80;

/// Checks the whole file, loaded or not, for each of `paths`; the first find of
/// each is told.
pub(super) fn check(module: &Module<'_>, paths: &[String]) -> Vec<Violation> {
    let found = paths.iter().filter_map(|path| {
        let offset = find(module.file, path)?;
        Some(Violation::BuildPath {
            text: excerpt(&module.file[offset..]),
            offset,
            section: section_at(module, offset as u64),
            path: path.clone(),
        })
    });
    found.collect()
}

/// The first place where `path` stands whole: `/home/al` is not in `/home/alice`.
fn find(file: &[u8], path: &str) -> Option<usize> {
    let ends = |offset: &usize| match file.get(offset + path.len()) {
        Some(next) => !(next.is_ascii_alphanumeric() || b"._-".contains(next)),
        None => true,
    };
    memmem::find_iter(file, path.as_bytes()).find(ends)
}

fn excerpt(from: &[u8]) -> String {
    let shown = from
        .iter()
        .take(SHOWN)
        .take_while(|byte| matches!(byte, b' '..=b'~'));
    shown.map(|byte| char::from(*byte)).collect()
}

fn section_at(module: &Module<'_>, offset: u64) -> String {
    let holder = module.sections.iter().find(|s| {
        s.kind != elf::SHT_NOBITS && (s.file_offset..s.file_offset + s.size).contains(&offset)
    });
    holder.map_or_else(|| "between sections".to_owned(), |s| s.name.to_owned())
}
