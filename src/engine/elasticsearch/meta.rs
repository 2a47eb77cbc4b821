//! What a rollup index knows of jobs: it is said in the `_meta` of its mapping.

use serde_json::{Map, Value, json};

use super::rollup_index::alias;
use crate::cluster::{Cause, Failure};
use crate::engine::{EngineError, JobContext};

/// The member of `_meta` that is ours.
const OURS: &str = "rollup-jobs";

/// In it, by job, the UUID of the index that was prepared for it. In the first format there was nothing else.
const PREPARED: &str = "prepared";

/// The format of what is ours. An index with a higher one was written by a newer crate and is left alone.
const FORMAT: u64 = 2;

/// A rollup index as the cluster describes it.
pub(super) struct Found {
    pub(super) uuid: String,
    meta: Option<Map<String, Value>>,
    pub(super) has_alias: bool,
}

impl Found {
    /// From what the cluster answers of the job's rollup index.
    pub(super) fn of(job: &JobContext, answer: &Value) -> Result<Self, Failure> {
        let indices = answer.as_object().map(Map::values).into_iter().flatten().collect::<Vec<_>>();
        let [index] = indices.as_slice() else {
            return Err(Failure::new(
                Cause::Refused,
                format!("it is {} indices, where it has to be one", indices.len()),
            ));
        };
        let uuid = index["settings"]["index"]["uuid"].as_str();
        let uuid = uuid.ok_or_else(|| Failure::new(Cause::Unavailable, "the cluster does not say its UUID"))?;
        let found = Found {
            uuid: uuid.to_owned(),
            meta: index["mappings"]["_meta"].as_object().cloned(),
            has_alias: !index["aliases"][alias(job)].is_null(),
        };
        match found.format().filter(|format| *format > FORMAT) {
            None => Ok(found),
            Some(format) => Err(Failure::new(
                Cause::Refused,
                format!("it has format {format}, this version reads up to {FORMAT}: upgrade rollup-jobs"),
            )),
        }
    }

    /// The whole `_meta` as it is to be, with the definitions of jobs and the UUIDs of what was prepared changed.
    pub(super) fn changed_meta(
        &self,
        job: &JobContext,
        change: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>),
    ) -> Result<Map<String, Value>, EngineError> {
        let (mut entries, mut prepared) = (self.entries(job)?.clone(), self.prepared().cloned().unwrap_or_default());
        change(&mut entries, &mut prepared);
        let mut meta = self.meta.clone().unwrap_or_default();
        meta.insert("_rollup".to_owned(), Value::Object(entries));
        meta.insert(OURS.to_owned(), json!({ "format": FORMAT, PREPARED: prepared }));
        Ok(meta)
    }

    /// By job, the UUID of the index that was prepared for it: another one's, in an index that was copied or restored.
    fn prepared(&self) -> Option<&Map<String, Value>> {
        let ours = self.meta.as_ref()?.get(OURS)?.as_object()?;
        if self.format().is_none() { Some(ours) } else { ours.get(PREPARED)?.as_object() }
    }

    /// Of what is ours; the first format did not say so. (A job may be called `format`, but no UUID is a number.)
    fn format(&self) -> Option<u64> {
        self.meta.as_ref()?.get(OURS)?.get("format")?.as_u64()
    }

    pub(super) fn prepared_for(&self, job: &JobContext) -> Option<&str> {
        self.prepared()?.get(job.id())?.as_str()
    }

    /// Whether nothing that it should say of the job is missing.
    pub(super) fn knows(&self, job: &JobContext) -> Result<bool, EngineError> {
        Ok(self.prepared_for(job) == Some(self.uuid.as_str()) && self.entry(job)?.is_some())
    }

    /// The job's definition, if the index knows it.
    pub(super) fn entry(&self, job: &JobContext) -> Result<Option<&Value>, EngineError> {
        let entry = self.entries(job)?.get(job.id());
        if entry.is_some_and(|entry| !job.is_same_job(entry)) {
            let (index, id) = (job.config().rollup_index(), job.id());
            return Err(EngineError::already_exists(format!(
                "rollup index [{index}] knows another definition of job [{id}]"
            )));
        }
        Ok(entry)
    }

    /// The definitions of jobs, by id.
    pub(super) fn entries(&self, job: &JobContext) -> Result<&Map<String, Value>, EngineError> {
        let index = job.config().rollup_index();
        let refused = |missing: &str| {
            let text = "Rollup data cannot be added to existing indices that contain non-rollup data";
            EngineError::not_rollup(format!(
                "{text} (expected to find {missing} in mapping of rollup index [{index}] but not found)."
            ))
        };
        let meta = self.meta.as_ref().ok_or_else(|| refused("_meta key"))?;
        meta.get("_rollup").and_then(Value::as_object).ok_or_else(|| refused("rollup meta key [_rollup]"))
    }
}
