//! Whether a grid's buckets are made of another's: what is rolled up by the one can then be asked for by the other.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;

use super::rounding::{DateBucket, Rounding};
use crate::ranges::merged;

/// A bucket of one grid that holds the boundary of another, so that nobody can tell which of its documents lie on
/// which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crossing {
    /// Where a bucket of the coarser grid begins.
    pub boundary: i64,
    /// The bucket around it.
    pub bucket: DateBucket,
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |instant| Timestamp::from_millisecond(instant).unwrap_or(Timestamp::MIN);
        write!(f, "a bucket begins at {}, inside the one from {}", at(self.boundary), at(self.bucket.start))
    }
}

impl Rounding {
    /// Whether, within a range of instants that begins and ends at boundaries of this grid, each of its buckets lies in
    /// one bucket of `coarser`.
    ///
    /// It says what has to be left out, in order: where clocks were set back over midnight a stretch of time may be
    /// one bucket here, and lie in two there. These ranges begin and end at boundaries of this grid as well.
    ///
    /// Nothing follows from names or lengths: boundaries are compared, one by one where a calendar or a change of
    /// clocks is about, and by division between two such changes. So an hour in UTC makes days in Berlin, and none in
    /// Kolkata.
    ///
    /// # Errors
    /// The first boundary of `coarser` that is none here.
    pub fn refines(&self, coarser: &Self, range: Range<i64>) -> Result<Vec<Range<i64>>, Crossing> {
        if self == coarser || range.is_empty() {
            return Ok(Vec::new());
        }
        let (Range { start, end }, exceptions) = (range.clone(), self.exceptions(coarser, range));
        let mut left_out = exceptions.iter();
        let mut next_left_out = left_out.next();
        let mut at = start;
        loop {
            let boundary = coarser.bucket(at).end;
            if let Some(exception) = next_left_out
                && exception.start < boundary
            {
                // What begins in it is not looked at.
                at = at.max(exception.end);
                next_left_out = left_out.next();
                if at >= end {
                    return Ok(exceptions);
                }
                continue;
            }
            if boundary >= end {
                return Ok(exceptions);
            }
            let bucket = self.bucket(boundary);
            if bucket.start != boundary {
                return Err(Crossing { boundary, bucket });
            }
            let until = next_left_out.map_or(end, |exception| exception.start);
            at = self.regular_until(coarser, boundary, until);
        }
    }

    /// From a boundary of both, the last boundary of `coarser` up to which one follows the other at one distance, which
    /// is one here as well.
    fn regular_until(&self, coarser: &Self, boundary: i64, until: i64) -> i64 {
        let (Some(own), Some(other)) = (self.fixed_length(), coarser.fixed_length()) else { return boundary };
        let end = self.same_offset_until(boundary).min(coarser.same_offset_until(boundary)).min(until);
        // Near a change of clocks a bucket may be a longer or a shorter one.
        let is_regular =
            self.bucket(boundary).end - boundary == own && coarser.bucket(boundary).end - boundary == other;
        if other % own != 0 || !is_regular || self.round_down(boundary + other) != boundary + other {
            return boundary;
        }
        boundary + ((end - boundary) / other - 2).max(0) * other
    }

    /// Where in a range buckets of either grid are no stretches of time, in whole buckets of this one.
    fn exceptions(&self, coarser: &Self, range: Range<i64>) -> Vec<Range<i64>> {
        let mut found: Vec<Range<i64>> = self.not_monotone(&range).collect();
        found.extend(coarser.steps_back(range.start.saturating_sub(1), range.end).map(|at| {
            let begun_twice = coarser.round_down(at - 1)..coarser.goes_on_until(at);
            self.round_down(begun_twice.start)..self.bucket(begun_twice.end - 1).end
        }));
        merged(found.into_iter().map(|found| found.start.max(range.start)..found.end.min(range.end)))
    }

    /// The stretches of time, each in whole buckets, in which a bucket goes on after the next one has begun.
    pub(crate) fn not_monotone(&self, range: &Range<i64>) -> impl Iterator<Item = Range<i64>> {
        // A step back at the beginning may be of a bucket that began before.
        self.steps_back(range.start.saturating_sub(1), range.end).map(|at| {
            let (resumed, interrupted) = (self.round_down(at), self.round_down(at - 1));
            resumed..self.bucket(interrupted).end.max(at)
        })
    }

    /// Until when, from an instant on, the bucket is that of the instant.
    fn goes_on_until(&self, instant: i64) -> i64 {
        let bucket = self.round_down(instant);
        let (mut inside, mut beyond) = (instant, instant + 1);
        while self.round_down(beyond) == bucket {
            (inside, beyond) = (beyond, beyond + 2 * (beyond - instant));
        }
        while beyond - inside > 1 {
            let middle = inside + (beyond - inside) / 2;
            if self.round_down(middle) == bucket { inside = middle } else { beyond = middle }
        }
        beyond
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::interval::{DateInterval, time_zone};

    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "America/St_Johns",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/Sao_Paulo",
        "+03:20",
        "Pacific/Apia",
    ];
    const FINE: [&str; 7] = ["15m", "1h", "90m", "6h", "24h", "day", "week"];
    const COARSE: [&str; 9] = ["15m", "1h", "3h", "12h", "day", "week", "month", "quarter", "year"];
    const MINUTE: i64 = 60_000;

    fn grid(interval: &str, zone: &str, offset: i64) -> Rounding {
        let unit = DateInterval::legacy(interval).unwrap().unit();
        Rounding::new(unit, time_zone(zone).unwrap()).offset(offset * MINUTE)
    }

    fn grids() -> impl Strategy<Value = (Rounding, Rounding)> {
        let zone = || prop::sample::select(&ZONES[..]);
        let zones =
            prop_oneof![zone().prop_map(|zone| (zone, zone)), (zone(), zone()), zone().prop_map(|z| ("UTC", z))];
        let offset = || prop_oneof![3 => Just(0), 1 => prop::sample::select(&[15, 60, -90, 360][..])];
        let intervals = (prop::sample::select(&FINE[..]), prop::sample::select(&COARSE[..]));
        (zones, intervals, offset(), offset())
            .prop_map(|((one, other), (fine, coarse), early, late)| (grid(fine, one, early), grid(coarse, other, late)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// What is not left out lies in one bucket, minute by minute; and what is refused does not.
        #[test]
        fn a_proof_holds_and_so_does_a_refusal(
            (fine, coarse) in grids(),
            // From 2001 on, when clocks in St. John's were still set back over midnight.
            day in 11_323_i64..16_000,
            length in 1_i64..70,
        ) {
            let start = fine.round_down(day * 1_440 * MINUTE);
            let end = fine.bucket(start + length * 1_440 * MINUTE).end;
            match fine.refines(&coarse, start..end) {
                Ok(left_out) => {
                    let mut buckets = std::collections::HashMap::new();
                    for at in (start..end).step_by(15_000 * 4) {
                        if left_out.iter().any(|range| range.contains(&at)) {
                            continue;
                        }
                        let found = coarse.round_down(at);
                        let first = *buckets.entry(fine.round_down(at)).or_insert(found);
                        prop_assert_eq!(first, found, "at {}", at);
                    }
                    for range in left_out {
                        prop_assert!(fine.round_down(range.start) == range.start || range.start == start);
                        prop_assert!(range.end - range.start <= 3 * 7 * 1_440 * MINUTE);
                    }
                }
                Err(Crossing { boundary, bucket }) => {
                    prop_assert!(bucket.start < boundary && boundary < bucket.end);
                    prop_assert_eq!(fine.round_down(boundary - 1), fine.round_down(boundary));
                    prop_assert_ne!(coarse.round_down(boundary - 1), coarse.round_down(boundary));
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_the_first_boundary() {
        let (hours, days) = (grid("1h", "UTC", 0), grid("day", "Asia/Kolkata", 0));
        let crossing = hours.refines(&days, 0..100 * 86_400_000).unwrap_err();
        let text = "a bucket begins at 1970-01-01T18:30:00Z, inside the one from 1970-01-01T18:00:00Z";
        assert_eq!(crossing.to_string(), text);
        assert_eq!(hours.refines(&grid("day", "Europe/Berlin", 0), 0..100 * 86_400_000), Ok(Vec::new()));
        assert!(grid("week", "UTC", 0).refines(&grid("month", "UTC", 0), 4 * 86_400_000..74 * 86_400_000).is_err());
    }

    /// A quarter of an hour that holds two days is left out, and it alone with the hour that came twice.
    #[test]
    fn an_hour_that_two_days_have_is_left_out() {
        let (quarters, days) = (grid("15m", "UTC", 0), grid("day", "America/St_Johns", 0));
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let left_out = quarters.refines(&days, at("2010-11-01T00:00:00Z")..at("2010-12-01T00:00:00Z")).unwrap();
        assert_eq!(left_out.len(), 1);
        assert_eq!(left_out[0], at("2010-11-07T02:30:00Z")..at("2010-11-07T03:30:00Z"));
    }

    /// Long ranges of short buckets are divided, not counted.
    #[test]
    fn ten_thousand_years_of_seconds() {
        let (seconds, minutes) = (grid("1s", "Europe/Berlin", 0), grid("1m", "Europe/Berlin", 0));
        let years = -60 * 31_557_600_000..200 * 31_557_600_000;
        assert_eq!(seconds.refines(&minutes, years), Ok(Vec::new()));
    }
}
