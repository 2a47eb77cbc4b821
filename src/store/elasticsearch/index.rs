//! The hidden index: documents by id, each changed only by whoever knows its last version.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::call::Call;
use crate::cluster::{
    Answer, Cause, Cluster, Failure, Parsed, Request, Shards, add_write_alias, item_status, time_value,
};
use crate::stop_signal::StopSignal;

/// The version of what is in the index. One with a higher version is another crate's, a newer one's.
const FORMAT: u64 = 1;
/// The member of `_meta` that says that the index is a job store.
const OURS: &str = "rollup-jobs";
/// How many documents are asked for at once.
const PAGE: usize = 500;

pub(super) struct Index {
    cluster: Cluster,
    pub(super) name: String,
    /// What is written to: nothing is created by accident under the name of an alias that is required.
    alias: String,
}

/// A version of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    primary_term: u64,
    seq_no: u64,
}

/// A document as it was found.
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) stamp: Stamp,
    pub(super) source: Value,
}

/// What is to become of a document.
pub(super) enum Change {
    Create(Value),
    /// Whatever its last version is.
    Put(Value),
    /// If this is still its last version.
    Replace(Stamp, Value),
    /// The same.
    Delete(Stamp),
}

/// What became of it.
pub(super) enum Outcome {
    Done(Stamp),
    /// It had another version, or was there, or was not.
    Conflict,
    /// Whether it took place has to be looked at if the failure is one that passes.
    Failed(Failure),
}

impl Index {
    pub(super) fn new(cluster: Cluster, name: &str) -> Self {
        Self { cluster, name: name.to_owned(), alias: format!("{name}-write") }
    }

    fn ask(&self, request: Request, timeout: Duration) -> Result<Answer, Failure> {
        self.cluster.ask(request.timeout(timeout), &StopSignal::never())
    }

    /// Creates the index, or checks that it is a job store.
    pub(super) fn ensure(&self, call: &Call) -> Result<(), Failure> {
        self.cluster.product_within(call.left())?;
        let found = match self.find(call.left())? {
            Some(found) => found,
            None => {
                self.create(call.left())?;
                let gone = || Failure::new(Cause::Unavailable, "it is gone again");
                self.find(call.left())?.ok_or_else(gone)?
            }
        };
        match found["mappings"]["_meta"][OURS]["format"].as_u64() {
            Some(FORMAT) => {}
            Some(newer) => return Err(refused(&format!("it has format {newer}: upgrade rollup-jobs"))),
            None => return Err(refused("it is there, and is no job store: choose another name")),
        }
        if !found["aliases"][&self.alias].is_null() {
            return Ok(());
        }
        // It may have been restored from a snapshot, which need not have the alias.
        self.ask(add_write_alias(&self.name, &self.alias), call.left()).map(drop)
    }

    fn find(&self, timeout: Duration) -> Result<Option<Value>, Failure> {
        let request = Request::get([self.name.as_str()]).query("filter_path", "*.aliases,*.mappings._meta");
        match self.ask(request, timeout) {
            // An index without either is there, and answers with nothing.
            Ok(answer) => Ok(Some(answer.json()?[&self.name].take())),
            Err(failure) if failure.cause() == Cause::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Somebody else may be doing it at this moment.
    fn create(&self, timeout: Duration) -> Result<(), Failure> {
        let request = Request::put([self.name.as_str()]).json(&json!({
            "settings": { "index": { "hidden": true, "number_of_shards": 1, "auto_expand_replicas": "0-1" } },
            "mappings": {
                "_meta": { OURS: { "format": FORMAT } },
                "dynamic": false,
                "properties": { "id": { "type": "keyword" }, "epoch": { "type": "long" } }
            },
            "aliases": { &self.alias: { "is_hidden": true, "is_write_index": true } }
        }));
        match self.ask(request, timeout) {
            Err(failure) if failure.cause() != Cause::Exists => Err(failure),
            _ => Ok(()),
        }
    }

    /// The last versions of documents, in the order of their ids here.
    pub(super) fn read(&self, ids: &[String], timeout: Duration) -> Result<Vec<Option<Stored>>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request::post([self.alias.as_str(), "_mget"]).json(&json!({ "ids": ids }));
        let mut answer = self.ask(request, timeout)?.json()?;
        let found = answer["docs"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if found.len() != ids.len() {
            return Err(unexpected());
        }
        let stored = |found: Value| match (&found["error"], found["found"].as_bool()) {
            (Value::Null, Some(true)) => stored(found).map(Some),
            (Value::Null, Some(false)) => Ok(None),
            (error, _) => Err(Failure::of_error(500, error)),
        };
        found.into_iter().map(stored).collect()
    }

    /// Changes documents, each on its own.
    pub(super) fn change(&self, changes: Vec<(String, Change)>, timeout: Duration) -> Vec<Outcome> {
        let count = changes.len();
        if count == 0 {
            return Vec::new();
        }
        let request = Request::post([self.alias.as_str(), "_bulk"])
            .query("require_alias", "true")
            .query("timeout", time_value(timeout))
            .query("filter_path", "items.*.status,items.*.error,items.*._seq_no,items.*._primary_term")
            .body(lines(changes));
        let items = self.ask(request, timeout).and_then(|answer| {
            let mut answer = answer.json()?;
            let items = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
            if items.len() == count { Ok(items) } else { Err(unexpected()) }
        });
        match items {
            Ok(items) => items.iter().map(outcome).collect(),
            Err(failure) => (0..count).map(|_| Outcome::Failed(failure.clone())).collect(),
        }
    }

    /// Changes one: `None` if somebody else did before.
    pub(super) fn change_one(&self, id: &str, change: Change, timeout: Duration) -> Result<Option<Stamp>, Failure> {
        match self.change(vec![(id.to_owned(), change)], timeout).into_iter().next() {
            Some(Outcome::Done(stamp)) => Ok(Some(stamp)),
            Some(Outcome::Failed(failure)) => Err(failure),
            Some(Outcome::Conflict) | None => Ok(None),
        }
    }

    /// Makes everything visible that was written.
    pub(super) fn refresh(&self, timeout: Duration) -> Result<(), Failure> {
        let request = Request::post([self.name.as_str(), "_refresh"]).timeout(timeout);
        self.cluster.refresh(request, &StopSignal::never())
    }

    /// A page of the jobs' documents, in the order of their ids, after what the page before has said; and what this
    /// one says, if it is not the last.
    pub(super) fn page(
        &self,
        query: Value,
        after: Option<&Value>,
        timeout: Duration,
    ) -> Result<(Vec<Stored>, Option<Value>), Failure> {
        let mut body = json!({
            "size": PAGE,
            "track_total_hits": false,
            "seq_no_primary_term": true,
            "sort": [{ "id": "asc" }],
            "query": { "bool": { "filter": [{ "exists": { "field": "id" } }, query] } }
        });
        if let Some(after) = after {
            body["search_after"] = after.clone();
        }
        let mut answer = self.search(&body, timeout)?;
        let hits = answer["hits"]["hits"].as_array_mut().map(std::mem::take).ok_or_else(unexpected)?;
        let next = hits.last().filter(|_| hits.len() == PAGE).map(|last| last["sort"].clone());
        Ok((hits.into_iter().map(stored).collect::<Result<_, _>>()?, next))
    }

    /// The latest epoch of any record; 0 if there is none.
    pub(super) fn newest_epoch(&self, timeout: Duration) -> Result<u64, Failure> {
        self.refresh(timeout)?;
        let body = json!({
            "size": 1,
            "track_total_hits": false,
            "sort": [{ "epoch": { "order": "desc", "unmapped_type": "long" } }],
            "query": { "exists": { "field": "id" } }
        });
        let answer = self.search(&body, timeout)?;
        Ok(answer["hits"]["hits"][0]["_source"]["epoch"].as_u64().unwrap_or(0))
    }

    /// An answer that says less than everything is none.
    fn search(&self, body: &Value, timeout: Duration) -> Result<Parsed<Value>, Failure> {
        let request = Request::post([self.name.as_str(), "_search"]).query("allow_partial_search_results", "false");
        let mut answer = self.ask(request.json(body), timeout)?.json()?;
        serde_json::from_value::<Shards>(answer["_shards"].take()).map_err(|_| unexpected())?.all_answered()?;
        if answer["timed_out"].as_bool() != Some(false) {
            return Err(Failure::new(Cause::Unavailable, "the search timed out on the server"));
        }
        Ok(answer)
    }
}

fn stored(mut found: Value) -> Result<Stored, Failure> {
    let stamp = stamp(&found).ok_or_else(unexpected)?;
    let id = found["_id"].as_str().ok_or_else(unexpected)?.to_owned();
    Ok(Stored { id, stamp, source: found["_source"].take() })
}

fn stamp(found: &Value) -> Option<Stamp> {
    Some(Stamp { primary_term: found["_primary_term"].as_u64()?, seq_no: found["_seq_no"].as_u64()? })
}

fn lines(changes: Vec<(String, Change)>) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut line = |value: &Value| {
        lines.extend_from_slice(value.to_string().as_bytes());
        lines.push(b'\n');
    };
    for (id, change) in changes {
        let at = |stamp: Stamp| json!({ "_id": id, "if_seq_no": stamp.seq_no, "if_primary_term": stamp.primary_term });
        match change {
            Change::Create(source) => {
                line(&json!({ "create": { "_id": id } }));
                line(&source);
            }
            Change::Put(source) => {
                line(&json!({ "index": { "_id": id } }));
                line(&source);
            }
            Change::Replace(stamp, source) => {
                line(&json!({ "index": at(stamp) }));
                line(&source);
            }
            Change::Delete(stamp) => line(&json!({ "delete": at(stamp) })),
        }
    }
    lines
}

fn outcome(item: &Value) -> Outcome {
    let item = item.as_object().and_then(|item| Map::values(item).next()).unwrap_or(&Value::Null);
    let status = item_status(item);
    match (status, stamp(item)) {
        (200..=299, Some(stamp)) => Outcome::Done(stamp),
        _ => {
            let failure = Failure::of_error(status, &item["error"]);
            if failure.cause() == Cause::Conflict { Outcome::Conflict } else { Outcome::Failed(failure) }
        }
    }
}

fn refused(text: &str) -> Failure {
    Failure::new(Cause::Refused, text)
}

fn unexpected() -> Failure {
    Failure::new(Cause::Unavailable, "the answer is not what was expected")
}
