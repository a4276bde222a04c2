// SPDX-License-Identifier: BSD-2-Clause
//! Peers in C, by the interface of `peer.h`: linked in, or from shared libraries.

use crate::clock::Watch;
use crate::contender::{Batch, Bytes, Contender, Lookup, One, Table};
use crate::routes::Route;
use anyhow::{Context, ensure};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::time::Duration;

/// `WEFT_PEER_ABI`.
const ABI: u32 = 1;

/// `struct weft_lookup`.
#[repr(C)]
struct RawLookup {
    table: *const (),
    one: Option<One>,
    batch: Option<Batch>,
}

/// `struct weft_bytes`.
#[repr(C)]
#[derive(Default)]
struct RawBytes {
    lookup: u64,
    all: u64,
}

type Apply = unsafe extern "C" fn(*mut c_void, *const Route, usize) -> c_int;

/// `struct weft_peer`, whose comments say what the functions do.
#[repr(C)]
pub(crate) struct RawPeer {
    abi: u32,
    name: *const c_char,
    version: *const c_char,
    patience: usize,
    open: Option<unsafe extern "C" fn(*const Route, usize) -> *mut c_void>,
    build: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void)>,
    lookup: Option<unsafe extern "C" fn(*mut c_void, *mut RawLookup)>,
    bytes: Option<unsafe extern "C" fn(*mut c_void, *mut RawBytes)>,
    freeze: Option<unsafe extern "C" fn(*mut c_void)>,
    prepare: Option<Apply>,
    commit: Option<Apply>,
}

/// `weft_peer`.
pub(crate) type Entry = unsafe extern "C" fn(usize) -> *const RawPeer;

/// A peer that was found complete.
#[derive(Clone)]
pub struct CPeer {
    name: String,
    version: String,
    patience: usize,
    calls: Calls,
}

/// The functions of a peer.
#[derive(Clone, Copy)]
struct Calls {
    open: unsafe extern "C" fn(*const Route, usize) -> *mut c_void,
    build: unsafe extern "C" fn(*mut c_void) -> c_int,
    close: unsafe extern "C" fn(*mut c_void),
    lookup: unsafe extern "C" fn(*mut c_void, *mut RawLookup),
    bytes: unsafe extern "C" fn(*mut c_void, *mut RawBytes),
    freeze: Option<unsafe extern "C" fn(*mut c_void)>,
    change: Option<(Apply, Apply)>,
}

/// The peers in a shared library, which stays loaded for good.
///
/// # Safety
///
/// The library must keep to `peer.h`: its code runs in this process.
pub unsafe fn load(path: &Path) -> anyhow::Result<Vec<CPeer>> {
    // SAFETY: the caller trusts the library.
    let library =
        unsafe { Library::new(path) }.with_context(|| format!("cannot load {}", path.display()))?;
    // SAFETY: `peer.h` says what the symbol is.
    let entry = *unsafe { library.get::<Entry>("weft_peer") }
        .with_context(|| format!("{} is no peer", path.display()))?;
    std::mem::forget(library);
    // SAFETY: the caller trusts the library, and it stays loaded.
    unsafe { peers(entry) }.with_context(|| format!("in {}", path.display()))
}

/// All peers behind one function.
///
/// # Safety
///
/// It must keep to `peer.h`, and its code stay where it is.
pub(crate) unsafe fn peers(entry: Entry) -> anyhow::Result<Vec<CPeer>> {
    (0..)
        // SAFETY: as the caller promises, so for the next.
        .map(|index| unsafe { entry(index).as_ref() })
        .map_while(|raw| raw)
        // SAFETY: see above.
        .map(|raw| unsafe { CPeer::new(raw) })
        .collect()
}

impl CPeer {
    /// # Safety
    ///
    /// As for [`peers`].
    unsafe fn new(raw: &RawPeer) -> anyhow::Result<Self> {
        ensure!(
            raw.abi == ABI,
            "a peer of interface version {}, known is {ABI}",
            raw.abi
        );
        // SAFETY: as the caller promises, so for the next.
        let name = unsafe { text(raw.name) }.context("a peer without a name")?;
        // SAFETY: see above.
        let version = unsafe { text(raw.version) }
            .with_context(|| format!("peer '{name}' has no version"))?;
        let missing = |function| format!("peer '{name}' has no function '{function}'");
        let calls = Calls {
            open: raw.open.with_context(|| missing("open"))?,
            build: raw.build.with_context(|| missing("build"))?,
            close: raw.close.with_context(|| missing("close"))?,
            lookup: raw.lookup.with_context(|| missing("lookup"))?,
            bytes: raw.bytes.with_context(|| missing("bytes"))?,
            freeze: raw.freeze,
            change: raw.prepare.zip(raw.commit),
        };
        let patience = match raw.patience {
            0 => usize::MAX,
            routes => routes,
        };
        Ok(Self {
            name,
            version,
            patience,
            calls,
        })
    }
}

/// # Safety
///
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the caller promises, and it is not null.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

impl Contender for CPeer {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn patience(&self) -> usize {
        self.patience
    }

    fn changes(&self) -> bool {
        self.calls.change.is_some()
    }

    fn table(&self) -> Box<dyn Table> {
        Box::new(CTable {
            calls: self.calls,
            handles: Vec::new(),
        })
    }
}

/// One handle of the peer's for each FIB.
struct CTable {
    calls: Calls,
    handles: Vec<*mut c_void>,
}

impl Table for CTable {
    fn add(&mut self, routes: &[Route]) -> anyhow::Result<Duration> {
        // SAFETY: an array of that many routes, as `peer.h` has it.
        let handle = unsafe { (self.calls.open)(routes.as_ptr(), routes.len()) };
        ensure!(!handle.is_null(), "the peer has no memory for its routes");
        self.handles.push(handle);
        let watch = Watch::start();
        // SAFETY: opened above, and not built before.
        let error = unsafe { (self.calls.build)(handle) };
        let time = watch.elapsed();
        done(error)?;
        Ok(time)
    }

    fn lookup(&self, fib: usize) -> Lookup<'_> {
        let mut raw = RawLookup {
            table: ptr::null(),
            one: None,
            batch: None,
        };
        // SAFETY: a handle that was built, and room for the answer.
        unsafe { (self.calls.lookup)(self.handles[fib], &mut raw) };
        let one = raw.one.expect("peer.h: 'one' is never NULL");
        // SAFETY: good until the table is changed or closed, for which it must
        // be borrowed mutably.
        unsafe { Lookup::new(raw.table, one, raw.batch) }
    }

    fn bytes(&self) -> Bytes {
        let mut sum = Bytes::default();
        for &handle in &self.handles {
            let mut raw = RawBytes::default();
            // SAFETY: a handle that was built, and room for the answer.
            unsafe { (self.calls.bytes)(handle, &mut raw) };
            sum.lookup += raw.lookup;
            sum.all += raw.all;
        }
        sum
    }

    fn prepare(&mut self, fib: usize, changes: &[Route]) -> anyhow::Result<()> {
        let (prepare, _) = self.calls.change.context("this peer takes no changes")?;
        // SAFETY: a handle that was built, and an array of that many changes.
        done(unsafe { prepare(self.handles[fib], changes.as_ptr(), changes.len()) })
    }

    fn commit(&mut self, fib: usize, changes: &[Route]) -> anyhow::Result<()> {
        let (_, commit) = self.calls.change.context("this peer takes no changes")?;
        // SAFETY: as above; `prepare` was called with the same changes.
        done(unsafe { commit(self.handles[fib], changes.as_ptr(), changes.len()) })
    }

    fn freeze(&mut self) {
        if let Some(freeze) = self.calls.freeze {
            for &handle in &self.handles {
                // SAFETY: a handle that was built.
                unsafe { freeze(handle) };
            }
        }
    }
}

impl Drop for CTable {
    fn drop(&mut self) {
        for &handle in &self.handles {
            // SAFETY: opened, and closed here only.
            unsafe { (self.calls.close)(handle) };
        }
    }
}

fn done(error: c_int) -> anyhow::Result<()> {
    ensure!(
        error == 0,
        "the peer says: {}",
        std::io::Error::from_raw_os_error(error)
    );
    Ok(())
}
