use std::collections::BTreeMap;

use crate::filter::ValueSet;
use crate::job::KeyPart;
use crate::sync::Arc;

/// A value of a source document.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SourceValue {
    /// Milliseconds since 1970.
    Date(i64),
    /// A whole number in the signed 64-bit range.
    Integer(i64),
    /// A whole number in the unsigned 64-bit range.
    Unsigned(u64),
    /// A floating-point number.
    Double(f64),
    /// Text that is one term.
    Keyword(Arc<str>),
    /// True or false.
    Boolean(bool),
}

/// A document of a source index: fields with any number of values each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceDocument {
    fields: BTreeMap<String, Vec<SourceValue>>,
}

impl SourceDocument {
    /// Without any field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more value of `field`.
    #[must_use]
    pub fn with(mut self, field: &str, value: SourceValue) -> Self {
        self.fields.entry(field.to_owned()).or_default().push(value);
        self
    }

    /// One more date, in milliseconds since 1970.
    #[must_use]
    pub fn date(self, field: &str, millis: i64) -> Self {
        self.with(field, SourceValue::Date(millis))
    }

    /// One more whole number.
    #[must_use]
    pub fn integer(self, field: &str, value: i64) -> Self {
        self.with(field, SourceValue::Integer(value))
    }

    /// One more unsigned whole number.
    #[must_use]
    pub fn unsigned(self, field: &str, value: u64) -> Self {
        self.with(field, SourceValue::Unsigned(value))
    }

    /// One more floating-point number.
    #[must_use]
    pub fn double(self, field: &str, value: f64) -> Self {
        self.with(field, SourceValue::Double(value))
    }

    /// One more keyword.
    #[must_use]
    pub fn keyword(self, field: &str, value: &str) -> Self {
        self.with(field, SourceValue::Keyword(value.into()))
    }

    /// The fields and their values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[SourceValue])> {
        self.fields.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    pub(crate) fn values(&self, field: &str) -> &[SourceValue] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }
}

impl SourceValue {
    /// The value as a metric sees it: a double, rounded to nearest where it is an integer beyond 2^53.
    #[expect(clippy::cast_precision_loss, reason = "metrics are doubles, as in Elasticsearch")]
    pub(super) fn as_double(&self) -> Option<f64> {
        match self {
            Self::Date(value) | Self::Integer(value) => Some(*value as f64),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Keyword(_) | Self::Boolean(_) => None,
        }
    }

    /// Whether it is one of these.
    pub(super) fn is_in(&self, values: &ValueSet) -> bool {
        match self {
            Self::Date(value) | Self::Integer(value) => values.has_integer((*value).into()),
            Self::Unsigned(value) => values.has_integer((*value).into()),
            Self::Boolean(value) => values.has_integer((*value).into()),
            Self::Double(value) => values.has_double(*value),
            Self::Keyword(text) => values.has_text(text),
        }
    }

    pub(super) fn as_date(&self) -> Option<i64> {
        match self {
            Self::Date(millis) => Some(*millis),
            Self::Integer(_) | Self::Unsigned(_) | Self::Double(_) | Self::Keyword(_) | Self::Boolean(_) => None,
        }
    }

    pub(super) fn as_term(&self) -> KeyPart {
        match self {
            Self::Integer(value) => KeyPart::Integer(*value),
            Self::Unsigned(value) => KeyPart::unsigned(*value),
            Self::Double(value) => KeyPart::double(*value),
            Self::Keyword(text) => KeyPart::Text(Arc::clone(text)),
            Self::Date(_) | Self::Boolean(_) => KeyPart::Null,
        }
    }
}
