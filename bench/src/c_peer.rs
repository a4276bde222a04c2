// SPDX-License-Identifier: BSD-2-Clause
//! Peers in C, by the interface of `peer.h`: linked in, or from shared libraries.

use crate::clock::Watch;
use crate::contender::{Batch, Bytes, Changing, Contender, Ends, Live, Lookup, One, Table};
use crate::epoch::{Elapsed, after_readers};
use crate::family::Family;
use crate::routes::Route;
use anyhow::{Context, bail, ensure};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;
use std::time::Duration;
use weft_engine::sim::epoch::Section;

/// `WEFT_PEER_ABI`.
const ABI: u32 = 2;

/// `struct weft_route`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawRoute {
    prefix: RawPrefix,
    class: u32,
    plen: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
union RawPrefix {
    four: [u32; 4],
    six: [u8; 16],
}

impl RawRoute {
    fn new<K: Family>(route: &Route<K>) -> Self {
        let bits = route.prefix.bits();
        let prefix = match K::NUMBER {
            4 => RawPrefix {
                four: [bits as u32, 0, 0, 0],
            },
            _ => RawPrefix {
                six: bits.to_be_bytes(),
            },
        };
        Self {
            prefix,
            class: route.class,
            plen: u32::from(route.plen),
        }
    }
}

/// `struct weft_lookup`, of which a family's peers know their half.
#[repr(C)]
struct RawLookup<K: Family> {
    table: *const (),
    one: Option<One<K>>,
    batch: Option<Batch<K>>,
}

/// `struct weft_bytes`.
#[repr(C)]
#[derive(Default)]
struct RawBytes {
    lookup: u64,
    all: u64,
}

type Open = unsafe extern "C" fn(*const RawRoute, usize) -> *mut c_void;
type Apply = unsafe extern "C" fn(*mut c_void, *const RawRoute, usize) -> c_int;
type Tell = unsafe extern "C" fn(*mut c_void);

/// `struct weft_peer`, whose comments say what the functions do.
#[repr(C)]
pub(crate) struct RawPeer {
    abi: u32,
    family: u32,
    name: *const c_char,
    version: *const c_char,
    patience: usize,
    open: Option<Open>,
    build: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    close: Option<Tell>,
    lookup: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    bytes: Option<unsafe extern "C" fn(*mut c_void, *mut RawBytes)>,
    freeze: Option<Tell>,
    prepare: Option<Apply>,
    commit: Option<Apply>,
    release: Option<Tell>,
    gathers: [u32; 2],
}

/// `weft_peer`.
pub(crate) type Entry = unsafe extern "C" fn(usize) -> *const RawPeer;

/// A peer that was found complete.
#[derive(Clone)]
pub struct CPeer<K> {
    name: String,
    version: String,
    patience: usize,
    gathers: Vec<Duration>,
    calls: Calls,
    family: PhantomData<K>,
}

/// The functions of a peer.
#[derive(Clone, Copy)]
struct Calls {
    open: Open,
    build: unsafe extern "C" fn(*mut c_void) -> c_int,
    close: Tell,
    lookup: unsafe extern "C" fn(*mut c_void, *mut c_void),
    bytes: unsafe extern "C" fn(*mut c_void, *mut RawBytes),
    freeze: Option<Tell>,
    change: Option<(Apply, Apply)>,
    release: Option<Tell>,
}

/// The peers of both families.
#[derive(Clone, Default)]
pub struct CPeers {
    /// Those of IPv4.
    pub ipv4: Vec<CPeer<u32>>,
    /// Those of IPv6.
    pub ipv6: Vec<CPeer<u128>>,
}

/// The peers in a shared library, which stays loaded for good.
///
/// # Safety
///
/// The library must keep to `peer.h`: its code runs in this process.
pub unsafe fn load(path: &Path) -> anyhow::Result<CPeers> {
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
pub(crate) unsafe fn peers(entry: Entry) -> anyhow::Result<CPeers> {
    let mut peers = CPeers::default();
    for index in 0.. {
        // SAFETY: as the caller promises.
        let Some(raw) = (unsafe { entry(index).as_ref() }) else {
            break;
        };
        ensure!(
            raw.abi == ABI,
            "a peer of interface version {}, known is {ABI}",
            raw.abi
        );
        match raw.family {
            // SAFETY: as the caller promises, so for the next.
            4 => peers.ipv4.push(unsafe { CPeer::new(raw) }?),
            // SAFETY: see above.
            6 => peers.ipv6.push(unsafe { CPeer::new(raw) }?),
            family => bail!("a peer of family {family}, allowed are 4 and 6"),
        }
    }
    Ok(peers)
}

impl<K> CPeer<K> {
    /// # Safety
    ///
    /// As for [`peers`].
    unsafe fn new(raw: &RawPeer) -> anyhow::Result<Self> {
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
            release: raw.release,
        };
        let patience = match raw.patience {
            0 => usize::MAX,
            routes => routes,
        };
        let mut gathers: Vec<Duration> = raw
            .gathers
            .iter()
            .filter(|&&time| time != 0)
            .map(|&time| Duration::from_millis(u64::from(time)))
            .collect();
        gathers.dedup();
        Ok(Self {
            name,
            version,
            patience,
            gathers,
            calls,
            family: PhantomData,
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

impl<K: Family> Contender<K> for CPeer<K> {
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

    fn gathers(&self) -> &[Duration] {
        &self.gathers
    }

    fn is_live(&self) -> bool {
        self.changes() && self.calls.release.is_some()
    }

    fn table(&self) -> Box<dyn Table<K>> {
        Box::new(CTable {
            calls: self.calls,
            fibs: Vec::new(),
        })
    }
}

/// One handle of the peer's for each FIB.
struct CTable {
    calls: Calls,
    fibs: Vec<Fib>,
}

/// A handle that was opened, and is closed when this is dropped.
struct Fib {
    calls: Calls,
    handle: *mut c_void,
    /// What was prepared since the last commit.
    prepared: Vec<RawRoute>,
    /// What the peer took out when it last committed.
    taken_out: TakenOut,
}

/// When a peer may release what it took out.
enum TakenOut {
    Nothing,
    /// Nobody looks up beside a change.
    Now,
    /// When readers have ended their sections.
    After(Elapsed),
}

// SAFETY: nothing of a peer is bound to a thread: with `release` `peer.h` says so,
// and without it a handle never leaves its thread.
unsafe impl Send for Fib {}

impl Fib {
    fn open<K: Family>(calls: Calls, routes: &[Route<K>]) -> anyhow::Result<Self> {
        let routes: Vec<RawRoute> = routes.iter().map(RawRoute::new).collect();
        // SAFETY: an array of that many routes, as `peer.h` has it.
        let handle = unsafe { (calls.open)(routes.as_ptr(), routes.len()) };
        ensure!(!handle.is_null(), "the peer has no memory for its routes");
        Ok(Self {
            calls,
            handle,
            prepared: Vec::new(),
            taken_out: TakenOut::Nothing,
        })
    }

    /// # Safety
    ///
    /// The peer must be of this family.
    unsafe fn lookup<K: Family>(calls: Calls, handle: *mut c_void) -> Lookup<'static, K> {
        let mut raw = RawLookup::<K> {
            table: ptr::null(),
            one: None,
            batch: None,
        };
        // SAFETY: a handle that was built, and room for the answer, whose functions
        // are of the peer's family.
        unsafe { (calls.lookup)(handle, (&raw mut raw).cast()) };
        let one = raw.one.expect("peer.h: 'one' is never NULL");
        // SAFETY: the callers give it a lifetime.
        unsafe { Lookup::new(raw.table, one, raw.batch) }
    }

    fn prepare<K: Family>(&mut self, changes: &[Route<K>]) -> anyhow::Result<()> {
        let (prepare, _) = self.calls.change.context("this peer takes no changes")?;
        match std::mem::replace(&mut self.taken_out, TakenOut::Nothing) {
            TakenOut::Nothing => {}
            TakenOut::Now => self.release(),
            TakenOut::After(elapsed) => {
                elapsed.wait();
                self.release();
            }
        }
        let before = self.prepared.len();
        self.prepared.extend(changes.iter().map(RawRoute::new));
        let changes = &self.prepared[before..];
        // SAFETY: a handle that was built, and an array of that many changes.
        done(unsafe { prepare(self.handle, changes.as_ptr(), changes.len()) })
    }

    fn release(&self) {
        if let Some(release) = self.calls.release {
            // SAFETY: a handle that was built, and no section is left that could
            // use what its last commit took out.
            unsafe { release(self.handle) };
        }
    }

    fn commit(&mut self, is_live: bool) -> anyhow::Result<()> {
        let (_, commit) = self.calls.change.context("this peer takes no changes")?;
        // SAFETY: a handle that was built; these are the changes it was prepared for.
        let error = unsafe { commit(self.handle, self.prepared.as_ptr(), self.prepared.len()) };
        self.prepared.clear();
        self.taken_out = if is_live {
            TakenOut::After(after_readers())
        } else {
            TakenOut::Now
        };
        done(error)
    }
}

impl Drop for Fib {
    fn drop(&mut self) {
        // SAFETY: opened, and closed here only, where no lookup borrows it.
        unsafe { (self.calls.close)(self.handle) };
    }
}

impl<K: Family> Table<K> for CTable {
    fn add(&mut self, routes: &[Route<K>]) -> anyhow::Result<Duration> {
        let fib = Fib::open(self.calls, routes)?;
        let watch = Watch::start();
        // SAFETY: opened above, and not built before.
        let error = unsafe { (self.calls.build)(fib.handle) };
        let time = watch.elapsed();
        self.fibs.push(fib);
        done(error)?;
        Ok(time)
    }

    fn lookup(&self, fib: usize) -> Lookup<'_, K> {
        // SAFETY: good until the table is changed or closed, for which it must be
        // borrowed mutably; and `CPeer<K>` makes tables of its family.
        unsafe { Fib::lookup(self.calls, self.fibs[fib].handle) }
    }

    fn bytes(&self) -> Bytes {
        let mut sum = Bytes::default();
        for fib in &self.fibs {
            let mut raw = RawBytes::default();
            // SAFETY: a handle that was built, and room for the answer.
            unsafe { (self.calls.bytes)(fib.handle, &mut raw) };
            sum.lookup += raw.lookup;
            sum.all += raw.all;
        }
        sum
    }

    fn prepare(&mut self, fib: usize, changes: &[Route<K>]) -> anyhow::Result<()> {
        self.fibs[fib].prepare(changes)
    }

    fn commit(&mut self, fib: usize, _: &[Route<K>]) -> anyhow::Result<()> {
        self.fibs[fib].commit(false)
    }

    fn freeze(&mut self) {
        if let Some(freeze) = self.calls.freeze {
            for fib in &self.fibs {
                // SAFETY: a handle that was built.
                unsafe { freeze(fib.handle) };
            }
        }
    }

    fn split(&mut self, fib: usize) -> anyhow::Result<Ends<'_, K>> {
        ensure!(
            self.calls.release.is_some(),
            "this peer is not looked up in while it is changed"
        );
        let fib = &mut self.fibs[fib];
        let reading = Reading {
            calls: fib.calls,
            handle: fib.handle,
        };
        Ok((Box::new(Writing(fib)), Box::new(reading)))
    }
}

/// The end that changes a FIB beside its readers.
struct Writing<'t>(&'t mut Fib);

impl<K: Family> Changing<K> for Writing<'_> {
    fn prepare(&mut self, changes: &[Route<K>]) -> anyhow::Result<()> {
        self.0.prepare(changes)
    }

    fn commit(&mut self, _: &[Route<K>]) -> anyhow::Result<()> {
        self.0.commit(true)
    }
}

/// The end that looks up beside changes. It lives no longer than the handle, for
/// which `Ends` has a lifetime.
struct Reading {
    calls: Calls,
    handle: *mut c_void,
}

// SAFETY: a peer with `release` takes "lookup" on any thread.
unsafe impl Send for Reading {}

impl<K: Family> Live<K> for Reading {
    fn lookup<'s>(&'s self, _: &'s Section) -> Lookup<'s, K> {
        // SAFETY: good until the section ends, as `peer.h` says, for `prepare`
        // waits for it before it lets the peer release anything.
        unsafe { Fib::lookup(self.calls, self.handle) }
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
