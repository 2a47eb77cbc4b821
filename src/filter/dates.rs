//! Dates as texts: Elasticsearch's formats, date math, and what a text that leaves parts out means at either end of a
//! range.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

use crate::job::{CalendarUnit, calendar_grid, zone_rules};

/// How dates are written unless a range says otherwise.
const DEFAULT_FORMAT: &str = "strict_date_optional_time||epoch_millis";

/// Reads the dates of one condition.
pub(crate) struct DateReader<'a> {
    formats: Vec<Format<'a>>,
    zone: TimeZone,
    zone_id: &'a str,
    now: i64,
    has_format: bool,
}

/// One way to write dates.
pub(super) enum Format<'a> {
    /// `2026`, `2026-01`, `2026-01-31`, `2026-01-31T12`, and so on, with an offset behind a time.
    OptionalTime {
        is_strict: bool,
    },
    EpochMillis,
    EpochSecond,
    /// As in Java's patterns.
    Pattern(&'a str, Vec<Piece>),
}

/// A piece of a pattern.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    Literal(char),
    /// A letter, and how often it stands there.
    Part(char, usize),
}

impl<'a> DateReader<'a> {
    /// Reads dates in this format and time zone, at this moment.
    pub(crate) fn new(format: Option<&'a str>, zone: Option<&'a str>, now: i64) -> Result<Self, String> {
        let formats = format.unwrap_or(DEFAULT_FORMAT).split("||").map(Format::of).collect::<Result<_, _>>()?;
        let zone_id = zone.unwrap_or("UTC");
        let zone = zone_rules(zone_id)?;
        Ok(Self { formats, zone, zone_id, now, has_format: format.is_some() })
    }

    /// Whether it was said how dates are written. Where it was not, a number is milliseconds since 1970: unlike in
    /// Elasticsearch one of four digits is no year.
    pub(crate) fn has_format(&self) -> bool {
        self.has_format
    }

    /// The instant that a text means, in milliseconds since 1970. Of a text that leaves parts out (`2026-01`, or one
    /// that is rounded: `now/d`) it is the last instant if `is_last` is set, else the first.
    pub(crate) fn read(&self, text: &str, is_last: bool) -> Result<i64, String> {
        if let Some(math) = text.strip_prefix("now") {
            return self.calculate(self.now, math, is_last);
        }
        match text.split_once("||") {
            None => self.parse(text, is_last),
            Some((date, math)) => self.calculate(self.parse(date, false)?, math, is_last),
        }
    }

    fn parse(&self, text: &str, is_last: bool) -> Result<i64, String> {
        let read = self.formats.iter().find_map(|format| format.read(text));
        let date = match read {
            Some(Written::Millis(millis)) => return Ok(millis),
            Some(Written::Parts(parts)) => parts.instant(&self.zone, is_last),
            None => None,
        };
        date.ok_or_else(|| {
            let formats: Vec<_> = self.formats.iter().map(Format::name).collect();
            format!("failed to parse date field [{text}] with format [{}]", formats.join("||"))
        })
    }

    /// Date math: `+1h`, `-2d`, `/M`, one after the other.
    fn calculate(&self, from: i64, math: &str, is_last: bool) -> Result<i64, String> {
        let (mut instant, mut rest) = (from, math);
        while let Some(operator) = rest.chars().next() {
            let unknown = || format!("operator not supported for date math [{math}]: use +, - and /");
            let (sign, behind) = match operator {
                '+' => (Some(1), &rest[1..]),
                '-' => (Some(-1), &rest[1..]),
                '/' => (None, &rest[1..]),
                _ => return Err(unknown()),
            };
            let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, behind) = behind.split_at(digits);
            let letter = behind.chars().next().ok_or_else(|| format!("date math [{math}] ends without a unit"))?;
            rest = &behind[letter.len_utf8()..];
            let unit = unit_of(letter)?;
            let out_of_range = || format!("date math [{math}] leaves the years that there are");
            instant = match sign {
                None if number.is_empty() => self.round(instant, unit, is_last)?,
                None => return Err(format!("rounding `/` can only be used on single unit types, but was [{math}]")),
                Some(sign) => {
                    let number: i64 = if number.is_empty() { Ok(1) } else { number.parse() }.map_err(|_| unknown())?;
                    let number = number.checked_mul(sign).ok_or_else(out_of_range)?;
                    let moved =
                        span(unit, number).ok_or_else(|| format!("[{number}{letter}] is too much for date math"))?;
                    let at = Timestamp::from_millisecond(instant).map_err(|_| out_of_range())?;
                    let moved =
                        at.to_zoned_datetime(self.zone.clone()).checked_add(moved).map_err(|_| out_of_range())?;
                    moved.timestamp().as_millisecond()
                }
            };
        }
        Ok(instant)
    }

    fn round(&self, instant: i64, unit: CalendarUnit, is_last: bool) -> Result<i64, String> {
        let bucket = calendar_grid(unit, self.zone_id)?.bucket(instant);
        Ok(if is_last { bucket.end - 1 } else { bucket.start })
    }
}

fn unit_of(letter: char) -> Result<CalendarUnit, String> {
    match letter {
        'y' => Ok(CalendarUnit::Year),
        'M' => Ok(CalendarUnit::Month),
        'w' => Ok(CalendarUnit::Week),
        'd' => Ok(CalendarUnit::Day),
        'h' | 'H' => Ok(CalendarUnit::Hour),
        'm' => Ok(CalendarUnit::Minute),
        's' => Ok(CalendarUnit::Second),
        other => Err(format!("unit [{other}] not supported for date math: use y, M, w, d, h, m and s")),
    }
}

/// So many units, if there can be so many.
fn span(unit: CalendarUnit, number: i64) -> Option<Span> {
    let span = Span::new();
    match unit {
        CalendarUnit::Year => span.try_years(number),
        CalendarUnit::Quarter => span.try_months(number.checked_mul(3)?),
        CalendarUnit::Month => span.try_months(number),
        CalendarUnit::Week => span.try_weeks(number),
        CalendarUnit::Day => span.try_days(number),
        CalendarUnit::Hour => span.try_hours(number),
        CalendarUnit::Minute => span.try_minutes(number),
        CalendarUnit::Second => span.try_seconds(number),
    }
    .ok()
}

/// A text as one format reads it.
enum Written {
    Millis(i64),
    Parts(Parts),
}

/// What a text says of a date; the rest it leaves out.
#[derive(Default)]
struct Parts {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    hour: Option<i8>,
    minute: Option<i8>,
    second: Option<i8>,
    nanosecond: Option<i32>,
    offset: Option<Offset>,
}

impl Parts {
    fn instant(&self, zone: &TimeZone, is_last: bool) -> Option<i64> {
        let fill = |part: Option<i8>, first: i8, last: i8| part.unwrap_or(if is_last { last } else { first });
        let month = fill(self.month, 1, 12);
        let last_day = Date::new(self.year, month, 1).ok()?.days_in_month();
        let date = Date::new(self.year, month, fill(self.day, 1, last_day)).ok()?;
        let nanosecond = self.nanosecond.unwrap_or(if is_last { 999_999_999 } else { 0 });
        let (hour, minute, second) = (fill(self.hour, 0, 23), fill(self.minute, 0, 59), fill(self.second, 0, 59));
        let time = jiff::civil::Time::new(hour, minute, second, nanosecond).ok()?;
        let zone = self.offset.map_or_else(|| zone.clone(), TimeZone::fixed);
        let local = DateTime::from_parts(date, time);
        let nanoseconds = match zone.to_zoned_datetime(local) {
            Ok(zoned) => zoned.timestamp().as_nanosecond(),
            // Behind the last instant that has all time zones: 9999-12-31 is often the end of all time.
            Err(_) => {
                let last = if local.year() > 0 { Timestamp::MAX } else { Timestamp::MIN };
                let since = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
                (since - SignedDuration::from_secs(zone.to_offset(last).seconds().into())).as_nanos()
            }
        };
        i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()
    }
}

impl<'a> Format<'a> {
    pub(super) fn of(name: &'a str) -> Result<Self, String> {
        match name {
            "strict_date_optional_time" | "strict_date_optional_time_nanos" => {
                Ok(Self::OptionalTime { is_strict: true })
            }
            "date_optional_time" => Ok(Self::OptionalTime { is_strict: false }),
            "epoch_millis" => Ok(Self::EpochMillis),
            "epoch_second" => Ok(Self::EpochSecond),
            pattern => pieces(pattern).map(|pieces| Self::Pattern(pattern, pieces)).ok_or_else(|| {
                format!(
                    "date format [{pattern}] is not supported: use strict_date_optional_time, date_optional_time, \
                     epoch_millis, epoch_second, or a pattern of yyyy MM dd HH mm ss SSS XXX"
                )
            }),
        }
    }

    fn name(&self) -> &'a str {
        match self {
            Self::OptionalTime { is_strict: true } => "strict_date_optional_time",
            Self::OptionalTime { is_strict: false } => "date_optional_time",
            Self::EpochMillis => "epoch_millis",
            Self::EpochSecond => "epoch_second",
            Self::Pattern(pattern, _) => pattern,
        }
    }

    fn read(&self, text: &str) -> Option<Written> {
        let mut cursor = Cursor { rest: text };
        let parts = match self {
            Self::EpochMillis => return text.parse().ok().map(Written::Millis),
            Self::EpochSecond => return text.parse::<i64>().ok()?.checked_mul(1_000).map(Written::Millis),
            Self::OptionalTime { is_strict } => optional_time(&mut cursor, *is_strict),
            Self::Pattern(_, pieces) => by_pattern(&mut cursor, pieces),
        }?;
        cursor.rest.is_empty().then_some(Written::Parts(parts))
    }
}

/// The pieces of a pattern, if all of its letters are known as often as they stand there (`yy` is the year of some
/// century, `MMM` a month's name) and a year is among them.
fn pieces(pattern: &str) -> Option<Vec<Piece>> {
    let (mut pieces, mut has_year) = (Vec::new(), false);
    // Every other piece is in quotes.
    for (at, text) in pattern.split('\'').enumerate() {
        if at % 2 == 1 {
            // Two quotes are one.
            pieces.extend(if text.is_empty() { "'" } else { text }.chars().map(Piece::Literal));
            continue;
        }
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            if !letter.is_ascii_alphabetic() {
                pieces.push(Piece::Literal(letter));
                rest = &rest[letter.len_utf8()..];
                continue;
            }
            let count = rest.len() - rest.trim_start_matches(letter).len();
            rest = &rest[count..];
            let is_known = match letter {
                'y' | 'u' => matches!(count, 1 | 4),
                'M' | 'd' | 'H' | 'm' | 's' => count <= 2,
                'S' => count <= 9,
                'X' | 'Z' => count <= 3,
                _ => false,
            };
            if !is_known {
                return None;
            }
            has_year |= matches!(letter, 'y' | 'u');
            pieces.push(Piece::Part(letter, count));
        }
    }
    has_year.then_some(pieces)
}

/// What of a text is still to be read.
struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn skip(&mut self, literal: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(literal)?;
        Some(())
    }

    /// A number of so many digits.
    fn number<T: std::str::FromStr>(&mut self, least: usize, most: usize) -> Option<T> {
        let digits = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < least {
            return None;
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        number.parse().ok()
    }

    /// A fraction of a second, in nanoseconds.
    fn fraction(&mut self, least: usize, most: usize) -> Option<i32> {
        let before = self.rest.len();
        let number: i32 = self.number(least, most)?;
        let digits = u32::try_from(before - self.rest.len()).ok()?;
        Some(number * 10_i32.pow(9 - digits))
    }

    /// `Z`, `+01:00`, `+0100` or `+01`.
    fn offset(&mut self) -> Option<Offset> {
        if self.skip('Z').is_some() {
            return Some(Offset::UTC);
        }
        let sign = if self.skip('+').is_some() { 1 } else { self.skip('-').map(|()| -1)? };
        let hours: i32 = self.number(2, 2)?;
        let minutes: i32 = match self.skip(':') {
            Some(()) => self.number(2, 2)?,
            None => self.number(2, 2).unwrap_or(0),
        };
        (minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()).flatten()
    }
}

fn optional_time(cursor: &mut Cursor<'_>, is_strict: bool) -> Option<Parts> {
    let least = if is_strict { 2 } else { 1 };
    let mut parts = Parts { year: cursor.number(if is_strict { 4 } else { 1 }, 4)?, ..Parts::default() };
    if cursor.skip('-').is_some() {
        parts.month = Some(cursor.number(least, 2)?);
        if cursor.skip('-').is_some() {
            parts.day = Some(cursor.number(least, 2)?);
        }
    }
    if cursor.skip('T').is_some() && !cursor.rest.is_empty() {
        parts.day?;
        parts.hour = Some(cursor.number(least, 2)?);
        if cursor.skip(':').is_some() {
            parts.minute = Some(cursor.number(least, 2)?);
            if cursor.skip(':').is_some() {
                parts.second = Some(cursor.number(least, 2)?);
                if cursor.skip('.').is_some() || cursor.skip(',').is_some() {
                    parts.nanosecond = Some(cursor.fraction(1, 9)?);
                }
            }
        }
        if !cursor.rest.is_empty() {
            parts.offset = Some(cursor.offset()?);
        }
    }
    Some(parts)
}

fn by_pattern(cursor: &mut Cursor<'_>, pieces: &[Piece]) -> Option<Parts> {
    let mut parts = Parts::default();
    for piece in pieces {
        match *piece {
            Piece::Literal(literal) => cursor.skip(literal)?,
            Piece::Part('y' | 'u', count) => parts.year = cursor.number(count, 4)?,
            Piece::Part('M', count) => parts.month = Some(cursor.number(count, 2)?),
            Piece::Part('d', count) => parts.day = Some(cursor.number(count, 2)?),
            Piece::Part('H', count) => parts.hour = Some(cursor.number(count, 2)?),
            Piece::Part('m', count) => parts.minute = Some(cursor.number(count, 2)?),
            Piece::Part('s', count) => parts.second = Some(cursor.number(count, 2)?),
            Piece::Part('S', count) => parts.nanosecond = Some(cursor.fraction(count, count)?),
            Piece::Part(..) => parts.offset = Some(cursor.offset()?),
        }
    }
    Some(parts)
}
