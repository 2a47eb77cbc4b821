//! Schedules have the times that Elasticsearch's own class gives them.

use std::str::FromStr;

use jiff::Timestamp;
use rollup_jobs::CronSchedule;

/// What `org.elasticsearch.xpack.core.scheduler.Cron` of 7.17.0 says of random expressions (`tests/data/CronTable.java`
/// says how it was asked): the next two times after [`FROM`], in seconds.
const TABLE: &str = include_str!("../data/cron.tsv");
const FROM: &str = "2026-11-23T14:00:00Z";

fn times(schedule: &CronSchedule) -> String {
    let mut said = Vec::new();
    let mut at: Timestamp = FROM.parse().unwrap();
    while said.len() < 2 {
        let Some(next) = schedule.next_after(at) else {
            said.push("never".to_owned());
            break;
        };
        said.push(next.as_second().to_string());
        at = next;
    }
    said.join(" ")
}

/// What the class takes by accident, and is better refused ([`CronSchedule`] says it).
fn is_an_accident(expression: &str) -> bool {
    let fields: Vec<_> = expression.split(' ').collect();
    let from_one = || fields.get(3..6).into_iter().flatten();
    let ends_in_zero = |item: &str| {
        let range = item.split('/').next().unwrap();
        range.split_once('-').is_some_and(|(_, to)| !to.is_empty() && to.bytes().all(|digit| digit == b'0'))
    };
    let ninety_nine = fields.iter().any(|field| field.split([',', '-', '/']).any(|value| value == "99"));
    let weekday =
        from_one().filter_map(|field| field.split_once('#')).any(|(day, _)| !"1234567".contains(day) || day.len() > 1);
    ninety_nine || weekday || from_one().any(|field| field.split(',').any(ends_in_zero))
}

#[test]
fn random_expressions_mean_what_they_mean_in_elasticsearch() {
    let (mut compared, mut refused, mut ignored) = (0, 0, 0);
    let mut wrong = Vec::new();
    for line in TABLE.lines() {
        let (expression, expected) = line.split_once('\t').unwrap();
        let here = match CronSchedule::from_str(expression) {
            Err(_) => "refused".to_owned(),
            Ok(schedule) if schedule.ignored_by_elasticsearch().is_some() => {
                ignored += 1;
                // It is taken by both, and has other times.
                if expected == "refused" { "taken".to_owned() } else { expected.to_owned() }
            }
            Ok(schedule) => times(&schedule),
        };
        // Where the class does not end, or ends in an error of its own, it would have done better to refuse.
        let ends = expected != "hangs" && !expected.starts_with("broken");
        let sensible = if ends { expected } else { "refused" };
        let accident = !ends && here == "never"
            || here == "refused" && is_an_accident(expression)
            || here == "never" && expression.contains("31W");
        if here != sensible && !accident {
            wrong.push(format!("[{expression}]: here {here}, there {expected}"));
        }
        compared += 1;
        refused += usize::from(sensible == "refused");
    }
    assert!(wrong.is_empty(), "{} of {compared}, such as\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 12_000 && refused > 1_000 && ignored > 100, "{compared} {refused} {ignored}");
}

#[test]
fn a_step_that_is_too_large_means_one_time() {
    for (expression, minute) in [("0 0/60 * * * ?", 0), ("0 1-5/24 * * * ?", 1), ("0 7/90 * * * ?", 7)] {
        let schedule = CronSchedule::from_str(expression).unwrap();
        let mut at: Timestamp = FROM.parse().unwrap();
        for _ in 0..3 {
            at = schedule.next_after(at).unwrap();
            assert_eq!(at.as_second() / 60 % 60, minute, "{expression}");
        }
    }
    let refused = CronSchedule::from_str("0 */60 * * * ?").unwrap_err();
    assert_eq!(refused.detail(), "increment [60] > 60 at pos [4]");
}

#[test]
fn what_elasticsearch_does_not_heed_is_heeded_and_told() {
    for (expression, told, next) in [
        ("0 0 0 1 JAN/3 ?", "JAN/3", "2027-01-01T00:00:00Z"),
        ("0 0 12 ? * MON-FRI/2", "MON-FRI/2", "2026-11-25T12:00:00Z"),
        ("0 0 12 ? * MONDAY-FRIDAY", "MONDAY-FRIDAY", "2026-11-24T12:00:00Z"),
        ("0 0 0 1W,15W * ?", "1W,15W", "2026-12-01T00:00:00Z"),
    ] {
        let schedule = CronSchedule::from_str(expression).unwrap();
        assert_eq!(schedule.ignored_by_elasticsearch(), Some(told), "{expression}");
        assert_eq!(schedule.next_after(FROM.parse().unwrap()).unwrap().to_string(), next, "{expression}");
    }
    for same in ["0 0 12 ? * MON-FRI", "0 0 12 ? SEPT MONDAY", "0 0 12 ? * FRIL", "0 0 12 ? * FRI#2", "0 0 12 15W * ?"]
    {
        assert_eq!(CronSchedule::from_str(same).unwrap().ignored_by_elasticsearch(), None, "{same}");
    }
}
