// SPDX-License-Identifier: BSD-2-Clause
//! FreeBSD/amd64 system calls, each as a function that the rest of the agent can
//! call without `unsafe`. Numbers are those of `sys/kern/syscalls.master`.
//!
//! The calling convention (`amd64/amd64/exception.S`, `fast_syscall`): the number
//! in rax, arguments in rdi, rsi, rdx, r10, r8, r9; on return the carry flag set
//! means that rax is an errno. rcx, rdx and r8 to r11 are overwritten.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::arch::asm;
use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use core::fmt;
use core::mem::{MaybeUninit, size_of, size_of_val};
use core::ptr::{null, null_mut};

const SYS_EXIT: usize = 1;
const SYS_FORK: usize = 2;
const SYS_READ: usize = 3;
const SYS_WRITE: usize = 4;
const SYS_OPEN: usize = 5;
const SYS_CLOSE: usize = 6;
const SYS_WAIT4: usize = 7;
const SYS_CHDIR: usize = 12;
const SYS_GETPID: usize = 20;
const SYS_SETUID: usize = 23;
const SYS_RECVFROM: usize = 29;
const SYS_ACCEPT: usize = 30;
const SYS_GETSOCKNAME: usize = 32;
const SYS_SYNC: usize = 36;
const SYS_KILL: usize = 37;
const SYS_IOCTL: usize = 54;
const SYS_REBOOT: usize = 55;
const SYS_EXECVE: usize = 59;
const SYS_MUNMAP: usize = 73;
const SYS_SETGROUPS: usize = 80;
const SYS_DUP2: usize = 90;
const SYS_SOCKET: usize = 97;
const SYS_CONNECT: usize = 98;
const SYS_BIND: usize = 104;
const SYS_SETSOCKOPT: usize = 105;
const SYS_LISTEN: usize = 106;
const SYS_GETSOCKOPT: usize = 118;
const SYS_SENDTO: usize = 133;
const SYS_SHUTDOWN: usize = 134;
const SYS_SETSID: usize = 147;
const SYS_RTPRIO: usize = 166;
const SYS_SETFIB: usize = 175;
const SYS_SETGID: usize = 181;
const SYS_SYSCTL: usize = 202;
const SYS_POLL: usize = 209;
const SYS_CLOCK_GETTIME: usize = 232;
const SYS_NANOSLEEP: usize = 240;
const SYS_KLDLOAD: usize = 304;
const SYS_KLDFIND: usize = 306;
const SYS_KLDNEXT: usize = 307;
const SYS_KLDSTAT: usize = 308;
const SYS_NMOUNT: usize = 378;
const SYS_KENV: usize = 390;
const SYS_JAIL_ATTACH: usize = 436;
const SYS_KLDUNLOADF: usize = 444;
const SYS_MMAP: usize = 477;
const SYS_JAIL_GET: usize = 506;
const SYS_JAIL_SET: usize = 507;
const SYS_JAIL_REMOVE: usize = 508;
const SYS_PIPE2: usize = 542;
const SYS_PROCCTL: usize = 544;

/// An errno of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Errno(pub(super) i32);

impl fmt::Display for Errno {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::ESRCH => "ESRCH",
            libc::EIO => "EIO",
            libc::ENXIO => "ENXIO",
            libc::ENOEXEC => "ENOEXEC",
            libc::EBADF => "EBADF",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::EINVAL => "EINVAL",
            libc::ENOTTY => "ENOTTY",
            libc::ENOSPC => "ENOSPC",
            libc::EROFS => "EROFS",
            libc::EAGAIN => "EAGAIN",
            libc::EADDRINUSE => "EADDRINUSE",
            libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
            libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
            libc::ENETDOWN => "ENETDOWN",
            libc::ENETUNREACH => "ENETUNREACH",
            libc::ENOBUFS => "ENOBUFS",
            libc::EMSGSIZE => "EMSGSIZE",
            libc::EPIPE => "EPIPE",
            libc::ECONNREFUSED => "ECONNREFUSED",
            libc::ECONNRESET => "ECONNRESET",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::EHOSTUNREACH => "EHOSTUNREACH",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::EFTYPE => "EFTYPE",
            _ => return write!(out, "errno {}", self.0),
        };
        write!(out, "{name} (errno {})", self.0)
    }
}

/// What a system call gives.
pub(super) type Result<T> = core::result::Result<T, Errno>;

/// # Safety
/// The arguments must be what system call `number` takes: every pointer among
/// them valid for what the kernel reads or writes through it.
unsafe fn syscall(number: usize, args: [usize; 6]) -> Result<usize> {
    let result: usize;
    let failed: u8;
    // SAFETY: the registers are those of the calling convention above; what the
    // kernel does through the arguments is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            "setc {failed}",
            failed = lateout(reg_byte) failed,
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            inlateout("rdx") args[2] => _,
            inlateout("r10") args[3] => _,
            inlateout("r8") args[4] => _,
            inlateout("r9") args[5] => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if failed == 0 {
        return Ok(result);
    }
    Err(Errno(i32::try_from(result).unwrap_or(libc::EINVAL)))
}

/// A system call none of whose arguments is a pointer.
fn plain(number: usize, args: [usize; 3]) -> Result<usize> {
    // SAFETY: callers pass numbers of calls that take integers only.
    unsafe { syscall(number, [args[0], args[1], args[2], 0, 0, 0]) }
}

fn as_fd(result: usize) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

fn signed(value: c_int) -> usize {
    value as isize as usize
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Errno(libc::EINVAL))
}

/// A file descriptor, closed when dropped.
#[derive(Debug)]
pub(super) struct Fd(c_int);

impl Drop for Fd {
    fn drop(&mut self) {
        let _ = plain(SYS_CLOSE, [signed(self.0), 0, 0]);
    }
}

impl Fd {
    /// Opens `path` with the `O_*` flags given.
    pub(super) fn open(path: &str, flags: c_int) -> Result<Self> {
        let path = c_string(path)?;
        // SAFETY: `path` is a string with its NUL and outlives the call.
        let fd = unsafe {
            syscall(
                SYS_OPEN,
                [path.as_ptr() as usize, signed(flags), 0, 0, 0, 0],
            )
        }?;
        Ok(Self(as_fd(fd)))
    }

    /// A socket of this domain, type and protocol.
    pub(super) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Result<Self> {
        plain(SYS_SOCKET, [signed(domain), signed(kind), signed(protocol)])
            .map(|fd| Self(as_fd(fd)))
    }

    /// A pipe: the end to read from and the end to write to.
    pub(super) fn pipe() -> Result<(Self, Self)> {
        let mut ends: [c_int; 2] = [-1; 2];
        // SAFETY: the kernel writes two ints.
        unsafe { syscall(SYS_PIPE2, [ends.as_mut_ptr() as usize, 0, 0, 0, 0, 0]) }?;
        Ok((Self(ends[0]), Self(ends[1])))
    }

    /// Reads at most `buffer.len()` bytes; 0 is the end.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let (at, length) = (buffer.as_mut_ptr() as usize, buffer.len());
        // SAFETY: the kernel writes at most `length` bytes to `buffer`.
        unsafe { syscall(SYS_READ, [signed(self.0), at, length, 0, 0, 0]) }
    }

    /// Writes once; gives the number of bytes taken.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize> {
        // SAFETY: the kernel only reads `bytes`.
        unsafe {
            syscall(
                SYS_WRITE,
                [
                    signed(self.0),
                    bytes.as_ptr() as usize,
                    bytes.len(),
                    0,
                    0,
                    0,
                ],
            )
        }
    }

    /// Writes everything.
    pub(super) fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let taken = self.write(bytes)?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Reads to the end.
    pub(super) fn read_to_end(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(all),
                got => all.extend_from_slice(&buffer[..got]),
            }
        }
    }

    /// Waits until there is something to read. False if `limit_ms` ran out first.
    pub(super) fn readable(&self, limit_ms: c_int) -> Result<bool> {
        self.polled(libc::POLLIN, limit_ms)
            .map(|happened| happened != 0)
    }

    /// Waits for one of these events of poll(2). False if `limit_ms` ran out first.
    ///
    /// # Errors
    /// `EIO` if the descriptor has failed.
    pub(super) fn wait_for(&self, events: i16, limit_ms: c_int) -> Result<bool> {
        let happened = self.polled(events, limit_ms)?;
        match happened & libc::POLLERR {
            0 => Ok(happened != 0),
            _ => Err(Errno(libc::EIO)),
        }
    }

    /// The events of poll(2) that happened.
    fn polled(&self, events: i16, limit_ms: c_int) -> Result<i16> {
        let mut wait = libc::pollfd {
            fd: self.0,
            events,
            revents: 0,
        };
        let at = &raw mut wait as usize;
        // SAFETY: one pollfd, which outlives the call.
        unsafe { syscall(SYS_POLL, [at, 1, signed(limit_ms), 0, 0, 0]) }?;
        Ok(wait.revents)
    }

    /// An ioctl(2) whose argument is the plain C structure `value`.
    pub(super) fn ioctl<T: Plain>(&self, request: c_ulong, value: &mut T) -> Result<()> {
        let size = (request >> 16) & 0x1fff;
        if size as usize != size_of::<T>() {
            return Err(Errno(libc::EINVAL));
        }
        let at = &raw mut *value as usize;
        // SAFETY: the request's own size field says how much the kernel copies in
        // and out, and that is the size of `value`.
        unsafe { syscall(SYS_IOCTL, [signed(self.0), request as usize, at, 0, 0, 0]) }?;
        Ok(())
    }

    /// An ioctl(2) whose argument is so many bytes, as the request says; `EINVAL` if it says
    /// another number. What addresses are in there the caller has seen to: the kernel may
    /// write there.
    pub(super) fn ioctl_of(&self, request: c_ulong, bytes: &mut [u8]) -> Result<()> {
        if ((request >> 16) & 0x1fff) as usize != bytes.len() {
            return Err(Errno(libc::EINVAL));
        }
        let at = bytes.as_mut_ptr() as usize;
        // SAFETY: the request's own size field says how much the kernel copies in and out,
        // and that is the length of `bytes`.
        unsafe { syscall(SYS_IOCTL, [signed(self.0), request as usize, at, 0, 0, 0]) }?;
        Ok(())
    }

    /// An ioctl(2) without an argument.
    pub(super) fn ioctl_bare(&self, request: c_ulong) -> Result<()> {
        plain(SYS_IOCTL, [signed(self.0), request as usize, 0]).map(drop)
    }

    /// A command of an interface's driver (`SIOCSDRVSPEC` of `sys/sockio.h`) whose
    /// argument is the plain C structure `value`.
    pub(super) fn driver_command<T: Plain>(
        &self,
        name: [c_char; libc::IFNAMSIZ],
        command: c_ulong,
        value: &mut T,
    ) -> Result<()> {
        const SIOCSDRVSPEC: usize = 0x8028_697b;
        let mut request = DriverRequest {
            name,
            command,
            length: size_of::<T>(),
            data: (&raw mut *value).cast(),
        };
        let at = &raw mut request as usize;
        // SAFETY: the request says where `value` is and how long; the driver refuses
        // another length than that of the command's structure.
        unsafe { syscall(SYS_IOCTL, [signed(self.0), SIOCSDRVSPEC, at, 0, 0, 0]) }?;
        Ok(())
    }

    /// Sets a socket option whose value is the plain C structure `value`.
    pub(super) fn set_option<T: Plain>(&self, level: c_int, name: c_int, value: T) -> Result<()> {
        let at = &raw const value as usize;
        let args = [
            signed(self.0),
            signed(level),
            signed(name),
            at,
            size_of_val(&value),
            0,
        ];
        // SAFETY: the kernel reads `value` within its length.
        unsafe { syscall(SYS_SETSOCKOPT, args) }?;
        Ok(())
    }

    /// Reads a socket option whose value is a `T`.
    pub(super) fn option<T: Plain>(&self, level: c_int, name: c_int) -> Result<T> {
        let mut value = zeroed::<T>();
        self.ask_option(level, name, &mut value)?;
        Ok(value)
    }

    /// Reads a socket option whose value says first what is asked for.
    pub(super) fn ask_option<T: Plain>(
        &self,
        level: c_int,
        name: c_int,
        value: &mut T,
    ) -> Result<()> {
        let mut length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
        let args = [
            signed(self.0),
            signed(level),
            signed(name),
            &raw mut *value as usize,
            &raw mut length as usize,
            0,
        ];
        // SAFETY: `length` bounds what the kernel reads of `value` and writes to it.
        unsafe { syscall(SYS_GETSOCKOPT, args) }?;
        Ok(())
    }

    /// Has the kernel move what arrives on this socket to `sink`, without limit
    /// (`SO_SPLICE` of `sys/socket.h`), until either end is closed.
    pub(super) fn splice_to(&self, sink: &Self) -> Result<()> {
        self.set_option(libc::SOL_SOCKET, SO_SPLICE, Splice::to(sink.0))
    }

    /// Bytes that [`Fd::splice_to`] has moved from this socket.
    pub(super) fn spliced(&self) -> Result<u64> {
        self.option(libc::SOL_SOCKET, SO_SPLICE)
    }

    /// Has the socket listen for connections.
    pub(super) fn listen(&self, most_waiting: c_int) -> Result<()> {
        plain(SYS_LISTEN, [signed(self.0), signed(most_waiting), 0]).map(drop)
    }

    /// Takes the next connection, waiting for it.
    pub(super) fn accept(&self) -> Result<Self> {
        plain(SYS_ACCEPT, [signed(self.0), 0, 0]).map(|fd| Self(as_fd(fd)))
    }

    /// Says to the peer that nothing more will be sent.
    pub(super) fn end_sending(&self) -> Result<()> {
        plain(SYS_SHUTDOWN, [signed(self.0), signed(libc::SHUT_WR), 0]).map(drop)
    }

    /// Binds the socket to the socket address of these bytes.
    pub(super) fn bind(&self, address: &[u8]) -> Result<()> {
        let at = address.as_ptr() as usize;
        // SAFETY: the kernel reads `address` within its length.
        unsafe { syscall(SYS_BIND, [signed(self.0), at, address.len(), 0, 0, 0]) }?;
        Ok(())
    }

    /// Connects the socket to the socket address of these bytes.
    pub(super) fn connect(&self, to: &[u8]) -> Result<()> {
        let at = to.as_ptr() as usize;
        // SAFETY: the kernel reads `to` within its length.
        unsafe { syscall(SYS_CONNECT, [signed(self.0), at, to.len(), 0, 0, 0]) }?;
        Ok(())
    }

    /// The socket's own socket address; gives the bytes used.
    pub(super) fn local_address(&self, room: &mut [u8]) -> Result<usize> {
        let mut length = libc::socklen_t::try_from(room.len()).unwrap_or(0);
        let args = [
            signed(self.0),
            room.as_mut_ptr() as usize,
            &raw mut length as usize,
            0,
            0,
            0,
        ];
        // SAFETY: `length` bounds what the kernel writes to `room`.
        unsafe { syscall(SYS_GETSOCKNAME, args) }?;
        Ok(room.len().min(length as usize))
    }

    /// Sends one datagram to the socket address of these bytes.
    pub(super) fn send_to(&self, bytes: &[u8], to: &[u8]) -> Result<usize> {
        let at = to.as_ptr() as usize;
        let args = [
            signed(self.0),
            bytes.as_ptr() as usize,
            bytes.len(),
            0,
            at,
            to.len(),
        ];
        // SAFETY: the kernel reads `bytes` and `to` within their lengths.
        unsafe { syscall(SYS_SENDTO, args) }
    }

    /// Takes one datagram that is already there.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let args = [
            signed(self.0),
            buffer.as_mut_ptr() as usize,
            buffer.len(),
            signed(libc::MSG_DONTWAIT),
            0,
            0,
        ];
        // SAFETY: the buffer's length bounds what the kernel writes there, and no
        // sender is asked for.
        unsafe { syscall(SYS_RECVFROM, args) }
    }

    /// Takes one datagram, waiting for it, and the socket address that it came from.
    pub(super) fn receive_from<A: Plain>(&self, buffer: &mut [u8], from: &mut A) -> Result<usize> {
        let mut length = libc::socklen_t::try_from(size_of::<A>()).unwrap_or(0);
        let args = [
            signed(self.0),
            buffer.as_mut_ptr() as usize,
            buffer.len(),
            0,
            &raw mut *from as usize,
            &raw mut length as usize,
        ];
        // SAFETY: the lengths bound what the kernel writes to `buffer` and to `from`.
        unsafe { syscall(SYS_RECVFROM, args) }
    }

    /// Makes this descriptor be number `number` too.
    pub(super) fn duplicate_as(&self, number: c_int) -> Result<()> {
        plain(SYS_DUP2, [signed(self.0), signed(number), 0]).map(drop)
    }

    /// Standard descriptor `number` (0, 1 or 2). Must not be dropped.
    pub(super) fn standard(number: c_int) -> core::mem::ManuallyDrop<Self> {
        core::mem::ManuallyDrop::new(Self(number))
    }
}

/// `struct ifdrv` of `net/if.h`.
#[repr(C)]
struct DriverRequest {
    name: [c_char; libc::IFNAMSIZ],
    command: c_ulong,
    length: usize,
    data: *mut c_void,
}

/// `SO_SPLICE` of `sys/socket.h`.
const SO_SPLICE: c_int = 0x1023;

/// `struct splice` of `sys/socket.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Splice {
    sink: c_int,
    padding: c_int,
    most: i64,
    idle: [i64; 2],
}

impl Splice {
    fn to(sink: c_int) -> Self {
        Self { sink, ..zeroed() }
    }
}

/// A C structure of integers and arrays of them: any bytes make a valid value.
///
/// # Safety
/// Only for types without padding that matters, pointers that Rust follows,
/// references, or niches.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: integers and arrays of integers; the pointers in ifreq's union are never
// followed by the agent.
unsafe impl Plain for libc::ifreq {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::ifaliasreq {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::termios {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::sockaddr_in {}
// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for libc::sockaddr_in6 {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::sockaddr {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::timespec {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::timeval {}
// SAFETY: integers, without padding.
unsafe impl Plain for Splice {}
// SAFETY: integers and arrays of integers.
unsafe impl Plain for libc::tcp_info {}
// SAFETY: any bytes are an integer.
unsafe impl Plain for c_int {}
// SAFETY: any bytes are an integer.
unsafe impl Plain for u16 {}
// SAFETY: any bytes are an integer.
unsafe impl Plain for u32 {}
// SAFETY: any bytes are an integer.
unsafe impl Plain for u64 {}
// SAFETY: any bytes are an array of bytes.
unsafe impl<const N: usize> Plain for [u8; N] {}

/// A structure with every byte zero.
pub(super) fn zeroed<T: Plain>() -> T {
    // SAFETY: any bytes make a `Plain` value, zeroes too.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The structure at the start of `bytes`; `None` if they are too few.
pub(super) fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are enough bytes, any bytes make a `Plain` value, and the read
    // asks for no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of a structure.
pub(super) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: the structure is initialised as a whole (`zeroed`), so its padding is
    // too, and the slice borrows it.
    unsafe { core::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }
}

/// Memory of its own pages, zeroed. Given back when dropped.
pub(super) struct Pages {
    at: *mut u8,
    length: usize,
}

impl Pages {
    /// Private memory.
    pub(super) fn private(length: usize) -> Result<Self> {
        Self::map(length, libc::MAP_PRIVATE)
    }

    /// Memory that children forked later share with their parent.
    pub(super) fn shared(length: usize) -> Result<Self> {
        Self::map(length, libc::MAP_SHARED)
    }

    /// Memory that a driver shares with this process.
    pub(super) fn of(device: &Fd, length: usize) -> Result<Self> {
        Self::map_of(device.0, length, libc::MAP_SHARED)
    }

    fn map(length: usize, sharing: c_int) -> Result<Self> {
        Self::map_of(-1, length, sharing | libc::MAP_ANON)
    }

    fn map_of(fd: c_int, length: usize, flags: c_int) -> Result<Self> {
        let access = signed(libc::PROT_READ | libc::PROT_WRITE);
        let flags = signed(flags);
        // SAFETY: a new mapping where the kernel chooses; nothing that exists is replaced.
        let at = unsafe { syscall(SYS_MMAP, [0, length, access, flags, signed(fd), 0]) }?;
        Ok(Self {
            at: at as *mut u8,
            length,
        })
    }

    /// Where a `T` at this offset is; `None` if it is outside or not aligned.
    fn place<T: Plain>(&self, at: usize) -> Option<*mut T> {
        let place = self.span(at, size_of::<T>())?;
        at.is_multiple_of(align_of::<T>()).then(|| place.cast())
    }

    /// What is at this offset, which others may change at any time; zeroes outside.
    pub(super) fn load<T: Plain>(&self, at: usize) -> T {
        // SAFETY: mapped readable and aligned; any bytes make a `Plain` value.
        self.place(at)
            .map_or_else(zeroed, |place: *mut T| unsafe { place.read_volatile() })
    }

    /// Where so many bytes from this offset on are; `None` if they are not all inside.
    fn span(&self, at: usize, count: usize) -> Option<*mut u8> {
        let is_inside = at.checked_add(count)? <= self.length;
        // SAFETY: inside the mapping.
        is_inside.then(|| unsafe { self.at.add(at) })
    }

    /// Reads bytes from this offset on, which nobody writes meanwhile; none if they are not
    /// all inside.
    pub(super) fn read(&self, at: usize, bytes: &mut [u8]) {
        if let Some(from) = self.span(at, bytes.len()) {
            // SAFETY: mapped readable, and the slice is other memory.
            unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        }
    }

    /// Writes bytes from this offset on, which nobody reads meanwhile; none if they are not
    /// all inside.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.span(at, bytes.len()) {
            // SAFETY: mapped writable, and the slice is other memory.
            unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
    }

    /// Puts a value at this offset; nowhere if that is outside.
    pub(super) fn store<T: Plain>(&self, at: usize, value: T) {
        if let Some(place) = self.place::<T>(at) {
            // SAFETY: mapped writable and aligned.
            unsafe { place.write_volatile(value) };
        }
    }

    /// Where the memory begins.
    pub(super) fn start(&self) -> *mut u8 {
        self.at
    }

    /// The memory as bytes. Only sensible for private memory.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped readable and writable for `length` bytes, and borrowed from `self`.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours, and nothing borrows it any more.
        let _ = unsafe { syscall(SYS_MUNMAP, [self.at as usize, self.length, 0, 0, 0, 0]) };
    }
}

/// Ends this process.
pub(super) fn exit(status: c_int) -> ! {
    let _ = plain(SYS_EXIT, [signed(status), 0, 0]);
    loop {
        core::hint::spin_loop();
    }
}

/// Forks. `None` in the child, the child's number in the parent.
pub(super) fn fork() -> Result<Option<c_int>> {
    plain(SYS_FORK, [0; 3]).map(|pid| (pid != 0).then(|| as_fd(pid)))
}

/// This process's number.
pub(super) fn getpid() -> c_int {
    plain(SYS_GETPID, [0; 3]).map_or(-1, as_fd)
}

/// Sends a signal.
pub(super) fn kill(pid: c_int, signal: c_int) -> Result<()> {
    plain(SYS_KILL, [signed(pid), signed(signal), 0]).map(drop)
}

/// Collects an ended child (`pid` -1: any), with its wait(2) status. `None` if
/// there is none yet and `block` is false.
pub(super) fn wait(pid: c_int, block: bool) -> Result<Option<(c_int, c_int)>> {
    let mut status: c_int = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    // SAFETY: the kernel writes one int; no rusage is asked for.
    let got = unsafe {
        syscall(
            SYS_WAIT4,
            [
                signed(pid),
                &raw mut status as usize,
                signed(flags),
                0,
                0,
                0,
            ],
        )
    }?;
    Ok((got != 0).then(|| (as_fd(got), status)))
}

/// Replaces this program. Comes back only with an error.
pub(super) fn exec(path: &str, args: &[String], environment: &[&str]) -> Errno {
    let strings = || -> Result<(CString, Vec<CString>, Vec<CString>)> {
        let args = args
            .iter()
            .map(|arg| c_string(arg))
            .collect::<Result<_>>()?;
        let environment = environment
            .iter()
            .map(|entry| c_string(entry))
            .collect::<Result<_>>()?;
        Ok((c_string(path)?, args, environment))
    };
    let (path, args, environment) = match strings() {
        Ok(strings) => strings,
        Err(error) => return error,
    };
    let pointers = |list: &[CString]| -> Vec<*const c_char> {
        list.iter()
            .map(|entry| entry.as_ptr())
            .chain([null()])
            .collect()
    };
    let (argv, envp) = (pointers(&args), pointers(&environment));
    let call = [
        path.as_ptr() as usize,
        argv.as_ptr() as usize,
        envp.as_ptr() as usize,
        0,
        0,
        0,
    ];
    // SAFETY: NUL-ended strings in NULL-ended lists, all alive until the call returns.
    match unsafe { syscall(SYS_EXECVE, call) } {
        Ok(_) => Errno(libc::ENOEXEC),
        Err(error) => error,
    }
}

/// Has the kernel kill this process when its parent dies (`PROC_PDEATHSIG_CTL` of
/// `sys/procctl.h`, for the process itself).
pub(super) fn die_with_parent() -> Result<()> {
    const DEATH_SIGNAL: usize = 11;
    let signal: c_int = libc::SIGKILL;
    let at = &raw const signal as usize;
    // SAFETY: the kernel reads one int.
    unsafe { syscall(SYS_PROCCTL, [0, 0, DEATH_SIGNAL, at, 0, 0]) }?;
    Ok(())
}

/// Becomes the leader of a session of its own.
pub(super) fn setsid() -> Result<()> {
    plain(SYS_SETSID, [0; 3]).map(drop)
}

/// Changes the working directory.
pub(super) fn chdir(path: &str) -> Result<()> {
    path_call(SYS_CHDIR, path, 0)
}

fn path_call(number: usize, path: &str, second: usize) -> Result<()> {
    let path = c_string(path)?;
    // SAFETY: `path` is a string with its NUL and outlives the call; what follows is an integer.
    unsafe { syscall(number, [path.as_ptr() as usize, second, 0, 0, 0, 0]) }?;
    Ok(())
}

/// Flushes the disks, then does what the `RB_*` flags say.
pub(super) fn reboot(flags: c_int) -> Result<()> {
    let _ = plain(SYS_SYNC, [0; 3]);
    plain(SYS_REBOOT, [signed(flags), 0, 0]).map(drop)
}

/// The clock's reading, in nanoseconds.
pub(super) fn clock(id: libc::clockid_t) -> u64 {
    let mut now = zeroed::<libc::timespec>();
    // SAFETY: the kernel writes one timespec.
    let _ = unsafe {
        syscall(
            SYS_CLOCK_GETTIME,
            [signed(id), &raw mut now as usize, 0, 0, 0, 0],
        )
    };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Sleeps for this many nanoseconds.
pub(super) fn sleep(nanoseconds: u64) {
    let mut time = zeroed::<libc::timespec>();
    time.tv_sec = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX);
    time.tv_nsec = i64::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
    // SAFETY: the kernel reads one timespec.
    let _ = unsafe { syscall(SYS_NANOSLEEP, [&raw const time as usize, 0, 0, 0, 0, 0]) };
}

/// Has this process run only when nobody else wants to.
pub(super) fn be_idle() -> Result<()> {
    prioritize(libc::RTP_PRIO_IDLE)
}

/// Has this process run before all but interrupts: before the kernel's other threads, too.
pub(super) fn be_urgent() -> Result<()> {
    prioritize(libc::RTP_PRIO_REALTIME)
}

/// The last of all of a kind.
fn prioritize(kind: libc::c_ushort) -> Result<()> {
    let mut wanted = libc::rtprio {
        type_: kind,
        prio: libc::RTP_PRIO_MAX,
    };
    let at = &raw mut wanted as usize;
    let set = signed(libc::RTP_SET);
    // SAFETY: the kernel reads one rtprio.
    unsafe { syscall(SYS_RTPRIO, [set, 0, at, 0, 0, 0]) }.map(drop)
}

/// The processor's clock.
pub(super) fn ticks() -> u64 {
    // SAFETY: every amd64 has it, and the kernel leaves it to programs.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Goes round so often, which takes as many instructions each time.
pub(super) fn turn(times: u64) {
    // SAFETY: counts a register down.
    unsafe {
        asm!(
            "2: dec {left}",
            "jnz 2b",
            left = inout(reg) times.max(1) => _,
            options(nomem, nostack),
        );
    }
}

/// Reads a sysctl by number, into a buffer of `room` bytes; gives the bytes used.
pub(super) fn sysctl_read(oid: &[c_int], room: &mut [u8]) -> Result<usize> {
    sysctl(oid, Some(room), None)
}

/// How many bytes reading this sysctl would give now.
pub(super) fn sysctl_size(oid: &[c_int]) -> Result<usize> {
    sysctl(oid, None, None)
}

/// Reads a sysctl's answer to `input`, as the `sysctl.*` nodes take it.
pub(super) fn sysctl_ask(oid: &[c_int], input: &[u8], room: &mut [u8]) -> Result<usize> {
    sysctl(oid, Some(room), Some(input))
}

/// Writes a sysctl.
pub(super) fn sysctl_write(oid: &[c_int], value: &[u8]) -> Result<()> {
    let args = [
        oid.as_ptr() as usize,
        oid.len(),
        0,
        0,
        value.as_ptr() as usize,
        value.len(),
    ];
    // SAFETY: the kernel reads `oid` and `value` within their lengths.
    unsafe { syscall(SYS_SYSCTL, args) }?;
    Ok(())
}

fn sysctl(oid: &[c_int], room: Option<&mut [u8]>, input: Option<&[u8]>) -> Result<usize> {
    let (at, mut length) = room.map_or((0, 0), |room| (room.as_mut_ptr() as usize, room.len()));
    let (from, size) = input.map_or((0, 0), |input| (input.as_ptr() as usize, input.len()));
    let args = [
        oid.as_ptr() as usize,
        oid.len(),
        at,
        &raw mut length as usize,
        from,
        size,
    ];
    // SAFETY: `length` bounds what the kernel writes; it reads `oid` and `input`
    // within their lengths.
    unsafe { syscall(SYS_SYSCTL, args) }?;
    Ok(length)
}

/// Sets a variable of the kernel's environment, where modules that are loaded later
/// find their tunables.
pub(super) fn kenv_set(name: &str, value: &str) -> Result<()> {
    const KENV_SET: usize = 1;
    let (name, value) = (c_string(name)?, c_string(value)?);
    let length = value.as_bytes_with_nul().len();
    let (name_at, value_at) = (name.as_ptr() as usize, value.as_ptr() as usize);
    // SAFETY: two strings with their NUL, which the kernel reads within `length`.
    unsafe { syscall(SYS_KENV, [KENV_SET, name_at, value_at, length, 0, 0]) }?;
    Ok(())
}

/// Loads a kernel module, by its file's path or, without a slash or dot, by its name; gives
/// its file id.
pub(super) fn kldload(path: &str) -> Result<c_int> {
    let path = c_string(path)?;
    // SAFETY: a string with its NUL.
    unsafe { syscall(SYS_KLDLOAD, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(as_fd)
}

/// The file id of a loaded file.
pub(super) fn kldfind(name: &str) -> Result<c_int> {
    let name = c_string(name)?;
    // SAFETY: a string with its NUL.
    unsafe { syscall(SYS_KLDFIND, [name.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(as_fd)
}

/// Unloads a file.
pub(super) fn kldunload(id: c_int) -> Result<()> {
    plain(SYS_KLDUNLOADF, [signed(id), 0, 0]).map(drop)
}

/// The id of the file loaded after `id` (0: the first); 0 at the end.
pub(super) fn kldnext(id: c_int) -> Result<c_int> {
    plain(SYS_KLDNEXT, [signed(id), 0, 0]).map(as_fd)
}

/// `struct kld_file_stat` of `sys/linker.h`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct KldFileStat {
    version: c_int,
    name: [u8; 1024],
    refs: c_int,
    id: c_int,
    address: usize,
    size: usize,
    pathname: [u8; 1024],
}

// SAFETY: integers and arrays of integers; the address is only a number.
unsafe impl Plain for KldFileStat {}

impl KldFileStat {
    /// The file's name, references, size in bytes, and path.
    pub(super) fn parts(&self) -> (String, c_int, usize, String) {
        let path = text_of(&self.pathname);
        (text_of(&self.name), self.refs, self.size, path)
    }
}

/// What is known of a loaded file.
pub(super) fn kldstat(id: c_int) -> Result<KldFileStat> {
    let mut stat = zeroed::<KldFileStat>();
    stat.version = c_int::try_from(size_of::<KldFileStat>()).unwrap_or(0);
    // SAFETY: `version` tells the kernel the structure's size.
    unsafe {
        syscall(
            SYS_KLDSTAT,
            [signed(id), &raw mut stat as usize, 0, 0, 0, 0],
        )
    }?;
    Ok(stat)
}

/// The text before the first NUL.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// One named parameter of jail_set(2), jail_get(2) or nmount(2).
pub(super) enum Parameter<'a> {
    /// Text, passed with its NUL.
    Text(&'a str, &'a str),
    /// A flag: present means set.
    Flag(&'a str),
    /// A number.
    Number(&'a str, c_int),
}

/// Why jail_set(2), jail_get(2) or nmount(2) would not.
#[derive(Debug)]
pub(super) struct Refused {
    /// The error.
    pub(super) errno: Errno,
    /// What the kernel said about it; often empty.
    pub(super) message: String,
}

fn with_parameters(
    number: usize,
    list: &[Parameter<'_>],
    flags: c_int,
) -> core::result::Result<c_int, Refused> {
    let mut message = vec![0u8; 256];
    let refused = |errno, message: &[u8]| Refused {
        errno,
        message: text_of(message),
    };
    let mut owned = list
        .iter()
        .map(Parameter::bytes)
        .collect::<Result<Vec<_>>>()
        .map_err(|errno| refused(errno, b"a name or value has a NUL in it"))?;
    let mut vectors: Vec<libc::iovec> = Vec::new();
    for (name, value) in &mut owned {
        vectors.push(name_vector(name));
        vectors.push(value_vector(value));
    }
    vectors.push(name_vector(c"errmsg"));
    vectors.push(value_vector(&mut message));
    let args = [
        vectors.as_ptr() as usize,
        vectors.len(),
        signed(flags),
        0,
        0,
        0,
    ];
    // SAFETY: each iovec names memory in `owned`, `message` or a constant, with its
    // true length, all alive until the call returns; the kernel writes only to values.
    match unsafe { syscall(number, args) } {
        Ok(value) => Ok(as_fd(value)),
        Err(errno) => Err(refused(errno, &message)),
    }
}

impl Parameter<'_> {
    fn bytes(&self) -> Result<(CString, Vec<u8>)> {
        Ok(match self {
            Parameter::Text(name, value) => {
                (c_string(name)?, c_string(value)?.into_bytes_with_nul())
            }
            Parameter::Flag(name) => (c_string(name)?, Vec::new()),
            Parameter::Number(name, value) => (c_string(name)?, value.to_ne_bytes().to_vec()),
        })
    }
}

fn name_vector(name: &CStr) -> libc::iovec {
    libc::iovec {
        iov_base: name.as_ptr().cast_mut().cast::<c_void>(),
        iov_len: name.to_bytes_with_nul().len(),
    }
}

fn value_vector(value: &mut [u8]) -> libc::iovec {
    let base = if value.is_empty() {
        null_mut()
    } else {
        value.as_mut_ptr().cast::<c_void>()
    };
    libc::iovec {
        iov_base: base,
        iov_len: value.len(),
    }
}

/// Makes, changes or (by flags) attaches to a jail; gives its number.
pub(super) fn jail_set(
    list: &[Parameter<'_>],
    flags: c_int,
) -> core::result::Result<c_int, Refused> {
    with_parameters(SYS_JAIL_SET, list, flags)
}

/// The number of the jail that the parameters describe.
pub(super) fn jail_get(list: &[Parameter<'_>]) -> core::result::Result<c_int, Refused> {
    with_parameters(SYS_JAIL_GET, list, 0)
}

/// Puts this process into a jail for good.
pub(super) fn jail_attach(jid: c_int) -> Result<()> {
    plain(SYS_JAIL_ATTACH, [signed(jid), 0, 0]).map(drop)
}

/// Removes a jail, its processes and its network stack.
pub(super) fn jail_remove(jid: c_int) -> Result<()> {
    plain(SYS_JAIL_REMOVE, [signed(jid), 0, 0]).map(drop)
}

/// Mounts a file system.
pub(super) fn nmount(list: &[Parameter<'_>], flags: c_int) -> core::result::Result<(), Refused> {
    with_parameters(SYS_NMOUNT, list, flags).map(drop)
}

/// Gives this process (and the sockets it opens from now on) another FIB.
pub(super) fn setfib(fib: c_int) -> Result<()> {
    plain(SYS_SETFIB, [signed(fib), 0, 0]).map(drop)
}

/// Gives this process the user's number, for good.
pub(super) fn set_user(user: u32) -> Result<()> {
    plain(SYS_SETUID, [user as usize, 0, 0]).map(drop)
}

/// Makes this group the only one that this process is in.
pub(super) fn set_groups(group: u32) -> Result<()> {
    let at = &raw const group as usize;
    // SAFETY: the kernel reads one number.
    unsafe { syscall(SYS_SETGROUPS, [1, at, 0, 0, 0, 0]) }?;
    plain(SYS_SETGID, [group as usize, 0, 0]).map(drop)
}
