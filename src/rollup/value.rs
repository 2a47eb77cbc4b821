use serde_json::Value;

use crate::exact::exact;
use crate::job::KeyPart;
use crate::sync::Arc;

/// A value in a rolled-up document.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// The null group.
    Null,
    /// Milliseconds since 1970.
    Date(i64),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond the signed 64-bit range.
    Unsigned(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    Text(Arc<str>),
}

impl FieldValue {
    pub(super) fn count(documents: u64) -> Self {
        Self::Integer(exact(documents))
    }

    pub(super) fn of_key(part: &KeyPart) -> Self {
        match part {
            KeyPart::Null => Self::Null,
            KeyPart::Date(millis) => Self::Date(*millis),
            KeyPart::Histogram { number, interval } => Self::Double(number * interval),
            KeyPart::Integer(value) => Self::Integer(*value),
            KeyPart::Unsigned(value) => Self::Unsigned(*value),
            KeyPart::Double(value) => Self::Double(*value),
            KeyPart::Text(text) => Self::Text(Arc::clone(text)),
        }
    }

    /// A count of documents, 0 if it is none.
    pub(crate) fn as_count(&self) -> u64 {
        match self {
            Self::Integer(value) => u64::try_from(*value).unwrap_or(0),
            Self::Unsigned(value) => *value,
            Self::Null | Self::Date(_) | Self::Double(_) | Self::Text(_) => 0,
        }
    }

    /// What is stored of a metric.
    pub(crate) fn as_double(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            Self::Null | Self::Date(_) | Self::Integer(_) | Self::Unsigned(_) | Self::Text(_) => None,
        }
    }

    /// The value in Elasticsearch's JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Date(value) | Self::Integer(value) => Value::from(*value),
            Self::Unsigned(value) => Value::from(*value),
            Self::Double(value) => Value::from(*value),
            Self::Text(text) => Value::from(&**text),
        }
    }
}
