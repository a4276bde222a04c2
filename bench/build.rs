// SPDX-License-Identifier: BSD-2-Clause
//! Compiles the glue to DPDK if that is asked for and there. If not, the reason
//! goes into the program, which prints it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(weft_dpdk)");
    println!("cargo::rustc-env=WEFT_RUSTC={}", compiler());
    match dpdk() {
        Ok(version) => {
            println!("cargo::rustc-cfg=weft_dpdk");
            println!("cargo::rustc-env=WEFT_DPDK_VERSION={version}");
        }
        Err(reason) => println!("cargo::rustc-env=WEFT_DPDK_ABSENT={reason}"),
    }
}

#[cfg(not(feature = "dpdk"))]
fn dpdk() -> Result<String, String> {
    Err(String::from("compiled without the feature dpdk"))
}

/// Compiles the glue and returns DPDK's version.
#[cfg(feature = "dpdk")]
fn dpdk() -> Result<String, String> {
    println!("cargo::rerun-if-changed=dpdk/glue.c");
    println!("cargo::rerun-if-changed=dpdk/pool.c");
    println!("cargo::rerun-if-changed=dpdk/ring.c");
    println!("cargo::rerun-if-changed=peer.h");
    let found = pkg_config::Config::new()
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_err(|_| String::from("pkg-config finds no libdpdk"))?;
    let mut glue = cc::Build::new();
    glue.file("dpdk/glue.c")
        .file("dpdk/pool.c")
        .file("dpdk/ring.c")
        .include(".")
        .includes(&found.include_paths)
        .opt_level(2)
        .flag("-include")
        .flag("rte_config.h");
    // What DPDK's headers want; pkg-config's crate drops such flags.
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        glue.flag("-march=corei7");
    }
    // The deprecated kind of bit field in its headers is not ours to mend.
    glue.flag_if_supported("-Wno-packed-bitfield-compat");
    glue.try_compile("weft_dpdk").map_err(|error| {
        format!(
            "the glue does not compile: {}",
            error.to_string().replace('\n', " ")
        )
    })?;
    for folder in &found.link_paths {
        println!("cargo::rustc-link-search=native={}", folder.display());
    }
    for library in [
        "rte_fib",
        "rte_lpm",
        "rte_mbuf",
        "rte_mempool",
        "rte_ring",
        "rte_eal",
    ] {
        println!("cargo::rustc-link-lib={library}");
    }
    Ok(found.version)
}

/// The version of the compiler in use.
fn compiler() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(compiler)
        .arg("--version")
        .output();
    let line = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let version = line.as_deref().and_then(|line| line.split(' ').nth(1));
    version.unwrap_or("unknown").to_owned()
}
