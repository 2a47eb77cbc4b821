//! A filter as Elasticsearch's query DSL: what a cluster is sent, and what comes back as the same filter when parsed.

use std::ops::Bound;

use serde_json::{Map, Value, json};

use super::{BoolFilter, Filter, FilterRange, FilterValue};

impl Filter {
    /// Elasticsearch's query.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::MatchAll => json!({ "match_all": {} }),
            Self::MatchNone => json!({ "match_none": {} }),
            Self::Term { field, value } => json!({ "term": { field: { "value": value.to_json() } } }),
            Self::Terms { field, values } => {
                let values: Vec<_> = values.iter().map(FilterValue::to_json).collect();
                json!({ "terms": { field: values } })
            }
            Self::Range { field, range } => json!({ "range": { field: range.to_json() } }),
            Self::Exists { field } => json!({ "exists": { "field": field } }),
            Self::Prefix { field, prefix } => json!({ "prefix": { field: { "value": prefix } } }),
            Self::Bool(parts) => json!({ "bool": parts.to_json() }),
        }
    }
}

impl BoolFilter {
    fn to_json(&self) -> Value {
        let Self { filter, must_not, should, minimum_should_match } = self;
        let mut members = Map::new();
        let mut list = |name: &str, filters: &[Filter]| {
            if !filters.is_empty() {
                members.insert(name.to_owned(), filters.iter().map(Filter::to_json).collect());
            }
        };
        list("filter", filter);
        list("must_not", must_not);
        // Of which none has to hold, Elasticsearch would have one hold all the same if there is nothing else.
        if *minimum_should_match > 0 {
            list("should", should);
            members.insert("minimum_should_match".to_owned(), Value::from(*minimum_should_match));
        }
        Value::Object(members)
    }
}

impl FilterRange {
    fn to_json(&self) -> Value {
        let Self { from, to, format, time_zone } = self;
        let bound = |bound: &Bound<FilterValue>, included: &str, excluded: &str| match bound {
            Bound::Included(value) => Some((included.to_owned(), value.to_json())),
            Bound::Excluded(value) => Some((excluded.to_owned(), value.to_json())),
            Bound::Unbounded => None,
        };
        let text = |name: &str, text: &Option<String>| Some((name.to_owned(), Value::from(text.clone()?)));
        let members =
            [bound(from, "gte", "gt"), bound(to, "lte", "lt"), text("format", format), text("time_zone", time_zone)];
        Value::Object(members.into_iter().flatten().collect())
    }
}

impl FilterValue {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Boolean(value) => Value::from(*value),
            Self::Integer(value) => Value::from(*value),
            Self::Unsigned(value) => Value::from(*value),
            Self::Double(value) => Value::from(*value),
            Self::Text(text) => Value::from(&**text),
        }
    }
}
