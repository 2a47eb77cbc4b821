//! A filter as a query of the cluster's. What the values that are meant are is known by then: the cluster compares, and
//! reads no dates.

use std::ops::{Bound, Range, RangeInclusive};

use serde_json::{Map, Value, json};

use crate::engine::FieldType;
use crate::exact::exact;
use crate::filter::{FilterField, Selection, TextRange, ValueSet};

/// What a field holds that a condition looks at.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) holds: FilterField,
    /// Its type, as the cluster calls it.
    field_type: FieldType,
}

impl Held {
    pub(super) fn of(field_type: &FieldType) -> Option<Self> {
        let holds = field_type.filter_field()?;
        Some(Self { holds, field_type: field_type.clone() })
    }

    /// In a field of rolled-up documents.
    pub(super) fn kept(holds: FilterField) -> Self {
        let field_type = match holds {
            FilterField::Date => FieldType::Date,
            FilterField::Integer => FieldType::Long,
            FilterField::Double => FieldType::Double,
            FilterField::Boolean => FieldType::Boolean,
            FilterField::Text => FieldType::Keyword,
        };
        Self { holds, field_type }
    }

    /// The least and the greatest whole number that there can be.
    fn limits(&self) -> (i128, i128) {
        match (&self.field_type, self.field_type.as_str()) {
            (FieldType::DateNanos, _) => (0, i128::from(i64::MAX / 1_000_000)),
            (_, "byte") => (i8::MIN.into(), i8::MAX.into()),
            (_, "short") => (i16::MIN.into(), i16::MAX.into()),
            (_, "integer") => (i32::MIN.into(), i32::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        }
    }
}

/// The documents that are meant. `held` says which field has what a condition looks at, and what it holds.
pub(super) fn query(selection: &Selection, held: &dyn Fn(&str) -> Option<(String, Held)>) -> Value {
    let several = |all: &[Selection]| -> Vec<Value> { all.iter().map(|one| query(one, held)).collect() };
    match selection {
        Selection::All => json!({ "match_all": {} }),
        Selection::None => json!({ "match_none": {} }),
        Selection::Not(other) => json!({ "bool": { "must_not": [query(other, held)] } }),
        Selection::AllOf(all) => json!({ "bool": { "filter": several(all) } }),
        Selection::AtLeast(least, some) => {
            json!({ "bool": { "should": several(some), "minimum_should_match": least } })
        }
        Selection::Values { field, values } => {
            let Some((field, held)) = held(field) else { return json!({ "match_none": {} }) };
            any_of(match values {
                ValueSet::Integers(ranges) => integers(&field, &held, ranges),
                ValueSet::Doubles(ranges) => doubles(&field, &held, ranges),
                ValueSet::Texts(ranges) => texts(&field, ranges),
            })
        }
    }
}

pub(super) fn any_of(mut queries: Vec<Value>) -> Value {
    match queries.len() {
        0 => json!({ "match_none": {} }),
        1 => queries.remove(0),
        _ => json!({ "bool": { "should": queries, "minimum_should_match": 1 } }),
    }
}

/// Documents that a job has rolled up.
pub(super) fn is_of_job(job_id: &str) -> Value {
    json!({ "term": { "_rollup.id": job_id } })
}

/// Documents with a date in any of these ranges. The field has none before `least`.
pub(super) fn within(field: &str, ranges: impl Iterator<Item = Range<i64>>, least: i64) -> Value {
    let ranges = ranges.filter_map(|wanted| {
        let mut ends = Map::new();
        if wanted.start > least {
            ends.insert("gte".to_owned(), wanted.start.into());
        }
        if wanted.end < i64::MAX {
            ends.insert("lt".to_owned(), wanted.end.into());
        }
        if !ends.is_empty() {
            ends.insert("format".to_owned(), "epoch_millis".into());
        }
        (ends.is_empty() || wanted.end > least).then(|| range(field, ends))
    });
    any_of(ranges.collect())
}

pub(super) fn exists(field: &str) -> Value {
    json!({ "exists": { "field": field } })
}

/// Values that stand alone are asked for together.
fn with_terms(field: &str, terms: Vec<Value>, mut ranges: Vec<Value>) -> Vec<Value> {
    if !terms.is_empty() {
        ranges.push(json!({ "terms": { field: terms } }));
    }
    ranges
}

fn range(field: &str, ends: Map<String, Value>) -> Value {
    if ends.is_empty() { exists(field) } else { json!({ "range": { field: ends } }) }
}

fn integers(field: &str, held: &Held, wanted: &[RangeInclusive<i128>]) -> Vec<Value> {
    let (least, greatest) = held.limits();
    let (mut terms, mut ranges) = (Vec::new(), Vec::new());
    for wanted in wanted {
        let (from, to) = (*wanted.start().max(&least), *wanted.end().min(&greatest));
        if from > to {
            continue;
        }
        // The limits are of 64 bits, too.
        let (from_number, to_number) = (exact::<i64, _>(from), exact::<i64, _>(to));
        match held.holds {
            FilterField::Boolean => {
                terms.extend(
                    [false, true]
                        .into_iter()
                        .filter(|value| (from..=to).contains(&i128::from(*value)))
                        .map(Value::from),
                );
            }
            FilterField::Integer if from == to => terms.push(from_number.into()),
            FilterField::Date | FilterField::Integer | FilterField::Double | FilterField::Text => {
                let mut ends = Map::new();
                if from > least {
                    ends.insert("gte".to_owned(), from_number.into());
                }
                if to < greatest {
                    ends.insert("lte".to_owned(), to_number.into());
                }
                if held.holds == FilterField::Date && !ends.is_empty() {
                    ends.insert("format".to_owned(), "epoch_millis".into());
                }
                ranges.push(range(field, ends));
            }
        }
    }
    with_terms(field, terms, ranges)
}

fn doubles(field: &str, held: &Held, wanted: &[RangeInclusive<f64>]) -> Vec<Value> {
    let is_float = held.field_type.as_str() == "float";
    let ranges = wanted.iter().filter_map(|wanted| {
        // -0.0 is the same as 0.0, and lies before it in the cluster's order.
        let (mut from, mut to) = (if *wanted.start() == 0.0 { -0.0 } else { *wanted.start() }, *wanted.end());
        if is_float {
            (from, to) = (float_from(from), float_to(to));
        }
        let mut ends = Map::new();
        if from.is_finite() {
            ends.insert("gte".to_owned(), from.into());
        }
        if to.is_finite() {
            ends.insert("lte".to_owned(), to.into());
        }
        (from <= to).then(|| range(field, ends))
    });
    ranges.collect()
}

/// The least 32-bit number that is not below: the cluster would round.
#[expect(clippy::cast_possible_truncation, reason = "it is rounded the right way")]
fn float_from(value: f64) -> f64 {
    let near = value as f32;
    f64::from(if f64::from(near) < value { near.next_up() } else { near })
}

/// The greatest 32-bit number that is not above.
#[expect(clippy::cast_possible_truncation, reason = "it is rounded the right way")]
fn float_to(value: f64) -> f64 {
    let near = value as f32;
    f64::from(if f64::from(near) > value { near.next_down() } else { near })
}

fn texts(field: &str, wanted: &[TextRange]) -> Vec<Value> {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
    let (mut terms, mut ranges) = (Vec::new(), Vec::new());
    for (from, to) in wanted {
        match (from, to) {
            (Bound::Included(from), Bound::Included(to)) if from == to => terms.push(text(from)),
            // The end of a prefix need not be a text.
            (Bound::Included(from), Bound::Excluded(to)) if is_behind_all_with(to, from) => {
                ranges.push(json!({ "prefix": { field: { "value": text(from) } } }));
            }
            _ => {
                let mut ends = Map::new();
                match from {
                    Bound::Included(from) if from.is_empty() => {}
                    Bound::Included(from) => drop(ends.insert("gte".to_owned(), text(from))),
                    Bound::Excluded(from) => drop(ends.insert("gt".to_owned(), text(from))),
                    Bound::Unbounded => {}
                }
                match to {
                    Bound::Included(to) => drop(ends.insert("lte".to_owned(), text(to))),
                    Bound::Excluded(to) => drop(ends.insert("lt".to_owned(), text(to))),
                    Bound::Unbounded => {}
                }
                ranges.push(range(field, ends));
            }
        }
    }
    with_terms(field, terms, ranges)
}

/// Whether these bytes are the first behind all texts that begin with `prefix`.
fn is_behind_all_with(bytes: &[u8], prefix: &[u8]) -> bool {
    match (bytes.split_last(), prefix.split_last()) {
        (Some((last, rest)), Some((before, same))) => rest == same && *last == before.wrapping_add(1),
        _ => false,
    }
}
