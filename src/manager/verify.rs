//! Verify: is what a job has rolled up what its raw documents come to?

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::RollupJobManager;
use crate::engine::{self, EngineError, EngineErrorKind, JobContext, RolledUpNow, StopSignal};
use crate::job::{Ledger, Progress, not_comparable};
use crate::ranges::{all_without, both, merged};
use crate::runtime::{Job, LookError, Runtime};
use crate::scan::{ScanRequest, Snapshot, Times};
use crate::search::Limits;
use crate::store::StoreError;
use crate::sync::Arc;
use crate::verify::{Tally, Verification, VerifyOptions, pair_up, recount_grouping};

/// How often it begins anew because something has changed below it.
const MAX_TRIES: usize = 10;
/// So many groups are read at once.
const PAGE_SIZE: usize = 10_000;

/// What a job has rolled up could not be verified. Nothing has changed, unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no such job.
    #[error("could not verify rollup job [{job_id}]: there is no such job")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The job's record cannot be read.
    #[error("could not verify rollup job [{job_id}]: its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// An engine could not read raw documents, or rolled-up ones.
    #[error("could not verify rollup job [{job_id}]: engine call failed")]
    Engine {
        /// The job.
        job_id: String,
        /// Why.
        source: EngineError,
    },
    /// The job store could not be read; or what is not right could not be noted, or not all of it.
    #[error("could not verify rollup job [{job_id}]: store call failed")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Documents have changed all the while.
    #[error("could not verify rollup job [{job_id}]: documents that are rolled up have changed all the while")]
    Moved {
        /// The job.
        job_id: String,
    },
    /// Its time is over.
    #[error("could not verify rollup job [{job_id}] in the time that was given")]
    Timeout {
        /// The job.
        job_id: String,
    },
    /// It was cancelled.
    #[error("could not verify rollup job [{job_id}]: it was cancelled")]
    Cancelled {
        /// The job.
        job_id: String,
    },
}

impl RollupJobManager {
    /// Recounts what a job has rolled up from its raw documents, and compares the two group by group, in bounded
    /// memory, in the caller's thread. The job may run meanwhile, and no stop waits for it. What is known to have changed is
    /// left out, and so is what has no raw documents any more.
    ///
    /// Counts, least and greatest values have to be the same; sums within the error of adding them up in another order.
    ///
    /// # Errors
    /// [`VerifyError`].
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use rollup_jobs::engine::{MemoryEngine, SourceDocument};
    /// # use rollup_jobs::store::MemoryStore;
    /// # use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager};
    /// use rollup_jobs::VerifyOptions;
    ///
    /// # let engine = Arc::new(MemoryEngine::new());
    /// # engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    /// # let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    /// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    /// # let config = config.cron("0 0 * * * ?");
    /// # manager.put(config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build()?)?;
    /// let found = manager.verify("sensor", &VerifyOptions::new().repair(true))?;
    /// assert!(found.is_right(), "{found}: {:?}", found.first_different);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self, job_id: &str, options: &VerifyOptions) -> Result<Verification, VerifyError> {
        let id = || job_id.to_owned();
        let job = self.find_to_read(job_id).map_err(|unreadable| match unreadable {
            Some(reason) => VerifyError::Unreadable { job_id: id(), reason },
            None => VerifyError::NotFound { job_id: id() },
        })?;
        let limits = Limits::new(options.timeout, options.cancel.clone(), &self.runtime.clock);
        let verifying = Verifying { runtime: &self.runtime, job: &job, context: job.context(), stop: limits.stop() };
        let mut tries = 1;
        let verified = loop {
            match verifying.verify(options) {
                Err(Fault::Moved) if tries < MAX_TRIES => tries += 1,
                other => break other,
            }
        };
        verified.map_err(|fault| match fault {
            _ if limits.is_cancelled() => VerifyError::Cancelled { job_id: id() },
            _ if limits.is_over() => VerifyError::Timeout { job_id: id() },
            Fault::Moved => VerifyError::Moved { job_id: id() },
            Fault::Look(LookError::Engine(source)) => VerifyError::Engine { job_id: id(), source },
            Fault::Look(LookError::Store(source)) => VerifyError::Store { job_id: id(), source },
        })
    }
}

enum Fault {
    Look(LookError),
    /// Something has changed meanwhile.
    Moved,
}

impl<E: Into<LookError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Look(error.into())
    }
}

struct Verifying<'a> {
    runtime: &'a Runtime,
    job: &'a Arc<Job>,
    context: JobContext,
    stop: StopSignal,
}

impl Verifying<'_> {
    fn verify(&self, options: &VerifyOptions) -> Result<Verification, Fault> {
        let (runtime, context) = (self.runtime, &self.context);
        let replacements = self.job.count_of_replacements();
        let known = self.job.progress();
        self.look()?;
        let (index, known) = (&*runtime.rollup_index, Progress::clone(&known));
        let held = match engine::call(|| index.snapshot_rolled_up(context, &self.stop)) {
            // Nothing was to be written there yet.
            Err(error) if error.kind() == EngineErrorKind::NotFound && known.position.is_none() => {
                return Ok(Verification::default());
            }
            held => held?,
        };
        let RolledUpNow { documents, progress, is_one_commit, .. } =
            engine::call(|| RolledUpNow::of(index, context, held, known))?;
        let names = self.source_indices(&progress)?;
        let ledgers = runtime.ledgers_of(names.all.clone())?;
        let (wanted, not_verified) = self.wanted(options, &progress, &names.there, &ledgers);
        let pattern = context.config().index_pattern();
        let raw = engine::call(|| runtime.source.snapshot(context, pattern, &self.stop))?;
        self.look()?;
        if runtime.ledgers_of(names.all)? != ledgers {
            return Err(Fault::Moved);
        }
        let inherited = progress.inherited();
        let mut tally = Tally::new(context.layout(), context.config().rounding()).inherited(&inherited);
        if !wanted.is_empty() {
            let times = Times::buckets(wanted.iter().cloned());
            let request = |grouping, snapshot: Option<Snapshot>| {
                ScanRequest::new(grouping).page_size(PAGE_SIZE).times(times.clone()).snapshot(snapshot)
            };
            let recounted = request(Arc::new(recount_grouping(context.layout())), raw);
            let kept = request(Arc::clone(context.layout().grouping()), documents);
            let raw = engine::call(|| runtime.source.scan(context, pattern, recounted, &self.stop))?;
            let rolled_up = engine::call(|| runtime.rollup_index.scan_rolled_up(context, kept, &self.stop))?;
            engine::call(|| {
                pair_up(raw, rolled_up, &self.stop, |pair| {
                    tally.add(pair, false);
                    true
                })
            })?;
            if !is_one_commit && self.job.has_replaced(replacements, &wanted) {
                return Err(Fault::Moved);
            }
        }
        let Tally { mut found, more, less, .. } = tally;
        // It is no less than what was rolled up: it can be rolled up again.
        let own = all_without(both(&wanted, &inherited), &less);
        found.not_right = merged(more.into_iter().chain(less));
        found.not_verified = not_verified;
        self.job.lifecycle.note_verified(found.ended(runtime.clock.now()), &own);
        let is_to_repair = options.repair && !found.is_right();
        if is_to_repair {
            runtime.ask_again(context.id(), &progress, &found.not_right)?;
        }
        if is_to_repair || !own.is_empty() {
            // A job that is stopped does it when it is started.
            let _refused = self.job.run_soon();
        }
        Ok(found)
    }

    fn look(&self) -> Result<(), Fault> {
        let pattern = self.context.config().index_pattern();
        Ok(self.runtime.notice(&self.context, pattern, &self.stop)?)
    }

    fn source_indices(&self, progress: &Progress) -> Result<SourceNames, Fault> {
        let pattern = self.context.config().index_pattern();
        let there = engine::call(|| engine::indices_of(&*self.runtime.source, &self.context, pattern))?;
        let all = progress.known_source_indices().map(str::to_owned).chain(there.iter().cloned()).collect();
        Ok(SourceNames { there, all })
    }

    /// The date buckets to look at, and those that cannot be.
    fn wanted(
        &self,
        options: &VerifyOptions,
        progress: &Progress,
        there: &BTreeSet<String>,
        ledgers: &BTreeMap<String, Ledger>,
    ) -> (Vec<Range<i64>>, Vec<Range<i64>>) {
        let config = self.context.config();
        let covered = progress.covered();
        let asked = options.range.as_ref().map_or(i64::MIN..i64::MAX, super::change::milliseconds);
        let asked = config.rounding().buckets_of(&asked);
        let asked = asked.start.max(covered.start)..asked.end.min(covered.end);
        let asked = if asked.is_empty() { Vec::new() } else { vec![asked] };
        let known = progress.known_source_dates();
        let missing = known.iter().filter(|(name, _)| !there.contains(*name)).map(|(_, dates)| dates.clone());
        let left_out = both(&not_comparable(config, progress, ledgers, missing), &asked);
        let wanted = all_without(asked, &left_out);
        (wanted, left_out)
    }
}

/// Source indices, by name.
struct SourceNames {
    there: BTreeSet<String>,
    /// Those too that were there when documents of theirs were rolled up.
    all: BTreeSet<String>,
}
