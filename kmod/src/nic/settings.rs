// SPDX-License-Identifier: BSD-2-Clause
//! What can be set of a card, below `dev.<driver>.<n>`; also by the loader, by the same names.

use core::ffi::CStr;
use core::fmt::{self, Write as _};

use weft_engine::nic::{
    Extras, KeyText, Offer, Range, Rss, Setup, TableText, parse_key, parse_table,
};
use weft_engine::stats::{CardSetting, Declared};

use super::Driven;
use super::control::Unset;
use super::core::Core;
use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::sysctl::{Branch, Parent, Subject, TEXT};
use crate::kpi::text::Text;
use crate::stats;

/// Microseconds that interrupts are kept apart at most.
const LONGEST_GAP: u16 = 10_000;
const MICROSECOND: u32 = 1_000;

/// What a setting may be, by what a card offers and how many queues of each kind there is room
/// for.
type Allowed = fn(&Offer, [u16; 2]) -> Range;

/// How a setting is read and written.
enum Kind {
    /// Of how the card is set up, which stops and starts it.
    Setup {
        allowed: Allowed,
        read: fn(&Setup) -> u16,
        write: fn(&mut Setup, u16),
    },
    /// The least time between interrupts.
    Least,
    /// The longest.
    Most,
    /// How flows are spread, which is a text.
    Spreading,
    /// Of the module's, not the card's.
    CompletionEvery,
}

/// Which cards have a setting: those with one of these, or all if it is empty.
fn of(stat: CardSetting) -> Extras {
    match stat {
        CardSetting::GapMin | CardSetting::GapMax => Extras::MODERATE,
        CardSetting::Moderation => Extras::MODERATES_ITSELF,
        CardSetting::RssKey | CardSetting::RssTable => Extras::RSS,
        CardSetting::TxQueues
        | CardSetting::RxQueues
        | CardSetting::TxDescriptors
        | CardSetting::RxDescriptors
        | CardSetting::CompletionEvery => Extras::empty(),
    }
}

const fn setup(allowed: Allowed, read: fn(&Setup) -> u16, write: fn(&mut Setup, u16)) -> Kind {
    Kind::Setup {
        allowed,
        read,
        write,
    }
}

fn kind(stat: CardSetting) -> Kind {
    match stat {
        CardSetting::TxQueues => setup(
            |_, [tx, _]| Range::new(1, tx, 1, tx),
            |setup| setup.tx_queues,
            |setup, value| setup.tx_queues = value,
        ),
        CardSetting::RxQueues => setup(
            |_, [_, rx]| Range::new(1, rx, 1, rx),
            |setup| setup.rx_queues,
            |setup, value| {
                setup.rx_queues = value;
                setup.rss.table = Rss::even(value).table;
            },
        ),
        CardSetting::TxDescriptors => setup(
            |offer, _| offer.tx_slots,
            |setup| setup.tx_slots,
            |setup, value| setup.tx_slots = value,
        ),
        CardSetting::RxDescriptors => setup(
            |offer, _| offer.rx_slots,
            |setup| setup.rx_slots,
            |setup, value| setup.rx_slots = value,
        ),
        CardSetting::GapMin => Kind::Least,
        CardSetting::GapMax => Kind::Most,
        CardSetting::Moderation => setup(
            |_, _| Range::new(0, 1, 1, 1),
            |setup| setup.extras.contains(Extras::MODERATES_ITSELF).into(),
            |setup, value| setup.extras.set(Extras::MODERATES_ITSELF, value == 1),
        ),
        CardSetting::RssKey | CardSetting::RssTable => Kind::Spreading,
        CardSetting::CompletionEvery => Kind::CompletionEvery,
    }
}

/// Says which values there are, and what else holds of them.
struct Values(Range, Option<&'static str>);

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range {
            least, most, step, ..
        } = self.0;
        match step {
            _ if least == most => write!(f, "{least} only"),
            0 => write!(f, "powers of two from {least} to {most}"),
            1 => write!(f, "{least} to {most}"),
            step => write!(f, "multiples of {step} from {least} to {most}"),
        }?;
        self.1.map_or(Ok(()), |rule| write!(f, ", {rule}"))
    }
}

/// A card's settings.
pub(super) struct Settings<'c, D: Driven> {
    pub(super) core: &'c Core<D>,
    /// The node that they are below, for the log.
    pub(super) node: &'c str,
}

impl<D: Driven> Settings<'_, D> {
    /// What a setting of the card's that is a number may be.
    fn values(&self, sleepable: &mut Sleepable, stat: CardSetting) -> Option<Values> {
        let (least, most) = self.gaps();
        let range = match kind(stat) {
            Kind::Setup { allowed, .. } => {
                let made = [self.core.lanes.len(), self.core.receivers.len()];
                self.core.control.with(sleepable, |_, control| {
                    allowed(control.port.offer(), made.map(|count| count as u16))
                })
            }
            Kind::Least => Range::new(0, (most / MICROSECOND) as u16, 1, 0),
            Kind::Most => Range::new((least / MICROSECOND) as u16, LONGEST_GAP, 1, 125),
            Kind::Spreading | Kind::CompletionEvery => return None,
        };
        let is_count = matches!(stat, CardSetting::TxQueues | CardSetting::RxQueues);
        Some(Values(range, D::QUEUES.filter(|_| is_count)))
    }

    /// Says that a value was refused, and what is allowed.
    fn refuse(&self, name: &CStr, value: fmt::Arguments<'_>, allowed: fmt::Arguments<'_>) -> Errno {
        let (node, name) = (self.node, name.to_str().unwrap_or_default());
        log::warning(format_args!(
            "{node}.{name}={value}: refused, allowed are {allowed}"
        ));
        Errno::EINVAL
    }

    /// Between how many nanoseconds interrupts are kept apart.
    fn gaps(&self) -> (u32, u32) {
        let first = self.core.receivers.first();
        first.map_or((0, 0), |receiver| receiver.with(|queue| queue.moderated()))
    }

    /// A setting's value.
    pub(super) fn read(&self, place: u32, sleepable: &mut Sleepable) -> u64 {
        let (least, most) = self.gaps();
        match CardSetting::at(place).map(kind) {
            Some(Kind::Setup { read, .. }) => {
                let control = &self.core.control;
                control.with(sleepable, |_, control| read(&control.setup).into())
            }
            Some(Kind::Least) => (least / MICROSECOND).into(),
            Some(Kind::Most) => (most / MICROSECOND).into(),
            Some(Kind::CompletionEvery) => {
                let lane = self.core.lanes.first();
                lane.map_or(0, |lane| lane.completions.every())
            }
            Some(Kind::Spreading) | None => 0,
        }
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// `EINVAL` for a value that can't be, which has been logged with those that can; why the
    /// card did not start with it.
    pub(super) fn write(
        &self,
        place: u32,
        sleepable: &mut Sleepable,
        value: u64,
    ) -> Result<(), Errno> {
        let stat = CardSetting::at(place).ok_or(Errno::EINVAL)?;
        let Some(values) = self.values(sleepable, stat) else {
            return self.time_completions(stat, value);
        };
        let fits = |new: &u16| values.0.fit(*new) == *new;
        let new = u16::try_from(value).ok().filter(fits);
        let done = match (new, kind(stat)) {
            (None, _) => Err(None),
            (Some(new), Kind::Setup { write, .. }) => {
                let change = &mut |setup: &mut Setup| {
                    write(setup, new);
                    if D::HAS_PAIRS && values.1.is_some() {
                        (setup.tx_queues, setup.rx_queues) = (new, new);
                    }
                };
                self.core.set(sleepable, change).map_err(failed)
            }
            (Some(new), kind) => {
                self.moderate(&kind, u32::from(new) * MICROSECOND);
                Ok(())
            }
        };
        done.map_err(|error| {
            let said = format_args!("{value}");
            let name = stat.stat().name;
            error.unwrap_or_else(|| self.refuse(name, said, format_args!("{values}")))
        })
    }

    /// Changes how many frames are timed.
    #[inline(never)]
    fn time_completions(&self, stat: CardSetting, value: u64) -> Result<(), Errno> {
        let node = Text::<32>::format(format_args!("{}", self.node));
        stats::allow_declared(node.as_c_str(), stat.stat(), value)?;
        for lane in &self.core.lanes {
            lane.completions.set_every(value);
        }
        Ok(())
    }

    /// Changes a limit of the time between interrupts.
    fn moderate(&self, kind: &Kind, new: u32) {
        let (least, most) = match (kind, self.gaps()) {
            (Kind::Least, (_, most)) => (new, most),
            (_, (least, _)) => (least, new),
        };
        for receiver in &self.core.receivers {
            receiver.with(|queue| queue.moderate(least, most));
        }
    }

    /// The text of a setting that is one.
    pub(super) fn read_text(&self, text: u32, sleepable: &mut Sleepable, to: &mut Text<TEXT>) {
        self.core.control.with(sleepable, |_, control| {
            let rss = &control.setup.rss;
            // It fits.
            let _ = match CardSetting::at(text) {
                Some(CardSetting::RssKey) => write!(to, "{}", KeyText(&rss.key)),
                _ => write!(to, "{}", TableText(&rss.table)),
            };
        });
    }

    /// Changes it.
    ///
    /// # Errors
    /// As for [`write`](Settings::write).
    pub(super) fn write_text(
        &self,
        text: u32,
        sleepable: &mut Sleepable,
        new: &str,
    ) -> Result<(), Errno> {
        let (core, said) = (self.core, format_args!("{new:.60}"));
        let set = match CardSetting::at(text) {
            Some(CardSetting::RssKey) => {
                let Some(key) = parse_key(new) else {
                    let allowed = format_args!("40 bytes in hexadecimal, with colons or without");
                    return Err(self.refuse(c"rss.key", said, allowed));
                };
                core.set_spreading(sleepable, &mut |rss| rss.key = key)
            }
            _ => {
                let queues = core
                    .control
                    .with(sleepable, |_, control| control.setup.rx_queues);
                let Some(table) = parse_table(new, queues) else {
                    let last = queues.saturating_sub(1);
                    let allowed = format_args!("1 to 128 numbers of queues, 0 to {last}");
                    return Err(self.refuse(c"rss.table", said, allowed));
                };
                core.set_spreading(sleepable, &mut |rss| rss.table = table)
            }
        };
        set.map_err(|unset| failed(unset).unwrap_or(Errno::EINVAL))
    }

    /// Adds the settings of a card that is stopped; the loader may have set them.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline(never)]
    pub(super) fn add<T: Subject>(
        &self,
        sleepable: &mut Sleepable,
        branch: &mut Branch<T>,
        top: Parent,
        base: u32,
    ) -> Result<(), Errno> {
        let extras = self
            .core
            .control
            .with(sleepable, |_, control| control.port.offer().extras);
        let has = |stat| {
            let is_spread = of(stat) != Extras::RSS || self.core.receivers.len() > 1;
            extras.contains(of(stat)) && is_spread
        };
        stats::add_said(branch, top, base, has, |stat| {
            let values = self.values(sleepable, stat)?;
            let usual = values.0.usual;
            Some(Text::format(format_args!("{values}; {usual} at first")))
        })
    }
}

/// Why a card is not as it was set; `None` if it can't be so.
fn failed(unset: Unset) -> Option<Errno> {
    match unset {
        Unset::Refused => None,
        Unset::Failed(error) => Some(error),
    }
}
