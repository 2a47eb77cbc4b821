//! A scan's request in the cluster's words: which fields, which groups, which documents.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::indices::Alike;
use super::selection::{self, Held, any_of, is_of_job};
use crate::engine::{EngineError, FieldType};
use crate::filter::Selection;
use crate::job::{Rounding, TermsType};
use crate::measure::{Measure, Measures};
use crate::rollup::{DocumentLayout, KeyKind};
use crate::scan::{RolledUpFields, ScanRequest};

/// What a scan asks for.
pub(super) struct Question {
    pub(super) request: ScanRequest,
    /// The field that has the date.
    pub(super) date: String,
    /// The parts of keys.
    pub(super) parts: Vec<Part>,
    /// For each measured field what is asked for, and the field of documents that has it.
    pub(super) measured: Vec<MeasuredFields>,
    /// Of rolled-up documents the field that says how many rows one stands for.
    pub(super) count: Option<String>,
    /// Which documents are meant, beside what is said of their dates.
    pub(super) filter: Vec<Value>,
    /// Whether the date field keeps nanoseconds, and does not even want to hear of instants before 1970.
    pub(super) has_nanos: bool,
}

/// A part of keys.
pub(super) struct Part {
    /// What it is called in answers.
    pub(super) name: String,
    pub(super) kind: PartKind,
    /// The source of a composite aggregation.
    pub(super) source: Value,
}

pub(super) enum PartKind {
    Date(Rounding),
    Histogram { interval: f64 },
    Terms(TermsType),
}

pub(super) enum MeasuredFields {
    /// Measures of a field's values.
    Values(String, Measures),
    /// Fields that have measures of other values.
    Stored(Vec<(Measure, String)>),
}

impl MeasuredFields {
    /// Each measure that is asked for, the aggregation that finds it out, and the field that has it.
    pub(super) fn each(&self) -> Vec<(Measure, &'static str, &str)> {
        match self {
            Self::Values(field, measures) => {
                let of_values = |measure| match measure {
                    Measure::Count => "value_count",
                    Measure::Sum => "sum",
                    Measure::Min => "min",
                    Measure::Max => "max",
                };
                measures.iter().map(|measure| (measure, of_values(measure), field.as_str())).collect()
            }
            Self::Stored(stored) => {
                let merged = |measure| match measure {
                    Measure::Count | Measure::Sum => "sum",
                    Measure::Min => "min",
                    Measure::Max => "max",
                };
                stored.iter().map(|(measure, field)| (*measure, merged(*measure), field.as_str())).collect()
            }
        }
    }
}

impl Question {
    /// Of the source documents in indices whose fields have these types.
    pub(super) fn of_source(request: ScanRequest, described: &str, types: &[Alike]) -> Result<Self, EngineError> {
        let filter = source_conditions(&request, described, types)?;
        let grouping = &request.grouping;
        let mut dates = types.iter().filter_map(|alike| alike.types.get(grouping.date_field())).peekable();
        // Where nobody has looked, it may.
        let has_nanos = dates.peek().is_none() || dates.any(|date| *date == FieldType::DateNanos);
        let keys = grouping.keys().iter().map(|key| (key.field.as_str(), key.field.as_str(), key.kind, false));
        let measured = grouping.measured().iter();
        Ok(Self {
            date: grouping.date_field().to_owned(),
            parts: parts(&request, grouping.date_field(), keys),
            measured: measured.map(|field| MeasuredFields::Values(field.field.clone(), field.measures)).collect(),
            count: None,
            filter,
            has_nanos,
            request,
        })
    }

    /// Of what a job whose documents have this layout has rolled up.
    pub(super) fn of_rolled_up(request: ScanRequest, layout: &DocumentLayout) -> Result<Self, EngineError> {
        let fields = RolledUpFields::of(layout, &request)?;
        let held = |field: &str| fields.field(field).map(|(field, holds)| (field.name.clone(), Held::kept(holds)));
        let selection = request.select(&|field| held(field).map(|(_, held)| held.holds))?;
        let mut filter = conditions(&selection, &held);
        filter.push(is_of_job(layout.job_id()));
        let keys = request.grouping.keys().iter().zip(&fields.keys);
        let keys =
            keys.map(|(asked, key)| (asked.field.as_str(), key.field.name.as_str(), key.kind, key.kind == key.kept));
        let stored = |stored: &Vec<(Measure, &crate::rollup::LayoutField)>| {
            MeasuredFields::Stored(stored.iter().map(|(measure, field)| (*measure, field.name.clone())).collect())
        };
        Ok(Self {
            date: fields.date.name.clone(),
            parts: parts(&request, &fields.date.name, keys),
            measured: fields.measured.iter().map(stored).collect(),
            count: Some(fields.count.name.clone()),
            filter,
            has_nanos: false,
            request,
        })
    }
}

/// What the filter asks of source documents: in each index of what its own fields hold.
fn source_conditions(request: &ScanRequest, described: &str, types: &[Alike]) -> Result<Vec<Value>, EngineError> {
    let of_alike = |alike: &Alike| -> Result<Vec<Value>, EngineError> {
        let held: HashMap<&str, Held> = request
            .filter
            .fields()
            .into_iter()
            .filter_map(|field| Some((field, alike.types.get(field)?)))
            .map(|(field, kind)| Ok((field, Held::of(kind).ok_or_else(|| not_filterable(described, field, kind))?)))
            .collect::<Result<_, EngineError>>()?;
        let selection = request.select(&|field| held.get(field).map(|held| held.holds))?;
        Ok(conditions(&selection, &|field| Some((field.to_owned(), held.get(field)?.clone()))))
    };
    let conditions = types.iter().map(of_alike).collect::<Result<Vec<_>, _>>()?;
    let Some((first, others)) = conditions.split_first() else {
        // Where nothing is read, a filter still has to be one.
        request.select(&|_| None)?;
        return Ok(Vec::new());
    };
    if others.iter().all(|other| other == first) {
        return Ok(conditions.into_iter().next().unwrap_or_default());
    }
    let of_indices = types.iter().zip(conditions).map(|(alike, mut conditions)| {
        conditions.insert(0, json!({ "terms": { "_index": alike.indices } }));
        json!({ "bool": { "filter": conditions } })
    });
    Ok(vec![any_of(of_indices.collect())])
}

fn not_filterable(described: &str, field: &str, kind: &FieldType) -> EngineError {
    EngineError::rejected(format!(
        "[filter] field [{field}] of {described} is [{kind}], and a filter cannot look at it"
    ))
}

fn conditions(selection: &Selection, held: &dyn Fn(&str) -> Option<(String, Held)>) -> Vec<Value> {
    match selection {
        Selection::All => Vec::new(),
        other => vec![selection::query(other, held)],
    }
}

/// The parts of keys. Of a key there is the field's name, that of the field of documents, and whether the values of
/// that are the lower ends of just its ranges.
fn parts<'a>(
    request: &ScanRequest,
    date: &str,
    keys: impl Iterator<Item = (&'a str, &'a str, KeyKind, bool)>,
) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    if let Some(grid) = request.grouping.grid() {
        let (kind, interval) = grid.elasticsearch_interval();
        let source = json!({ "date_histogram": {
            "field": date, kind: interval, "time_zone": grid.elasticsearch_time_zone(),
            "offset": grid.elasticsearch_offset(), "order": "asc"
        } });
        let name = format!("{}.date_histogram", request.grouping.date_field());
        parts.push(Part { name, kind: PartKind::Date(grid.clone()), source });
    }
    for (name, field, kind, is_rounded) in keys {
        let mut source = json!({ "field": field, "missing_bucket": true, "order": "asc" });
        let (suffix, kind, source) = match kind {
            // A quotient need not be the whole number that it should be: the values themselves tell.
            KeyKind::Histogram { interval } if is_rounded => {
                source["value_type"] = json!("double");
                ("histogram", PartKind::Histogram { interval }, json!({ "terms": source }))
            }
            KeyKind::Histogram { interval } => {
                source["interval"] = json!(interval);
                ("histogram", PartKind::Histogram { interval }, json!({ "histogram": source }))
            }
            KeyKind::Terms(terms) => {
                // An index in which the field is not mapped would take it for text, and OpenSearch refuse the second
                // page.
                match terms {
                    TermsType::Keyword => {}
                    TermsType::Integer | TermsType::Unsigned => source["value_type"] = json!("long"),
                    TermsType::Floating => source["value_type"] = json!("double"),
                }
                ("terms", PartKind::Terms(terms), json!({ "terms": source }))
            }
        };
        let name = format!("{name}.{suffix}");
        let is_taken = parts.iter().any(|part| part.name == name);
        let name = if is_taken { format!("{name}.{}", parts.len()) } else { name };
        parts.push(Part { name, kind, source });
    }
    parts
}
