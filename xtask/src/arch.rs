// SPDX-License-Identifier: BSD-2-Clause
//! What differs between the machines that the module can be compiled for. On amd64 a module
//! is a relocatable object; on arm64 the kernel's linker loads shared objects
//! (`sys/conf/kmod.mk`), so one more step makes it one.

/// A machine, by the name that compilers have for it.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arch {
    /// FreeBSD's amd64.
    #[default]
    #[value(name = "x86_64", alias = "amd64")]
    Amd64,
    /// FreeBSD's arm64: compiled and linked, never run.
    #[value(name = "aarch64", alias = "arm64")]
    Arm64,
}

impl Arch {
    /// The name of cargo's target, whose description is in `kmod/`.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-freebsd-kmod",
            Self::Arm64 => "aarch64-unknown-freebsd-kmod",
        }
    }

    /// Flags of the kernel's own for this machine (`sys/conf/kern.mk`, `kmod.mk`), the target
    /// first.
    pub(crate) fn cflags(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &[
                "--target=x86_64-unknown-freebsd15",
                "-mcmodel=kernel",
                "-mno-red-zone",
                "-mno-mmx",
                "-mno-sse",
                "-msoft-float",
            ],
            // Branch protection is left out: Rust's objects have none, and the kernel does
            // not insist on it.
            Self::Arm64 => &[
                "--target=aarch64-unknown-freebsd15",
                "-mgeneral-regs-only",
                "-ffixed-x18",
                "-mno-outline-atomics",
                "-fPIC",
            ],
        }
    }

    /// Names by which headers include a machine's folders, and the folders in a source tree.
    pub(crate) fn folders(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Amd64 => &[
                ("machine", "amd64/include"),
                ("x86", "x86/include"),
                ("i386", "i386/include"),
            ],
            Self::Arm64 => &[("machine", "arm64/include")],
        }
    }

    /// The folder of this machine's headers in the wheel.
    pub(crate) fn wheel(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-freebsd-none",
            Self::Arm64 => "aarch64-freebsd-none",
        }
    }

    /// What lld calls the format.
    pub(crate) fn emulation(self) -> &'static str {
        match self {
            Self::Amd64 => "elf_x86_64_fbsd",
            Self::Arm64 => "aarch64elf",
        }
    }
}
