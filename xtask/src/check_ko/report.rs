// SPDX-License-Identifier: BSD-2-Clause
//! What the gate says: the module's sizes, sections, frames and needs, then
//! every violation. `Display` is for people, `Serialize` for programs.

use super::frames::Frame;
use super::sizes::{SectionLine, Sizes};
use super::violation::Violation;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use std::fmt;
use std::path::PathBuf;

/// The outcome of one check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The module.
    pub(crate) file: PathBuf,
    pub(crate) sizes: Sizes,
    pub(crate) sections: Vec<SectionLine>,
    /// How many functions were disassembled.
    pub(crate) functions: usize,
    /// The largest stack frames, largest first.
    pub(crate) largest_frames: Vec<Frame>,
    /// The largest frame allowed, in bytes.
    pub(crate) max_frame: u64,
    /// What the module needs from the kernel, sorted.
    pub(crate) imports: Vec<String>,
    /// What it must give other modules.
    pub(crate) exports: Vec<String>,
    /// The kernels that the needs were looked up in.
    pub(crate) kernels: Vec<PathBuf>,
    /// Empty when the module may be loaded.
    #[serde(serialize_with = "with_messages")]
    pub(crate) violations: Vec<Violation>,
}

/// Each violation's fields, and its message beside them.
fn with_messages<S: Serializer>(violations: &[Violation], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'v> {
        message: String,
        #[serde(flatten)]
        violation: &'v Violation,
    }
    let mut sequence = to.serialize_seq(Some(violations.len()))?;
    for violation in violations {
        sequence.serialize_element(&Told {
            message: violation.to_string(),
            violation,
        })?;
    }
    sequence.end()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes {
            text,
            rodata,
            data,
            bss,
            file,
        } = &self.sizes;
        writeln!(f, "{}: {file} bytes", self.file.display())?;
        writeln!(f, "  text {text}, rodata {rodata}, data {data}, bss {bss}")?;
        self.write_sections(f)?;
        self.write_frames(f)?;
        self.write_needs(f)?;
        self.write_violations(f)
    }
}

impl Report {
    fn write_sections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sections: {}", self.sections.len())?;
        let width = self
            .sections
            .iter()
            .map(|s| s.name.len())
            .max()
            .unwrap_or(0);
        for SectionLine {
            name,
            kind,
            flags,
            size,
            relocations,
        } in &self.sections
        {
            write!(f, "  {name:width$}  {kind:<16} {flags:<3} {size:>9}")?;
            match relocations {
                0 => writeln!(f)?,
                count => writeln!(f, "  {count} relocations")?,
            }
        }
        Ok(())
    }

    fn write_frames(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (functions, limit) = (self.functions, self.max_frame);
        writeln!(
            f,
            "functions: {functions}; largest stack frames (allowed: {limit}):"
        )?;
        for Frame { function, bytes } in &self.largest_frames {
            writeln!(f, "  {bytes:>5}  {function}")?;
        }
        Ok(())
    }

    fn write_needs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kernel symbols: {}, exports: {}",
            self.imports.len(),
            self.exports.len()
        )?;
        if self.kernels.is_empty() {
            writeln!(
                f,
                "  not looked up: no kernel given (--kernel, WEFT_KERNEL)"
            )?;
        }
        for kernel in &self.kernels {
            writeln!(f, "  looked up in {}", kernel.display())?;
        }
        Ok(())
    }

    fn write_violations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "error: {violation}")?;
        }
        match self.violations.len() {
            0 => writeln!(f, "passed"),
            count => writeln!(f, "refused: {count} violations"),
        }
    }
}
