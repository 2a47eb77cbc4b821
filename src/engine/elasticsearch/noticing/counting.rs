//! Counts documents by index and stretch of time.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Window;
use super::mark::{Seen, Stretches};
use crate::cluster::{Cluster, Failure, Request};
use crate::engine::elasticsearch::buckets::{Number, SearchAnswer};
use crate::engine::elasticsearch::of_job;
use crate::engine::elasticsearch::selection::within;
use crate::engine::stretches::wider_than;
use crate::engine::{JobContext, StopSignal};
use crate::job::NoticeBy;

/// A count has no more stretches than this, over all indices: with more, they are longer.
const MAX_STRETCHES: usize = 1 << 15;
/// How many stretches are asked for at once.
const PAGE: usize = 10_000;

/// Asks a cluster.
pub(super) struct Counter<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) job: &'a JobContext,
    pub(super) indices: String,
    pub(super) window: Window<'a>,
    pub(super) stop: &'a StopSignal,
}

/// What was counted of each index: everything, and what the next look sees again.
pub(super) struct Counted {
    width: i64,
    by_index: ByIndex,
}

type ByIndex = BTreeMap<String, [BTreeMap<i64, Seen>; 2]>;

impl Counted {
    pub(super) fn of(&self, index: &str) -> (Stretches, Stretches) {
        let [all, kept] = self.by_index.get(index).cloned().unwrap_or_default();
        (Stretches { width: self.width, seen: all }, Stretches { width: self.width, seen: kept })
    }
}

#[derive(Deserialize)]
struct Aggregation<T> {
    after_key: Option<Value>,
    buckets: Vec<T>,
}

#[derive(Deserialize)]
struct Bucket {
    key: Key,
    doc_count: u64,
    latest: Option<Number>,
    kept: Option<Kept>,
}

#[derive(Deserialize)]
struct Key {
    index: String,
    start: i64,
}

#[derive(Deserialize)]
struct Kept {
    doc_count: u64,
}

#[derive(Deserialize)]
struct Extent {
    first: Number,
    last: Number,
}

impl Counter<'_> {
    /// Counts documents in stretches of this width, or in longer ones where they are too many.
    pub(super) fn count(&self, documents: &Value, finest: i64) -> Result<Counted, Failure> {
        let mut width = finest;
        loop {
            let most = if wider_than(width).is_some() { MAX_STRETCHES } else { usize::MAX };
            match self.count_in(documents, width, most)? {
                Some(by_index) => return Ok(Counted { width, by_index }),
                None => width = wider_than(width).unwrap_or(width),
            }
        }
    }

    /// `None`: there are more stretches than that.
    fn count_in(&self, documents: &Value, width: i64, most: usize) -> Result<Option<ByIndex>, Failure> {
        let field = self.window.date_field;
        let start = json!({ "date_histogram": { "field": field, "fixed_interval": format!("{width}ms") } });
        let sources = json!([{ "index": { "terms": { "field": "_index" } } }, { "start": start }]);
        let mut composite = json!({ "size": PAGE, "sources": sources });
        let inner = match self.window.by {
            NoticeBy::IngestTime { field, .. } => json!({
                "latest": { "max": { "field": field } },
                "kept": { "filter": within(field, std::iter::once(self.window.next()..i64::MAX), 0) },
            }),
            NoticeBy::LookBack(_) => json!({}),
        };
        let mut by_index = ByIndex::new();
        let mut found = 0;
        loop {
            let counts = json!({ "composite": composite, "aggregations": inner });
            let Some(page) = self.ask::<Bucket>(documents, &counts)? else { return Ok(Some(by_index)) };
            found += page.buckets.len();
            if found > most {
                return Ok(None);
            }
            let is_last = page.buckets.len() < PAGE;
            for Bucket { key, doc_count, latest, kept } in page.buckets {
                let [all, again] = by_index.entry(key.index).or_default();
                let latest = latest.and_then(|latest| latest.date()).unwrap_or_default();
                all.insert(key.start, Seen { documents: doc_count, latest });
                let kept = kept.map_or(doc_count, |kept| kept.doc_count);
                if kept > 0 {
                    again.insert(key.start, Seen { documents: kept, latest });
                }
            }
            match page.after_key {
                Some(after) if !is_last => composite["after"] = after,
                _ => return Ok(Some(by_index)),
            }
        }
    }

    /// In which width the documents of so many indices are not too many stretches.
    pub(super) fn width_for(&self, documents: &Value, indices: usize) -> Result<i64, Failure> {
        let date = json!({ "field": self.window.date_field });
        let ends = json!({ "first": { "min": &date }, "last": { "max": &date } });
        let counts = json!({ "terms": { "field": "_index", "size": indices }, "aggregations": ends });
        let extents = self.ask::<Extent>(documents, &counts)?.map_or_else(Vec::new, |found| found.buckets);
        let stretches = |width: i64| -> u64 {
            let of_index =
                |extent: &Extent| Some(extent.last.date()?.abs_diff(extent.first.date()?) / width.unsigned_abs());
            extents
                .iter()
                .filter_map(of_index)
                .map(|stretches| stretches.saturating_add(2))
                .fold(0, u64::saturating_add)
        };
        let mut width = self.finest();
        while stretches(width) > MAX_STRETCHES as u64
            && let Some(wider) = wider_than(width)
        {
            width = wider;
        }
        Ok(width)
    }

    /// What one aggregation says of these documents, if there is any index. Always of the same copies of the shards,
    /// since others may not be as far.
    fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        documents: &Value,
        counts: &Value,
    ) -> Result<Option<Aggregation<T>>, Failure> {
        let body = json!({
            "size": 0,
            "track_total_hits": false,
            "query": documents,
            "aggregations": { "counts": counts },
        });
        let request = Request::post([&self.indices, "_search"]).query("allow_partial_search_results", "false");
        let request = request.query("request_cache", "false").query("preference", "rollup-jobs").json(&body);
        let answer = self.cluster.ask(of_job(self.job, request), self.stop)?;
        answer.read::<SearchAnswer<'_>>()?.whole()?.aggregation("counts")
    }
}
