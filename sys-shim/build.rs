// SPDX-License-Identifier: BSD-2-Clause
//! Compiles `c/*.c` with the kernel's flags, warnings being errors, together with
//! a file of `_Static_assert`s made from the layout table that the Rust
//! declarations are held against, too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

include!("../bindings/layout.rs");

const AREAS: [&str; 24] = [
    "module", "probe", "bus", "pci", "dma", "kernel", "cpu", "epoch", "event", "lock", "mbuf",
    "ifnet", "cloner", "counter", "filter", "jail", "l3", "netmap", "worker", "sysctl", "task",
    "fib", "nhop", "vnet",
];

const WARNINGS: [&str; 9] = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
    // The initializers of VNET_SYSINIT leave some out.
    "-Wno-missing-field-initializers",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wcast-qual",
    "-Wundef",
];

fn main() {
    println!("cargo:rerun-if-changed=c");
    println!("cargo:rerun-if-changed=../include");
    println!("cargo:rerun-if-changed=opt");
    println!("cargo:rerun-if-changed=../bindings/layout.rs");
    println!("cargo:rerun-if-env-changed=WEFT_CFLAGS");
    println!("cargo:rerun-if-env-changed=WEFT_CLANG");
    let Ok(flags) = std::env::var("WEFT_CFLAGS") else {
        // A build for the host: there is nothing for the kernel to compile.
        return;
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let layout = out.join("layout.c");
    std::fs::write(&layout, layout_assertions()).expect("OUT_DIR can be written");

    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let mut build = cc::Build::new();
    build
        .compiler(std::env::var_os("WEFT_CLANG").expect("WEFT_CLANG comes with WEFT_CFLAGS"))
        .target(&format!("{arch}-unknown-freebsd"))
        .no_default_flags(true)
        .flag("-O2")
        .include("c");
    for flag in flags.split('\u{1f}') {
        build.flag(flag);
    }
    for warning in WARNINGS {
        build.flag(warning);
    }
    for area in AREAS {
        build.file(Path::new("c").join(area).with_extension("c"));
    }
    if std::env::var_os("CARGO_FEATURE_TEST").is_some() {
        build.define("WEFT_TEST", None);
        for area in ["gate", "ip6", "mbuf", "peers", "probes", "sums"] {
            build.file(Path::new("c/test").join(area).with_extension("c"));
        }
    }
    build.file(layout).compile("weft_shim");
}

/// The layout table as C.
fn layout_assertions() -> String {
    let mut text = String::from("#include \"weft_shim.h\"\n");
    for (name, size, fields) in LAYOUT {
        let _ = writeln!(
            text,
            "_Static_assert(sizeof(struct {name}) == {size}, \"size of {name}\");"
        );
        for (field, offset) in *fields {
            let _ = writeln!(
                text,
                "_Static_assert(__offsetof(struct {name}, {field}) == {offset}, \
                 \"offset of {name}.{field}\");"
            );
        }
    }
    text
}
