//! Dates as texts, the other way round: how an instant is printed.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::dates::{Format, Piece};
use crate::job::zone_rules;

/// How the dates of a search's buckets are printed.
#[derive(Debug, Clone)]
pub(crate) struct DateFormat {
    format: String,
    zone: TimeZone,
}

/// `strict_date_optional_time`, in UTC.
impl Default for DateFormat {
    fn default() -> Self {
        Self { format: "strict_date_optional_time".to_owned(), zone: TimeZone::UTC }
    }
}

impl DateFormat {
    /// The first of these formats, as [dates are read](super::FilterRange::format), in the local time of a zone.
    /// Without one, `strict_date_optional_time`.
    pub(crate) fn new(format: Option<&str>, zone: Option<&str>) -> Result<Self, String> {
        let format = format.unwrap_or("strict_date_optional_time").split("||").next().unwrap_or_default();
        Format::of(format)?;
        Ok(Self { format: format.to_owned(), zone: zone_rules(zone.unwrap_or("UTC"))? })
    }

    /// An instant in milliseconds since 1970.
    pub(crate) fn print(&self, millis: i64) -> String {
        let (Ok(at), Ok(format)) = (Timestamp::from_millisecond(millis), Format::of(&self.format)) else {
            return millis.to_string();
        };
        let (local, offset) = (self.zone.to_datetime(at), self.zone.to_offset(at));
        let mut text = String::new();
        match format {
            Format::EpochMillis => text = millis.to_string(),
            Format::EpochSecond => text = millis.div_euclid(1_000).to_string(),
            Format::OptionalTime { .. } => {
                let (date, time) = (local.date(), local.time());
                let millisecond = time.subsec_nanosecond() / 1_000_000;
                // Beyond four digits, years have a sign.
                let year = match date.year() {
                    year @ 0..=9_999 => format!("{year:04}"),
                    year => format!("{year:+05}"),
                };
                let (month, day) = (date.month(), date.day());
                let (hour, minute, second) = (time.hour(), time.minute(), time.second());
                let printed =
                    write!(text, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}");
                debug_assert!(printed.is_ok());
                text.push_str(&offset_text(offset, 3));
            }
            Format::Pattern(_, pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => text.push(literal),
                        Piece::Part(letter, count) => text.push_str(&part(letter, count, local, offset)),
                    }
                }
            }
        }
        text
    }
}

/// What a letter of a pattern, so many times, stands for.
fn part(letter: char, count: usize, local: jiff::civil::DateTime, offset: Offset) -> String {
    let number = |number: i32| format!("{number:0count$}");
    match letter {
        'y' | 'u' => number(local.year().into()),
        'M' => number(local.month().into()),
        'd' => number(local.day().into()),
        'H' => number(local.hour().into()),
        'm' => number(local.minute().into()),
        's' => number(local.second().into()),
        'S' => format!("{:09}", local.subsec_nanosecond()).chars().take(count).collect(),
        'Z' => offset_text(offset, 2).replace('Z', "+0000"),
        _ => offset_text(offset, count),
    }
}

/// `Z`, or hours and minutes: `+01` or `+0130` (1), `+0100` (2), `+01:00` (3).
fn offset_text(offset: Offset, width: usize) -> String {
    let seconds = offset.seconds();
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60);
    match width {
        1 if minutes == 0 => format!("{sign}{hours:02}"),
        1 | 2 => format!("{sign}{hours:02}{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_printed_as_elasticsearch_prints_them() {
        let print = |format, zone, millis| DateFormat::new(format, zone).unwrap().print(millis);
        assert_eq!(print(None, None, 1_483_246_800_000), "2017-01-01T05:00:00.000Z");
        assert_eq!(print(None, Some("Europe/Berlin"), 1_483_246_800_000), "2017-01-01T06:00:00.000+01:00");
        assert_eq!(print(Some("epoch_millis"), None, -5), "-5");
        assert_eq!(print(Some("epoch_second||yyyy"), None, -5), "-1");
        assert_eq!(print(Some("yyyy-MM-dd"), Some("-03:30"), 0), "1969-12-31");
        assert_eq!(print(Some("dd.MM.yyyy HH:mm:ss.SSS XXX"), Some("+05:30"), 7), "01.01.1970 05:30:00.007 +05:30");
        assert_eq!(print(Some("yyyy'W'Z"), None, 0), "1970W+0000");
        assert!(DateFormat::new(Some("nonsense"), None).is_err());
        assert!(DateFormat::new(None, Some("Europe/Atlantis")).is_err());
    }
}
