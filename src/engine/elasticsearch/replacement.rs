//! Date buckets that are replaced: once the new documents are there, those of groups that have vanished become
//! tombstones.
//!
//! A tombstone is a rolled-up document that stands for no row. A deletion is forgotten by the cluster after a minute
//! (`index.gc_deletes`); a tombstone keeps its version, and refuses a bulk that arrives later than that.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::rollup_index::alias;
use super::selection::{is_of_job, within};
use super::{ElasticsearchState, bulk, of_job};
use crate::clock::{Clock, SystemClock};
use crate::cluster::{Cause, Failure, Request, Shards, time_value};
use crate::engine::{JobContext, StopSignal};
use crate::rollup::{FieldSource, LayoutField};
use crate::scan::Times;
use crate::sync::Mutex;

/// Documents that are looked at in one request.
const LOOKED_AT_ONCE: usize = 2_000;
/// How long the cluster keeps a look open between two requests.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Since when jobs may have tombstones.
pub(super) struct Tombstones {
    clock: SystemClock,
    /// By job; `None` if it has none. What a former process has left nobody knows.
    since: Mutex<HashMap<String, Option<Duration>>>,
}

impl Tombstones {
    pub(super) fn new() -> Self {
        Self { clock: SystemClock::new(), since: Mutex::default() }
    }

    /// Whether the job may have some that have stayed as long as they should. A job that is seen first counts as one
    /// that has got some now.
    pub(super) fn are_due(&self, job: &JobContext, stay: Duration) -> bool {
        let mut since = self.since.lock();
        let since = since.entry(job.id().to_owned()).or_insert_with(|| Some(self.clock.monotonic()));
        since.is_some_and(|since| self.clock.monotonic().saturating_sub(since) >= stay)
    }

    /// The job got new ones.
    fn add(&self, job: &JobContext) {
        self.since.lock().insert(job.id().to_owned(), Some(self.clock.monotonic()));
    }

    /// Those of the job are gone.
    pub(super) fn clear(&self, job: &JobContext) {
        self.since.lock().insert(job.id().to_owned(), None);
    }

    /// The job is gone.
    pub(super) fn forget(&self, job: &JobContext) {
        self.since.lock().remove(job.id());
    }
}

/// The documents of one replacement, which are there already.
pub(super) struct Replacement<'a> {
    pub(super) shared: &'a ElasticsearchState,
    pub(super) job: &'a JobContext,
    /// The date buckets that they replace.
    pub(super) times: &'a Times,
    /// What they were written with. What is older was there before.
    pub(super) version: u64,
    pub(super) written: u64,
}

/// A document of the replaced date buckets.
struct Found {
    id: String,
    version: u64,
    source: Map<String, Value>,
}

impl Replacement<'_> {
    /// Makes tombstones of the documents that were there before and have not been written again.
    pub(super) fn bury_what_vanished(&self) -> Result<(), Failure> {
        if self.times.ranges().is_empty() {
            return Ok(());
        }
        let refresh = Request::post([self.job.config().rollup_index(), "_refresh"]);
        self.shared.cluster.refresh(self.in_time(refresh), &StopSignal::never())?;
        if self.documents()? == self.written {
            return Ok(());
        }
        let mut look = Look { shared: self.shared, job: self.job, id: None };
        let mut page = look.search(&self.search())?;
        while !page.is_empty() {
            let vanished = page.into_iter().filter(|found| found.version < self.version);
            self.bury(&vanished.collect::<Vec<_>>())?;
            page = look.next()?;
        }
        Ok(())
    }

    /// How many documents the replaced date buckets have.
    fn documents(&self) -> Result<u64, Failure> {
        let body = json!({ "size": 0, "track_total_hits": true, "query": self.query() });
        let request = Request::post([self.job.config().rollup_index(), "_search"])
            .query("allow_partial_search_results", "false")
            .query("request_cache", "false")
            .json(&body);
        let answer = self.shared.cluster.ask(self.in_time(request), &StopSignal::never())?.json()?;
        let nothing = || Failure::new(Cause::Unavailable, "the answer to a search has no number of documents");
        answer["hits"]["total"]["value"].as_u64().ok_or_else(nothing)
    }

    fn search(&self) -> Value {
        let fields = self.kept_fields();
        json!({
            "size": LOOKED_AT_ONCE,
            "sort": ["_doc"],
            "version": true,
            "_source": fields.map(|field| field.name.as_str()).collect::<Vec<_>>(),
            "query": self.query(),
        })
    }

    fn query(&self) -> Value {
        let date = &self.job.layout().key_field(0).name;
        let dates = within(date, self.times.ranges().iter().cloned(), i64::MIN);
        json!({ "bool": { "filter": [is_of_job(self.job.id()), dates] } })
    }

    /// The fields that a tombstone has: those of no metric.
    fn kept_fields(&self) -> impl Iterator<Item = &LayoutField> {
        let fields = self.job.layout().fields().iter();
        fields.filter(|field| !matches!(field.source, FieldSource::Metric(..)))
    }

    /// Makes tombstones of these, by requests that are not too large.
    fn bury(&self, vanished: &[Found]) -> Result<(), Failure> {
        if vanished.is_empty() {
            return Ok(());
        }
        let by_halves = || {
            let (first, second) = vanished.split_at(vanished.len() / 2);
            self.bury(first).and_then(|()| self.bury(second))
        };
        let body = self.tombstones(vanished);
        if body.len() > self.shared.options.bulk_bytes && vanished.len() > 1 {
            return by_halves();
        }
        match self.send(body, vanished.len()) {
            Err(failure) if failure.cause() == Cause::TooMuch && vanished.len() > 1 => by_halves(),
            other => other,
        }
    }

    fn tombstones(&self, vanished: &[Found]) -> Vec<u8> {
        let mut body = Vec::new();
        for Found { id, source, .. } in vanished {
            let mut source = source.clone();
            let counts = self.kept_fields().filter(|field| field.source == FieldSource::DocCount);
            counts.for_each(|field| drop(source.insert(field.name.clone(), 0.into())));
            for line in [bulk::action("index", id, self.version), Value::Object(source)] {
                body.extend_from_slice(line.to_string().as_bytes());
                body.push(b'\n');
            }
        }
        body
    }

    fn send(&self, body: Vec<u8>, documents: usize) -> Result<(), Failure> {
        self.shared.tombstones.add(self.job);
        let request = bulk::request(&alias(self.job), self.shared.options.bulk_timeout).body(body);
        let answer = self.shared.cluster.ask(self.in_time(request), &StopSignal::never())?.json()?;
        bulk::written(&answer, documents)?.find_map(bulk::failure_of).map_or(Ok(()), Err)
    }

    fn in_time(&self, request: Request) -> Request {
        of_job(self.job, request.timeout(self.shared.options.bulk_timeout))
    }
}

/// A look at many documents, page after page, as they were when it began. It is closed when it is dropped.
struct Look<'a> {
    shared: &'a ElasticsearchState,
    job: &'a JobContext,
    id: Option<String>,
}

impl Look<'_> {
    fn search(&mut self, body: &Value) -> Result<Vec<Found>, Failure> {
        let request = Request::post([self.job.config().rollup_index(), "_search"]);
        let request = request.query("allow_partial_search_results", "false");
        self.ask(request.query("scroll", time_value(KEEP_ALIVE)).json(body))
    }

    fn next(&mut self) -> Result<Vec<Found>, Failure> {
        let body = json!({ "scroll_id": self.id, "scroll": time_value(KEEP_ALIVE) });
        self.ask(Request::post(["_search", "scroll"]).json(&body))
    }

    /// Asked twice, the cluster would leave a page out.
    fn ask(&mut self, request: Request) -> Result<Vec<Found>, Failure> {
        let request = of_job(self.job, request.once().timeout(self.shared.options.bulk_timeout));
        let mut answer = self.shared.cluster.ask(request, &StopSignal::never())?.json()?;
        let unexpected = || Failure::new(Cause::Unavailable, "the answer to a scroll is not whole");
        self.id = Some(answer["_scroll_id"].as_str().ok_or_else(unexpected)?.to_owned());
        let shards: Shards = serde_json::from_value(answer["_shards"].take()).map_err(|_| unexpected())?;
        shards.all_answered()?;
        if shards.successful < shards.total {
            return Err(unexpected());
        }
        let Value::Array(hits) = answer["hits"]["hits"].take() else { return Err(unexpected()) };
        let found = |mut hit: Value| {
            let Value::Object(source) = hit["_source"].take() else { return None };
            Some(Found { id: hit["_id"].as_str()?.to_owned(), version: hit["_version"].as_u64()?, source })
        };
        hits.into_iter().map(found).collect::<Option<_>>().ok_or_else(unexpected)
    }
}

impl Drop for Look<'_> {
    /// Nobody waits for it: one that is not closed ends by itself a little later.
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let request = Request::delete(["_search", "scroll"]).json(&json!({ "scroll_id": id }));
            self.shared.cluster.send(of_job(self.job, request)).leave();
        }
    }
}
