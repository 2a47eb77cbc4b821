use std::str::FromStr;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;

const FROM: &str = "2026-11-23T14:00:00Z";

fn next(expression: &str) -> Option<String> {
    let schedule = CronSchedule::from_str(expression).unwrap_or_else(|e| panic!("{e}: {}", e.detail()));
    schedule.next_after(FROM.parse().unwrap()).map(|t| t.to_string())
}

fn detail(expression: &str) -> String {
    let error = CronSchedule::from_str(expression).expect_err(expression);
    assert_eq!(error.to_string(), format!("invalid cron expression [{expression}]"));
    error.detail().to_owned()
}

#[test]
fn next_times_are_elasticsearchs() {
    for (expression, expected) in [
        ("0 0 12 ? * MON-FRI", "2026-11-24T12:00:00Z"),
        ("*/30 * * * * ?", "2026-11-23T14:00:30Z"),
        ("/30 * * * * ?", "2026-11-23T14:00:30Z"),
        ("0 0/5 14,18 * * ?", "2026-11-23T14:05:00Z"),
        ("0 15 10 L * ?", "2026-11-30T10:15:00Z"),
        ("0 15 10 ? * 6L", "2026-11-27T10:15:00Z"),
        ("0 15 10 ? * FRIL", "2026-11-27T10:15:00Z"),
        ("0 15 10 ? * 6#3", "2026-12-18T10:15:00Z"),
        ("0 15 10 ? * FRI#5", "2027-01-29T10:15:00Z"),
        ("0 15 10 LW * ?", "2026-11-30T10:15:00Z"),
        ("0 15 10 15W * ?", "2026-12-15T10:15:00Z"),
        ("0 0 0 1W 5 ? 2027", "2027-05-03T00:00:00Z"),
        ("0 0 0 31W 1 ? 2027", "2027-01-29T00:00:00Z"),
        ("0 15 10 * * ? 2027", "2027-01-01T10:15:00Z"),
        ("0 15 10 * * ? 2027-2029/2", "2027-01-01T10:15:00Z"),
        ("0 15 10 * * ? 2028-2030/2", "2028-01-01T10:15:00Z"),
        ("0 0/15 9-17 ? JAN-MAR,DEC MON-FRI", "2026-12-01T09:00:00Z"),
        ("0 0 0 ? * 2", "2026-11-30T00:00:00Z"),
        ("0 0 0 ? * 1", "2026-11-29T00:00:00Z"),
        ("0 11 11 11 11 ?", "2027-11-11T11:11:00Z"),
        ("0 0 0 29 2 ?", "2028-02-29T00:00:00Z"),
        ("0 0 12 ? * mon-fri", "2026-11-24T12:00:00Z"),
        ("0 0 0 L-3 * ?", "2026-11-27T00:00:00Z"),
        ("0 0 0 L-1W * ?", "2026-11-30T00:00:00Z"),
        ("0 0 0 LW 1 ? 2027", "2027-01-29T00:00:00Z"),
        ("0 0 22-2 * * ?", "2026-11-23T22:00:00Z"),
        ("0 0 0 1 NOV-FEB ?", "2026-12-01T00:00:00Z"),
        ("0 0 12 ? * L", "2026-11-28T12:00:00Z"),
        ("0 0 0 1 7/6 ?", "2027-07-01T00:00:00Z"),
        ("7/0 * * * * ?", "2026-11-23T14:00:07Z"),
        ("*/0 * * * * ?", "2026-11-23T14:00:01Z"),
        ("0\t0 15 * * ? * ignored", "2026-11-23T15:00:00Z"),
    ] {
        assert_eq!(next(expression).as_deref(), Some(expected), "{expression}");
    }
    for never in ["0 0 0 31 2 ?", "0 0 0 * * ? 2020", "0 0 0 ? 2 2#5 2027"] {
        assert_eq!(next(never), None, "{never}");
    }
}

#[test]
fn an_invalid_expression_says_what_is_wrong() {
    for (expression, expected) in [
        ("0 * * *", "unexpected end of expression at pos [7]."),
        ("", "unexpected end of expression at pos [0]."),
        ("0 0 0 * * *", "support for specifying both a day-of-week AND a day-of-month parameter is not implemented."),
        ("0 0 0 1 * MON", "support for specifying both a day-of-week AND a day-of-month parameter is not implemented."),
        ("0 0 0 ? * ?", "'?' can only be specified for Day-of-Month -OR- Day-of-Week. at pos [1]"),
        ("0 ? 0 * * ?", "'?' can only be specified for Day-of-Month or Day-of-Week. at pos [1]"),
        ("0 */60 * * * ?", "increment [60] > 60 at pos [4]"),
        ("0 0 /24 * * ?", "increment [24] > 24 at pos [3]"),
        ("60 0 0 * * ?", "Minute and Second values must be between 0 and 59"),
        ("0 0 24 * * ?", "Hour values must be between 0 and 23"),
        ("0 0 0 32 * ?", "Day of month values must be between 1 and 31"),
        ("0 0 0 0 * ?", "Day of month values must be between 1 and 31"),
        ("0 0 0 1 13 ?", "Month values must be between 1 and 12"),
        ("0 0 0 ? * 8", "Day-of-Week values must be between 1 and 7"),
        ("0 0 0 * * ? 2030-2029", "Start year must be less than stop year"),
        ("0 0 0 L-31 * ?", "Offset from last day must be <= 30"),
        ("0 0 0 1 FOO ?", "Invalid Month value: 'FOO'"),
        ("0 0 0 ? * FOO", "Invalid Day-of-Week value: 'FOO'"),
        ("0 0 0 ? * 6#6", "A numeric value between 1 and 5 must follow the '#' option"),
        ("0 0 0 ? * 6#1#2", "Support for specifying multiple \"nth\" days is not implemented."),
        ("0 0 0 1,L * ?", "support for specifying 'L' and 'LW' with other days of the month is not implemented"),
        ("0 0 0 ? * 2,L", "support for specifying 'L' with other days of the week is not implemented"),
        ("0/ 0 0 * * ?", "'/' must be followed by an integer."),
        ("x 0 0 * * ?", "Illegal characters for this position: 'X'"),
        ("5x 0 0 * * ?", "Unexpected character: X"),
        (", 0 0 * * ?", "Unexpected character:  "),
    ] {
        assert_eq!(detail(expression), expected, "{expression}");
    }
}

/// What croner and Elasticsearch agree on: lists, ranges that do not wrap, steps, last days, n-th weekdays.
fn common_subset() -> impl Strategy<Value = String> {
    let field = |first: u32, last: u32| {
        prop_oneof![
            Just("*".to_owned()),
            (first..=last).prop_map(|v| v.to_string()),
            (first..=last, first..=last).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
            (first..=last, 1..=5_u32).prop_map(|(a, n)| format!("{a}/{n}")),
            (first..=last, first..=last).prop_map(|(a, b)| format!("{a},{b}")),
        ]
    };
    let days = prop_oneof![
        field(1, 28).prop_map(|d| (d, "?".to_owned())),
        Just(("L".to_owned(), "?".to_owned())),
        (1..=28_u32).prop_map(|d| (format!("{d}W"), "?".to_owned())),
        field(1, 7).prop_map(|d| ("?".to_owned(), d)),
        (1..=7_u32, 1..=5_u32).prop_map(|(d, n)| ("?".to_owned(), format!("{d}#{n}"))),
        (1..=7_u32).prop_map(|d| ("?".to_owned(), format!("{d}L"))),
    ];
    (field(0, 59), field(0, 59), field(0, 23), days, field(1, 12)).prop_map(
        |(second, minute, hour, (day, weekday), month)| format!("{second} {minute} {hour} {day} {month} {weekday}"),
    )
}

proptest! {
    #[test]
    fn agrees_with_croner_on_the_common_subset(expression in common_subset(), from in 0_i64..4_000_000_000) {
        let ours = CronSchedule::from_str(&expression).unwrap();
        let theirs = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Required)
            .alternative_weekdays(true)
            .sloppy_ranges(true)
            .dom_and_dow(true)
            .build()
            .parse(&expression)
            .unwrap();
        let expected = theirs.find_next_occurrence(&DateTime::<Utc>::from_timestamp(from, 0).unwrap(), false).ok();
        let got = ours.next_after(Timestamp::from_second(from).unwrap());
        prop_assert_eq!(got.map(Timestamp::as_second), expected.map(|t| t.timestamp()), "{}", expression);
    }

    #[test]
    fn next_is_strictly_later_and_itself_a_match(expression in common_subset(), from in 0_i64..4_000_000_000) {
        let schedule = CronSchedule::from_str(&expression).unwrap();
        if let Some(next) = schedule.next_after(Timestamp::from_second(from).unwrap()) {
            prop_assert!(next.as_second() > from);
            let again = schedule.next_after(Timestamp::from_second(next.as_second() - 1).unwrap());
            prop_assert_eq!(again, Some(next));
        }
    }
}
