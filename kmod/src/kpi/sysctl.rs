// SPDX-License-Identifier: BSD-2-Clause
//! sysctl(9): a tree of OIDs that goes when its owner does.

use alloc::boxed::Box;
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use bitflags::bitflags;
use weft_bindings::kernel as c;
use weft_engine::stats::Writer;

use super::context::{Sleepable, Vnet, with_current_vnet};
use super::errno::{Errno, returned};
use super::jail;
use super::log;
use super::memory::{collected, try_box};
use super::shared::Shared;
use super::text::Text;

bitflags! {
    /// Who may do what with an OID.
    #[derive(Clone, Copy)]
    pub(crate) struct Access: u32 {
        /// Anyone may read it.
        const READ = c::CTLFLAG_RD;
        /// Root may write it; root of a jail only together with `VNET`.
        const WRITE = c::CTLFLAG_WR;
        /// It belongs to the reader's network stack, so a vnet jail has its own.
        const VNET = c::CTLFLAG_VNET;
        /// loader(8) may set it before the module is loaded, by the same name.
        const TUNABLE = c::CTLFLAG_TUN;
        /// The kernel does not set it by itself to what loader(8) has set.
        const UNFETCHED = c::CTLFLAG_NOFETCH;
        /// It counts; it tunes nothing.
        const STATS = c::CTLFLAG_STATS;
    }
}

impl Access {
    /// That of a figure.
    pub(crate) const FIGURE: Self = Self::READ.union(Self::STATS);

    /// That of a setting.
    pub(crate) fn of(writer: Writer) -> Self {
        match writer {
            Writer::Host => Self::READ | Self::WRITE,
            Writer::HostOrLoader => Self::READ | Self::WRITE | Self::TUNABLE,
            Writer::Loader => Self::READ | Self::TUNABLE,
            Writer::Jail => Self::READ | Self::WRITE | Self::VNET,
        }
    }
}

/// A node to hang OIDs from.
#[derive(Clone, Copy)]
pub(crate) struct Parent(*mut c::sysctl_oid_list);

// SAFETY: the kernel's tree has a lock of its own, which no thread is bound to.
unsafe impl Send for Parent {}

impl Parent {
    /// # Safety
    /// The list of a node's children, which is there as long as what is added to it.
    pub(super) unsafe fn from_raw(children: *mut c::sysctl_oid_list) -> Self {
        Self(children)
    }
}

/// A number that is computed when it is read. Handlers run in the thread of the
/// system call, which may sleep.
pub(crate) trait Number {
    /// Whether it is nothing that a jail is to know.
    const OF_HOST: bool = false;

    /// The value.
    fn read(sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64;

    /// Takes a new value. Never called for an OID without [`Access::WRITE`].
    ///
    /// # Errors
    /// `EINVAL` for a value out of range, which has been logged with the range.
    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, _value: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// One of many numbers that are alike but for what they are about.
pub(crate) trait Indexed {
    /// Whether the OID of that index is nothing that a jail is to know.
    fn is_of_host(_index: u32) -> bool {
        false
    }

    /// The value of the OID that was added with that index.
    fn read(index: u32, sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64;

    /// Takes a new value. Never called but for an OID that was added as a setting.
    ///
    /// # Errors
    /// `EINVAL` for a value out of range, which has been logged with the range.
    fn write(
        _index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        _value: u64,
    ) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// The longest line of text, its NUL included.
pub(crate) const LINE: usize = 256;

/// A line of text that is made when it is read.
pub(crate) trait Line {
    /// The line.
    fn read(sleepable: &mut Sleepable) -> Text<LINE>;
}

/// The OIDs of one owner. Dropping it removes them all and waits for handlers
/// that run.
pub(crate) struct Sysctls {
    /// Boxed, since the kernel's list points into it.
    context: Box<MaybeUninit<c::sysctl_ctx_list>>,
}

// SAFETY: the list is this value's own, and the tree as above.
unsafe impl Send for Sysctls {}
// SAFETY: nothing is done to it by a shared reference.
unsafe impl Sync for Sysctls {}

impl Sysctls {
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(_sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let mut context = try_box(MaybeUninit::uninit()).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: writes the list's head, in place.
        unsafe { c::sysctl_ctx_init(context.as_mut_ptr()) };
        Ok(Self { context })
    }

    /// `net`, which the kernel has.
    pub(crate) fn net() -> Parent {
        // SAFETY: the address of a static node.
        Parent(unsafe { c::weft_shim_sysctl_net() })
    }

    /// `hw`, likewise.
    pub(crate) fn hw() -> Parent {
        // SAFETY: as above.
        Parent(unsafe { c::weft_shim_sysctl_hw() })
    }

    /// Adds a node.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn node(
        &mut self,
        parent: Parent,
        name: &'static CStr,
        description: &'static CStr,
    ) -> Result<Parent, Errno> {
        self.node_of(parent, &Oid::plain(name, description))
    }

    /// Adds a node whose name and description are made for it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn node_said(
        &mut self,
        parent: Parent,
        name: &CStr,
        description: &CStr,
    ) -> Result<Parent, Errno> {
        self.node_of(parent, &Oid::plain(name, description))
    }

    /// Adds a node whose name is one of many, and whose label says of what. Readers
    /// of figures take the name for the label's value.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn node_labelled(
        &mut self,
        parent: Parent,
        name: &CStr,
        label: &'static CStr,
        description: &CStr,
    ) -> Result<Parent, Errno> {
        let oid = Oid::plain(name, description).labelled(Some(label));
        self.node_of(parent, &oid)
    }

    fn node_of(&mut self, parent: Parent, oid: &Oid<'_>) -> Result<Parent, Errno> {
        let kind = c::CTLTYPE_NODE | c::CTLFLAG_RD | c::CTLFLAG_MPSAFE;
        let oid = self.add(parent, oid, kind, None, c"N")?;
        // SAFETY: the node that was just added.
        Ok(Parent(unsafe { c::weft_shim_sysctl_children(oid) }))
    }

    /// Adds a line of text that is made when it is read.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn line<L: Line>(
        &mut self,
        parent: Parent,
        name: &'static CStr,
        description: &'static CStr,
    ) -> Result<(), Errno> {
        self.add_line::<L>(parent, name, Access::READ, description)
    }

    /// Adds a line that loader(8) sets by the same name, which its owner asks for itself.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn loader_line<L: Line>(
        &mut self,
        parent: Parent,
        name: &'static CStr,
        description: &'static CStr,
    ) -> Result<(), Errno> {
        let access = Access::READ | Access::TUNABLE | Access::UNFETCHED;
        self.add_line::<L>(parent, name, access, description)
    }

    fn add_line<L: Line>(
        &mut self,
        parent: Parent,
        name: &'static CStr,
        access: Access,
        description: &'static CStr,
    ) -> Result<(), Errno> {
        let kind = c::CTLTYPE_STRING | c::CTLFLAG_MPSAFE | access.bits();
        let handler: c::weft_sysctl_handler = Some(handle_line::<L>);
        self.add(parent, &Oid::plain(name, description), kind, handler, c"A")?;
        Ok(())
    }

    /// Adds a number of 64 bits.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn number<N: Number>(
        &mut self,
        parent: Parent,
        name: &'static CStr,
        access: Access,
        description: &'static CStr,
    ) -> Result<(), Errno> {
        let kind = c::CTLTYPE_U64 | c::CTLFLAG_MPSAFE | access.bits();
        let handler: c::weft_sysctl_handler = Some(handle_number::<N>);
        self.add(parent, &Oid::plain(name, description), kind, handler, c"QU")?;
        Ok(())
    }

    /// Adds a number of 64 bits to be read, which is told its index; with a label if
    /// its name is one of many.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[cfg(feature = "test")]
    pub(crate) fn number_of<N: Indexed>(
        &mut self,
        parent: Parent,
        name: &CStr,
        label: Option<&'static CStr>,
        index: u32,
        description: &'static CStr,
    ) -> Result<(), Errno> {
        let oid = Oid::plain(name, description).at(index).labelled(label);
        self.indexed::<N>(parent, &oid, Access::FIGURE)
    }

    /// Adds a setting, a number of 64 bits that root may write, which is told its index.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[cfg(feature = "test")]
    pub(crate) fn setting_of<N: Indexed>(
        &mut self,
        parent: Parent,
        name: &CStr,
        index: u32,
        description: &'static CStr,
    ) -> Result<(), Errno> {
        let oid = Oid::plain(name, description).at(index);
        self.indexed::<N>(parent, &oid, Access::of(Writer::Host))
    }

    /// Adds a number, or some in a row, that are told their indices. Figures are shown to
    /// whichever network stack asks.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn indexed<N: Indexed>(
        &mut self,
        parent: Parent,
        oid: &Oid<'_>,
        access: Access,
    ) -> Result<(), Errno> {
        let vnet = match access.contains(Access::STATS) {
            true => Access::VNET,
            false => Access::empty(),
        };
        let kind = c::CTLTYPE_U64 | c::CTLFLAG_MPSAFE | (access | vnet).bits();
        let handler: c::weft_sysctl_handler = Some(handle_indexed::<N>);
        self.add(parent, oid, kind, handler, c"QU").map(drop)
    }

    fn add(
        &mut self,
        parent: Parent,
        oid: &Oid<'_>,
        kind: u32,
        handler: c::weft_sysctl_handler,
        format: &'static CStr,
    ) -> Result<*mut c::sysctl_oid, Errno> {
        // SAFETY: the handler asks for no subject.
        unsafe { self.add_about(ptr::null_mut(), parent, oid, kind, handler, format) }
    }

    /// # Safety
    /// The subject is what the handler takes it for, as long as the tree is there.
    unsafe fn add_about(
        &mut self,
        subject: *mut c_void,
        parent: Parent,
        oid: &Oid<'_>,
        kind: u32,
        handler: c::weft_sysctl_handler,
        format: &'static CStr,
    ) -> Result<*mut c::sysctl_oid, Errno> {
        // SAFETY: the context was initialised; the parent is static or was added
        // to this very tree, which loses all its OIDs at once, or to one that is
        // dropped later; the kernel copies name, label and description.
        let oid = unsafe {
            c::sysctl_add_oid(
                self.context.as_mut_ptr(),
                parent.0,
                c::OID_AUTO,
                oid.name.as_ptr(),
                kind as c_int,
                // With CTLFLAG_VNET the kernel adds the network stack's base to a
                // pointer here, but leaves null alone.
                subject,
                i64::from(oid.index) | i64::from(oid.count) << 32,
                handler,
                format.as_ptr(),
                oid.description.as_ptr(),
                oid.label.map_or(ptr::null(), CStr::as_ptr),
            )
        };
        if oid.is_null() {
            return Err(Errno::ENOMEM);
        }
        Ok(oid)
    }
}

/// Something with numbers that come and go with it.
pub(crate) trait Subject: Send + Sync + 'static {
    /// Whether who asks may know of it, who has the current network stack.
    fn is_shown(&self, sleepable: &Sleepable, vnet: &Vnet<'_>) -> bool;

    /// The number of the OID that was added with that index.
    fn read(&self, index: u32, sleepable: &mut Sleepable) -> u64;

    /// The numbers in a row of the OID that was added with that index, one by one unless it
    /// can do better.
    ///
    /// # Errors
    /// `EAGAIN` of who can.
    fn read_row(
        &self,
        index: u32,
        sleepable: &mut Sleepable,
        row: &mut [u64],
    ) -> Result<(), Errno> {
        for (index, value) in (index..).zip(row) {
            *value = self.read(index, sleepable);
        }
        Ok(())
    }

    /// Takes a new value. Never called but for an OID that was added as a setting.
    ///
    /// # Errors
    /// `EINVAL` for a value out of range, which has been logged with the range.
    fn write(&self, index: u32, sleepable: &mut Sleepable, value: u64) -> Result<(), Errno>;

    /// Writes the text of the OID that was added with that index as a text.
    fn read_text(&self, _index: u32, _sleepable: &mut Sleepable, _to: &mut Text<TEXT>) {}

    /// Takes a new text. Never called but for an OID that was added as a text.
    ///
    /// # Errors
    /// As for [`write`](Subject::write).
    fn write_text(
        &self,
        _index: u32,
        _sleepable: &mut Sleepable,
        _text: &str,
    ) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// The longest text that is read or written, its NUL included.
pub(crate) const TEXT: usize = 512;

/// The OIDs of one subject. Dropping it removes them, waits for handlers that run, and
/// then is no owner of the subject any more.
pub(crate) struct Branch<T: Subject> {
    tree: Sysctls,
    subject: Shared<T>,
}

impl<T: Subject> Branch<T> {
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(sleepable: &mut Sleepable, subject: Shared<T>) -> Result<Self, Errno> {
        let tree = Sysctls::new(sleepable)?;
        Ok(Self { tree, subject })
    }

    /// The tree, for nodes.
    pub(crate) fn tree(&mut self) -> &mut Sysctls {
        &mut self.tree
    }

    /// Adds a figure.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn figure(
        &mut self,
        parent: Parent,
        name: &CStr,
        index: u32,
        description: &CStr,
    ) -> Result<(), Errno> {
        let oid = Oid::plain(name, description).at(index);
        self.add(parent, &oid, Access::FIGURE)
    }

    /// Adds a number, or some in a row.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn add(
        &mut self,
        parent: Parent,
        oid: &Oid<'_>,
        access: Access,
    ) -> Result<(), Errno> {
        let kind = c::CTLTYPE_U64 | c::CTLFLAG_MPSAFE | access.bits();
        self.add_as(parent, oid, kind, Some(handle_subject::<T>), c"QU")
    }

    /// Adds a text.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn add_text(
        &mut self,
        parent: Parent,
        oid: &Oid<'_>,
        access: Access,
    ) -> Result<(), Errno> {
        let kind = c::CTLTYPE_STRING | c::CTLFLAG_MPSAFE | access.bits();
        self.add_as(parent, oid, kind, Some(handle_text::<T>), c"A")
    }

    fn add_as(
        &mut self,
        parent: Parent,
        oid: &Oid<'_>,
        kind: u32,
        handler: c::weft_sysctl_handler,
        format: &'static CStr,
    ) -> Result<(), Errno> {
        let subject = self.subject.address().as_ptr().cast();
        // SAFETY: the subject is a `T`, and this value, an owner, drops the tree first.
        let added = unsafe {
            self.tree
                .add_about(subject, parent, oid, kind, handler, format)
        };
        added.map(drop)
    }
}

/// What an OID is called and is about.
pub(crate) struct Oid<'n> {
    name: &'n CStr,
    label: Option<&'static CStr>,
    index: u32,
    /// Numbers in a row; 0 for one by itself.
    count: u32,
    description: &'n CStr,
}

impl<'n> Oid<'n> {
    /// One by itself, of index 0.
    pub(crate) fn plain(name: &'n CStr, description: &'n CStr) -> Self {
        Self {
            name,
            label: None,
            index: 0,
            count: 0,
            description,
        }
    }

    /// Of that index.
    pub(crate) fn at(self, index: u32) -> Self {
        Self { index, ..self }
    }

    /// `count` numbers in a row, with indices from its own on.
    pub(crate) fn row(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// With the label of which its name is a value, if there is one.
    pub(crate) fn labelled(self, label: Option<&'static CStr>) -> Self {
        Self { label, ..self }
    }
}

impl Drop for Sysctls {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`; no OID has a child of another owner, as
        // `Parent` does not leave the module.
        let error = unsafe { c::sysctl_ctx_free(self.context.as_mut_ptr()) };
        if error != 0 {
            log::error(format_args!("sysctl tree not removed: error {error}"));
        }
    }
}

/// The handler of a line's OID.
unsafe extern "C" fn handle_line<L: Line>(
    oid: *mut c::sysctl_oid,
    _argument1: *mut c_void,
    _argument2: i64,
    request: *mut c::sysctl_req,
) -> c_int {
    // SAFETY: MPSAFE handlers run in the system call's thread, with no lock held
    // that forbids to sleep.
    let mut line = L::read(&mut unsafe { Sleepable::assume() });
    // SAFETY: the kernel's own arguments; the text ends in NUL, and the OID is
    // read-only, so the kernel does not write to it.
    unsafe { c::sysctl_handle_string(oid, line.storage().cast(), LINE as i64, request) }
}

/// Shows a value to who asks, and gives the one that he writes, if he does.
///
/// # Safety
/// The kernel's own arguments of a handler, which has not returned.
unsafe fn exchange(
    oid: *mut c::sysctl_oid,
    request: *mut c::sysctl_req,
    mut value: u64,
) -> Result<Option<u64>, Errno> {
    // SAFETY: the caller's promise; the value is a u64 on this stack.
    unsafe {
        Errno::check(c::sysctl_handle_64(
            oid,
            (&raw mut value).cast(),
            0,
            request,
        ))?;
        Ok(c::weft_shim_sysctl_is_write(request).then_some(value))
    }
}

/// Shows numbers in a row to who asks: as many as the upper half of an OID's second argument
/// says.
///
/// # Safety
/// The kernel's own arguments of a handler, which has not returned.
unsafe fn list(
    request: *mut c::sysctl_req,
    argument: i64,
    read: impl FnOnce(u32, &mut [u64]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let (first, count) = (argument as u32, (argument >> 32) as usize);
    let mut row = collected(count, |_| Ok(0_u64))?;
    read(first, &mut row)?;
    // SAFETY: the caller's promise; so many bytes.
    Errno::check(unsafe {
        c::weft_shim_sysctl_out(request, row.as_ptr().cast(), size_of_val(row.as_slice()))
    })
}

/// The handler of a number's OID.
unsafe extern "C" fn handle_number<N: Number>(
    oid: *mut c::sysctl_oid,
    _argument1: *mut c_void,
    _argument2: i64,
    request: *mut c::sysctl_req,
) -> c_int {
    // SAFETY: as in `handle_line`.
    let mut sleepable = unsafe { Sleepable::assume() };
    let outcome = with_current_vnet(&mut sleepable, |sleepable, vnet| {
        if N::OF_HOST && jail::current(sleepable).is_some() {
            return Err(Errno::ENOENT);
        }
        let value = N::read(sleepable, vnet);
        // SAFETY: the kernel's own arguments.
        match unsafe { exchange(oid, request, value) }? {
            Some(new) => N::write(sleepable, vnet, new),
            None => Ok(()),
        }
    });
    returned(outcome.unwrap_or(Err(Errno::EINVAL)))
}

/// The handler of an OID that is one of many.
unsafe extern "C" fn handle_indexed<N: Indexed>(
    oid: *mut c::sysctl_oid,
    _argument1: *mut c_void,
    index: i64,
    request: *mut c::sysctl_req,
) -> c_int {
    // SAFETY: as in `handle_line`.
    let mut sleepable = unsafe { Sleepable::assume() };
    let outcome = with_current_vnet(&mut sleepable, |sleepable, vnet| {
        if N::is_of_host(index as u32) && jail::current(sleepable).is_some() {
            return Err(Errno::ENOENT);
        }
        if index >> 32 != 0 {
            // SAFETY: the kernel's own arguments.
            return unsafe {
                list(request, index, |first, row| {
                    for (index, value) in (first..).zip(row) {
                        *value = N::read(index, sleepable, vnet);
                    }
                    Ok(())
                })
            };
        }
        let value = N::read(index as u32, sleepable, vnet);
        // SAFETY: the kernel's own arguments.
        match unsafe { exchange(oid, request, value) }? {
            Some(new) => N::write(index as u32, sleepable, vnet, new),
            None => Ok(()),
        }
    });
    returned(outcome.unwrap_or(Err(Errno::EINVAL)))
}

/// Calls with the subject of an OID, if who asks may know of it.
///
/// # Safety
/// A handler's OID, which a [`Branch`] of such subjects has added.
unsafe fn with_subject<T: Subject>(
    oid: *mut c::sysctl_oid,
    what: impl FnOnce(&T, &mut Sleepable) -> Result<(), Errno>,
) -> c_int {
    // SAFETY: as in `handle_line`; a `Branch` added the OID with its subject.
    let (mut sleepable, subject) = unsafe {
        let subject = c::weft_shim_sysctl_subject(oid).cast::<T>();
        (Sleepable::assume(), &*subject)
    };
    let outcome = with_current_vnet(&mut sleepable, |sleepable, vnet| {
        if !subject.is_shown(sleepable, vnet) {
            return Err(Errno::ENOENT);
        }
        what(subject, sleepable)
    });
    returned(outcome.unwrap_or(Err(Errno::EINVAL)))
}

/// The handler of a number of some subject's.
unsafe extern "C" fn handle_subject<T: Subject>(
    oid: *mut c::sysctl_oid,
    _argument1: *mut c_void,
    index: i64,
    request: *mut c::sysctl_req,
) -> c_int {
    let what = |subject: &T, sleepable: &mut Sleepable| {
        if index >> 32 != 0 {
            // SAFETY: the kernel's own arguments.
            return unsafe {
                list(request, index, |first, row| {
                    subject.read_row(first, sleepable, row)
                })
            };
        }
        let value = subject.read(index as u32, sleepable);
        // SAFETY: the kernel's own arguments.
        match unsafe { exchange(oid, request, value) }? {
            Some(new) => subject.write(index as u32, sleepable, new),
            None => Ok(()),
        }
    };
    // SAFETY: a handler of a `Branch`'s.
    unsafe { with_subject(oid, what) }
}

/// The handler of a text of some subject's.
unsafe extern "C" fn handle_text<T: Subject>(
    oid: *mut c::sysctl_oid,
    _argument1: *mut c_void,
    index: i64,
    request: *mut c::sysctl_req,
) -> c_int {
    let what = |subject: &T, sleepable: &mut Sleepable| {
        let mut text = try_box(Text::<TEXT>::new()).map_err(|_| Errno::ENOMEM)?;
        subject.read_text(index as u32, sleepable, &mut text);
        // SAFETY: the kernel's own arguments; it writes so many bytes at most, the last of
        // which is NUL, which is all that the text's storage asks for.
        let is_write = unsafe {
            let storage = text.storage().cast();
            Errno::check(c::sysctl_handle_string(oid, storage, TEXT as i64, request))?;
            c::weft_shim_sysctl_is_write(request)
        };
        if !is_write {
            return Ok(());
        }
        let written = text.as_c_str().to_str().map_err(|_| Errno::EINVAL)?;
        subject.write_text(index as u32, sleepable, written)
    };
    // SAFETY: a handler of a `Branch`'s.
    unsafe { with_subject(oid, what) }
}
