use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sync::Arc;

/// One part of a bucket's key.
///
/// Parts hold what compares exactly: a histogram bucket is known by its number and not by the product with the
/// interval, so that going on after a key can neither lose nor repeat a bucket (`0.1 * 3 / 0.1` is not 3).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyPart {
    /// The null group of a histogram or terms field: documents without a value.
    Null,
    /// The start of a date bucket in milliseconds since 1970.
    Date(i64),
    /// A histogram bucket: `floor(value / interval)`, a whole number that may lie beyond 64 bits, and the interval.
    Histogram {
        /// The bucket's number.
        number: f64,
        /// The configured interval; number and interval multiply to Elasticsearch's key.
        interval: f64,
    },
    /// A term of an integer field.
    Integer(i64),
    /// A term of an integer field beyond the signed 64-bit range.
    Unsigned(u64),
    /// A term of a floating-point field; -0.0 is kept as 0.0.
    Double(f64),
    /// A term of a keyword field.
    Text(Arc<str>),
}

impl KeyPart {
    /// The key of a histogram value, or `Null` for a value that has no bucket: NaN, an infinity, or one so large for
    /// its interval that the quotient is no number.
    #[must_use]
    pub fn histogram(value: f64, interval: f64) -> Self {
        let number = (value / interval).floor();
        // Adding zero turns -0.0 into 0.0.
        if number.is_finite() { Self::Histogram { number: number + 0.0, interval } } else { Self::Null }
    }

    /// The part whose key Elasticsearch prints so: a product with the interval. `None` if there is none.
    #[must_use]
    pub fn of_histogram_key(key: f64, interval: f64) -> Option<Self> {
        let about = (key / interval).round();
        let near = [about, about.next_up().ceil(), about.next_down().floor()];
        let number = near.into_iter().find(|number| (number * interval).to_bits() == key.to_bits())?;
        Some(Self::Histogram { number, interval })
    }

    /// The key of a floating-point term; NaN and the infinities count as missing.
    #[must_use]
    pub fn double(value: f64) -> Self {
        if value.is_finite() { Self::Double(value + 0.0) } else { Self::Null }
    }

    /// The key of an unsigned integer term.
    #[must_use]
    pub fn unsigned(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Unsigned(value), Self::Integer)
    }

    /// The value as Elasticsearch prints it in keys and positions.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Date(value) | Self::Integer(value) => Value::from(*value),
            Self::Unsigned(value) => Value::from(*value),
            Self::Histogram { number, interval } => Value::from(number * interval),
            Self::Double(value) => Value::from(*value),
            Self::Text(text) => Value::from(&**text),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Date(_) => 1,
            Self::Histogram { .. } => 2,
            Self::Integer(_) => 3,
            Self::Unsigned(_) => 4,
            Self::Double(_) => 5,
            Self::Text(_) => 6,
        }
    }
}

/// Nulls first, then by value; text by its UTF-8 bytes.
impl Ord for KeyPart {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Date(a), Self::Date(b)) | (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Unsigned(a), Self::Unsigned(b)) => a.cmp(b),
            (Self::Histogram { number: a, .. }, Self::Histogram { number: b, .. })
            | (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // Each kind by its name: a new one has to be compared above first.
            (
                Self::Null
                | Self::Date(_)
                | Self::Histogram { .. }
                | Self::Integer(_)
                | Self::Unsigned(_)
                | Self::Double(_)
                | Self::Text(_),
                _,
            ) => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for KeyPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyPart {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyPart {}

/// The key of a bucket: the date first, then the histogram fields, then the terms fields, each in configured order.
pub type GroupKey = Vec<KeyPart>;

/// How far a job has come: the key of the last bucket that was written (Elasticsearch's `current_position`, the
/// composite after-key). A run goes on strictly after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position {
    parts: Vec<(Arc<str>, KeyPart)>,
}

impl Position {
    pub(super) fn new(parts: Vec<(Arc<str>, KeyPart)>) -> Self {
        Self { parts }
    }

    /// The key without names.
    #[must_use]
    pub fn key(&self) -> GroupKey {
        self.parts.iter().map(|(_, part)| part.clone()).collect()
    }

    /// The date bucket, by its start.
    pub(crate) fn date(&self) -> Option<i64> {
        match self.parts.first() {
            Some((_, KeyPart::Date(start))) => Some(*start),
            _ => None,
        }
    }

    /// Elasticsearch's `current_position`: an object with sorted names.
    ///
    /// A histogram key is printed as the product that Elasticsearch prints; the exact bucket number is what is stored.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // A `serde_json` object is sorted, unless the host has turned its `preserve_order` feature on.
        let mut parts: Vec<_> = self.parts.iter().map(|(name, part)| (name.to_string(), part.to_json())).collect();
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Object(parts.into_iter().collect())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::RollupJobConfig;

    #[test]
    fn keys_sort_nulls_first_and_negative_zero_is_zero() {
        let mut keys = [
            KeyPart::double(1.5),
            KeyPart::double(-2.0),
            KeyPart::Null,
            KeyPart::double(-0.0),
            KeyPart::double(f64::NAN),
        ];
        keys.sort();
        let printed: Vec<_> = keys.iter().map(|k| k.to_json().to_string()).collect();
        assert_eq!(printed, ["null", "null", "-2.0", "0.0", "1.5"]);
        assert_eq!(KeyPart::double(-0.0), KeyPart::double(0.0));
        assert_eq!(KeyPart::histogram(-0.0, 5.0).to_json().to_string(), "0.0");
        assert!(KeyPart::unsigned(u64::MAX) > KeyPart::unsigned(7));
        assert_eq!(KeyPart::histogram(1e300, 1e-300), KeyPart::Null);
    }

    #[test]
    fn a_position_survives_json_bit_for_bit_and_prints_as_elasticsearchs() {
        let config = RollupJobConfig::builder("sensor")
            .index_pattern("in")
            .rollup_index("out")
            .cron("0 0 * * * ?")
            .page_size(1)
            .date_histogram(crate::DateHistogram::fixed_interval("timestamp", "1h"))
            .histogram(crate::Histogram::new(0.1, ["load"]))
            .terms(["node"])
            .build()
            .unwrap();
        let key = [KeyPart::Date(1_517_590_800_000), KeyPart::histogram(0.35, 0.1), KeyPart::Text("a".into())];
        let position = Position::of(&config, &key);
        let json = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        assert_eq!(
            position.to_string(),
            r#"{"load.histogram":0.30000000000000004,"node.terms":"a","timestamp.date_histogram":1517590800000}"#
        );
    }
}
