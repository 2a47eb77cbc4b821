//! From Elasticsearch's search body to a request. What would change the answer and is not known is refused by name;
//! what is about hits, of which there are none, is read and means nothing.

mod aggregations;
mod object;

use std::time::Duration;

use serde_json::Value;

use super::request::{SearchRequest, SearchRequestError};
use crate::job::TimeValue;
use object::{Object, query, wrong};

/// Members that only say which hits are returned, and how.
const OF_HITS: [&str; 14] = [
    "from",
    "sort",
    "_source",
    "fields",
    "stored_fields",
    "docvalue_fields",
    "version",
    "seq_no_primary_term",
    "track_scores",
    "track_total_hits",
    "indices_boost",
    "stats",
    "terminate_after",
    "explain",
];

/// What a search for hits is told, in Elasticsearch's words.
pub(crate) const NO_HITS: &str = "Rollup does not support returning search hits, please try again with [size: 0].";

/// Members that are refused in Elasticsearch's words.
const REFUSED: [(&str, &str); 4] = [
    ("post_filter", "Rollup search does not support post filtering."),
    ("suggest", "Rollup search does not support suggestors."),
    ("highlight", "Rollup search does not support highlighting."),
    ("profile", "Rollup search does not support profiling at the moment."),
];

impl SearchRequest {
    /// The search that Elasticsearch's body asks for, of these indices.
    ///
    /// Of the body `query`, `aggs` (or `aggregations`) and `timeout` count. Hits are not returned: `size` may be left
    /// out, unlike in Elasticsearch, and may be nothing but 0.
    ///
    /// ```
    /// use rollup_jobs::search::SearchRequest;
    ///
    /// let body = serde_json::json!({
    ///     "size": 0,
    ///     "query": { "range": { "timestamp": { "gte": "now-30d/d" } } },
    ///     "aggs": { "per_day": {
    ///         "date_histogram": { "field": "timestamp", "calendar_interval": "1d", "time_zone": "Europe/Berlin" },
    ///         "aggs": { "warmest": { "max": { "field": "temperature" } } }
    ///     } }
    /// });
    /// let request = SearchRequest::from_json("sensor-*", &body)?;
    /// assert_eq!(request.aggregations.len(), 1);
    ///
    /// let unknown = serde_json::json!({ "aggs": { "spread": { "percentiles": { "field": "temperature" } } } });
    /// let error = SearchRequest::from_json("sensor-*", &unknown).unwrap_err();
    /// assert_eq!(error.place(), "aggs.spread.percentiles");
    /// # Ok::<(), rollup_jobs::search::SearchRequestError>(())
    /// ```
    ///
    /// # Errors
    /// [`SearchRequestError`], with the place and what is known there.
    pub fn from_json(indices: impl Into<String>, body: &Value) -> Result<Self, SearchRequestError> {
        let mut request = Self::new(indices);
        let body = Object::of(body, "body")?;
        if body.get("size").is_some() && !matches!(body.count("size"), Ok(Some(0))) {
            return Err(SearchRequestError::of_elasticsearch("size", NO_HITS));
        }
        for (member, problem) in REFUSED {
            if body.get(member).is_some_and(|value| *value != Value::Bool(false)) {
                return Err(SearchRequestError::of_elasticsearch(member, problem));
            }
        }
        if body.switch("explain")? {
            return Err(SearchRequestError::of_elasticsearch("explain", "Rollup search does not support explaining."));
        }
        let known = ["size", "query", "aggs", "aggregations", "timeout"];
        let refused = REFUSED.map(|(member, _)| member);
        for (name, _) in body.iter() {
            let name = name.as_str();
            if !known.contains(&name) && !OF_HITS.contains(&name) && !refused.contains(&name) {
                return wrong(name, format!("is not supported; known here are [{}]", known.join(", ")));
            }
        }
        if let Some(filter) = body.get("query") {
            request.filter = query(filter, "query")?;
        }
        if let Some(timeout) = body.text("timeout")? {
            let timeout = TimeValue::parse(timeout, "timeout")
                .map_err(|error| SearchRequestError::new("timeout", error.to_string()))?;
            // What is negative means none, as there.
            let millis = u64::try_from(timeout.as_millis()).ok();
            request.timeout = millis.map(Duration::from_millis);
        }
        request.aggregations = match (body.get("aggs"), body.get("aggregations")) {
            (Some(_), Some(_)) => return wrong("aggregations", "is given twice: as [aggs] and as [aggregations]"),
            (Some(given), None) | (None, Some(given)) => aggregations::read(given, "aggs")?,
            (None, None) => Vec::new(),
        };
        Ok(request)
    }
}
