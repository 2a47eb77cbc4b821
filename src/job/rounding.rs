//! Rounding instants down to the start of their date histogram bucket, as Elasticsearch does, daylight saving time
//! included: floor in local time, then find the instant that has this local time. Where there is none (a gap) it is the
//! transition; where there are two (an overlap), time-like units take the latest that is not in the future and day-like
//! units the earliest; and a time-like bucket never reaches back over an overlap.

use std::ops::Range;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneTransition};
use jiff::{Timestamp, ToSpan};

/// How far from the ends of the supported time range (years -9999 to 9999) instants are kept, so that no bucket's start
/// or end falls out of it. What lies beyond counts as the end.
const MARGIN_MILLIS: i64 = 800 * 86_400_000;

/// For people: why a bucket cannot be kept.
pub(crate) const OUT_OF_RANGE: &str = "outside the years -9996 to 9996";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds from the local epoch: fixed intervals, seconds, minutes and hours.
    Fixed(i64),
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Zone {
    /// Milliseconds east of UTC, always.
    Offset(i64),
    Rules(TimeZone),
}

/// A date histogram's grid: which bucket an instant belongs to. Instants are milliseconds since 1970-01-01T00:00Z.
///
/// ```
/// use rollup_jobs::{DateHistogram, RollupJobConfig};
///
/// let config = RollupJobConfig::builder("sensor")
///     .index_pattern("sensor-*")
///     .rollup_index("rolled")
///     .cron("0 0 * * * ?")
///     .page_size(100)
///     .date_histogram(DateHistogram::calendar_interval("timestamp", "1d").time_zone("-03:00"))
///     .build()?;
/// // 2015-03-31T23:00-03:00 lies in the local day that begins at 2015-03-31T03:00Z.
/// assert_eq!(config.rounding().round_down(1_427_853_600_000), 1_427_770_800_000);
/// # Ok::<(), rollup_jobs::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounding {
    unit: Unit,
    zone: Zone,
    /// By how many milliseconds each bucket begins later.
    offset: i64,
}

/// The half-open range of instants of one date bucket, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateBucket {
    /// The first instant; also the bucket's key.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

impl Unit {
    const fn is_time_like(self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// Floors a local time, in milliseconds from the local epoch.
    fn floor(self, local: i64) -> i64 {
        const DAY: i64 = 86_400_000;
        match self {
            Self::Fixed(millis) => local.div_euclid(millis).saturating_mul(millis),
            Self::Day => local.div_euclid(DAY) * DAY,
            // 1970-01-01 was a Thursday, so the Monday of its week was day -3.
            Self::Week => ((local.div_euclid(DAY) + 3).div_euclid(7) * 7 - 3) * DAY,
            Self::Month | Self::Quarter | Self::Year => {
                let date = local_datetime(local).date();
                let month = match self {
                    Self::Month => date.month(),
                    Self::Quarter => (date.month() - 1) / 3 * 3 + 1,
                    _ => 1,
                };
                // The first of a month that is in range is itself in range: `MARGIN_MILLIS` keeps it so.
                local_millis(date.with().month(month).day(1).build().unwrap_or(date).into())
            }
        }
    }

    /// The local start of the bucket after the one that starts at `local`, leaving transitions aside.
    fn next(self, local: i64) -> i64 {
        const DAY: i64 = 86_400_000;
        match self {
            Self::Fixed(millis) => local.saturating_add(millis),
            Self::Day => local + DAY,
            Self::Week => local + 7 * DAY,
            Self::Month | Self::Quarter | Self::Year => {
                let months = match self {
                    Self::Month => 1,
                    Self::Quarter => 3,
                    _ => 12,
                };
                let start = local_datetime(local);
                local_millis(start.checked_add(months.months()).unwrap_or(start))
            }
        }
    }
}

fn local_datetime(local: i64) -> DateTime {
    Offset::UTC.to_datetime(timestamp(local))
}

fn local_millis(local: DateTime) -> i64 {
    Offset::UTC.to_timestamp(local).map_or(i64::MAX, Timestamp::as_millisecond)
}

fn timestamp(millis: i64) -> Timestamp {
    let end = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(end)
}

fn clamp(millis: i64) -> i64 {
    millis.clamp(Timestamp::MIN.as_millisecond() + MARGIN_MILLIS, Timestamp::MAX.as_millisecond() - MARGIN_MILLIS)
}

impl Rounding {
    pub(super) fn new(unit: Unit, zone: Zone) -> Self {
        Self { unit, zone, offset: 0 }
    }

    /// The grid whose buckets begin so many milliseconds later (earlier, if negative): Elasticsearch's `offset`.
    ///
    /// ```
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig};
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?").page_size(10)
    /// #     .date_histogram(DateHistogram::calendar_interval("timestamp", "1d")).build()?;
    /// let from_six = config.rounding().clone().offset(6 * 3_600_000);
    /// assert_eq!(from_six.round_down(7 * 3_600_000), 6 * 3_600_000);
    /// # Ok::<(), rollup_jobs::ConfigError>(())
    /// ```
    #[must_use]
    pub fn offset(self, millis: i64) -> Self {
        Self { offset: millis, ..self }
    }

    /// Whether `instant` is one that can be rounded: roughly in the years -9996 to 9996. All others count as the
    /// nearest that is.
    #[must_use]
    pub fn has(&self, instant: i64) -> bool {
        Self::can_round(instant)
    }

    /// The same, which does not depend on the grid.
    pub(crate) fn can_round(instant: i64) -> bool {
        clamp(instant) == instant
    }

    /// The start of the bucket that `instant` belongs to.
    #[must_use]
    pub fn round_down(&self, instant: i64) -> i64 {
        let instant = clamp(instant.saturating_sub(self.offset));
        let start = match &self.zone {
            Zone::Offset(offset) => self.unit.floor(instant + offset) - offset,
            Zone::Rules(zone) => self.round_by_rules(zone, instant),
        };
        start + self.offset
    }

    /// The bucket that `instant` belongs to.
    #[must_use]
    pub fn bucket(&self, instant: i64) -> DateBucket {
        let start = self.round_down(instant);
        let begins = start - self.offset;
        let end = match &self.zone {
            Zone::Offset(offset) => self.unit.next(begins + offset) - offset,
            Zone::Rules(zone) => self.end_by_rules(zone, begins),
        };
        DateBucket { start, end: end.saturating_add(self.offset) }
    }

    /// A view that remembers the last bucket, for instants that mostly come in order.
    #[must_use]
    pub fn cursor(&self) -> BucketCursor {
        BucketCursor { rounding: self.clone(), start: 0, known: 0..0 }
    }

    /// Whether no later instant of a stretch has an earlier bucket: an engine may then take buckets for stretches of
    /// time. Where clocks are set back over midnight, as in St. John's until 2011, a day goes on after the next one
    /// has begun.
    #[must_use]
    pub fn is_monotone(&self, first: i64, last: i64) -> bool {
        self.steps_back(first, last).next().is_none()
    }

    /// The instants after `first` and up to `last` whose bucket is an earlier one than that of the instant before.
    pub(super) fn steps_back(&self, first: i64, last: i64) -> impl Iterator<Item = i64> {
        let after = timestamp(clamp(first.saturating_sub(self.offset)));
        let transitions = self.rules_of_days().into_iter().flat_map(move |zone| zone.following(after));
        let instants = transitions.map(|transition| transition.timestamp().as_millisecond() + self.offset);
        instants.take_while(move |at| *at <= last).filter(|at| self.round_down(at - 1) > self.round_down(*at))
    }

    /// All instants that may have a bucket that begins in this range.
    pub(crate) fn instants_of(&self, starts: &Range<i64>) -> Range<i64> {
        const DAY: i64 = 86_400_000;
        let end = self.bucket(starts.end.saturating_sub(1)).end.max(starts.end);
        // A bucket may go on after the next one has begun.
        let is_end =
            self.rules_of_days().is_none() || self.is_monotone(end.saturating_sub(DAY), end.saturating_add(DAY));
        let begins_at_end = self.round_down(starts.end) == starts.end;
        match (is_end, begins_at_end) {
            (true, true) => starts.clone(),
            (true, false) => starts.start..end,
            (false, _) => starts.start..end.saturating_add(DAY),
        }
    }

    /// All date buckets that may have an instant of this range, as a range of the instants at which they begin.
    pub(crate) fn buckets_of(&self, instants: &Range<i64>) -> Range<i64> {
        const DAY: i64 = 86_400_000;
        let near = |instant: i64| if Self::can_round(instant) { Some(instant) } else { None };
        let start = near(instants.start).map_or(i64::MIN, |start| self.round_down(start));
        let end = near(instants.end).map_or(i64::MAX, |end| self.bucket(end - 1).end);
        let is_monotone = self.rules_of_days().is_none()
            || self.is_monotone(instants.start.saturating_sub(2 * DAY), instants.end.saturating_add(2 * DAY));
        if is_monotone {
            return start..end;
        }
        // A bucket may go on after the next one has begun.
        near(start).map_or(start, |start| self.round_down(start - 1))..near(end).map_or(end, |end| self.bucket(end).end)
    }

    /// The interval as Elasticsearch's aggregations are told, and by which name.
    #[cfg(feature = "elasticsearch")]
    pub(crate) fn elasticsearch_interval(&self) -> (&'static str, String) {
        let calendar = |unit: &str| ("calendar_interval", unit.to_owned());
        match self.unit {
            // Seconds, minutes and hours of the calendar are of one length, but where a time zone's clocks are set
            // forward by a part of an hour servers make one bucket out of two, or find one of months before.
            Unit::Fixed(millis) => ("fixed_interval", format!("{millis}ms")),
            Unit::Day => calendar("1d"),
            Unit::Week => calendar("1w"),
            Unit::Month => calendar("1M"),
            Unit::Quarter => calendar("1q"),
            Unit::Year => calendar("1y"),
        }
    }

    /// How much later than those of the interval and the time zone buckets begin, as Elasticsearch is told.
    #[cfg(feature = "elasticsearch")]
    pub(crate) fn elasticsearch_offset(&self) -> String {
        format!("{}ms", self.offset)
    }

    /// The time zone as Elasticsearch is told.
    #[cfg(feature = "elasticsearch")]
    pub(crate) fn elasticsearch_time_zone(&self) -> String {
        match &self.zone {
            Zone::Offset(0) => "UTC".to_owned(),
            Zone::Offset(millis) => {
                let (sign, seconds) = (if *millis < 0 { '-' } else { '+' }, millis.unsigned_abs() / 1_000);
                let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
                let seconds = if seconds == 0 { String::new() } else { format!(":{seconds:02}") };
                format!("{sign}{hours:02}:{minutes:02}{seconds}")
            }
            Zone::Rules(zone) => zone.iana_name().unwrap_or("UTC").to_owned(),
        }
    }

    /// As far as instants around one of them are certain to have its bucket: not beyond a transition, nor over a
    /// second midnight.
    fn certain(&self, bucket: DateBucket, instant: i64) -> Range<i64> {
        let (mut start, mut end) = (bucket.start - self.offset, bucket.end.saturating_sub(self.offset));
        let instant = instant - self.offset;
        if let Some(zone) = self.rules_of_days() {
            let at =
                |transition: Option<TimeZoneTransition<'_>>| transition.map(|found| found.timestamp().as_millisecond());
            let offset = millis_of(zone.to_offset(timestamp(instant)));
            start = start.max(self.unit.floor(instant + offset) - offset);
            start = start.max(at(zone.preceding(timestamp(instant + 1)).next()).unwrap_or(start));
            end = end.min(at(zone.following(timestamp(instant)).next()).unwrap_or(end));
        }
        start + self.offset..end.saturating_add(self.offset)
    }

    /// The zone, if its transitions can make a bucket begin before an earlier one has ended.
    fn rules_of_days(&self) -> Option<&TimeZone> {
        match &self.zone {
            Zone::Rules(zone) if !self.unit.is_time_like() => Some(zone),
            _ => None,
        }
    }

    /// The length of a fixed interval, or of seconds, minutes and hours, in milliseconds.
    pub(crate) fn fixed_millis(&self) -> Option<i64> {
        match self.unit {
            Unit::Fixed(millis) => Some(millis),
            _ => None,
        }
    }

    /// The length of each bucket between two changes of clocks.
    pub(super) fn fixed_length(&self) -> Option<i64> {
        const DAY: i64 = 86_400_000;
        match self.unit {
            Unit::Fixed(millis) => Some(millis),
            Unit::Day => Some(DAY),
            Unit::Week => Some(7 * DAY),
            Unit::Month | Unit::Quarter | Unit::Year => None,
        }
    }

    /// The next change of clocks after an instant.
    pub(super) fn same_offset_until(&self, instant: i64) -> i64 {
        let Zone::Rules(zone) = &self.zone else { return i64::MAX };
        let next = zone.following(timestamp(clamp(instant.saturating_sub(self.offset)))).next();
        next.map_or(i64::MAX, |transition| transition.timestamp().as_millisecond() + self.offset)
    }

    fn round_by_rules(&self, zone: &TimeZone, instant: i64) -> i64 {
        let local = self.unit.floor(instant + millis_of(zone.to_offset(timestamp(instant))));
        let start = match zone.to_ambiguous_timestamp(local_datetime(local)).offset() {
            AmbiguousOffset::Unambiguous { offset } => local - millis_of(offset),
            AmbiguousOffset::Gap { before, .. } => last_transition(zone, local - millis_of(before)),
            AmbiguousOffset::Fold { before, after } => {
                let (earliest, latest) = (local - millis_of(before), local - millis_of(after));
                if self.unit.is_time_like() && latest <= instant { latest } else { earliest }
            }
        };
        match last_overlap(zone, start, instant) {
            Some(overlap) if self.unit.is_time_like() => start.max(self.round_by_rules(zone, overlap - 1)),
            _ => start,
        }
    }

    fn end_by_rules(&self, zone: &TimeZone, start: i64) -> i64 {
        let begins_here = |instant: i64| self.round_by_rules(zone, clamp(instant)) > start;
        let local = start + millis_of(zone.to_offset(timestamp(start)));
        let next = self.unit.next(self.unit.floor(local));
        let guess = next - millis_of(zone.to_offset(timestamp(next - (local - start))));
        if guess > start && begins_here(guess) && !begins_here(guess - 1) {
            return guess;
        }
        // A transition is near: search. Rounding never decreases, so bisection finds the first instant of the next
        // bucket. One that begins past the end of time is never reached.
        let (mut inside, mut step) = (start, 1_000);
        let mut beyond = loop {
            let instant = start.saturating_add(step);
            if begins_here(instant) {
                break instant;
            }
            if clamp(instant) < instant {
                return instant;
            }
            inside = instant;
            step *= 2;
        };
        while beyond - inside > 1 {
            let middle = inside + (beyond - inside) / 2;
            if begins_here(middle) { beyond = middle } else { inside = middle }
        }
        beyond
    }
}

/// The last transition at or before `instant`, which lies just after one.
fn last_transition(zone: &TimeZone, instant: i64) -> i64 {
    zone.preceding(timestamp(instant + 1)).next().map_or(instant, |t| t.timestamp().as_millisecond())
}

/// The last transition in `(start, instant]` at which clocks were set back.
fn last_overlap(zone: &TimeZone, start: i64, instant: i64) -> Option<i64> {
    zone.preceding(timestamp(instant + 1))
        .map(|transition| (transition.timestamp().as_millisecond(), transition.offset()))
        .take_while(|(at, _)| *at > start)
        .find(|(at, after)| zone.to_offset(timestamp(*at - 1)) > *after)
        .map(|(at, _)| at)
}

/// Rounds a sequence of instants, looking the calendar up only when the bucket changes.
#[derive(Debug, Clone)]
pub struct BucketCursor {
    rounding: Rounding,
    start: i64,
    /// The instants that are known to have that bucket.
    known: Range<i64>,
}

impl BucketCursor {
    /// The start of the bucket that `instant` belongs to.
    #[inline]
    pub fn round_down(&mut self, instant: i64) -> i64 {
        if !self.known.contains(&instant) {
            let instant = clamp(instant);
            let bucket = self.rounding.bucket(instant);
            (self.start, self.known) = (bucket.start, self.rounding.certain(bucket, instant));
        }
        self.start
    }
}

pub(super) fn millis_of(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * 1_000
}

#[cfg(test)]
mod tests;
