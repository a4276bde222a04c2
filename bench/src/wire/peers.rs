// SPDX-License-Identifier: BSD-2-Clause
//! Checksums from shared libraries, `bench/wire_peer.h`.

use anyhow::{Context, ensure};
use libloading::{Library, Symbol};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

#[repr(C)]
struct Piece {
    bytes: *const u8,
    len: usize,
}

#[repr(C)]
struct Peer {
    abi: u32,
    name: *const c_char,
    version: *const c_char,
    open: unsafe extern "C" fn(*const Piece, usize) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    sum: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> u16,
}

const ABI: u32 = 1;

/// A peer of a library that stays loaded.
#[derive(Clone)]
pub struct Loaded {
    peer: &'static Peer,
    /// What it calls itself.
    pub(super) name: String,
    pub(super) version: String,
}

/// All peers of a library.
///
/// # Safety
///
/// Its code is run; it is what `bench/wire_peer.h` says.
pub unsafe fn load(path: &Path) -> anyhow::Result<Vec<Loaded>> {
    let shown = path.display();
    // SAFETY: the caller's promise.
    let library = unsafe { Library::new(path) }.with_context(|| format!("{shown}: not loaded"))?;
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the function's type is that of the header.
    let export: Symbol<'_, unsafe extern "C" fn(c_uint) -> *const Peer> =
        unsafe { library.get(b"weft_wire_peer\0") }
            .with_context(|| format!("{shown}: exports no weft_wire_peer"))?;
    let mut all = Vec::new();
    // SAFETY: the caller's promise; what it returns stays valid.
    while let Some(peer) = unsafe { export(all.len() as c_uint).as_ref() } {
        ensure!(
            peer.abi == ABI,
            "{shown}: its ABI is {}, here it is {ABI}",
            peer.abi
        );
        let text = |text| {
            // SAFETY: the caller's promise: texts end with 0.
            let text = unsafe { CStr::from_ptr(text) };
            text.to_string_lossy().into_owned()
        };
        all.push(Loaded {
            peer,
            name: text(peer.name),
            version: text(peer.version),
        });
    }
    ensure!(!all.is_empty(), "{shown}: has no peer");
    Ok(all)
}

/// A packet that a peer has made of pieces.
pub(super) struct Packet<'p> {
    peer: &'static Peer,
    packet: *mut c_void,
    len: usize,
    _pieces: &'p [&'p [u8]],
}

impl<'p> Packet<'p> {
    /// The packet.
    pub(super) fn new(peer: &Loaded, pieces: &'p [&'p [u8]]) -> Self {
        let as_c = |piece: &&[u8]| Piece {
            bytes: piece.as_ptr(),
            len: piece.len(),
        };
        let list: Vec<Piece> = pieces.iter().map(as_c).collect();
        // SAFETY: the pieces are there for as long as this is.
        let packet = unsafe { (peer.peer.open)(list.as_ptr(), list.len()) };
        Self {
            peer: peer.peer,
            packet,
            len: pieces.iter().map(|piece| piece.len()).sum(),
            _pieces: pieces,
        }
    }

    /// Its checksum, in host order.
    #[inline]
    pub(super) fn sum(&self) -> u16 {
        // SAFETY: the packet is open, and has so many bytes.
        let sum = unsafe { (self.peer.sum)(self.packet, self.len as c_int, 0) };
        u16::from_be(sum)
    }
}

impl Drop for Packet<'_> {
    fn drop(&mut self) {
        // SAFETY: open, and not used again.
        unsafe { (self.peer.close)(self.packet) }
    }
}
