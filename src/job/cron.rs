//! Elasticsearch's cron dialect: Quartz-like, six or seven fields, always UTC.
//!
//! No crate speaks it (`DESIGN.md`), so it is parsed here, into bit sets, and checked when a configuration is built.

mod parse;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday, date, time};
use jiff::tz::Offset;

/// How many years ahead a match is looked for; after that the schedule is over.
const YEARS_AHEAD: i16 = 100;

/// When a job runs: `0 0 * * * ?` is at every full hour.
///
/// The fields are second, minute, hour, day of month, month, day of week (1 is Sunday) and, optionally, year. Exactly
/// one of the two day fields is `?`. Besides `,`, `-`, `*` and `/` there are `L` (last), `W` (nearest weekday) and
/// `#` (n-th weekday of the month). Times are UTC.
///
/// Elasticsearch's class takes some expressions that cannot be meant, and gives them times by accident; they are
/// refused here: `99` in any field (there: every value), a range that ends in `0` where values begin with 1, and a
/// day of the week beyond 7 before `#`. `31W` does not match in a month without a 31st (there: if the first of the
/// next is a Saturday).
///
/// ```
/// use rollup_jobs::CronSchedule;
///
/// let schedule: CronSchedule = "0 0/15 9-17 ? * MON-FRI".parse()?;
/// let friday = "2026-11-20T17:46:00Z".parse().unwrap();
/// assert_eq!(schedule.next_after(friday), Some("2026-11-23T09:00:00Z".parse().unwrap()));
///
/// let error = "0 * * *".parse::<CronSchedule>().unwrap_err();
/// assert_eq!(error.to_string(), "invalid cron expression [0 * * *]");
/// # Ok::<(), rollup_jobs::CronError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSchedule {
    text: String,
    seconds: u64,
    minutes: u64,
    hours: u64,
    months: u64,
    days: Days,
    years: Vec<Years>,
    ignored_by_elasticsearch: Option<String>,
}

/// A text is not a cron expression. The cause ([`source`](std::error::Error::source)) says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid cron expression [{expression}]")]
pub struct CronError {
    expression: String,
    #[source]
    detail: CronDetail,
}

impl CronError {
    /// What is wrong, in Elasticsearch's words.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct CronDetail(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth(DaysOfMonth),
    OfWeek(DaysOfWeek),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DaysOfMonth {
    /// Plain days, and days whose nearest weekday is meant.
    Listed { plain: u64, nearest_weekday: u64 },
    /// `L`, `L-3`, `LW`, `L-3W`.
    FromLast { back: i8, weekday: bool },
}

/// Days of the week are numbered 1 (Sunday) to 7.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DaysOfWeek {
    Listed(u64),
    Last(u8),
    Nth(u8, i8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Years {
    from: i16,
    to: i16,
    step: i16,
}

impl CronSchedule {
    /// The expression as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A part that Elasticsearch takes and does not heed, so that the same expression has other times there: what
    /// follows a name (the step of `MON-FRI/2` and `JAN/3`, the end of `MONDAY-FRI`), and `W` in a list (`1W,15W`).
    /// Here it means what it says.
    ///
    /// ```
    /// use rollup_jobs::CronSchedule;
    ///
    /// let schedule: CronSchedule = "0 0 12 ? * MON-FRI/2".parse()?;
    /// assert_eq!(schedule.ignored_by_elasticsearch(), Some("MON-FRI/2"));
    /// # Ok::<(), rollup_jobs::CronError>(())
    /// ```
    #[must_use]
    pub fn ignored_by_elasticsearch(&self) -> Option<&str> {
        self.ignored_by_elasticsearch.as_deref()
    }

    /// The first time strictly after `instant` (to the second) that matches, or `None` if there is none within the next
    /// hundred years.
    #[must_use]
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let from = Timestamp::from_second(instant.as_millisecond().div_euclid(1_000).checked_add(1)?).ok()?;
        let from = Offset::UTC.to_datetime(from);
        let midnight = time(0, 0, 0, 0);
        for year in from.year()..=from.year().saturating_add(YEARS_AHEAD).min(9_998) {
            if !self.years.iter().any(|years| years.contain(year)) {
                continue;
            }
            for month in (1..=12).filter(|month| has(self.months, *month)) {
                let last = date(year, month, 1).days_in_month();
                let days = self.days.in_month(date(year, month, last));
                for day in (1..=last).filter(|day| has(days, *day)).map(|day| date(year, month, day)) {
                    if day < from.date() {
                        continue;
                    }
                    let earliest = if day == from.date() { from.time() } else { midnight };
                    if let Some((hour, minute, second)) =
                        self.time_from(earliest.hour(), earliest.minute(), earliest.second())
                    {
                        return Offset::UTC.to_timestamp(day.at(hour, minute, second, 0)).ok();
                    }
                }
            }
        }
        None
    }

    /// The first matching time of day that is not before the given one.
    fn time_from(&self, hour: i8, minute: i8, second: i8) -> Option<(i8, i8, i8)> {
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = first_from(self.seconds, second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = first_from(self.minutes, minute + 1) {
                return Some((hour, minute, first_from(self.seconds, 0)?));
            }
        }
        let hour = first_from(self.hours, hour + 1)?;
        Some((hour, first_from(self.minutes, 0)?, first_from(self.seconds, 0)?))
    }
}

fn has(set: u64, member: i8) -> bool {
    set >> member & 1 == 1
}

fn first_from(set: u64, from: i8) -> Option<i8> {
    let rest = set >> from;
    (rest != 0).then(|| from + i8::try_from(rest.trailing_zeros()).unwrap_or(0))
}

impl Days {
    /// The matching days of the month whose last day is `last`, as a bit set.
    fn in_month(&self, last: Date) -> u64 {
        let all = (1_u64 << (last.day() + 1)) - 2;
        match self {
            Self::OfMonth(DaysOfMonth::Listed { plain, nearest_weekday }) => {
                let nearest = (1..=last.day()).filter(|day| has(*nearest_weekday, *day));
                let shifted = nearest.map(|day| 1_u64 << weekday_nearest_to(day, last)).fold(0, |set, day| set | day);
                plain & all | shifted
            }
            Self::OfMonth(DaysOfMonth::FromLast { back, weekday }) => match last.day() - back {
                day if day < 1 => 0,
                day if *weekday => 1 << weekday_nearest_to(day, last),
                day => 1 << day,
            },
            Self::OfWeek(days) => (1..=last.day())
                .filter(|day| days.contain(weekday_number(*day, last), *day, last.day()))
                .fold(0, |set, day| set | 1 << day),
        }
    }
}

impl DaysOfWeek {
    fn contain(&self, weekday: u8, day: i8, last: i8) -> bool {
        match self {
            Self::Listed(days) => days >> weekday & 1 == 1,
            Self::Last(wanted) => weekday == *wanted && day + 7 > last,
            Self::Nth(wanted, nth) => weekday == *wanted && (day - 1) / 7 + 1 == *nth,
        }
    }
}

/// 1 for Sunday to 7 for Saturday, of a day in the month whose last day is `last`.
fn weekday_number(day: i8, last: Date) -> u8 {
    let weekday = last.with().day(day).build().map_or(Weekday::Sunday, Date::weekday);
    weekday.to_sunday_one_offset().unsigned_abs()
}

/// The nearest day from Monday to Friday, in the same month.
fn weekday_nearest_to(day: i8, last: Date) -> i8 {
    match weekday_number(day, last) {
        7 if day == 1 => 3,
        7 => day - 1,
        1 if day == last.day() => day - 2,
        1 => day + 1,
        _ => day,
    }
}

impl Years {
    fn contain(self, year: i16) -> bool {
        (self.from..=self.to).contains(&year) && (year - self.from) % self.step == 0
    }
}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CronSchedule {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        parse::parse(text).map_err(|detail| CronError { expression: text.to_owned(), detail: CronDetail(detail) })
    }
}

#[cfg(test)]
mod tests;
