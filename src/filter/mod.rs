//! Which documents? Elasticsearch's queries, of those kinds whose answer over rolled-up documents can be that over the
//! raw ones.
//!
//! A [`Filter`] is built, or parsed from Elasticsearch's query DSL ([`Filter::from_json`]), and printed as it
//! ([`Filter::to_json`]). It is two-valued: a document meets it or does not. What a field has no value for does not
//! meet a condition on the field, and meets its negation; NaN and the infinities are no values. Of several values one
//! has to meet the condition.
//!
//! Filters look at the very columns that documents are grouped by. An engine has a filter [select](Filter::select):
//! that makes each condition the set of values of its column that meet it, with dates and numbers read, or says what
//! cannot be meant.

mod date_format;
mod dates;
mod parse;
mod print;
mod range;
mod select;
mod values;

use crate::sync::Arc;

pub(crate) use date_format::DateFormat;
pub(crate) use dates::DateReader;
pub use range::FilterRange;
pub use select::{FilterField, Selection};
pub use values::{TextRange, ValueSet};

/// Which documents are meant.
///
/// ```
/// use rollup_jobs::filter::{Filter, FilterRange};
///
/// let filter = Filter::all_of([
///     Filter::term("node", "a"),
///     Filter::range("load", FilterRange::new().at_least(5).below(10)),
/// ]);
/// let json = serde_json::json!({ "bool": { "filter": [
///     { "term": { "node": { "value": "a" } } },
///     { "range": { "load": { "gte": 5, "lt": 10 } } }
/// ] } });
/// assert_eq!(filter.to_json(), json);
/// assert_eq!(Filter::from_json(&json)?, filter);
/// # Ok::<(), rollup_jobs::filter::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every document.
    MatchAll,
    /// None.
    MatchNone,
    /// Those with this value.
    Term {
        /// The field.
        field: String,
        /// The value.
        value: FilterValue,
    },
    /// Those with one of these values.
    Terms {
        /// The field.
        field: String,
        /// The values.
        values: Vec<FilterValue>,
    },
    /// Those with a value in a range.
    Range {
        /// The field.
        field: String,
        /// The range.
        range: FilterRange,
    },
    /// Those with any value.
    Exists {
        /// The field.
        field: String,
    },
    /// Those with a text that begins so.
    Prefix {
        /// The field.
        field: String,
        /// How.
        prefix: String,
    },
    /// Those that meet several conditions.
    Bool(BoolFilter),
}

/// Conditions that hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BoolFilter {
    /// All of these hold. Elasticsearch's `must` and `filter` are the same here, since nothing is scored.
    pub filter: Vec<Filter>,
    /// None of these holds.
    pub must_not: Vec<Filter>,
    /// So many of these hold as `minimum_should_match` says.
    pub should: Vec<Filter>,
    /// How many of `should` have to hold at least.
    pub minimum_should_match: usize,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FilterValue {
    /// True or false.
    Boolean(bool),
    /// A whole number; of a date, milliseconds since 1970 unless a range says how dates are written.
    Integer(i64),
    /// A whole number beyond the signed 64-bit range.
    Unsigned(u64),
    /// A finite floating-point number.
    Double(f64),
    /// Text: a keyword, a number in digits, or a date such as `2026-01-31` or `now-1d/d`.
    Text(Arc<str>),
}

macro_rules! values_from {
    ($($type:ty => $make:expr),* $(,)?) => {
        $(impl From<$type> for FilterValue {
            fn from(value: $type) -> Self {
                let make: fn($type) -> Self = $make;
                make(value)
            }
        })*
    };
}

values_from! {
    bool => Self::Boolean,
    i64 => Self::Integer,
    i32 => |value| Self::Integer(value.into()),
    u32 => |value| Self::Integer(value.into()),
    u64 => |value| i64::try_from(value).map_or(Self::Unsigned(value), Self::Integer),
    f64 => Self::Double,
    &str => |text| Self::Text(text.into()),
    String => |text| Self::Text(text.into()),
}

impl Filter {
    /// The documents whose field has this value.
    pub fn term(field: impl Into<String>, value: impl Into<FilterValue>) -> Self {
        Self::Term { field: field.into(), value: value.into() }
    }

    /// The documents whose field has one of these values.
    pub fn terms<T: Into<FilterValue>>(field: impl Into<String>, values: impl IntoIterator<Item = T>) -> Self {
        Self::Terms { field: field.into(), values: values.into_iter().map(Into::into).collect() }
    }

    /// The documents whose field has a value in this range.
    pub fn range(field: impl Into<String>, range: FilterRange) -> Self {
        Self::Range { field: field.into(), range }
    }

    /// The documents whose field has a value.
    pub fn exists(field: impl Into<String>) -> Self {
        Self::Exists { field: field.into() }
    }

    /// The documents whose field has a text that begins so.
    pub fn prefix(field: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::Prefix { field: field.into(), prefix: prefix.into() }
    }

    /// The documents for which all of these hold.
    pub fn all_of(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::Bool(BoolFilter { filter: filters.into_iter().collect(), ..BoolFilter::default() })
    }

    /// The documents for which one of these holds; none if there are none of these.
    pub fn any_of(filters: impl IntoIterator<Item = Self>) -> Self {
        let should = filters.into_iter().collect();
        Self::Bool(BoolFilter { should, minimum_should_match: 1, ..BoolFilter::default() })
    }

    /// The documents for which none of these holds; all if there are none of these.
    pub fn none_of(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::Bool(BoolFilter { must_not: filters.into_iter().collect(), ..BoolFilter::default() })
    }

    /// The fields that it looks at, in order and each once.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        let mut fields = Vec::new();
        self.collect_fields(&mut fields);
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    fn collect_fields<'a>(&'a self, fields: &mut Vec<&'a str>) {
        match self {
            Self::MatchAll | Self::MatchNone => {}
            Self::Term { field, .. }
            | Self::Terms { field, .. }
            | Self::Range { field, .. }
            | Self::Exists { field }
            | Self::Prefix { field, .. } => fields.push(field),
            Self::Bool(BoolFilter { filter, must_not, should, minimum_should_match: _ }) => {
                filter.iter().chain(must_not).chain(should).for_each(|part| part.collect_fields(fields));
            }
        }
    }
}

/// A query cannot be a filter, or not of these fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FilterError {
    place: String,
    problem: String,
}

impl FilterError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }

    /// Where it is: in a query that was parsed as members and numbers, such as `query.bool.must[1].range.load`; in a
    /// filter that was [selected](Filter::select) the field.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What is wrong there, and what helps.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

#[cfg(test)]
mod tests;
