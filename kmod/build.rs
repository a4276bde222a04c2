// SPDX-License-Identifier: BSD-2-Clause
//! Says in the module what it was built by and for: `net.weft.build`.

fn main() {
    println!("cargo:rerun-if-env-changed=WEFT_HEADERS");
    let headers = std::env::var("WEFT_HEADERS").unwrap_or_else(|_| "no headers".into());
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiler = std::process::Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default();
    println!("cargo:rustc-env=WEFT_BUILD={compiler}; {headers}");
}
