use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::filter::FilterField;
use crate::job::TermsType;

/// The type of a source field, with Elasticsearch's names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FieldType {
    /// `date`: milliseconds.
    Date,
    /// `date_nanos`: nanoseconds.
    DateNanos,
    /// `long`: 64-bit integers.
    Long,
    /// `u64`: unsigned 64-bit integers, which embedded engines have. (Elasticsearch's `unsigned_long` is an
    /// [`Other`](Self::Other), which its rollups refuse.)
    Unsigned,
    /// `double`: 64-bit floating-point numbers.
    Double,
    /// `keyword`: text that is one term.
    Keyword,
    /// `text`: text that is analysed.
    Text,
    /// `boolean`
    Boolean,
    /// `ip`
    Ip,
    /// Any other, by its name: `integer`, `half_float`, `geo_point` ...
    Other(String),
}

impl FieldType {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Date => "date",
            Self::DateNanos => "date_nanos",
            Self::Long => "long",
            Self::Unsigned => "u64",
            Self::Double => "double",
            Self::Keyword => "keyword",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Ip => "ip",
            Self::Other(name) => name,
        }
    }

    /// Whether it is a date.
    #[must_use]
    pub fn is_date(&self) -> bool {
        matches!(self, Self::Date | Self::DateNanos)
    }

    /// Whether it is one of Elasticsearch's whole number types, or `u64`.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self.as_str(), "long" | "integer" | "short" | "byte" | "u64")
    }

    /// Whether it is one of Elasticsearch's floating-point types.
    #[must_use]
    pub fn is_floating(&self) -> bool {
        matches!(self.as_str(), "double" | "float" | "half_float" | "scaled_float")
    }

    /// Whether it is one of Elasticsearch's numeric types, or `u64`.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || self.is_floating()
    }

    /// What values of it are to a filter, if it can look at them.
    #[must_use]
    pub fn filter_field(&self) -> Option<FilterField> {
        match self {
            Self::Date | Self::DateNanos => Some(FilterField::Date),
            Self::Keyword => Some(FilterField::Text),
            Self::Boolean => Some(FilterField::Boolean),
            Self::Long | Self::Unsigned | Self::Double | Self::Text | Self::Ip | Self::Other(_) => {
                let number = self.is_integer().then_some(FilterField::Integer);
                number.or_else(|| self.is_floating().then_some(FilterField::Double))
            }
        }
    }

    /// What its values are as terms, if it can be grouped by them.
    pub(crate) fn terms_type(&self) -> Option<TermsType> {
        if self.is_textual() {
            Some(TermsType::Keyword)
        } else if *self == Self::Unsigned {
            Some(TermsType::Unsigned)
        } else if self.is_integer() {
            Some(TermsType::Integer)
        } else if self.is_floating() {
            Some(TermsType::Floating)
        } else {
            None
        }
    }

    /// Whether it is text.
    #[must_use]
    pub fn is_textual(&self) -> bool {
        matches!(self, Self::Keyword | Self::Text)
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a field is in the indices where it has one type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldCapability {
    /// The type.
    pub field_type: FieldType,
    /// Whether it can be grouped by and measured.
    pub aggregatable: bool,
    /// For a date, how many milliseconds its values are kept to; 0 for a millisecond or finer.
    pub resolution_millis: i64,
    /// The indices in which it is so.
    pub indices: Vec<String>,
}

impl FieldCapability {
    /// An aggregatable field of this type in these indices, as fine as a millisecond.
    #[must_use]
    pub fn new(field_type: FieldType, indices: Vec<String>) -> Self {
        Self { field_type, aggregatable: true, resolution_millis: 0, indices }
    }
}

/// How alike a name has to be to be taken for the one that is meant.
const ALIKE: f64 = 0.5;

/// What an index pattern means at this moment, and what the asked fields are in these indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldCapabilities {
    /// The names that the pattern resolved to, aliases included.
    pub indices: Vec<String>,
    /// The fields that at least one index has, each with one entry per type.
    pub fields: BTreeMap<String, Vec<FieldCapability>>,
    /// Names of fields that the indices have besides, as far as the engine tells: whoever has misspelt one is told
    /// which it may be.
    pub known_fields: BTreeSet<String>,
    /// What to do about a field that is not aggregatable, by its name.
    pub remedies: BTreeMap<String, String>,
}

impl FieldCapabilities {
    /// Of these indices, without a field so far.
    #[must_use]
    pub fn new(indices: Vec<String>) -> Self {
        Self { indices, ..Self::default() }
    }

    /// A name that was misspelt may be this one.
    pub(crate) fn alike(&self, field: &str) -> Option<String> {
        let likeness = |known: &&String| strsim::normalized_damerau_levenshtein(field, known);
        let best = self.known_fields.iter().map(|known| (likeness(&known), known));
        let best = best.filter(|(likeness, _)| *likeness > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
        best.map(|(_, known)| format!("did you mean [{known}]?"))
    }

    /// Notes what `field` is in `index`, joining what is alike.
    pub fn add(&mut self, field: &str, index: &str, field_type: FieldType, aggregatable: bool, resolution_millis: i64) {
        let entries = self.fields.entry(field.to_owned()).or_default();
        let alike = entries.iter_mut().find(|entry| {
            entry.field_type == field_type
                && entry.aggregatable == aggregatable
                && entry.resolution_millis == resolution_millis
        });
        match alike {
            Some(entry) => entry.indices.push(index.to_owned()),
            None => entries.push(FieldCapability {
                field_type,
                aggregatable,
                resolution_millis,
                indices: vec![index.to_owned()],
            }),
        }
    }
}
