//! Days, weeks and months of every time zone are made of quarters of an hour, and of what else they are made.

use rollup_jobs::jiff::Timestamp;
use rollup_jobs::jiff::tz::TimeZoneDatabase;
use rollup_jobs::search::SearchInterval;

use super::oracle::grid;

fn millis(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

#[test]
fn quarters_of_an_hour_make_days_weeks_and_months_of_every_zone() {
    let (from, until) = (millis("2012-01-01T00:00:00Z"), millis("2030-01-01T00:00:00Z"));
    let fixed = |text: &str| grid(&SearchInterval::Fixed(text.to_owned()), None, None);
    let (quarters, hours) = (fixed("15m"), fixed("1h"));
    let database = TimeZoneDatabase::bundled();
    let (mut zones, mut of_hours) = (0, 0);
    for zone in database.available() {
        let zone = zone.as_str();
        for interval in ["day", "week", "month"] {
            let asked = grid(&SearchInterval::Calendar(interval.to_owned()), Some(zone), None);
            assert_eq!(quarters.refines(&asked, from..until), Ok(Vec::new()), "{interval} in {zone}");
        }
        let days = grid(&SearchInterval::Calendar("day".to_owned()), Some(zone), None);
        zones += 1;
        of_hours += usize::from(hours.refines(&days, from..until) == Ok(Vec::new()));
    }
    assert!(zones > 550, "{zones}");
    // India, Nepal, parts of Australia ... have days that begin inside of an hour.
    assert!(of_hours * 100 > zones * 93 && of_hours < zones, "{of_hours} of {zones}");
}
