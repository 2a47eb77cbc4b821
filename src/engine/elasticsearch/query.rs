//! The searches of a scan, as the cluster gets them.

use std::ops::Range;

use serde_json::{Map, Value, json};

use super::question::{MeasuredFields, Question};
use super::selection::within;
use crate::job::{GroupKey, KeyPart};
use crate::measure::{Measure, Measures};

/// The name of the composite aggregation, as in Elasticsearch's own rollups.
pub(super) const COMPOSITE: &str = "rollup";
/// How many rows the rolled-up documents of a bucket stand for.
pub(super) const ROWS: &str = "rows";
/// What has to be computed where nothing else is.
const DATES: &str = "dates";
/// How many values a grouped field has, by its number, and how many documents have one.
pub(super) const VALUES: &str = "values";
pub(super) const DOCUMENTS: &str = "documents";
pub(super) const INDICES: &str = "indices";
pub(super) const FIRST: &str = "first";
pub(super) const LAST: &str = "last";

impl Question {
    /// One page: the groups after `after`.
    pub(super) fn page(&self, after: Option<&GroupKey>, size: usize) -> Value {
        let mut metrics = self.metrics();
        if metrics.is_empty() && self.parts.len() == 1 {
            // Of a lone date histogram OpenSearch makes ranges, and fails (500, `array_index_out_of_bounds_exception`)
            // where all documents of a segment are before the page. Not where there is something to compute.
            metrics.insert(DATES.to_owned(), json!({ "value_count": { "field": self.date } }));
        }
        let query = json!({ "bool": { "filter": self.conditions(after) } });
        if self.parts.is_empty() {
            // One group has no key.
            return json!({ "size": 0, "track_total_hits": true, "query": query, "aggregations": metrics });
        }
        let sources = self.parts.iter().map(|part| json!({ part.name.as_str(): part.source }));
        let mut composite = json!({ "size": size, "sources": sources.collect::<Vec<_>>() });
        if let Some(after) = after {
            let parts = self.parts.iter().zip(after).map(|(part, value)| (part.name.clone(), value.to_json()));
            composite["after"] = Value::Object(parts.collect());
        }
        let aggregation = json!({ "composite": composite, "aggregations": metrics });
        json!({
            "size": 0,
            "track_total_hits": false,
            "query": query,
            "aggregations": { COMPOSITE: aggregation },
        })
    }

    /// How many documents have no date.
    pub(super) fn without_date(&self) -> Value {
        json!({
            "size": 0,
            "track_total_hits": true,
            "query": { "bool": { "must_not": [{ "exists": { "field": self.date } }] } },
        })
    }

    /// Of each grouped field how many documents have a value, and how many values they have; and of so many indices
    /// where the dates of their documents are.
    pub(super) fn values(&self, indices: usize) -> Value {
        let mut counts = Map::new();
        for (at, field) in self.request.grouping.fields().enumerate() {
            counts.insert(format!("{VALUES}{at}"), json!({ "value_count": { "field": field } }));
            counts.insert(format!("{DOCUMENTS}{at}"), json!({ "filter": { "exists": { "field": field } } }));
        }
        if indices > 0 {
            let date = json!({ "field": &self.date });
            let ends = json!({ FIRST: { "min": &date }, LAST: { "max": &date } });
            let each = json!({ "terms": { "field": "_index", "size": indices }, "aggregations": ends });
            counts.insert(INDICES.to_owned(), each);
        }
        json!({
            "size": 0,
            "track_total_hits": false,
            "query": { "bool": { "filter": self.conditions(None) } },
            "aggregations": counts,
        })
    }

    /// Which documents can be in a group after `after`.
    fn conditions(&self, after: Option<&GroupKey>) -> Vec<Value> {
        // What lies before the position's own bucket need not be looked at.
        let from = match after.and_then(|after| after.first()) {
            Some(KeyPart::Date(start)) => *start,
            _ => i64::MIN,
        };
        // A field of nanoseconds does not want to hear of an instant before 1970.
        let least = if self.has_nanos { 0 } else { i64::MIN };
        let ranges = self.instants().into_iter().filter(|range| range.end > from);
        // A bare range as the query, not in a filter, made OpenSearch count wrongly.
        let dates = within(&self.date, ranges.map(|range| range.start.max(from)..range.end), least);
        let rows = self.count.iter().map(|count| json!({ "range": { count.as_str(): { "gt": 0 } } }));
        std::iter::once(dates).chain(rows).chain(self.filter.iter().cloned()).collect()
    }

    /// The instants that may be wanted.
    fn instants(&self) -> Vec<Range<i64>> {
        let (times, grid) = (&self.request.times, self.request.grouping.grid());
        match grid {
            Some(grid) if times.are_of_buckets() => {
                times.ranges().iter().map(|range| grid.instants_of(range)).collect()
            }
            _ => times.ranges().to_vec(),
        }
    }

    fn metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        if let Some(count) = &self.count {
            metrics.insert(ROWS.to_owned(), json!({ "sum": { "field": count } }));
        }
        for (at, measured) in self.measured.iter().enumerate() {
            if let MeasuredFields::Values(field, Measures::ALL) = measured {
                metrics.insert(at.to_string(), json!({ "stats": { "field": field } }));
                continue;
            }
            let each = measured.each().into_iter();
            metrics.extend(each.map(|(measure, kind, field)| (name(at, measure), json!({ kind: { "field": field } }))));
        }
        metrics
    }
}

/// The name of the aggregation that finds a measure of a field out.
pub(super) fn name(at: usize, measure: Measure) -> String {
    let measure = match measure {
        Measure::Count => "count",
        Measure::Sum => "sum",
        Measure::Min => "min",
        Measure::Max => "max",
    };
    format!("{at}.{measure}")
}
