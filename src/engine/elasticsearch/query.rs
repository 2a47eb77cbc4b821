//! The searches of a scan, as the cluster gets them.

use serde_json::{Map, Value, json};

use crate::engine::JobContext;
use crate::job::{DateInterval, GroupKey, Histogram, KeyPart, TermsType};

/// The name of the composite aggregation, as in Elasticsearch's own rollups.
pub(super) const COMPOSITE: &str = "rollup";

/// One page: the buckets after `after` whose dates are before `before`.
pub(super) fn page(job: &JobContext, after: Option<&GroupKey>, before: i64, size: usize) -> Value {
    let mut composite = json!({ "size": size, "sources": sources(job) });
    if let Some(after) = after {
        composite["after"] = after_key(job, after);
    }
    // What lies before the position's own bucket need not be looked at. A bare range as the query, not in a filter,
    // made OpenSearch count wrongly.
    let mut range = json!({ "lt": before, "format": "epoch_millis" });
    // And of an instant before 1970 a field of nanoseconds does not even want to hear.
    if let Some(KeyPart::Date(start)) = after.and_then(|after| after.first()).filter(|date| **date >= KeyPart::Date(0))
    {
        range["gte"] = json!(start);
    }
    let field = job.config().groups().date_histogram().field();
    let mut metrics = metrics(job);
    if metrics.is_empty() && job.config().key_names().len() == 1 {
        // Of a lone date histogram OpenSearch makes ranges, and fails (500, `array_index_out_of_bounds_exception`)
        // where all documents of a segment are before the page. Not where there is something to compute.
        metrics.insert("dates".to_owned(), json!({ "value_count": { "field": field } }));
    }
    let aggregation = json!({ "composite": composite, "aggregations": metrics });
    json!({
        "size": 0,
        "track_total_hits": false,
        "query": { "bool": { "filter": [{ "range": { field: range } }] } },
        "aggregations": { COMPOSITE: aggregation },
    })
}

/// How many documents have no date.
pub(super) fn without_date(job: &JobContext) -> Value {
    let field = job.config().groups().date_histogram().field();
    json!({
        "size": 0,
        "track_total_hits": true,
        "query": { "bool": { "must_not": [{ "exists": { "field": field } }] } },
    })
}

fn sources(job: &JobContext) -> Vec<Value> {
    let (config, groups) = (job.config(), job.config().groups());
    let names = config.key_names();
    let date = groups.date_histogram();
    let (kind, interval) = match (config.interval(), config.rounding().fixed_millis()) {
        (DateInterval::Fixed { text, .. }, _) => ("fixed_interval", text.clone()),
        // Seconds, minutes and hours of the calendar are of one length, but where a time zone's clocks are set
        // forward by a part of an hour servers make one bucket out of two, or find one of months before.
        (DateInterval::Calendar { .. }, Some(millis)) => ("fixed_interval", format!("{millis}ms")),
        (DateInterval::Calendar { text, .. }, None) => ("calendar_interval", text.clone()),
    };
    let date = json!({ "date_histogram": {
        "field": date.field(), kind: interval, "time_zone": date.time_zone_id(), "order": "asc"
    } });
    let interval = groups.histogram().map_or(1.0, Histogram::interval);
    let histogram = groups.histogram_fields().iter().map(|field| {
        json!({ "histogram": { "field": field, "interval": interval, "missing_bucket": true, "order": "asc" } })
    });
    let terms = groups.terms_fields().iter().zip(job.terms_types()).map(|(field, kind)| {
        let mut terms = json!({ "field": field, "missing_bucket": true, "order": "asc" });
        // An index in which the field is not mapped would take it for text, and OpenSearch refuse the second page.
        match kind {
            TermsType::Keyword => {}
            TermsType::Integer | TermsType::Unsigned => terms["value_type"] = json!("long"),
            TermsType::Floating => terms["value_type"] = json!("double"),
        }
        json!({ "terms": terms })
    });
    let sources = std::iter::once(date).chain(histogram).chain(terms);
    names.iter().zip(sources).map(|(name, source)| json!({ &**name: source })).collect()
}

fn metrics(job: &JobContext) -> Map<String, Value> {
    let metrics = job.config().metrics().iter().enumerate();
    metrics.map(|(at, metric)| (at.to_string(), json!({ "stats": { "field": metric.field() } }))).collect()
}

fn after_key(job: &JobContext, after: &GroupKey) -> Value {
    let names = job.config().key_names();
    Value::Object(names.iter().zip(after).map(|(name, part)| (name.to_string(), part.to_json())).collect())
}
