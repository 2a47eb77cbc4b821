//! Elasticsearch's cron dialect: Quartz-like, six or seven fields, always UTC.
//!
//! No crate speaks it (`DESIGN.md`), so it is parsed here, into bit sets, and checked when a configuration is built.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday, date, time};
use jiff::tz::Offset;

/// How many years ahead a match is looked for; after that the schedule is over.
const YEARS_AHEAD: i16 = 100;

/// When a job runs: `0 0 * * * ?` is at every full hour.
///
/// The fields are second, minute, hour, day of month, month, day of week (1 is Sunday) and, optionally, year. Exactly one
/// of the two day fields is `?`. Besides `,`, `-`, `*` and `/` there are `L` (last), `W` (nearest weekday) and `#` (n-th
/// weekday of the month). Times are UTC.
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
        parse(text).map_err(|detail| CronError { expression: text.to_owned(), detail: CronDetail(detail) })
    }
}

/// One of the seven fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    kind: FieldKind,
    first: i64,
    last: i64,
    /// The largest step, and how the error message puts it.
    step: (i64, i64),
    range_error: &'static str,
    names: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    Time,
    Month,
    DayOfMonth,
    DayOfWeek,
    Year,
}

const MINUTES: Field = Field {
    kind: FieldKind::Time,
    first: 0,
    last: 59,
    step: (59, 60),
    range_error: "Minute and Second values must be between 0 and 59",
    names: &[],
};
const HOURS: Field = Field { last: 23, step: (23, 24), range_error: "Hour values must be between 0 and 23", ..MINUTES };
const DAYS_OF_MONTH: Field = Field {
    kind: FieldKind::DayOfMonth,
    first: 1,
    last: 31,
    step: (31, 31),
    range_error: "Day of month values must be between 1 and 31",
    names: &[],
};
const MONTHS: Field = Field {
    kind: FieldKind::Month,
    first: 1,
    last: 12,
    step: (12, 12),
    range_error: "Month values must be between 1 and 12",
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const DAYS_OF_WEEK: Field = Field {
    kind: FieldKind::DayOfWeek,
    first: 1,
    last: 7,
    step: (7, 7),
    range_error: "Day-of-Week values must be between 1 and 7",
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};
const YEARS: Field =
    Field { kind: FieldKind::Year, first: 1_970, last: 9_998, step: (i64::MAX, 0), range_error: "", names: &[] };

/// `a`, `a-b`, `a/n`, `a-b/n`, `*`, `*/n` after parsing. A single value has no end and no step.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
    step: i64,
}

fn parse(text: &str) -> Result<CronSchedule, String> {
    let upper = text.to_uppercase();
    let fields: Vec<&str> = upper.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
    let [seconds, minutes, hours, day_of_month, month, day_of_week, rest @ ..] = fields.as_slice() else {
        return Err(format!("unexpected end of expression at pos [{}].", text.len()));
    };
    for field in [seconds, minutes, hours, month].into_iter().chain(rest.first()) {
        if field.starts_with('?') {
            return Err("'?' can only be specified for Day-of-Month or Day-of-Week. at pos [1]".to_owned());
        }
    }
    let seconds = bits(seconds, &MINUTES)?;
    let minutes = bits(minutes, &MINUTES)?;
    let hours = bits(hours, &HOURS)?;
    let days = match (*day_of_month, *day_of_week) {
        ("?", "?") => {
            return Err("'?' can only be specified for Day-of-Month -OR- Day-of-Week. at pos [1]".to_owned());
        }
        (days, "?") => Days::OfMonth(days_of_month(days)?),
        ("?", days) => Days::OfWeek(days_of_week(days)?),
        (of_month, of_week) => {
            // A broken field is the more helpful thing to hear about.
            days_of_month(of_month)?;
            days_of_week(of_week)?;
            return Err(
                "support for specifying both a day-of-week AND a day-of-month parameter is not implemented.".to_owned()
            );
        }
    };
    let months = bits(month, &MONTHS)?;
    let years = rest.first().unwrap_or(&"*").split(',').map(years).collect::<Result<_, _>>()?;
    Ok(CronSchedule { text: text.to_owned(), seconds, minutes, hours, months, days, years })
}

fn bits(text: &str, field: &Field) -> Result<u64, String> {
    text.split(',').map(|item| span(item, field).map(|span| span.bits(field))).try_fold(0, |set, item| Ok(set | item?))
}

fn years(item: &str) -> Result<Years, String> {
    let span = span(item, &YEARS)?;
    if span.to < span.from {
        return Err("Start year must be less than stop year".to_owned());
    }
    let year = |value: i64| i16::try_from(value).unwrap_or(i16::MAX);
    Ok(Years { from: year(span.from), to: year(span.to), step: year(span.step) })
}

fn days_of_month(text: &str) -> Result<DaysOfMonth, String> {
    if let Some(rest) = text.strip_prefix('L') {
        if text.contains(',') {
            return Err(
                "support for specifying 'L' and 'LW' with other days of the month is not implemented".to_owned()
            );
        }
        let (back, weekday) = rest.strip_suffix('W').map_or((rest, false), |rest| (rest, true));
        let back = match back.strip_prefix('-') {
            None if back.is_empty() => 0,
            Some(digits) => number(digits, text)?,
            None => return Err(format!("Unexpected character: {back}")),
        };
        let back = i8::try_from(back).ok().filter(|back| *back <= 30).ok_or("Offset from last day must be <= 30")?;
        return Ok(DaysOfMonth::FromLast { back, weekday });
    }
    if text.contains('L') {
        return Err("support for specifying 'L' and 'LW' with other days of the month is not implemented".to_owned());
    }
    let (mut plain, mut nearest_weekday) = (0, 0);
    for item in text.split(',') {
        match item.strip_suffix('W') {
            Some(day) => {
                let day = number(day, item)?;
                in_range(day, &DAYS_OF_MONTH)?;
                nearest_weekday |= 1 << day;
            }
            None => plain |= span(item, &DAYS_OF_MONTH)?.bits(&DAYS_OF_MONTH),
        }
    }
    Ok(DaysOfMonth::Listed { plain, nearest_weekday })
}

fn days_of_week(text: &str) -> Result<DaysOfWeek, String> {
    let day = |text: &str| -> Result<u8, String> {
        let (day, _) = value(text, &DAYS_OF_WEEK)?;
        in_range(day, &DAYS_OF_WEEK)?;
        Ok(u8::try_from(day).unwrap_or(0))
    };
    if let Some((weekday, nth)) = text.split_once('#') {
        if nth.contains('#') || text.contains(',') {
            return Err("Support for specifying multiple \"nth\" days is not implemented.".to_owned());
        }
        let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth));
        return Ok(DaysOfWeek::Nth(
            day(weekday)?,
            nth.ok_or("A numeric value between 1 and 5 must follow the '#' option")?,
        ));
    }
    match text.strip_suffix('L') {
        Some("") => Ok(DaysOfWeek::Listed(1 << 7)),
        Some(weekday) if !text.contains(',') => Ok(DaysOfWeek::Last(day(weekday)?)),
        _ if text.split(',').any(|item| item.len() > 1 && item.ends_with('L') || item == "L") => {
            Err("support for specifying 'L' with other days of the week is not implemented".to_owned())
        }
        _ => Ok(DaysOfWeek::Listed(bits(text, &DAYS_OF_WEEK)?)),
    }
}

/// A number or a name at the beginning of `text`, and what follows it.
fn value<'t>(text: &'t str, field: &Field) -> Result<(i64, &'t str), String> {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let name = text.get(..3).unwrap_or(text);
        let kind = match field.kind {
            FieldKind::Month => "Month",
            FieldKind::DayOfWeek => "Day-of-Week",
            _ => return Err(format!("Illegal characters for this position: '{name}'")),
        };
        let at = field.names.iter().position(|known| *known == name);
        let at = at.and_then(|at| i64::try_from(at).ok()).ok_or_else(|| format!("Invalid {kind} value: '{name}'"))?;
        return Ok((at + field.first, &text[3..]));
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    Ok((number(&text[..digits], text)?, &text[digits..]))
}

fn number(digits: &str, context: &str) -> Result<i64, String> {
    if digits.is_empty() {
        return Err(format!("Unexpected character: {}", context.chars().next().unwrap_or(' ')));
    }
    digits.parse().map_err(|_| format!("Unexpected character: {digits}"))
}

fn in_range(value: i64, field: &Field) -> Result<(), String> {
    if field.kind == FieldKind::Year || (field.first..=field.last).contains(&value) {
        Ok(())
    } else {
        Err(field.range_error.to_owned())
    }
}

fn span(item: &str, field: &Field) -> Result<Span, String> {
    let (range, step) = match item.split_once('/') {
        Some((_, "")) => return Err("'/' must be followed by an integer.".to_owned()),
        Some((range, step)) => {
            let (largest, named) = field.step;
            let value = number(step, step)?;
            if value > largest {
                return Err(format!("increment [{value}] > {named} at pos [{}]", item.len()));
            }
            (range, Some(value))
        }
        None => (item, None),
    };
    if range == "*" || (range.is_empty() && step.is_some()) {
        return Ok(Span { from: field.first, to: field.last, step: step.unwrap_or(1).max(1) });
    }
    let (from, rest) = value(range, field)?;
    in_range(from, field)?;
    let to = match rest.strip_prefix('-') {
        Some(end) => {
            let (to, rest) = value(end, field)?;
            in_range(to, field)?;
            if !rest.is_empty() {
                return Err(format!("Unexpected character: {rest}"));
            }
            Some(to)
        }
        None if rest.is_empty() => None,
        None => return Err(format!("Unexpected character: {rest}")),
    };
    Ok(match (to, step) {
        // A step of zero leaves the first value alone.
        (_, Some(0)) | (None, None) => Span { from, to: from, step: 1 },
        (to, step) => Span { from, to: to.unwrap_or(field.last), step: step.unwrap_or(1) },
    })
}

impl Span {
    /// Reversed ranges go round: `22-2` hours are 22, 23, 0, 1 and 2.
    fn bits(self, field: &Field) -> u64 {
        let count = field.last - field.first + 1;
        let to = if self.to < self.from { self.to + count } else { self.to };
        let step = usize::try_from(self.step).unwrap_or(1);
        (self.from..=to)
            .step_by(step)
            .map(|value| (value - field.first) % count + field.first)
            .fold(0, |set, value| set | 1 << value)
    }
}

#[cfg(test)]
mod tests;
