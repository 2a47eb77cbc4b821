//! The interval and the time zone of a date histogram: from Elasticsearch's texts to what rounding needs.

use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::rounding::{Rounding, Unit, Zone, millis_of};
use super::time_value::{TimeValue, TimeValueError};
use crate::exact::exact;

/// A calendar unit that a date histogram can use as its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CalendarUnit {
    /// `second`, `1s`
    Second,
    /// `minute`, `1m`
    Minute,
    /// `hour`, `1h`
    Hour,
    /// `day`, `1d`
    Day,
    /// `week`, `1w`; weeks begin on Monday
    Week,
    /// `month`, `1M`
    Month,
    /// `quarter`, `1q`
    Quarter,
    /// `year`, `1y`
    Year,
}

impl From<CalendarUnit> for Unit {
    fn from(unit: CalendarUnit) -> Self {
        match unit {
            CalendarUnit::Second => Self::Fixed(1_000),
            CalendarUnit::Minute => Self::Fixed(60_000),
            CalendarUnit::Hour => Self::Fixed(3_600_000),
            CalendarUnit::Day => Self::Day,
            CalendarUnit::Week => Self::Week,
            CalendarUnit::Month => Self::Month,
            CalendarUnit::Quarter => Self::Quarter,
            CalendarUnit::Year => Self::Year,
        }
    }
}

impl CalendarUnit {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "second" | "1s" => Self::Second,
            "minute" | "1m" => Self::Minute,
            "hour" | "1h" => Self::Hour,
            "day" | "1d" => Self::Day,
            "week" | "1w" => Self::Week,
            "month" | "1M" => Self::Month,
            "quarter" | "1q" => Self::Quarter,
            "year" | "1y" => Self::Year,
            _ => return None,
        })
    }
}

/// The longest fixed interval: ten thousand years, which is further than dates go. Where a bucket of it begins and ends
/// can be said in milliseconds, in any time zone.
const MAX_DAYS: i64 = 3_650_000;

/// The interval of a date histogram, with the text it was configured by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DateInterval {
    /// Buckets that follow the calendar of the time zone, daylight saving time included.
    Calendar {
        /// The unit.
        unit: CalendarUnit,
        /// The text, such as `1d` or `day`.
        text: String,
    },
    /// Buckets of one length, counted from the local epoch of the time zone. Unlike Elasticsearch's indexer, a fixed
    /// `1d` is 24 hours everywhere, at the boundary too.
    Fixed {
        /// The length in milliseconds.
        millis: i64,
        /// The text, such as `90m`.
        text: String,
    },
}

impl DateInterval {
    /// The text as configured; it is repeated in every rolled-up document.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Calendar { text, .. } | Self::Fixed { text, .. } => text,
        }
    }

    pub(super) fn unit(&self) -> Unit {
        match self {
            Self::Calendar { unit, .. } => Unit::from(*unit),
            Self::Fixed { millis, .. } => Unit::Fixed(*millis),
        }
    }

    pub(crate) fn calendar(text: &str) -> Result<Self, String> {
        match CalendarUnit::parse(text) {
            Some(unit) => Ok(Self::Calendar { unit, text: text.to_owned() }),
            None => match TimeValue::parse(text, "createRounding") {
                Ok(_) => Err(format!("The supplied interval [{text}] could not be parsed as a calendar interval.")),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    pub(crate) fn fixed(text: &str) -> Result<Self, String> {
        let millis = match TimeValue::parse(text, "createRounding") {
            Ok(value) => value.as_millis(),
            Err(_) if CalendarUnit::parse(text).is_some() => {
                let setting = "date_histogram.FixedInterval".to_owned();
                return Err(TimeValueError::Unit { setting, value: text.to_owned() }.to_string());
            }
            Err(error) => return Err(error.to_string()),
        };
        if millis <= 0 {
            return Err("Zero or negative time interval not supported".to_owned());
        }
        if millis > MAX_DAYS * 86_400_000 {
            return Err(format!("can be {MAX_DAYS}d at most, but was [{text}]"));
        }
        Ok(Self::Fixed { millis, text: text.to_owned() })
    }

    /// The `interval` of old configurations: a calendar unit if it names one, else a fixed length.
    pub(crate) fn legacy(text: &str) -> Result<Self, String> {
        if CalendarUnit::parse(text).is_some() { Self::calendar(text) } else { Self::fixed(text) }
    }
}

/// Reads a zone id or an offset, as `java.time.ZoneId.of` does, against the time zone data bundled with the crate.
pub(super) fn time_zone(id: &str) -> Result<Zone, String> {
    if id == "Z" || id == "UTC" || id == "GMT" || id == "UT" {
        return Ok(Zone::Offset(0));
    }
    if let Some(seconds) = id.strip_prefix(['+', '-']).map(|digits| offset_seconds(digits, id.starts_with('-'))) {
        return seconds
            .map(|s| Zone::Offset(s * 1_000))
            .ok_or_else(|| format!("Invalid ID for ZoneOffset, invalid format: {id}"));
    }
    for prefix in ["UTC", "GMT", "UT"] {
        if let Some(offset) = id.strip_prefix(prefix)
            && let Some(digits) = offset.strip_prefix(['+', '-'])
            && let Some(seconds) = offset_seconds(digits, offset.starts_with('-'))
        {
            return Ok(Zone::Offset(seconds * 1_000));
        }
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"~/._+-".contains(&b);
    if id.len() < 2 || !id.as_bytes()[0].is_ascii_alphabetic() || !id.bytes().all(allowed) {
        return Err(format!("Invalid ID for region-based ZoneId, invalid format: {id}"));
    }
    match TimeZoneDatabase::bundled().get(id) {
        // The database looks names up without regard to case, Java does not.
        Ok(zone) if zone.iana_name() == Some(id) => Ok(simplify(zone)),
        _ => Err(format!("Unknown time-zone ID: {id}")),
    }
}

/// The rules of a zone that is named so.
pub(crate) fn zone_rules(id: &str) -> Result<TimeZone, String> {
    match time_zone(id)? {
        Zone::Rules(rules) => Ok(rules),
        Zone::Offset(millis) => {
            let offset = Offset::from_seconds(exact(millis / 1_000)).map_err(|error| error.to_string())?;
            Ok(TimeZone::fixed(offset))
        }
    }
}

/// The grid of a calendar unit in a zone that is named so.
pub(crate) fn calendar_grid(unit: CalendarUnit, zone: &str) -> Result<Rounding, String> {
    Ok(Rounding::new(unit.into(), time_zone(zone)?))
}

/// The grid of an interval, as it is configured, in a zone that is named so.
pub(crate) fn interval_grid(interval: &DateInterval, zone: &str) -> Result<Rounding, String> {
    Ok(Rounding::new(interval.unit(), time_zone(zone)?))
}

/// A zone that never changed its offset is as good as that offset, and much faster.
fn simplify(zone: TimeZone) -> Zone {
    let mut transitions = zone.preceding(jiff::Timestamp::MAX);
    match (transitions.next(), zone.to_fixed_offset()) {
        (None, Ok(offset)) => Zone::Offset(millis_of(offset)),
        _ => Zone::Rules(zone),
    }
}

/// `h`, `hh`, `hh:mm`, `hhmm`, `hh:mm:ss`, `hhmmss`, up to 18 hours.
fn offset_seconds(digits: &str, negative: bool) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit() || b == b':') {
        return None;
    }
    let (hours, minutes, seconds) = match (digits.len(), digits.contains(':')) {
        (1 | 2, false) => (digits, "0", "0"),
        (4, false) => (&digits[..2], &digits[2..], "0"),
        (6, false) => (&digits[..2], &digits[2..4], &digits[4..]),
        (5, true) => (digits.get(..2)?, digits.get(3..)?, "0"),
        (8, true) => (digits.get(..2)?, digits.get(3..5)?, digits.get(6..)?),
        _ => return None,
    };
    let (hours, minutes, seconds): (i64, i64, i64) =
        (hours.parse().ok()?, minutes.parse().ok()?, seconds.parse().ok()?);
    let total = hours * 3_600 + minutes * 60 + seconds;
    (minutes < 60 && seconds < 60 && total <= 18 * 3_600).then_some(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        let unit = |setting: &str, value: &str| {
            Err(format!(
                "failed to parse setting [{setting}] with value [{value}] as a time value: unit is missing or unrecognized"
            ))
        };
        assert!(matches!(DateInterval::calendar("1M"), Ok(DateInterval::Calendar { unit: CalendarUnit::Month, .. })));
        assert_eq!(
            DateInterval::calendar("2d"),
            Err("The supplied interval [2d] could not be parsed as a calendar interval.".to_owned())
        );
        assert_eq!(DateInterval::calendar("Day"), unit("createRounding", "Day"));
        assert!(matches!(DateInterval::fixed("1d"), Ok(DateInterval::Fixed { millis: 86_400_000, .. })));
        assert_eq!(DateInterval::fixed("1w"), unit("date_histogram.FixedInterval", "1w"));
        assert_eq!(DateInterval::fixed("month"), unit("date_histogram.FixedInterval", "month"));
        assert_eq!(DateInterval::fixed("soon"), unit("createRounding", "soon"));
        for zero in ["0", "0s", "100micros", "-1s"] {
            assert_eq!(
                DateInterval::fixed(zero),
                Err("Zero or negative time interval not supported".to_owned()),
                "{zero}"
            );
        }
        assert!(matches!(DateInterval::legacy("week"), Ok(DateInterval::Calendar { .. })));
        assert!(matches!(DateInterval::legacy("90m"), Ok(DateInterval::Fixed { .. })));
    }

    #[test]
    fn zones() {
        for (id, offset) in [
            ("UTC", 0),
            ("Z", 0),
            ("-03:00", -10_800),
            ("+0530", 19_800),
            ("+5", 18_000),
            ("UTC+01:00", 3_600),
            ("GMT-2", -7_200),
        ] {
            assert!(matches!(time_zone(id), Ok(Zone::Offset(ms)) if ms == offset * 1_000), "{id}");
        }
        for id in ["Europe/Paris", "America/New_York", "CET", "Australia/Lord_Howe"] {
            assert!(matches!(time_zone(id), Ok(Zone::Rules(_))), "{id}");
        }
        assert!(time_zone("EST").is_ok());
        for id in ["Europe/Atlantis", "europe/paris", "XYZ"] {
            assert_eq!(time_zone(id).map(|_| ()), Err(format!("Unknown time-zone ID: {id}")), "{id}");
        }
        for id in ["not a zone", "x", "-", "é"] {
            assert!(time_zone(id).is_err_and(|m| m.starts_with("Invalid ID")), "{id}");
        }
        assert!(time_zone("+25:00").is_err());
    }
}
