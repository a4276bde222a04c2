// SPDX-License-Identifier: BSD-2-Clause
//! Runs bindgen over an allow-list of the kernel's declarations, with the flags
//! the kernel itself is compiled with, and adds assertions of the layout table.

use std::fmt::Write as _;
use std::path::PathBuf;

include!("layout.rs");

/// Functions of the kernel and of the shim.
const FUNCTIONS: [&str; 30] = [
    "weft_shim_.*",
    "malloc",
    "malloc_aligned",
    "free",
    "malloc_type_(allocated|freed)",
    "kmem_(malloc|free)",
    "arc4random",
    "cpu_tickrate",
    "sig_intr",
    "fib_module_(un)?register",
    "fib_get_nhop_idx",
    "fib_epoch_call",
    "rt_get_inet6?_prefix_plen",
    "rt_get_raw_nhop",
    "rt_tables_get_rnh",
    "rib_walk",
    "rib_walk_from",
    "sysctl_ctx_(init|free)",
    "sysctl_add_oid",
    "sysctl_handle_(64|string)",
    "kernel_sysctlbyname",
    "m_(freem|apply|adj|cat|collapse|copydata|copypacket|defrag|dup|length|prepend|pullup|split|unshare)",
    "m_tag_(alloc|copy_chain|delete|locate)",
    "pfil_(add_hook|remove_hook|link)",
    "taskqueue_(enqueue|drain)",
    "device_(get_name|get_unit|get_nameunit|set_desc)",
    "ether_(ifattach|ifdetach|ioctl|gen_addr|output)",
    "if(_alloc|_free|_ref|_rele|_initname|_setname|_name|unit|_(get|set)(softc|mtu|vnet|capenable|capabilities|hwassist)|_inc_counter|_getdunit|_getdname|_gettype|_getlinkstate|_getflags)",
    "if_(getnetmapadapter|get_counter_default|set(flags|drvflagbits|baudrate|hwtsomax|hwtsomaxsegcount|hwtsomaxsegsize|(transmit|qflush|ioctl|init|output|getcounter)fn)|link_state_change|vlancap|vlantrunkinuse|clone_addif)",
    "if(c_name2unit|c_alloc_unit|c_free_unit|media_ioctl|media_removeall|unit_ref)",
];
const TYPES: [&str; 16] = [
    "mtx",
    "task",
    "timeout_task",
    "sockaddr_in6?",
    "weightened_nhop",
    "fib_lookup_module",
    "fib_change_queue",
    "rib_rtable_info",
    "rib_cmd_info",
    "epoch_tracker",
    "rm_priotracker",
    "sysctl_ctx_list",
    "modeventtype_t",
    "ift_counter",
    "ifmedia",
    "weft_.*",
];
const VARIABLES: [&str; 23] = [
    "RIB_FLAG_LOCKED",
    "weft_shim_.*",
    "WEFT_NHOP_WORDS",
    "M_WEFT(_FIB|_PACKET)?",
    "M_(NOWAIT|WAITOK|ZERO)",
    "E[A-Z0-9]+",
    "LOG_(ERR|WARNING|NOTICE|INFO|DEBUG)",
    "CTL(FLAG|TYPE)_[A-Z0-9]+",
    "OID_AUTO",
    "AF_INET6?",
    "RTM_(ADD|DELETE|CHANGE)",
    "osreldate",
    "M_(BCAST|MCAST|PROMISC|VLANTAG|TSTMP|TSTMP_HPREC)",
    "M_HASHTYPE_(NONE|INNER)",
    "CSUM_[A-Z0-9_]+",
    "PFIL_[A-Z0-9]+",
    "WEFT_(EMBEDDED|ENGINE_FROM|ENGINE_TO|HASH_.*)",
    "max_linkhdr",
    "IFF_[A-Z_]+",
    "IFNAMSIZ",
    "LINK_STATE_(UP|DOWN)",
    "ETHER_(ADDR_LEN|HDR_LEN|VLAN_ENCAP_LEN)",
    "WEFT_[A-Z0-9_]+",
];
/// Passed by pointer only: their fields are nobody's business here.
const OPAQUE: [&str; 33] = [
    "mtx",
    "task",
    "timeout_task",
    "epoch_tracker",
    "epoch_context",
    "rm_priotracker",
    "rib_head",
    "rtentry",
    "nhop_object",
    "fib_data",
    "thread",
    "proc",
    "ucred",
    "vnet",
    "malloc_type",
    "module",
    "linker_file",
    "sysctl_oid",
    "sysctl_req",
    "sysctl_ctx_entry",
    "mbuf",
    "ifnet",
    "inpcb",
    "pfil_h(ook|ead)",
    "if_clone",
    "ifc_data",
    "ifmedia",
    "ifreq",
    "taskqueue",
    "_device",
    "resource",
    "bus_dma_tag",
    "bus_dmamap",
];

fn main() {
    println!("cargo:rerun-if-changed=layout.rs");
    println!("cargo:rerun-if-changed=../sys-shim/c/weft_shim.h");
    println!("cargo:rerun-if-changed=../sys-shim/opt");
    println!("cargo:rerun-if-changed=../include");
    println!("cargo:rerun-if-env-changed=WEFT_CFLAGS");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let Ok(flags) = std::env::var("WEFT_CFLAGS") else {
        // A build for the host: no kernel to declare.
        std::fs::write(out.join("kernel.rs"), "").expect("OUT_DIR can be written");
        std::fs::write(out.join("layout.rs"), "").expect("OUT_DIR can be written");
        return;
    };
    let mut builder = bindgen::Builder::default()
        .header("../sys-shim/c/weft_shim.h")
        .clang_args(flags.split('\u{1f}'))
        .use_core()
        .ctypes_prefix("core::ffi")
        .layout_tests(true)
        .derive_debug(false)
        .derive_default(false)
        .generate_comments(false)
        .merge_extern_blocks(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .rust_edition(bindgen::RustEdition::Edition2024);
    if std::env::var_os("CARGO_FEATURE_TEST").is_some() {
        builder = builder
            .clang_arg("-DWEFT_TEST")
            .allowlist_function("weft_test_.*");
    }
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    builder
        .generate()
        .expect("bindgen reads weft_shim.h")
        .write_to_file(out.join("kernel.rs"))
        .expect("OUT_DIR can be written");
    std::fs::write(out.join("layout.rs"), layout_assertions()).expect("OUT_DIR can be written");
}

/// The layout table as constants that do not evaluate when it is broken.
fn layout_assertions() -> String {
    let mut text = String::new();
    for (name, size, fields) in LAYOUT {
        let _ = writeln!(
            text,
            "const _: () = assert!(size_of::<kernel::{name}>() == {size}, \"size of {name}\");"
        );
        for (field, offset) in *fields {
            let _ = writeln!(
                text,
                "const _: () = assert!(memoffset::offset_of!(kernel::{name}, {field}) == {offset}, \
                 \"offset of {name}.{field}\");"
            );
        }
    }
    text
}
