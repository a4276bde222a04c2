// SPDX-License-Identifier: BSD-2-Clause
//! Bochs, an emulator of a whole PC whose CPU has VMX: a FreeBSD host with bhyve
//! runs in it, on machines that have no FreeBSD and no hardware to run bhyve on.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine::{Machine, spawn};

/// The program.
const PROGRAM: &str = "bochs";
/// Memory of the emulated machine, in MiB.
const MEMORY_MIB: u32 = 1024;
/// How long Bochs may take to connect its serial port.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// The pause after each piece of a request.
const PACE: Duration = Duration::from_millis(100);
/// The BIOS images' folder, as packages install it.
const FIRMWARE: [&str; 2] = ["/usr/share/bochs", "/usr/local/share/bochs"];

/// Why Bochs cannot be used here, if so.
#[must_use]
pub fn reason_to_skip() -> Option<String> {
    let on_path = |name: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
    };
    if let Some(missing) = [PROGRAM, "script"].iter().find(|name| !on_path(name)) {
        return Some(format!(
            "{missing} is not installed (Debian: bochs, bochsbios, vgabios, bsdutils)"
        ));
    }
    firmware()
        .is_none()
        .then(|| "Bochs' BIOS images are not installed (Debian: bochsbios, vgabios)".into())
}

fn firmware() -> Option<&'static str> {
    FIRMWARE
        .into_iter()
        .find(|folder| Path::new(folder).join("BIOS-bochs-latest").exists())
}

/// The configuration: one CPU with VMX and EPT, `cd` to boot from, the serial port
/// connected to `port` of this host.
fn configuration(firmware: &str, cd: &Path, log: &Path, port: u16) -> String {
    format!(
        "plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1\n\
         display_library: term\n\
         romimage: file={firmware}/BIOS-bochs-latest, options=fastboot\n\
         vgaromimage: file={firmware}/VGABIOS-lgpl-latest\n\
         cpu: model=corei7_haswell_4770, count=1, ips=200000000, reset_on_triple_fault=0, ignore_bad_msrs=1\n\
         memory: guest={MEMORY_MIB}, host={MEMORY_MIB}\n\
         pci: enabled=1, chipset=i440fx\n\
         clock: sync=none, time0=local\n\
         ata0-master: type=cdrom, path={}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}\n\
         log: {}\n\
         panic: action=fatal\nerror: action=report\ninfo: action=report\ndebug: action=ignore\n\
         speaker: enabled=0\nsound: driver=dummy\n",
        cd.display(),
        log.display(),
    )
}

/// Starts Bochs with `cd` in its drive.
///
/// # Errors
/// If Bochs cannot be started or does not connect its serial port.
pub fn start(cd: &Path, log: &Path) -> Result<Machine> {
    let folder = log.parent().context("the log has no folder")?;
    let firmware = firmware().context("no BIOS images")?;
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the serial line")?;
    let port = listener.local_addr()?.port();
    let (rc, go) = (folder.join("bochsrc"), folder.join("bochs.go"));
    std::fs::write(
        &rc,
        configuration(firmware, cd, &folder.join("bochs.log"), port),
    )?;
    // Bochs may have been built with its debugger, which waits for this word.
    std::fs::write(&go, "continue\n")?;

    // Its display wants a terminal; script(1) makes one.
    let bochs = format!(
        "exec {PROGRAM} -q -f '{}' -rc '{}'",
        rc.display(),
        go.display()
    );
    let mut command = Command::new("script");
    command
        .args(["-qfc", &bochs, "/dev/null"])
        .env("TERM", "xterm");
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    let child = spawn(&mut command, log)?;
    // From here on dropping the machine ends Bochs, connected or not.
    let pending = Machine::attach(
        child,
        Box::new(std::io::sink()),
        Box::new(std::io::empty()),
        log,
    )?;
    let line = accept(&listener)?;
    Ok(pending
        .with_line(Box::new(line.try_clone()?), Box::new(line))
        .with_pace(PACE))
}

fn accept(listener: &TcpListener) -> Result<std::net::TcpStream> {
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + CONNECT_LIMIT;
    while Instant::now() < deadline {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("Bochs did not connect its serial port within {CONNECT_LIMIT:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_cd_and_the_port() {
        let text = configuration(
            "/bios",
            Path::new("/x/root.iso"),
            Path::new("/x/bochs.log"),
            4711,
        );
        assert!(text.contains("ata0-master: type=cdrom, path=/x/root.iso, status=inserted\n"));
        assert!(text.contains("com1: enabled=1, mode=socket-client, dev=127.0.0.1:4711\n"));
        assert!(text.contains("romimage: file=/bios/BIOS-bochs-latest"));
    }
}
