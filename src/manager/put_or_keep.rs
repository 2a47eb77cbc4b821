//! Put or keep: for hosts that say at every start which jobs there are.

use super::RollupJobManager;
use super::operation::Refusal;
use super::put::{PutError, PutOptions};
use super::update::UpdateError;
use crate::job::{Difference, JobUpdate, RollupJobConfig, RunAs};
use crate::runtime::Job;

/// How a job is put or kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct PutOrKeepOptions {
    run_as: Option<RunAs>,
    refuse_other_settings: bool,
}

impl PutOrKeepOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whom the job acts for, as in [`PutOptions::run_as`]. Default: nobody.
    pub fn run_as(mut self, run_as: RunAs) -> Self {
        self.run_as = Some(run_as);
        self
    }

    /// Whether a job that is there with other settings stays as it is, and the call fails. Default: no, it is updated.
    pub fn refuse_other_settings(mut self, refuse: bool) -> Self {
        self.refuse_other_settings = refuse;
        self
    }
}

/// What [`RollupJobManager::put_or_keep`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PutOutcome {
    /// There was no such job: it is put, stopped.
    Created,
    /// It was there with these very settings, and is as it was.
    Kept,
    /// It was there with other settings, and has these now.
    Updated,
}

/// A job could not be put, and not be kept either.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutOrKeepError {
    /// There is no such job, and it could not be put.
    #[error(transparent)]
    Put(PutError),
    /// The job is there, and could not be updated.
    #[error(transparent)]
    Update(UpdateError),
    /// A job of this id is there whose documents are others. It is as it was. Put the new one under another id, or
    /// delete the old one with its data.
    #[error("rollup job [{job_id}] is there, and its documents are others: {}", listed(differences))]
    OtherIdentity {
        /// The job.
        job_id: String,
        /// What its documents depend on, and is not the same.
        differences: Vec<Difference>,
    },
    /// The job is there with other settings, and is as it was, as [asked](PutOrKeepOptions::refuse_other_settings).
    #[error("rollup job [{job_id}] is there with other settings: {}", listed(differences))]
    OtherSettings {
        /// The job.
        job_id: String,
        /// What is not the same.
        differences: Vec<Difference>,
    },
}

fn listed(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl RollupJobManager {
    /// Puts a job, or keeps the one that is there. See [`put_or_keep_with`](Self::put_or_keep_with).
    ///
    /// # Errors
    /// [`PutOrKeepError`], as there.
    pub fn put_or_keep(&self, config: RollupJobConfig) -> Result<PutOutcome, PutOrKeepError> {
        self.put_or_keep_with(config, PutOrKeepOptions::new())
    }

    /// Puts a job if there is none of its id, and otherwise sees to it that the one that is there is this one: for
    /// hosts that say at every start which jobs they want. Elasticsearch has no such thing.
    ///
    /// A job whose documents depend on the same is kept as it is, stopped or started, with its position; where its
    /// settings (`cron`, `page_size`, `delay`) are others it is [updated](Self::update). The order in which fields and
    /// metrics are named does not count.
    ///
    /// # Errors
    /// [`PutOrKeepError`]; a job that was there is as it was then.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::{PutOrKeepError, PutOutcome};
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # let builder = || config.clone().page_size(10);
    /// let hourly = builder().date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    /// assert_eq!(manager.put_or_keep(hourly.clone().build()?)?, PutOutcome::Created);
    /// assert_eq!(manager.put_or_keep(hourly.clone().build()?)?, PutOutcome::Kept);
    /// assert_eq!(manager.put_or_keep(hourly.page_size(500).build()?)?, PutOutcome::Updated);
    ///
    /// let daily = builder().date_histogram(DateHistogram::fixed_interval("timestamp", "1d"));
    /// let error = manager.put_or_keep(daily.build()?).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "rollup job [sensor] is there, and its documents are others: \
    ///      [groups.date_histogram.fixed_interval] is \"1h\", not \"1d\"",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_or_keep_with(
        &self,
        config: RollupJobConfig,
        options: PutOrKeepOptions,
    ) -> Result<PutOutcome, PutOrKeepError> {
        if let Ok(job) = self.find(config.id()) {
            return self.keep(&job, &config, &options);
        }
        let put = options.run_as.clone().into_iter().fold(PutOptions::new(), PutOptions::run_as);
        match self.put_with(config.clone(), put) {
            Ok(()) => Ok(PutOutcome::Created),
            Err(error @ PutError::AlreadyExists { .. }) => match self.find(config.id()) {
                // Somebody else has put it meanwhile.
                Ok(job) => self.keep(&job, &config, &options),
                Err(Refusal::Unreadable(reason)) => {
                    let job_id = config.id().to_owned();
                    Err(PutOrKeepError::Update(UpdateError::Unreadable { job_id, reason }))
                }
                Err(_) => Err(PutOrKeepError::Put(error)),
            },
            Err(error) => Err(PutOrKeepError::Put(error)),
        }
    }

    fn keep(
        &self,
        job: &Job,
        given: &RollupJobConfig,
        options: &PutOrKeepOptions,
    ) -> Result<PutOutcome, PutOrKeepError> {
        let (job_id, context) = (job.id().to_owned(), job.context());
        let known = context.config();
        let mut differences = known.identity().differences(&given.identity());
        if context.run_as() != options.run_as.as_ref() {
            differences.push(Difference::not_shown("run_as"));
        }
        if !differences.is_empty() {
            return Err(PutOrKeepError::OtherIdentity { job_id, differences });
        }
        let differences = known.other_settings(given);
        if !differences.is_empty() && options.refuse_other_settings {
            return Err(PutOrKeepError::OtherSettings { job_id, differences });
        }
        self.update(&job_id, JobUpdate::to_settings_of(given)).map_err(PutOrKeepError::Update)?;
        Ok(if differences.is_empty() { PutOutcome::Kept } else { PutOutcome::Updated })
    }
}
