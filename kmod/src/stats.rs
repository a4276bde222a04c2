// SPDX-License-Identifier: BSD-2-Clause
//! OIDs for what the engine declares of an object's numbers
//! ([`stats`](weft_engine::stats)): names, labels and descriptions are said there.
//!
//! An object's `Subject`, or an `Indexed` for what there is once, gets its indices by
//! [`Declared::place`], on top of a base of its own, and reads and writes by
//! [`Declared::at`].

use core::ffi::CStr;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::stats::{BUCKETS, Below, Declared, Group, Histogram, Kind, Shown, Stat};

use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::kernel;
use crate::kpi::log;
use crate::kpi::sysctl::{Access, Branch, Indexed, Oid, Parent, Subject, Sysctls};
use crate::kpi::text::Text;

/// A tree that takes numbers.
pub(crate) trait Tree {
    /// The tree, for nodes.
    fn sysctls(&mut self) -> &mut Sysctls;

    /// Adds a number, or some in a row.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn number(&mut self, node: Parent, oid: &Oid<'_>, access: Access) -> Result<(), Errno>;

    /// Adds a text.
    ///
    /// # Errors
    /// `ENOMEM`; `EINVAL` of a tree that has none.
    fn text(&mut self, _node: Parent, _oid: &Oid<'_>, _access: Access) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

impl<T: Subject> Tree for Branch<T> {
    fn sysctls(&mut self) -> &mut Sysctls {
        self.tree()
    }

    fn number(&mut self, node: Parent, oid: &Oid<'_>, access: Access) -> Result<(), Errno> {
        self.add(node, oid, access)
    }

    fn text(&mut self, node: Parent, oid: &Oid<'_>, access: Access) -> Result<(), Errno> {
        self.add_text(node, oid, access)
    }
}

/// The tree of what there is once.
pub(crate) struct Once<'t, N> {
    tree: &'t mut Sysctls,
    numbers: PhantomData<N>,
}

impl<'t, N: Indexed> Once<'t, N> {
    /// Whose numbers `N` reads and writes.
    pub(crate) fn new(tree: &'t mut Sysctls) -> Self {
        let numbers = PhantomData;
        Self { tree, numbers }
    }
}

impl<N: Indexed> Tree for Once<'_, N> {
    fn sysctls(&mut self) -> &mut Sysctls {
        self.tree
    }

    fn number(&mut self, node: Parent, oid: &Oid<'_>, access: Access) -> Result<(), Errno> {
        self.tree.indexed::<N>(node, oid, access)
    }
}

/// The first index of a list of numbers on top of its object's base.
pub(crate) const LIST: u32 = 1 << 10;

/// The longest description that is made for a number, its NUL included.
const ABOUT: usize = 320;

/// Adds a group's numbers to an object's node, but for those that it does not have. The
/// index of each is its place on top of `base`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add<D: Declared>(
    tree: &mut impl Tree,
    node: Parent,
    base: u32,
    has: impl Fn(D) -> bool,
) -> Result<(), Errno> {
    add_said(tree, node, base, has, |_| None)
}

/// The same, with descriptions that go on where `more` has something to say of this object.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_said<D: Declared>(
    tree: &mut impl Tree,
    node: Parent,
    base: u32,
    has: impl Fn(D) -> bool,
    mut more: impl FnMut(D) -> Option<Text<MORE>>,
) -> Result<(), Errno> {
    let mut between: Option<(&'static Below, Parent)> = None;
    // The kernel lists what came last first.
    for one in D::ALL.iter().rev().filter(|one| has(**one)) {
        let stat = one.stat();
        let parent = match (stat.below, between) {
            (None, _) => node,
            (Some(below), Some((made, parent))) if core::ptr::eq(below, made) => parent,
            (Some(below), _) => {
                let parent = tree.sysctls().node(node, below.name, below.about)?;
                between = Some((below, parent));
                parent
            }
        };
        let index = match stat.kind {
            Kind::Buckets => base | LIST,
            _ => base | one.place(),
        };
        match more(*one) {
            None => put(tree, parent, stat, index, stat.about)?,
            Some(more) => put_said(tree, parent, stat, index, &more)?,
        }
    }
    Ok(())
}

/// The longest end of a description, its NUL included.
pub(crate) const MORE: usize = 128;

#[inline(never)]
fn put_said(
    tree: &mut impl Tree,
    parent: Parent,
    stat: &'static Stat,
    index: u32,
    more: &Text<MORE>,
) -> Result<(), Errno> {
    let [about, more] = [stat.about, more.as_c_str()].map(|text| text.to_str().unwrap_or_default());
    let said = Text::<ABOUT>::format(format_args!("{about}; {more}"));
    put(tree, parent, stat, index, said.as_c_str())
}

fn put(
    tree: &mut impl Tree,
    parent: Parent,
    stat: &'static Stat,
    index: u32,
    about: &CStr,
) -> Result<(), Errno> {
    let oid = Oid::plain(stat.name, about).at(index);
    match stat.kind {
        Kind::Setting(setting) => tree.number(parent, &oid, Access::of(setting.writer)),
        Kind::Text(setting) => tree.text(parent, &oid, Access::of(setting.writer)),
        Kind::Buckets => tree.number(parent, &oid.row(BUCKETS as u32), Access::FIGURE),
        Kind::Row(count) => tree.number(parent, &oid.row(count), Access::FIGURE),
        Kind::Counter | Kind::Lost(_) | Kind::Gauge => {
            tree.number(parent, &oid.labelled(stat.label()), Access::FIGURE)
        }
    }
}

/// What a setting is at first, which must not depend on anything.
pub(crate) const fn initial(group: &Group, place: usize) -> u64 {
    match group.stats[place].initial() {
        Some(initial) => initial,
        None => panic!("a setting whose first value is said"),
    }
}

/// What is shown of a histogram, by an index in its lowest byte.
enum Part {
    /// What is within the limit of that place; the place past the last is of all.
    Within(usize),
    /// The sum.
    Sum,
    /// How many there are.
    Count,
}

const SUM: u32 = 0xfe;
const COUNT: u32 = 0xff;

impl Part {
    /// What an index says.
    fn of(index: u32) -> Self {
        match index & 0xff {
            SUM => Self::Sum,
            COUNT => Self::Count,
            limit => Self::Within(limit as usize),
        }
    }
}

/// Adds a histogram to an object's node; the lowest byte of `base` is the [`Part`]'s.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_histogram<T: Subject>(
    branch: &mut Branch<T>,
    node: Parent,
    base: u32,
    shown: &'static Shown,
) -> Result<(), Errno> {
    const { assert!(u8::MAX as u32 == COUNT) };
    let named = |part: &str| Text::<32>::format(format_args!("{}{part}", shown.name));
    let about = Text::<160>::format(format_args!("{}", shown.about));
    let about = about.as_c_str();
    branch.figure(node, named("_sum").as_c_str(), base | SUM, about)?;
    branch.figure(node, named("_count").as_c_str(), base | COUNT, about)?;
    add_buckets(branch, node, base, shown)
}

const WITHIN: &CStr = c"Those that were no more than this";

/// Adds what of a histogram is within each limit: their places on top of `base`, that
/// past the last being of all.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_buckets(
    tree: &mut impl Tree,
    node: Parent,
    base: u32,
    shown: &'static Shown,
) -> Result<(), Errno> {
    let name = Text::<32>::format(format_args!("{}_bucket", shown.name));
    let about = Text::<160>::format(format_args!("{}", shown.about));
    let (name, about) = (name.as_c_str(), about.as_c_str());
    let buckets = tree.sysctls().node_said(node, name, about)?;
    bucket(tree, buckets, c"+Inf", base | shown.limits.len() as u32)?;
    for (place, limit) in shown.limits.iter().enumerate().rev() {
        let name = Text::<24>::format(format_args!("{limit}"));
        bucket(tree, buckets, name.as_c_str(), base | place as u32)?;
    }
    Ok(())
}

/// Adds the number of what is within a limit.
fn bucket(tree: &mut impl Tree, node: Parent, limit: &CStr, index: u32) -> Result<(), Errno> {
    let oid = Oid::plain(limit, WITHIN).at(index).labelled(Some(c"le"));
    tree.number(node, &oid, Access::FIGURE)
}

/// Refuses a value that is out of its range, and says so.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn allow(
    name: core::fmt::Arguments<'_>,
    value: u64,
    (least, most): (u64, u64),
) -> Result<(), Errno> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    log::warning(format_args!(
        "{name}={value}: refused, allowed are {least} to {most}"
    ));
    Err(Errno::EINVAL)
}

/// Refuses a value that a setting below the node of that name can't have.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn allow_declared(node: &CStr, stat: &Stat, value: u64) -> Result<(), Errno> {
    let [node, name] = [node, stat.name].map(|name| name.to_str().unwrap_or_default());
    let range = stat.range().unwrap_or((0, u64::MAX));
    allow(format_args!("{node}.{name}"), value, range)
}

/// Puts a new value into the place of a setting below the node of that name. Gives back the
/// setting, with its value allowed but put nowhere, if it has no such place.
///
/// # Errors
/// `EINVAL`, as [`allow_declared`].
pub(crate) fn put_declared<D: Declared>(
    node: &CStr,
    index: u32,
    value: u64,
    place: impl FnOnce(D) -> Option<&'static AtomicU64>,
) -> Result<Option<D>, Errno> {
    let stat = D::at(index).ok_or(Errno::EINVAL)?;
    allow_declared(node, stat.stat(), value)?;
    match place(stat) {
        None => Ok(Some(stat)),
        Some(place) => {
            place.store(value, Ordering::Relaxed);
            Ok(None)
        }
    }
}

/// What is shown of a histogram, by the index that [`add_histogram`] gave it; nothing was
/// counted if there is none.
pub(crate) fn read_histogram(histogram: Option<&Histogram>, index: u32, shown: &Shown) -> u64 {
    histogram.map_or(0, |histogram| match Part::of(index) {
        Part::Sum => histogram.sum(),
        Part::Count => histogram.total(),
        Part::Within(limit) => {
            let limit = shown.limits.get(limit).copied();
            histogram.within(limit.unwrap_or(u64::MAX))
        }
    })
}

/// How often something is looked at, a millisecond apart, until it is not being counted.
const LOOKS: u32 = 100;

/// What belongs together, of a moment at which nothing of it is half counted.
///
/// # Errors
/// `EAGAIN` if there was no such moment for long.
pub(crate) fn at_a_moment<R>(
    sleepable: &mut Sleepable,
    mut look: impl FnMut() -> Option<R>,
) -> Result<R, Errno> {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return Ok(found);
        }
        // Who counts may have lost its CPU to this very thread.
        kernel::pause_ms(sleepable, 1);
    }
    Err(Errno::EAGAIN)
}
