//! How is it rolled up? What the threads share, and what a job is to them.

mod document;
mod pool;
mod run;
mod turn;

use std::slice;
use std::time::Duration;

use jiff::Timestamp;

pub use document::{MisfitPage, roll_up};
pub(crate) use run::Run;

use crate::clock::Clock;
use crate::engine::{Engine, EngineError, JobContext};
use crate::foreign::guarded;
use crate::job::{
    Checkpoint, Health, JobError, JobRecord, JobState, JobStatus, Phase, RunAs, StatusParts, StoredState, TermsType,
};
use crate::lifecycle::{Lifecycle, Snapshot, TriggerDecision, View};
use crate::observer::Observer;
use crate::ownership::{Claim, ClaimState};
use crate::schedule::{Scheduled, Timer};
use crate::store::{JobStore, StoreError, StoreErrorKind};
use crate::sync::{Arc, AtomicU64, Crew, Ordering, Weak};
use pool::{Pool, Pulse, Task};

/// How many failed runs in a row need a person.
const FAILED_RUNS_TO_RED: u32 = 3;

/// What the host has set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) indexer_threads: usize,
    pub(crate) turn_time: Duration,
    pub(crate) wedged_after: Duration,
    pub(crate) retry_attempts: u32,
    pub(crate) retry_initial: Duration,
    pub(crate) retry_max: Duration,
}

/// What all jobs and threads of a manager share.
pub(crate) struct Indexer {
    pub(crate) engine: Arc<dyn Engine>,
    store: Arc<dyn JobStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) settings: Settings,
    /// The newest revision of any record in the store.
    pub(crate) revisions: AtomicU64,
    pub(crate) claim: Claim,
    pub(crate) timer: Timer,
    pub(crate) pool: Pool,
    pub(crate) own_threads: Crew,
    next_key: AtomicU64,
}

/// A job: what never changes about it, and the lock around what does.
pub(crate) struct Job {
    pub(crate) context: JobContext,
    /// Shared with the handles on its stops, which keep nothing else of a manager alive.
    pub(crate) lifecycle: Arc<Lifecycle<Box<Run>>>,
    /// Tells this job from an earlier one of the same id.
    pub(crate) key: u64,
    indexer: Arc<Indexer>,
    this: Weak<Job>,
}

impl Indexer {
    pub(crate) fn start(
        engine: Arc<dyn Engine>,
        store: Arc<dyn JobStore>,
        clock: Arc<dyn Clock>,
        observers: Vec<Arc<dyn Observer>>,
        settings: Settings,
        claim: Claim,
    ) -> std::io::Result<Arc<Self>> {
        let own_threads = Crew::default();
        let timer = Timer::start(Arc::clone(&clock), &own_threads)?;
        let (count, lost_after) = (settings.indexer_threads, settings.wedged_after);
        let pool = Pool::start(count, lost_after, Arc::clone(&clock), timer.clone(), own_threads.clone())
            .inspect_err(|_| timer.close())?;
        let (revisions, next_key) = (AtomicU64::new(0), AtomicU64::new(0));
        let indexer = Arc::new(Self {
            engine,
            store,
            clock,
            observers,
            settings,
            revisions,
            claim,
            timer,
            pool,
            own_threads,
            next_key,
        });
        let this = Arc::downgrade(&indexer);
        let changed = move || this.upgrade().into_iter().for_each(|indexer| indexer.ownership_changed());
        indexer.claim.keep(&indexer.own_threads, changed).inspect_err(|_| {
            indexer.timer.close();
            indexer.pool.close();
        })?;
        Ok(indexer)
    }

    /// It is back, and what had to wait goes on; or it is lost, and what is under way is given up.
    fn ownership_changed(&self) {
        if self.claim.lost().is_some() {
            for job in self.pool.jobs() {
                job.lifecycle.signal().raise();
            }
        }
        self.pool.resume();
    }

    /// The job that a record describes, in the state that it comes back in.
    pub(crate) fn job(self: &Arc<Self>, record: &JobRecord) -> Arc<Job> {
        let context = JobContext::new(Arc::clone(&record.config), &record.terms_types)
            .run_as(record.run_as.clone())
            .epoch(self.claim.epoch());
        let (state, now) = (record.state.restored(), self.clock.monotonic());
        let lifecycle = Lifecycle::new(state, record.checkpoint.clone(), record.run, now, !self.observers.is_empty());
        Arc::new_cyclic(|this| Job {
            context,
            lifecycle: Arc::new(lifecycle),
            key: self.next_key.fetch_add(1, Ordering::Relaxed),
            indexer: Arc::clone(self),
            this: Weak::clone(this),
        })
    }

    /// Calls the store. One that panics has refused; one that has another owner is not called any more.
    pub(crate) fn store_call<T>(
        &self,
        call: impl FnOnce(&dyn JobStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(lost) = self.claim.lost() {
            return Err(lost);
        }
        let answer = guarded(|| call(&*self.store))
            .unwrap_or_else(|panic| Err(StoreError::rejected(format!("the job store panicked: {panic}"))));
        answer.inspect_err(|error| self.note_refusal(error))
    }

    fn note_refusal(&self, error: &StoreError) {
        if error.kind() == StoreErrorKind::LostOwnership && self.claim.lose(error.clone()) {
            self.ownership_changed();
        }
    }

    /// Calls the engine in a caller's thread. One that panics has refused.
    pub(crate) fn engine_call<T>(
        &self,
        call: impl FnOnce(&dyn Engine) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        guarded(|| call(&*self.engine))
            .unwrap_or_else(|panic| Err(EngineError::rejected(format!("the engine panicked: {panic}"))))
    }

    /// Saves records: one answer each, however many the store gives.
    pub(crate) fn save(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        if records.is_empty() {
            return Vec::new();
        }
        let answers = self.store_call(|store| Ok(store.update(records)));
        let mut answers = answers.unwrap_or_else(|error| vec![Err(error); records.len()]);
        // The next job must not take an answer for its own.
        answers.resize_with(records.len(), || Err(StoreError::rejected("the job store gave no answer")));
        answers.iter().filter_map(|answer| answer.as_ref().err()).for_each(|error| self.note_refusal(error));
        answers
    }

    pub(crate) fn save_one(&self, record: &JobRecord) -> Result<(), StoreError> {
        self.save(slice::from_ref(record)).into_iter().collect()
    }
}

impl Job {
    pub(crate) fn id(&self) -> &str {
        self.context.id()
    }

    pub(crate) fn record(&self, snapshot: Snapshot) -> JobRecord {
        JobRecord {
            config: Arc::clone(self.context.config()),
            terms_types: self.context.terms_types().to_vec(),
            run_as: self.context.identity().cloned(),
            state: snapshot.state,
            checkpoint: snapshot.checkpoint,
            run: snapshot.run,
            revision: snapshot.revision,
            epoch: self.indexer.claim.epoch(),
        }
    }

    pub(crate) fn save(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.indexer.save_one(&self.record(snapshot))
    }

    /// Begins a run, as of `instant`, unless one is under way.
    pub(crate) fn trigger(&self, instant: Timestamp) -> TriggerDecision {
        if self.indexer.claim.lost().is_some() {
            return TriggerDecision::LostOwnership;
        }
        let boundary = self.context.config().boundary(instant);
        let decision = self
            .lifecycle
            .trigger(self.indexer.clock.monotonic(), |number, signal| Box::new(Run::new(number, boundary, signal)));
        if let TriggerDecision::Queued { push, .. } = decision {
            self.enqueue_if(push);
            self.deliver_later();
        }
        decision
    }

    /// Lets the schedule trigger it.
    pub(crate) fn arm(&self) {
        let this: Weak<dyn Scheduled> = self.this.clone();
        self.indexer.timer.arm(self.key, this);
    }

    /// Lets a run that has failed try again after `delay`.
    fn back_off(&self, run: u64, delay: Duration) {
        let this = Weak::clone(&self.this);
        self.indexer.timer.after(delay, move || {
            if let Some(job) = this.upgrade() {
                job.enqueue_if(job.lifecycle.end_back_off(run, job.indexer.clock.monotonic()));
            }
        });
    }

    fn enqueue_if(&self, push: bool) {
        if let Some(job) = self.this.upgrade().filter(|_| push) {
            self.indexer.pool.push(Task::Turn(job));
        }
    }

    /// Has the observers told of what was published in a caller's thread.
    pub(crate) fn deliver_later(&self) {
        if let Some(job) = self.this.upgrade().filter(|_| !self.indexer.observers.is_empty()) {
            self.indexer.pool.push(Task::Deliver(job));
        }
    }

    /// Tells the observers, in order; if somebody is at it already, they take this over.
    fn deliver(&self, pulse: &Pulse<'_>) {
        let mut events = self.lifecycle.next_events(false);
        while !events.is_empty() {
            for event in events {
                pulse.beat(self.indexer.clock.monotonic());
                for observer in &self.indexer.observers {
                    event.tell(&**observer, self.id());
                }
            }
            events = self.lifecycle.next_events(true);
        }
    }

    pub(crate) fn status(&self) -> JobStatus {
        let view = self.lifecycle.view();
        let now = self.indexer.clock.monotonic();
        let runs = matches!(view.state, JobState::Started | JobState::Indexing);
        let claim = self.indexer.claim.state(now);
        let (phase, phase_since) = match &claim {
            ClaimState::Lost { since, .. } => (Phase::LostOwnership, *since),
            _ => (view.phase, view.phase_since),
        };
        let is_owned = phase != Phase::LostOwnership;
        let next_run = (runs && is_owned).then(|| self.next_after(self.indexer.clock.now())).flatten();
        JobStatus::new(StatusParts {
            id: self.id().to_owned(),
            config: Some(Arc::clone(self.context.config())),
            state: view.state,
            phase,
            in_phase_for: now.saturating_sub(phase_since),
            run: view.run,
            next_run,
            health: self.health(&view, &claim, now),
            position: view.checkpoint.position,
            stats: view.checkpoint.stats,
            last_errors: view.errors,
            notice: view.notice,
            reduced_page_size: view.reduced_page_size,
        })
    }

    fn health(&self, view: &View, claim: &ClaimState, now: Duration) -> Health {
        let people =
            |duration: Duration| humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
        let last = || view.errors.last().map_or_else(String::new, |error| format!(": {error}"));
        let in_phase = view.in_phase_for(now);
        if let ClaimState::Lost { error, .. } = claim {
            return Health::red(format!(
                "somebody else owns the rollup jobs: {}",
                JobError::chain_of(error).join(": ")
            ));
        }
        if let Some(error) = &view.unsaved {
            return Health::red(format!("the state could not be saved: {}", JobError::chain_of(error).join(": ")));
        }
        if view.phase.is_engine_call() && in_phase >= self.indexer.settings.wedged_after {
            return Health::red(format!("an engine call has not returned: {} for {}", view.phase, people(in_phase)));
        }
        if let ClaimState::Lapsed { since, failure } = claim {
            let failure = failure
                .as_ref()
                .map_or_else(String::new, |error| format!(": {}", JobError::chain_of(error).join(": ")));
            let paused = people(now.saturating_sub(*since));
            return Health::yellow(format!(
                "paused for {paused}, since the ownership of the job store could not be renewed{failure}"
            ));
        }
        if view.failed_runs >= FAILED_RUNS_TO_RED {
            return Health::red(format!("{} runs in a row failed{}", view.failed_runs, last()));
        }
        if view.retrying {
            return Health::yellow(format!("retrying{}", last()));
        }
        if view.failed_runs > 0 {
            return Health::yellow(format!("the last run failed{}", last()));
        }
        Health::GREEN
    }

    /// A thread that was at this job has shown no sign of life for too long.
    fn note_lost_thread(&self, silence: Duration, not_replaced: Option<std::io::Error>) {
        let view = self.lifecycle.view();
        let people = humantime::format_duration(Duration::from_secs(silence.as_secs()));
        let mut chain = vec![match &not_replaced {
            None => {
                format!("a call has not returned for {people}: its indexer thread is lost, another one was started")
            }
            Some(_) => format!("a call has not returned for {people}, and no other indexer thread could be started"),
        }];
        chain.extend(not_replaced.map(|error| error.to_string()));
        self.note_error(view.run, view.phase, true, chain);
        self.deliver_later();
    }

    fn note_error(&self, run: u64, phase: Phase, transient: bool, chain: Vec<String>) {
        let at = self.indexer.clock.now();
        self.lifecycle.note_error(JobError { at, run, phase, transient, chain });
    }
}

impl Scheduled for Job {
    fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.context.config().schedule().next_after(instant)
    }

    fn tick(&self, scheduled: Timestamp) -> bool {
        // A tick that finds a run under way is dropped: the run has everything up to its own trigger, the next tick has
        // the rest. A stopped job is armed again by its next start.
        matches!(self.trigger(scheduled), TriggerDecision::Queued { .. } | TriggerDecision::Running(_))
    }
}

/// The record of a job that is being put.
pub(crate) fn new_record(
    config: Arc<crate::job::RollupJobConfig>,
    terms_types: Vec<TermsType>,
    run_as: Option<RunAs>,
    checkpoint: Checkpoint,
    indexer: &Indexer,
) -> JobRecord {
    JobRecord {
        config,
        terms_types,
        run_as,
        state: StoredState::Preparing,
        checkpoint,
        run: 0,
        revision: indexer.revisions.fetch_add(1, Ordering::Relaxed) + 1,
        epoch: indexer.claim.epoch(),
    }
}
