// SPDX-License-Identifier: BSD-2-Clause
//! The module's machine code, cut into functions, for the rules that read
//! instructions.
//!
//! Function symbols give the bounds. What lies between them is padding (NOPs,
//! breakpoints, zeros) or, where names were stripped, code all the same: it
//! becomes a nameless function, so that no byte of an executable section is
//! left unread.

use super::module::{Home, Module, Place};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};
use object::elf;

/// Code of one executable section, by offset; never empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Function {
    pub(super) section: usize,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Function {
    /// Where the function begins, with its name.
    pub(super) fn place(&self, module: &Module<'_>) -> Place {
        module.place(self.section, self.start)
    }

    /// The instructions in order, each with its section offset as its IP. Ends
    /// before a tail of zeros. Bytes that are no instruction come as an invalid
    /// [`Instruction`].
    pub(super) fn instructions<'d>(
        &self,
        module: &Module<'d>,
    ) -> impl Iterator<Item = Instruction> + use<'d> {
        let code = &module.sections[self.section].data[self.start as usize..self.end as usize];
        let mut decoder = Decoder::with_ip(64, code, self.start, DecoderOptions::NONE);
        std::iter::from_fn(move || {
            let rest = &code[decoder.position()..];
            (rest.iter().any(|byte| *byte != 0)).then(|| decoder.decode())
        })
    }
}

/// Every function of every executable section, in the file's order.
pub(super) fn functions(module: &Module<'_>) -> Vec<Function> {
    let mut functions = Vec::new();
    for (index, section) in module.sections.iter().enumerate() {
        if section.has(elf::SHF_EXECINSTR) && !section.data.is_empty() {
            add_section(module, index, &mut functions);
        }
    }
    functions
}

fn add_section(module: &Module<'_>, section: usize, functions: &mut Vec<Function>) {
    let size = module.sections[section].data.len() as u64;
    let starts = starts(module, section, size);
    let mut covered = 0;
    for (nth, (start, length)) in starts.iter().enumerate() {
        let next = starts.get(nth + 1).map_or(size, |(next, _)| *next);
        let end = if *length == 0 {
            next
        } else {
            start.saturating_add(*length).min(next)
        };
        functions.extend(nameless(module, section, covered, *start));
        functions.push(Function {
            section,
            start: *start,
            end,
        });
        covered = end;
    }
    functions.extend(nameless(module, section, covered, size));
}

/// Offset and size of the section's functions, sorted; of several names for one
/// offset the largest size counts.
fn starts(module: &Module<'_>, section: usize, size: u64) -> Vec<(u64, u64)> {
    let is_function = |kind| [elf::STT_FUNC, elf::STT_GNU_IFUNC].contains(&kind);
    let symbols = module.symbols.iter();
    let mut starts: Vec<(u64, u64)> = symbols
        .filter(|s| s.home == Home::Section(section) && is_function(s.kind) && s.value < size)
        .map(|s| (s.value, s.size))
        .collect();
    starts.sort_by_key(|(start, size)| (*start, std::cmp::Reverse(*size)));
    starts.dedup_by_key(|(start, _)| *start);
    starts
}

/// The code in `from..to` behind its leading padding, if there is any.
fn nameless(module: &Module<'_>, section: usize, from: u64, to: u64) -> Option<Function> {
    let gap = &module.sections[section].data[from as usize..to.max(from) as usize];
    let mut position = 0;
    while position < gap.len() {
        let instruction = Decoder::new(64, &gap[position..], DecoderOptions::NONE).decode();
        position += match instruction.mnemonic() {
            _ if gap[position] == 0 => 1,
            Mnemonic::Nop | Mnemonic::Int3 => instruction.len(),
            _ => {
                return Some(Function {
                    section,
                    start: from + position as u64,
                    end: to,
                });
            }
        };
    }
    None
}

/// `instruction` in Intel's syntax.
pub(super) fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}
