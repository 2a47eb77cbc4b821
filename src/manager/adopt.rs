//! Adopt: a job that another system has run goes on here.

use super::put::{Put, PutError, PutOptions};
use super::{Entry, RollupJobManager};
use crate::job::{ConfigError, ForeignJob, Progress};

/// A job could not be adopted. There is no job of it here then, and it is there as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// Its configuration cannot be kept to here: an interval that does not exist here, say.
    #[error("cannot adopt a rollup job whose configuration is not valid here")]
    Config(#[source] ConfigError),
    /// It is not stopped there, so that it may move on. Stop it, wait for that, and get it again.
    #[error("cannot adopt rollup job [{job_id}] because it is {state} there: it must be stopped before")]
    NotStopped {
        /// The job.
        job_id: String,
        /// Its state there.
        state: String,
    },
    /// Its last documents have ids of before 7.0 (`upgraded_doc_id` is `false`): what is rolled up again would be
    /// there twice. In 7.x its next run that gets through changes that.
    #[error(
        "cannot adopt rollup job [{job_id}] because its documents have ids of before 7.0: have it run once more there"
    )]
    OldIds {
        /// The job.
        job_id: String,
    },
    /// Its position is not one that it could have come to here.
    #[error("cannot adopt rollup job [{job_id}] at its current_position: {reason}")]
    Position {
        /// The job.
        job_id: String,
        /// What does not fit.
        reason: String,
    },
    /// It could not be put.
    #[error(transparent)]
    Put(#[from] PutError),
}

impl RollupJobManager {
    /// Creates a job, stopped, that another system has run until now: an Elasticsearch cluster, whose rollups are
    /// deprecated, or another manager. It goes on at the position where it is, with the ids that it has: nothing is
    /// rolled up twice, nothing is left out. On the same cluster it goes on in the same rollup index.
    ///
    /// Stop the job there, and wait for that; adopt it; and delete it there once it is here, lest it be started again.
    /// (Elasticsearch keeps the documents of a job that is deleted.) What its configuration says of
    /// indices has to be true of this manager's engine.
    ///
    /// Elasticsearch does not heed all that a cron expression may say
    /// ([which parts](crate::CronSchedule::ignored_by_elasticsearch)); here it means what it says, and the job's
    /// [notice](crate::JobStatus::notice) tells that it will run at other times.
    ///
    /// A rollup index that Elasticsearch has made maps metrics to 32-bit floats, and dates before 1970 wrongly; that
    /// remains so.
    ///
    /// # Errors
    /// [`AdoptError`]; nothing has changed then. Only if the job's last save failed the engine may know it already:
    /// adopt it again, at the same position.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::ForeignJob;
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let answer = r#"{ "jobs": [{ "config": { "id": "sensor", "index_pattern": "sensor-*", "rollup_index": "rolled",
    /// #     "cron": "0 0 * * * ?", "page_size": 1000, "groups": { "date_histogram": { "field": "timestamp", "fixed_interval": "1h" } } },
    /// #     "status": { "job_state": "stopped", "current_position": { "timestamp.date_histogram": 1517590800000 } } }] }"#;
    /// // What `GET _rollup/job/_all` has answered.
    /// for job in ForeignJob::all_from_json(answer)? {
    ///     manager.adopt(&job)?;
    /// }
    /// manager.start("sensor")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt(&self, job: &ForeignJob) -> Result<(), AdoptError> {
        self.adopt_with(job, PutOptions::new())
    }

    /// Like [`adopt`](Self::adopt), with options. Elasticsearch does not print whom a job acts for.
    ///
    /// # Errors
    /// [`AdoptError`], as there.
    pub fn adopt_with(&self, job: &ForeignJob, options: PutOptions) -> Result<(), AdoptError> {
        let config = job.config().map_err(AdoptError::Config)?;
        let job_id = config.id().to_owned();
        if !job.is_stopped() {
            return Err(AdoptError::NotStopped { job_id, state: job.state().to_owned() });
        }
        if job.has_old_ids() {
            return Err(AdoptError::OldIds { job_id });
        }
        let put = Put::new(self, config, options)?;
        let reservation = put.reserve()?;
        let terms_types = put.check()?;
        let position = job.position(put.config(), &terms_types);
        let position = position.map_err(|reason| AdoptError::Position { job_id, reason })?;
        let inherited = position.map(|position| Progress::inherited_at(position, put.config())).unwrap_or_default();
        let record = put.store(terms_types, Progress { stats: job.stats(), ..inherited })?;
        let job = self.runtime.job(record);
        job.note_if_it_never_fires();
        job.note_other_times_elsewhere();
        reservation.fill(Entry::Job(job));
        Ok(())
    }
}
