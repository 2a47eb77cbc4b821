use proptest::prelude::*;

use super::super::interval::{DateInterval, time_zone};
use super::*;

fn rounding(interval: &str, zone: &str) -> Rounding {
    let interval = interval
        .strip_prefix("calendar ")
        .map_or_else(|| DateInterval::fixed(interval), DateInterval::calendar)
        .expect("a valid interval");
    Rounding::new(interval.unit(), time_zone(zone).expect("a known zone"))
}

fn millis(text: &str) -> i64 {
    text.parse::<Timestamp>().expect("a timestamp").as_millisecond()
}

fn check(interval: &str, zone: &str, table: &[(&str, &str)]) {
    let rounding = rounding(interval, zone);
    for (instant, start) in table {
        let rounded = rounding.round_down(millis(instant));
        assert_eq!(timestamp(rounded).to_string(), timestamp(millis(start)).to_string(), "{interval} {zone} {instant}");
    }
}

#[test]
fn a_local_day_begins_at_local_midnight() {
    check("calendar 1d", "-03:00", &[("2015-04-01T02:00:00Z", "2015-03-31T03:00:00Z")]);
    check(
        "calendar 1d",
        "America/New_York",
        &[
            ("2013-03-10T12:00:00Z", "2013-03-10T05:00:00Z"),
            ("2013-03-11T03:59:59.999Z", "2013-03-10T05:00:00Z"),
            ("2013-03-11T04:00:00Z", "2013-03-11T04:00:00Z"),
            ("2013-11-03T12:00:00Z", "2013-11-03T04:00:00Z"),
        ],
    );
}

#[test]
fn a_day_that_has_no_midnight_begins_at_the_transition() {
    // In Sao Paulo clocks went from 2017-10-14T23:59:59 to 2017-10-15T01:00.
    check("calendar 1d", "America/Sao_Paulo", &[("2017-10-15T12:00:00Z", "2017-10-15T03:00:00Z")]);
}

#[test]
fn both_hours_of_an_overlap_are_kept_apart() {
    check(
        "calendar 1h",
        "Europe/Berlin",
        &[("2025-10-26T00:30:00Z", "2025-10-26T00:00:00Z"), ("2025-10-26T01:30:00Z", "2025-10-26T01:00:00Z")],
    );
}

#[test]
fn a_fixed_bucket_does_not_reach_back_over_an_overlap() {
    check("90m", "America/New_York", &[("1970-10-25T06:00:00Z", "1970-10-25T05:30:00Z")]);
}

#[test]
fn half_hour_zones_and_instants_before_1970() {
    check("calendar 1h", "Asia/Kathmandu", &[("2020-01-01T00:20:00Z", "2020-01-01T00:15:00Z")]);
    check("1h", "UTC", &[("1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z")]);
    check(
        "calendar week",
        "UTC",
        &[("1969-12-30T00:00:00Z", "1969-12-29T00:00:00Z"), ("2024-02-29T00:00:00Z", "2024-02-26T00:00:00Z")],
    );
    check("calendar quarter", "UTC", &[("1969-06-30T00:00:00Z", "1969-04-01T00:00:00Z")]);
    check("calendar year", "Europe/Berlin", &[("1901-05-05T00:00:00Z", "1900-12-31T23:00:00Z")]);
}

#[test]
fn the_ends_of_time_are_rounded_too() {
    for interval in ["1ms", "1h", "1000000d", "3650000d", "calendar day", "calendar year"] {
        for zone in ["UTC", "Europe/Berlin", "-18:00"] {
            let rounding = rounding(interval, zone);
            for instant in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
                let bucket = rounding.bucket(instant);
                assert!(bucket.start < bucket.end, "{interval} {zone} {instant}");
            }
        }
    }
}

/// The definition by search: walks back second by second until a bucket begins.
fn naive_round_down(rounding: &Rounding, zone: &TimeZone, instant: i64) -> i64 {
    let second = instant.div_euclid(1_000);
    let local =
        |second: i64| second + i64::from(zone.to_offset(Timestamp::from_second(second).expect("in range")).seconds());
    let floor = |local: i64| rounding.unit.floor(local * 1_000).div_euclid(1_000);
    let begins = |at: i64| {
        // Either the local time is on the grid, or clocks were just set forward over a grid point.
        let (before, now) = (local(at - 1), local(at));
        floor(now) == now || (now > before + 1 && floor(now) > before)
    };
    if rounding.unit.is_time_like() {
        return (0..40 * 366 * 86_400).map(|back| second - back).find(|at| begins(*at)).expect("a start") * 1_000;
    }
    // Day-like: the first instant whose local time has reached the local start; local times before it are smaller for
    // at least a day, so the walk ends at a full day of smaller ones.
    let start = floor(local(second));
    let (mut earliest, mut smaller, mut at) = (second, 0, second);
    while smaller < 86_400 {
        if local(at) >= start {
            (earliest, smaller) = (at, 0);
        } else {
            smaller += 1;
        }
        at -= 1;
    }
    earliest * 1_000
}

const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Africa/Monrovia",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Antarctica/Troll",
];
const TIME_LIKE: [&str; 8] = ["1s", "calendar 1m", "7m", "calendar 1h", "90m", "5h", "12h", "1d"];
const ANY: [&str; 12] = [
    "1s",
    "calendar 1m",
    "7m",
    "calendar 1h",
    "90m",
    "5h",
    "1d",
    "calendar 1d",
    "calendar 1w",
    "calendar 1M",
    "calendar 1q",
    "calendar 1y",
];

/// An instant that is near a transition of `zone` half of the time.
fn instants() -> impl Strategy<Value = (usize, i64)> {
    let range = millis("1940-01-01T00:00:00Z")..millis("2040-01-01T00:00:00Z");
    (0..ZONES.len(), range, any::<bool>(), -172_800_000_i64..172_800_000).prop_map(|(zone, instant, near, by)| {
        let rules = TimeZone::get(ZONES[zone]).or_else(|_| jiff::tz::TimeZoneDatabase::bundled().get(ZONES[zone]));
        let transition =
            rules.ok().and_then(|z| z.following(timestamp(instant)).next().map(|t| t.timestamp().as_millisecond()));
        (zone, transition.filter(|_| near).map_or(instant, |t| t + by))
    })
}

proptest! {
    #[test]
    fn time_like_units_agree_with_the_naive_version((zone, instant) in instants(), interval in 0..TIME_LIKE.len()) {
        let rounding = rounding(TIME_LIKE[interval], ZONES[zone]);
        let Zone::Rules(rules) = &rounding.zone else { return Ok(()) };
        prop_assert_eq!(rounding.round_down(instant), naive_round_down(&rounding, rules, instant));
    }

    #[test]
    fn days_and_weeks_agree_with_the_naive_version((zone, instant) in instants(), week in any::<bool>()) {
        let rounding = rounding(if week { "calendar 1w" } else { "calendar 1d" }, ZONES[zone]);
        let Zone::Rules(rules) = &rounding.zone else { return Ok(()) };
        prop_assert_eq!(rounding.round_down(instant), naive_round_down(&rounding, rules, instant));
    }

    #[test]
    fn buckets_tile_time((zone, instant) in instants(), interval in 0..ANY.len()) {
        let rounding = rounding(ANY[interval], ZONES[zone]);
        let bucket = rounding.bucket(instant);
        // A day that goes on after the next one has begun is no stretch of time.
        if rounding.is_monotone(bucket.start, bucket.end.max(instant)) {
            prop_assert!(bucket.start <= instant && instant < bucket.end);
            prop_assert_eq!(rounding.round_down(bucket.start), bucket.start, "a key maps to itself");
            prop_assert_eq!(rounding.round_down(bucket.end - 1), bucket.start);
            prop_assert_eq!(rounding.round_down(bucket.end), bucket.end, "the next bucket begins where this one ends");
        }
        let mut cursor = rounding.cursor();
        for at in [bucket.end, instant, bucket.start - 1, bucket.start, bucket.end - 1] {
            prop_assert_eq!(cursor.round_down(at), rounding.round_down(at));
        }
    }
}

/// Until 2011 clocks in St. John's were set back at one minute past midnight: the day before went on for an hour, and
/// the day that had begun for a minute began again. A cursor that had looked at one of these instants gave its bucket
/// to the others.
#[test]
fn a_day_that_goes_on_after_the_next_one_has_begun() {
    let rounding = rounding("calendar 1d", "America/St_Johns");
    let set_back = millis("2006-10-29T02:31:00Z");
    let minutes = |minutes: i64| set_back + minutes * 60_000;
    assert_eq!(rounding.round_down(minutes(-1)), minutes(-1), "the first midnight");
    assert_eq!(rounding.round_down(minutes(10)), rounding.round_down(minutes(-10)), "the day before goes on");
    assert_eq!(rounding.round_down(minutes(59)), minutes(-1), "the second midnight begins nothing new");
    assert!(!rounding.is_monotone(minutes(-600), minutes(600)));
    assert!(rounding.is_monotone(minutes(1), minutes(100_000)));
    for step in [1, 7, 59, 61, 600] {
        let mut cursor = rounding.cursor();
        for minute in (-3_000..3_000).map(|n| n * step % 3_001) {
            assert_eq!(cursor.round_down(minutes(minute)), rounding.round_down(minutes(minute)), "{minute}");
        }
    }
}
