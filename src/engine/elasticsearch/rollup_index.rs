//! The rollup index: created as Elasticsearch creates it, with each job's definition in its `_meta`, and never by
//! accident.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::meta::Found;
use super::selection::is_of_job;
use super::versions::Versions;
use super::{bulk, failed, of_job};
use crate::clock::{Deadline, SystemClock, wait_until};
use crate::cluster::{Answer, Cause, Cluster, Failure, Request, add_write_alias, item_status};
use crate::engine::{EngineError, JobContext, StopSignal};
use crate::sync::{Arc, Monitor, Mutex};

/// The longest name of an index or an alias, in bytes.
const MAX_NAME_LENGTH: usize = 255;

/// Documents that are deleted at once.
const DELETED_AT_ONCE: usize = 10_000;

/// Rollup indices, and who may change the `_meta` of one at a time: the cluster replaces it as a whole, whoever comes
/// last.
pub(super) struct RollupIndices {
    cluster: Cluster,
    /// How long a request may take: a stop waits for those of a commit.
    timeout: Duration,
    versions: Arc<Versions>,
    locks: Mutex<HashMap<String, Arc<Monitor<bool>>>>,
    /// What was last found of each job.
    found: Mutex<HashMap<String, (Standing, String)>>,
}

/// What there is of a job in its rollup index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The index is the one that was prepared.
    Prepared,
    /// The index is gone, or another one has its place.
    Gone,
}

/// The alias by which a rollup index is written to.
pub(super) fn alias(job: &JobContext) -> String {
    format!("rollup-jobs-write-{}", job.config().rollup_index())
}

impl RollupIndices {
    pub(super) fn new(cluster: Cluster, timeout: Duration, versions: Arc<Versions>) -> Self {
        Self { cluster, timeout, versions, locks: Mutex::default(), found: Mutex::default() }
    }

    /// Creates or checks the index, and has it know the job, whose documents may be there only if it `goes_on`.
    pub(super) fn prepare(&self, job: &JobContext, goes_on: bool) -> Result<(), EngineError> {
        self.visit(job, Duration::MAX).prepare(goes_on)
    }

    /// Whether the index is the one that was prepared for the job. What another client's write took out of it is put
    /// back. A stop may wait for it: it takes no longer than one request may.
    pub(super) fn check(&self, job: &JobContext) -> Result<Standing, EngineError> {
        self.check_within(job, self.timeout)
    }

    /// The same, in less time.
    pub(super) fn check_within(&self, job: &JobContext, time: Duration) -> Result<Standing, EngineError> {
        self.visit(job, time).check()
    }

    /// Has the index know the job's new settings. It takes no longer than one request may.
    pub(super) fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        self.visit(job, self.timeout).redefine()
    }

    /// Removes the job's documents, and then what the index knows of it.
    pub(super) fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.visit(job, Duration::MAX).remove()
    }

    /// Removes the job's documents that stand for no row. `false` if a stop came first.
    pub(super) fn remove_tombstones(&self, job: &JobContext, stop: &StopSignal) -> Result<bool, EngineError> {
        self.visit(job, Duration::MAX).remove_tombstones(stop)
    }

    /// The indices whose `_meta` knows a job of this id.
    pub(super) fn indices_of(&self, job_id: &str) -> Result<Vec<String>, Failure> {
        let request = Request::get(["_mapping"]).query("filter_path", "*.mappings._meta._rollup").timeout(self.timeout);
        let answer = self.cluster.ask(request, &StopSignal::never())?.json()?;
        let knows = |index: &Value| index["mappings"]["_meta"]["_rollup"][job_id].is_object();
        let indices = answer.as_object().into_iter().flatten().filter(|(_, index)| knows(index));
        Ok(indices.map(|(name, _)| name.clone()).collect())
    }

    fn visit<'a>(&'a self, job: &'a JobContext, time: Duration) -> Visit<'a> {
        let clock = SystemClock::new();
        Visit { rollups: self, job, deadline: Deadline::after(&clock, time), clock }
    }
}

/// A look at one job's rollup index, or a change there, of one or more requests.
struct Visit<'a> {
    rollups: &'a RollupIndices,
    job: &'a JobContext,
    clock: SystemClock,
    deadline: Deadline,
}

impl Visit<'_> {
    fn prepare(&self, goes_on: bool) -> Result<(), EngineError> {
        let in_index = |failure| of_index(self.job, failure);
        let alias = alias(self.job);
        if alias.len() > MAX_NAME_LENGTH {
            let index = self.job.config().rollup_index();
            let most = MAX_NAME_LENGTH + index.len() - alias.len();
            let text = format!(
                "[{index}] is too long for the name of a rollup index, which may have {most} bytes in a cluster"
            );
            return Err(EngineError::invalid_name(text));
        }
        let _alone = self.alone()?;
        self.rollups.cluster.product(&StopSignal::never()).map_err(in_index)?;
        let (found, is_new) = match self.find().map_err(in_index)? {
            Some(found) => (found, false),
            None => (self.create().map_err(in_index)?, true),
        };
        let prepared = self.prepare_found(&found, is_new, goes_on);
        if prepared.is_err() && is_new {
            self.undo_creation(&found);
        }
        prepared
    }

    /// The index was created for this job alone. Should that fail too it is left empty.
    fn undo_creation(&self, found: &Found) {
        let Ok(Some(now)) = self.find() else { return };
        let is_ours_alone = now.uuid == found.uuid
            && now.entries(self.job).is_ok_and(|entries| entries.keys().all(|id| id == self.job.id()));
        if is_ours_alone && matches!(self.has_documents(), Ok(false)) {
            let _ = self.ask(Request::delete([self.job.config().rollup_index()]));
        }
    }

    fn prepare_found(&self, found: &Found, is_new: bool, goes_on: bool) -> Result<(), EngineError> {
        let in_index = |failure| of_index(self.job, failure);
        found.entry(self.job)?;
        // Over documents of its own a job starts over only if a run has found that they are not those that it has
        // written.
        let was_replaced = self.known(found) == Some(Standing::Gone);
        if !is_new && !goes_on && !was_replaced && self.has_documents().map_err(in_index)? {
            let (index, id) = (self.job.config().rollup_index(), self.job.id());
            return Err(EngineError::already_exists(format!("rollup index [{index}] has documents of job [{id}]")));
        }
        // What says that the index is prepared comes last.
        self.ensure_alias(found)?;
        self.write_entry(found)?;
        self.note(found, Standing::Prepared);
        Ok(())
    }

    fn check(&self) -> Result<Standing, EngineError> {
        let Some(found) = self.find().map_err(|failure| of_index(self.job, failure))? else {
            return Ok(Standing::Gone);
        };
        let standing = self.standing(&found)?;
        self.note(&found, standing);
        if standing == Standing::Prepared && !(found.knows(self.job)? && found.has_alias) {
            self.repair()?;
        }
        Ok(standing)
    }

    fn standing(&self, found: &Found) -> Result<Standing, EngineError> {
        // By whom it was replaced does not matter: another job's run may have prepared it again, for itself.
        let is_prepared = match (found.prepared_for(self.job), self.known(found)) {
            (Some(uuid), _) => uuid == found.uuid,
            // Nothing is said of the job. It was there when this process last looked;
            (None, Some(standing)) => standing == Standing::Prepared,
            // or, since nobody has looked, its documents are.
            (None, None) => self.has_documents().map_err(|failure| of_index(self.job, failure))?,
        };
        Ok(if is_prepared { Standing::Prepared } else { Standing::Gone })
    }

    /// Writes what is missing, if the index is still the same.
    fn repair(&self) -> Result<(), EngineError> {
        let _alone = self.alone()?;
        let found = self.find_prepared()?;
        if !found.knows(self.job)? {
            self.write_entry(&found)?;
        }
        self.ensure_alias(&found)
    }

    fn redefine(&self) -> Result<(), EngineError> {
        let _alone = self.alone()?;
        let found = self.find_prepared()?;
        found.entry(self.job)?;
        self.write_entry(&found)
    }

    fn find_prepared(&self) -> Result<Found, EngineError> {
        let found = self.find().map_err(|failure| of_index(self.job, failure))?;
        let found = found.filter(|found| self.known(found) == Some(Standing::Prepared));
        found.ok_or_else(|| EngineError::unavailable("the rollup index was replaced while it was looked at"))
    }

    fn remove(&self) -> Result<(), EngineError> {
        let in_index = |failure| of_index(self.job, failure);
        if let Some(found) = self.find().map_err(in_index)?.filter(|found| found.entries(self.job).is_ok()) {
            let _alone = self.alone()?;
            self.ensure_alias(&found)?;
        }
        let all = [is_of_job(self.job.id())];
        while self.delete_some(&all).map_err(in_index)? {}
        let _alone = self.alone()?;
        self.rollups.found.lock().remove(self.job.id());
        match self.find().map_err(in_index)? {
            Some(found) if found.entries(self.job).is_ok_and(|entries| entries.contains_key(self.job.id())) => self
                .write_meta(&found, |entries, prepared| {
                    entries.remove(self.job.id());
                    prepared.remove(self.job.id());
                }),
            _ => Ok(()),
        }
    }

    fn remove_tombstones(&self, stop: &StopSignal) -> Result<bool, EngineError> {
        let count = self.job.layout().count_field().name.as_str();
        let tombstones = [is_of_job(self.job.id()), json!({ "range": { count: { "lte": 0 } } })];
        while !stop.is_stopped() {
            if !self.delete_some(&tombstones).map_err(|failure| of_index(self.job, failure))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was last found of the job, if it was found of this very index.
    fn known(&self, found: &Found) -> Option<Standing> {
        let known = self.rollups.found.lock();
        let (standing, uuid) = known.get(self.job.id())?;
        Some(if *uuid == found.uuid { *standing } else { Standing::Gone })
    }

    fn note(&self, found: &Found, standing: Standing) {
        self.rollups.found.lock().insert(self.job.id().to_owned(), (standing, found.uuid.clone()));
    }

    /// Nobody else in this process changes the index until the guard is dropped. It is waited for no longer than a
    /// request may take.
    fn alone(&self) -> Result<Alone, EngineError> {
        let index = self.job.config().rollup_index();
        let lock = Arc::clone(self.rollups.locks.lock().entry(index.to_owned()).or_default());
        let (deadline, is_free) =
            (Deadline::after(&self.clock, self.time_left()), |taken: &bool| (!taken).then_some(()));
        while wait_until(&self.clock, &lock, deadline, is_free).is_some() {
            if !std::mem::replace(&mut *lock.lock(), true) {
                return Ok(Alone(lock));
            }
        }
        Err(EngineError::unavailable(format!("rollup index [{index}] is being changed for another job")))
    }

    fn in_time(&self, request: Request) -> Request {
        of_job(self.job, request.timeout(self.time_left()))
    }

    /// How long a request may take.
    fn time_left(&self) -> Duration {
        self.deadline.remaining(&self.clock).map_or(self.rollups.timeout, |left| left.min(self.rollups.timeout))
    }

    fn ask(&self, request: Request) -> Result<Answer, Failure> {
        self.rollups.cluster.ask(self.in_time(request), &StopSignal::never())
    }

    fn find(&self) -> Result<Option<Found>, Failure> {
        let request = Request::get([self.job.config().rollup_index()])
            .query("filter_path", "*.aliases,*.mappings._meta,*.settings.index.uuid");
        let answer = match self.ask(request) {
            Ok(answer) => answer.json()?,
            Err(failure) if failure.cause() == Cause::NotFound => return Ok(None),
            Err(failure) => return Err(failure),
        };
        Found::of(self.job, &answer).map(Some)
    }

    /// Creates the index without any job. Somebody else may have done it meanwhile.
    fn create(&self) -> Result<Found, Failure> {
        let request = Request::put([self.job.config().rollup_index()]).json(&json!({
            "mappings": {
                "_meta": { "_rollup": {}, "rollup-version": "" },
                "dynamic_templates": [
                    { "strings": { "match_mapping_type": "string", "mapping": { "type": "keyword" } } },
                    // As Elasticsearch has it, but for the format: by the default one instants before 1970 are years.
                    { "date_histograms": {
                        "path_match": "*.date_histogram.timestamp",
                        "mapping": { "type": "date", "format": "strict_date_time||epoch_millis" }
                    } },
                    // By default they would be 32-bit floats.
                    { "doubles": { "match_mapping_type": "double", "mapping": { "type": "double" } } }
                ]
            }
        }));
        match self.ask(request) {
            Ok(_) => {}
            Err(failure) if failure.cause() == Cause::Exists => {}
            Err(failure) => return Err(failure),
        }
        let gone = || Failure::new(Cause::Unavailable, "it is gone again");
        self.find()?.ok_or_else(gone)
    }

    fn has_documents(&self) -> Result<bool, Failure> {
        self.refresh()?;
        Ok(!self.documents(&[is_of_job(self.job.id())], 1)?.is_empty())
    }

    fn refresh(&self) -> Result<(), Failure> {
        let request = Request::post([self.job.config().rollup_index(), "_refresh"]);
        self.rollups.cluster.refresh(self.in_time(request), &StopSignal::never())
    }

    /// Ids of documents for which all of this is so.
    fn documents(&self, conditions: &[Value], most: usize) -> Result<Vec<String>, Failure> {
        let request = Request::post([self.job.config().rollup_index(), "_search"])
            .query("allow_partial_search_results", "false")
            .json(&json!({
                "size": most,
                "_source": false,
                "track_total_hits": false,
                "query": { "bool": { "filter": conditions } }
            }));
        let answer = self.ask(request)?.json()?;
        let hits = answer["hits"]["hits"].as_array().into_iter().flatten();
        Ok(hits.filter_map(|hit| hit["_id"].as_str().map(str::to_owned)).collect())
    }

    /// Deletes documents for which all of this is so. `false` if there were none.
    fn delete_some(&self, conditions: &[Value]) -> Result<bool, Failure> {
        match self.refresh() {
            Err(failure) if failure.cause() == Cause::NotFound => return Ok(false),
            other => other?,
        }
        let ids = self.documents(conditions, DELETED_AT_ONCE)?;
        if ids.is_empty() {
            return Ok(false);
        }
        let (mut body, version) = (String::new(), self.rollups.versions.next(self.job));
        for id in ids {
            body.push_str(&bulk::action("delete", &id, version).to_string());
            body.push('\n');
        }
        let answer = self.ask(bulk::request(&alias(self.job), self.rollups.timeout).body(body.into_bytes()))?.json()?;
        for item in answer["items"].as_array().into_iter().flatten() {
            let (status, error) = (item_status(&item["delete"]), &item["delete"]["error"]);
            match status {
                200..=299 => {}
                // The document is gone already; or else the index is.
                404 if error.is_null() => {}
                _ => return Err(Failure::of_error(status, error)),
            }
        }
        Ok(true)
    }

    fn write_entry(&self, found: &Found) -> Result<(), EngineError> {
        self.write_meta(found, |entries, prepared| {
            entries.insert(self.job.id().to_owned(), self.job.config().to_json());
            prepared.insert(self.job.id().to_owned(), json!(found.uuid));
        })
    }

    /// Writes the whole `_meta` again, with the jobs that it has changed.
    fn write_meta(
        &self,
        found: &Found,
        change: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>),
    ) -> Result<(), EngineError> {
        let meta = found.changed_meta(self.job, change)?;
        let request = Request::put([self.job.config().rollup_index(), "_mapping"]).json(&json!({ "_meta": meta }));
        self.ask(request).map_err(|failure| of_index(self.job, failure))?;
        Ok(())
    }

    fn ensure_alias(&self, found: &Found) -> Result<(), EngineError> {
        if found.has_alias {
            return Ok(());
        }
        let request = add_write_alias(self.job.config().rollup_index(), &alias(self.job));
        self.ask(request).map_err(|failure| of_index(self.job, failure))?;
        Ok(())
    }
}

/// The right to change a rollup index.
struct Alone(Arc<Monitor<bool>>);

impl Drop for Alone {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.notify_all();
    }
}

/// A failed request as the error of a call that is about the rollup index.
pub(super) fn of_index(job: &JobContext, failure: Failure) -> EngineError {
    failed(&format!("rollup index [{}]", job.config().rollup_index()), failure)
}
