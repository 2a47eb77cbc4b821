//! `TimeValue`: `10s`, `500ms`, `-1` as Elasticsearch reads and prints them.
//!
//! `humantime` speaks another grammar (it takes `1M` for a month and refuses `-1`), so it prints durations for people
//! and this module reads and prints the ones on the wire.

use std::fmt;
use std::time::Duration;

use crate::exact::exact;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The unit of a [`TimeValue`], with Elasticsearch's suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeUnit {
    /// `nanos`
    Nanoseconds,
    /// `micros`
    Microseconds,
    /// `ms`
    Milliseconds,
    /// `s`
    Seconds,
    /// `m`
    Minutes,
    /// `h`
    Hours,
    /// `d`
    Days,
}

impl TimeUnit {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Nanoseconds => "nanos",
            Self::Microseconds => "micros",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
            Self::Days => "d",
        }
    }

    const fn nanos(self) -> i128 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60_000_000_000,
            Self::Hours => 3_600_000_000_000,
            Self::Days => 86_400_000_000_000,
        }
    }
}

/// A number with a unit, which prints as it was given: `60s` stays `60s`.
///
/// The grammar is Elasticsearch's, including its quirks: the suffix may be upper case except for `m`, a blank may stand
/// between number and suffix, and `-1` means "not set".
///
/// ```
/// use rollup_jobs::TimeValue;
///
/// let delay = TimeValue::parse("7d", "delay")?;
/// assert_eq!(delay.as_millis(), 604_800_000);
/// assert_eq!(delay.to_string(), "7d");
///
/// let error = TimeValue::parse("1.5s", "delay").unwrap_err();
/// assert_eq!(error.to_string(), "failed to parse [1.5s], fractional time values are not supported");
/// # Ok::<(), rollup_jobs::TimeValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeValue {
    count: i64,
    unit: TimeUnit,
}

/// Why a text is not a time value. The texts are Elasticsearch's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeValueError {
    /// No known unit at the end, or no unit at all.
    #[error(
        "failed to parse setting [{setting}] with value [{value}] as a time value: unit is missing or unrecognized"
    )]
    Unit {
        /// The setting that was being read.
        setting: String,
        /// The text as given.
        value: String,
    },
    /// Below -1.
    #[error(
        "failed to parse setting [{setting}] with value [{value}] as a time value: negative durations are not supported"
    )]
    Negative {
        /// The setting that was being read.
        setting: String,
        /// The text as given.
        value: String,
    },
    /// A number with a fraction, or one beyond 64 bits.
    #[error("failed to parse [{value}], fractional time values are not supported")]
    Fractional {
        /// The text as given.
        value: String,
    },
    /// Not a number before the unit.
    #[error("failed to parse [{value}]")]
    Number {
        /// The text as given.
        value: String,
    },
}

impl TimeValue {
    /// Elasticsearch's "not set".
    pub const MINUS_ONE: Self = Self { count: -1, unit: TimeUnit::Milliseconds };
    /// No time at all.
    pub const ZERO: Self = Self { count: 0, unit: TimeUnit::Milliseconds };

    /// `count` of `unit`.
    #[must_use]
    pub const fn new(count: i64, unit: TimeUnit) -> Self {
        Self { count, unit }
    }

    /// `count` milliseconds.
    #[must_use]
    pub const fn from_millis(count: i64) -> Self {
        Self::new(count, TimeUnit::Milliseconds)
    }

    /// `count` seconds.
    #[must_use]
    pub const fn from_secs(count: i64) -> Self {
        Self::new(count, TimeUnit::Seconds)
    }

    /// Reads `text`; `setting` is the name that an error message gives.
    ///
    /// # Errors
    /// [`TimeValueError`], worded as Elasticsearch words it.
    pub fn parse(text: &str, setting: &str) -> Result<Self, TimeValueError> {
        let normalized = text.to_lowercase();
        let normalized = normalized.trim();
        let ends = |suffix: &str| normalized.ends_with(suffix);
        let unit = if ends("nanos") {
            TimeUnit::Nanoseconds
        } else if ends("micros") {
            TimeUnit::Microseconds
        } else if ends("ms") {
            TimeUnit::Milliseconds
        } else if ends("s") {
            TimeUnit::Seconds
        } else if text.ends_with('m') {
            // The text as given, neither trimmed nor lower-cased: `5M` would mean months, and `5m ` is a unit error.
            TimeUnit::Minutes
        } else if ends("h") {
            TimeUnit::Hours
        } else if ends("d") {
            TimeUnit::Days
        } else if let Some(digits) = normalized.strip_prefix('-')
            && digits.ends_with('1')
            && digits[..digits.len() - 1].bytes().all(|b| b == b'0')
        {
            return Ok(Self::MINUS_ONE);
        } else if !normalized.is_empty() && normalized.bytes().all(|b| b == b'0') {
            return Ok(Self::ZERO);
        } else {
            return Err(TimeValueError::Unit { setting: setting.to_owned(), value: text.to_owned() });
        };
        let number = normalized[..normalized.len() - unit.suffix().len()].trim();
        let value = || text.to_owned();
        match number.parse::<i64>() {
            Ok(count) if count < -1 => Err(TimeValueError::Negative { setting: setting.to_owned(), value: value() }),
            Ok(count) => Ok(Self { count, unit }),
            Err(_) if is_decimal(number) => Err(TimeValueError::Fractional { value: value() }),
            Err(_) => Err(TimeValueError::Number { value: value() }),
        }
    }

    /// The number before the unit.
    #[must_use]
    pub const fn count(self) -> i64 {
        self.count
    }

    /// The unit.
    #[must_use]
    pub const fn unit(self) -> TimeUnit {
        self.unit
    }

    /// Whole milliseconds, rounded towards zero, saturating.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        let millis = i128::from(self.count) * self.unit.nanos() / 1_000_000;
        i64::try_from(millis).unwrap_or(if millis < 0 { i64::MIN } else { i64::MAX })
    }

    /// The duration, saturating, or `None` for a negative value ("not set").
    #[must_use]
    pub fn to_duration(self) -> Option<Duration> {
        let nanos = u128::try_from(i128::from(self.count) * self.unit.nanos()).ok()?;
        let seconds = u64::try_from(nanos / 1_000_000_000);
        Some(seconds.map_or(Duration::MAX, |seconds| Duration::new(seconds, exact(nanos % 1_000_000_000))))
    }
}

/// What `Double.parseDouble` would take and `Long.parseLong` would not; the input is lower case by then, so neither
/// `NaN` nor `Infinity` can be among it.
fn is_decimal(number: &str) -> bool {
    let number = number.strip_suffix(['d', 'f']).unwrap_or(number);
    number.bytes().any(|b| b.is_ascii_digit())
        && !number.bytes().any(|b| matches!(b, b'n' | b'i'))
        && number.parse::<f64>().is_ok()
}

impl fmt::Display for TimeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count < 0 { write!(f, "{}", self.count) } else { write!(f, "{}{}", self.count, self.unit.suffix()) }
    }
}

impl Serialize for TimeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text, "time value").map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        TimeValue::parse(text, "timeout").map(|v| format!("{v}={}ms", v.as_millis())).map_err(|e| e.to_string())
    }

    #[test]
    fn the_grammar_is_elasticsearchs() {
        let unit = |v: &str| {
            Err(format!(
                "failed to parse setting [timeout] with value [{v}] as a time value: unit is missing or unrecognized"
            ))
        };
        let negative = |v: &str| {
            Err(format!(
                "failed to parse setting [timeout] with value [{v}] as a time value: negative durations are not supported"
            ))
        };
        let fractional = |v: &str| Err(format!("failed to parse [{v}], fractional time values are not supported"));
        let number = |v: &str| Err(format!("failed to parse [{v}]"));
        let ok = |v: &str| Ok(v.to_owned());
        let table = [
            ("10s", ok("10s=10000ms")),
            ("500ms", ok("500ms=500ms")),
            ("2h", ok("2h=7200000ms")),
            ("1m", ok("1m=60000ms")),
            ("1d", ok("1d=86400000ms")),
            ("100micros", ok("100micros=0ms")),
            ("1500micros", ok("1500micros=1ms")),
            ("100nanos", ok("100nanos=0ms")),
            ("0", ok("0ms=0ms")),
            ("000", ok("0ms=0ms")),
            ("-1", ok("-1=-1ms")),
            ("-01", ok("-1=-1ms")),
            ("-1s", ok("-1=-1000ms")),
            ("30 s", ok("30s=30000ms")),
            (" 10s ", ok("10s=10000ms")),
            ("5S", ok("5s=5000ms")),
            ("5H", ok("5h=18000000ms")),
            ("5D", ok("5d=432000000ms")),
            ("5MS", ok("5ms=5ms")),
            ("60s", ok("60s=60000ms")),
            ("+5s", ok("5s=5000ms")),
            ("5M", unit("5M")),
            ("5m ", unit("5m ")),
            ("5w", unit("5w")),
            ("10", unit("10")),
            ("-2", unit("-2")),
            ("", unit("")),
            ("1h30", unit("1h30")),
            ("-5s", negative("-5s")),
            ("1.5s", fractional("1.5s")),
            ("1e3s", fractional("1e3s")),
            ("99999999999999999999s", fractional("99999999999999999999s")),
            ("1h30m", number("1h30m")),
            ("abcs", number("abcs")),
            ("s", number("s")),
            ("nans", number("nans")),
            ("infinitys", number("infinitys")),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn enormous_values_saturate() {
        let days = TimeValue::new(i64::MAX, TimeUnit::Days);
        assert_eq!(days.as_millis(), i64::MAX);
        assert_eq!(days.to_duration(), Some(Duration::MAX));
        assert_eq!(TimeValue::MINUS_ONE.to_duration(), None);
    }
}
