// SPDX-License-Identifier: BSD-2-Clause
//! What PID 1 owes the machine: /dev, a place to write, a console in raw mode, and
//! the end.

use core::ffi::{c_int, c_ulong};

use super::command::{Failure, Outcome};
use super::sys::{self, Fd, Parameter};

/// `TIOCSCTTY` of `sys/ttycom.h`.
const TIOCSCTTY: c_ulong = 0x2000_7461;
/// `RB_POWEROFF` of `sys/reboot.h`.
const RB_POWEROFF: c_int = 0x4000;
/// `RB_NOSYNC`: the root is read-only, and a debug kernel's sync can be slow.
const RB_NOSYNC: c_int = 0x0004;

const CONSOLE: &str = "/dev/console";

/// True for the first process of the machine.
fn is_init() -> bool {
    sys::getpid() == 1
}

/// Opens the console as descriptors 0, 1 and 2, in raw mode. As PID 1 mounts devfs
/// first if /dev is bare.
pub(super) fn open_console() -> Fd {
    if is_init() {
        let _ = sys::setsid();
    }
    let console = try_console().or_else(|_| {
        let _ = mount("devfs", "/dev");
        try_console()
    });
    let Ok(console) = console else { sys::exit(3) };
    let _ = console.ioctl_bare(TIOCSCTTY);
    for number in 0..3 {
        let _ = console.duplicate_as(number);
    }
    console
}

/// A blocking open would wait for a carrier that a virtual line may never have, so
/// the first one is not, and tells the driver to do without.
fn try_console() -> sys::Result<Fd> {
    let first = Fd::open(CONSOLE, libc::O_RDWR | libc::O_NONBLOCK)?;
    make_raw(&first)?;
    Fd::open(CONSOLE, libc::O_RDWR)
}

fn make_raw(console: &Fd) -> sys::Result<()> {
    let mut mode = sys::zeroed::<libc::termios>();
    console.ioctl(libc::TIOCGETA, &mut mode)?;
    mode.c_iflag = libc::IGNBRK;
    mode.c_oflag = 0;
    mode.c_lflag = 0;
    mode.c_cflag |= libc::CS8 | libc::CREAD | libc::CLOCAL;
    mode.c_cc[libc::VMIN] = 1;
    mode.c_cc[libc::VTIME] = 0;
    console.ioctl(libc::TIOCSETA, &mut mode)
}

/// Mounts file system `kind` on `path`.
pub(super) fn mount(kind: &str, path: &str) -> Result<(), Failure> {
    sys::nmount(
        &[
            Parameter::Text("fstype", kind),
            Parameter::Text("fspath", path),
        ],
        0,
    )?;
    Ok(())
}

/// `mount KIND PATH`
pub(super) fn mount_command(words: &[&str]) -> Outcome {
    let [kind, path] = words else {
        return Err(Failure::usage("mount KIND PATH"));
    };
    mount(kind, path)?;
    Ok(alloc::vec![])
}

/// `halt`: as PID 1 switches the machine off, otherwise ends the agent. Runs in the
/// agent itself, after the reply is out.
pub(super) fn leave_if_asked(command: &str, console: &Fd) {
    if command != "halt" {
        return;
    }
    // The reply is still in the UART's queue; the machine must not die before it is out.
    let mut drained = 0u32;
    while console.ioctl(libc::TIOCOUTQ, &mut drained).is_ok() && drained > 0 {
        sys::sleep(10_000_000);
    }
    sys::sleep(50_000_000);
    if is_init() {
        let _ = sys::reboot(RB_POWEROFF | RB_NOSYNC);
    }
    sys::exit(0)
}
