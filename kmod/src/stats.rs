// SPDX-License-Identifier: BSD-2-Clause
//! OIDs for what the engine declares of an object's numbers
//! ([`stats`](weft_engine::stats)): names, labels and descriptions are said there.
//!
//! An object's `Subject`, or an `Indexed` for what there is once, gets its indices by
//! [`Declared::place`], on top of a base of its own, and reads and writes by
//! [`Declared::at`].

use core::ffi::CStr;
use core::marker::PhantomData;

use weft_engine::stats::{BUCKETS, Below, Declared, Group, Kind, Shown, Stat};

use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::sysctl::{Branch, Indexed, Parent, Subject, Sysctls};
use crate::kpi::text::Text;

/// A tree that takes numbers.
pub(crate) trait Tree {
    /// The tree, for nodes.
    fn sysctls(&mut self) -> &mut Sysctls;

    /// Adds a number.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn number(&mut self, node: Parent, stat: &'static Stat, index: u32) -> Result<(), Errno>;

    /// Adds the number of what is within a limit.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn bucket(&mut self, node: Parent, limit: &CStr, index: u32) -> Result<(), Errno>;
}

impl<T: Subject> Tree for Branch<T> {
    fn sysctls(&mut self) -> &mut Sysctls {
        self.tree()
    }

    fn number(&mut self, node: Parent, stat: &'static Stat, index: u32) -> Result<(), Errno> {
        let (name, label, about) = (stat.name, stat.label(), stat.about);
        match stat.kind {
            Kind::Setting(setting) => self.setting(node, name, index, setting.writer, about),
            Kind::Buckets => self.figures(node, name, index, BUCKETS as u32, about),
            _ => self.figure(node, name, label, index, about),
        }
    }

    fn bucket(&mut self, node: Parent, limit: &CStr, index: u32) -> Result<(), Errno> {
        self.figure(node, limit, Some(c"le"), index, WITHIN)
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

    fn number(&mut self, node: Parent, stat: &'static Stat, index: u32) -> Result<(), Errno> {
        let (name, label, about) = (stat.name, stat.label(), stat.about);
        match stat.kind {
            Kind::Setting(setting) => {
                let writer = setting.writer;
                self.tree.setting_by::<N>(node, name, index, writer, about)
            }
            Kind::Buckets => {
                let count = BUCKETS as u32;
                self.tree.numbers_of::<N>(node, name, index, count, about)
            }
            _ => self.tree.number_of::<N>(node, name, label, index, about),
        }
    }

    fn bucket(&mut self, node: Parent, limit: &CStr, index: u32) -> Result<(), Errno> {
        let le = Some(c"le");
        self.tree.number_of::<N>(node, limit, le, index, WITHIN)
    }
}

/// The first index of a list of numbers on top of its object's base.
pub(crate) const LIST: u32 = 1 << 10;

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
        tree.number(parent, stat, index)?;
    }
    Ok(())
}

/// What a setting is at first, which must not depend on anything.
pub(crate) const fn initial(group: &Group, place: usize) -> u64 {
    match group.stats[place].initial() {
        Some(initial) => initial,
        None => panic!("a setting whose first value is said"),
    }
}

/// What is shown of a histogram, by an index in its lowest byte.
pub(crate) enum Part {
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
    pub(crate) fn of(index: u32) -> Self {
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
    branch.figure(node, named("_sum").as_c_str(), None, base | SUM, about)?;
    branch.figure(node, named("_count").as_c_str(), None, base | COUNT, about)?;
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
    tree.bucket(buckets, c"+Inf", base | shown.limits.len() as u32)?;
    for (place, limit) in shown.limits.iter().enumerate().rev() {
        let name = Text::<24>::format(format_args!("{limit}"));
        tree.bucket(buckets, name.as_c_str(), base | place as u32)?;
    }
    Ok(())
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
