//! What a job is to the threads: its definition, the lock around what changes all the time, and how the two get to
//! work.

mod current;
mod health;
mod replaced;
mod status;

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

use super::Runtime;
use super::back_off::back_off;
use super::indexer::Run;
use super::pool::{Pulse, Task};
use crate::engine::JobContext;
use crate::guard::discard;
use crate::human;
use crate::job::{JobError, JobRecord, Notice, Phase, Progress};
use crate::lifecycle::{EndOfTurn, Lifecycle, Refused, Snapshot, Stop, Triggered};
use crate::observer::RunOutcome;
use crate::schedule::Scheduled;
use crate::store::StoreError;
use crate::sync::{Arc, AtomicBool, AtomicI64, Ordering, Weak};
use current::{Change, Current, CurrentContext};
use replaced::Replaced;

/// A job: its definition, and the lock around what changes all the time.
pub(crate) struct Job {
    id: Arc<str>,
    current: CurrentContext,
    /// Shared with the handles on its stops, which keep nothing else of a manager alive.
    pub(crate) lifecycle: Lifecycle<Box<Run>>,
    /// What changes before this instant, in milliseconds since 1970, may be about what is rolled up: a run has begun to
    /// read up to here. The greatest of all: nobody knows yet.
    ceiling: AtomicI64,
    /// Nobody remembers what its source indices had when they were rolled up.
    is_to_count: AtomicBool,
    replaced: Replaced,
    /// Tells this job from an earlier one of the same id.
    pub(crate) key: u64,
    pub(super) runtime: Arc<Runtime>,
    this: Weak<Job>,
}

impl Job {
    pub(super) fn new(
        context: JobContext,
        redefine: bool,
        lifecycle: Lifecycle<Box<Run>>,
        key: u64,
        runtime: &Arc<Runtime>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            id: context.config().id().into(),
            current: CurrentContext::new(context, redefine),
            lifecycle,
            ceiling: AtomicI64::new(i64::MAX),
            is_to_count: AtomicBool::new(false),
            replaced: Replaced::default(),
            key,
            runtime: Arc::clone(runtime),
            this: Weak::clone(this),
        })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Shared with what outlives it.
    pub(crate) fn shared_id(&self) -> &Arc<str> {
        &self.id
    }

    /// The job as engines get it. Its settings may be changed at any time; all else stays.
    pub(crate) fn context(&self) -> JobContext {
        self.current.now().context.clone()
    }

    /// How far it has come, as far as is known here.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.lifecycle.view().progress
    }

    /// How often a replacement of rolled-up documents has begun or ended.
    pub(crate) fn count_of_replacements(&self) -> u64 {
        self.replaced.number()
    }

    /// Whether one in these date buckets has begun or ended since there were so many.
    pub(crate) fn has_replaced(&self, since: u64, buckets: &[Range<i64>]) -> bool {
        self.replaced.since(since, buckets)
    }

    /// The rolled-up documents of these date buckets are about to be replaced or removed, or were.
    pub(crate) fn note_replacement(&self, buckets: &[Range<i64>]) {
        self.replaced.note(buckets);
    }

    /// The instant before which changes of source documents may be about what is rolled up, or is being.
    pub(super) fn ceiling(&self) -> i64 {
        self.ceiling.load(Ordering::Acquire)
    }

    /// Whether a run has looked at what there was and has begun to read: more than is rolled up, or nothing.
    pub(super) fn has_begun_to_read(&self) -> bool {
        let (progress, ceiling) = (self.progress(), self.ceiling());
        let rolled_up = progress.position.as_ref().and_then(|_| progress.reached(self.context().config()));
        ceiling != i64::MAX && ceiling > rolled_up.unwrap_or(i64::MIN)
    }

    /// Now that it is known how far the job has come: it is this one, unless a run has said something else meanwhile.
    pub(super) fn find_ceiling(&self, found: i64) {
        if self.ceiling.compare_exchange(i64::MAX, found, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.runtime.unknown_ceilings.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether its next run has to count what is rolled up.
    pub(super) fn is_to_count(&self) -> bool {
        self.is_to_count.load(Ordering::Acquire)
    }

    /// Has its next run count what is rolled up, or not.
    pub(super) fn count_before_next_run(&self, count: bool) {
        self.is_to_count.store(count, Ordering::Release);
    }

    /// A run is about to read up to here.
    pub(super) fn raise_ceiling(&self, boundary: i64) {
        self.ceiling.fetch_max(boundary, Ordering::AcqRel);
    }

    /// Begins to change its settings.
    pub(crate) fn change(&self) -> Change<'_> {
        Change::of(self)
    }

    /// Whether the rollup index has to be told of new settings.
    pub(in crate::runtime) fn is_to_redefine(&self) -> bool {
        self.current.now().redefine
    }

    /// It has been told of those in `context`.
    pub(in crate::runtime) fn is_redefined(&self, context: &JobContext) {
        self.current.is_known(context);
    }

    pub(crate) fn record(&self, snapshot: Snapshot) -> JobRecord {
        let now = self.current.now();
        let Current { context, redefine } = &*now;
        JobRecord {
            definition: Arc::clone(context.definition()),
            redefine: *redefine,
            state: snapshot.state,
            progress: snapshot.progress,
            run: snapshot.run,
            revision: snapshot.revision,
            epoch: self.runtime.owner.epoch(),
        }
    }

    /// The record of the job as it is at this moment.
    pub(crate) fn record_as_it_is(&self) -> JobRecord {
        self.record(self.lifecycle.as_it_is(&self.runtime.revisions))
    }

    pub(crate) fn save(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.runtime.save_one(&self.record(snapshot))
    }

    /// While the ownership of the jobs has run out, nobody here knows whether they have a new owner: the job is saved
    /// as it is, and the store says. Otherwise what is known here counts.
    pub(crate) fn confirm(&self) -> Result<(), StoreError> {
        if !self.runtime.owner.has_lapsed() {
            return Ok(());
        }
        self.runtime.save_one(&self.record_as_it_is())
    }

    /// Begins a run, as of `instant`, unless one is under way.
    pub(crate) fn trigger(&self, instant: Timestamp) -> Result<Triggered, Refused> {
        let context = {
            let now = self.current.now();
            // Made for the first run, and for all that follow.
            let _layout = now.context.layout();
            now.context.clone()
        };
        let boundary = context.config().boundary(instant);
        let run = |number, signal| Box::new(Run::new(number, context, boundary, signal));
        let triggered = self.lifecycle.trigger(self.runtime.clock.monotonic(), run)?;
        if triggered.is_new {
            self.enqueue_if(triggered.push);
            self.deliver_later();
        }
        Ok(triggered)
    }

    /// Begins a run that knows what was said until now: at once, or when the one under way is over.
    pub(crate) fn run_soon(&self) -> Result<(), Refused> {
        loop {
            if self.trigger(self.runtime.clock.now())?.is_new || self.lifecycle.follow() {
                return Ok(());
            }
        }
    }

    /// A run is over, and so is its last turn, in this way: another one may be to follow.
    pub(super) fn go_on_after(&self, end: EndOfTurn) {
        if self.lifecycle.is_followed() {
            if end == EndOfTurn::Over(RunOutcome::Finished) {
                // A job that was stopped meanwhile refuses.
                let _refused = self.trigger(self.runtime.clock.now());
            }
            self.lifecycle.end_following();
        }
    }

    /// Lets the schedule trigger it.
    pub(crate) fn arm(&self) {
        let this: Weak<dyn Scheduled> = self.this.clone();
        self.runtime.timer.arm(self.key, this);
    }

    /// Lets a run that has failed try again after `delay`.
    pub(super) fn back_off(&self, run: u64, delay: Duration) {
        let this = Weak::clone(&self.this);
        self.runtime.timer.after(delay, move || {
            if let Some(job) = this.upgrade() {
                job.enqueue_if(job.lifecycle.end_back_off(run, job.runtime.clock.monotonic()));
            }
        });
    }

    pub(super) fn enqueue_if(&self, push: bool) {
        if push {
            self.enqueue(Task::Turn);
        }
    }

    /// Has the observers told of what was published in a caller's thread.
    pub(crate) fn deliver_later(&self) {
        if self.lifecycle.wants_delivery() {
            self.enqueue(Task::Deliver);
        }
    }

    fn enqueue(&self, task: fn(Arc<Self>) -> Task) {
        self.this.upgrade().into_iter().for_each(|job| self.runtime.pool.push(task(job)));
    }

    /// If the store has refused to save a stop, it is saved again after a while, as long as it takes.
    pub(crate) fn save_stop_later(&self) {
        if self.runtime.owner.lost().is_some() {
            // It is for the new owner to say what becomes of the job.
            return;
        }
        let Some(refused) = self.lifecycle.plan_retry() else { return };
        let delay = back_off(&self.runtime.settings, refused, (self.id(), self.key));
        let this = Weak::clone(&self.this);
        self.runtime.timer.after(delay, move || this.upgrade().into_iter().for_each(|job| job.save_stop_soon()));
    }

    /// The same at once, on one of the indexer threads.
    pub(crate) fn save_stop_soon(&self) {
        self.enqueue(Task::SaveStop);
    }

    /// Saves a stop that the store has refused to save, if there is one.
    pub(super) fn save_stop(&self) {
        let now = || self.runtime.clock.monotonic();
        let stop = self.lifecycle.retry_stop(now(), &self.runtime.revisions);
        if let Some(Stop { ticket, save: Some(snapshot), .. }) = stop {
            let saved = self.save(snapshot);
            self.lifecycle.stop_saved(ticket, &saved, now());
            discard(saved);
        }
        self.save_stop_later();
    }

    /// Tells the observers, in order; if somebody is at it already, they take this over.
    pub(super) fn deliver(&self, pulse: &Pulse<'_>) {
        let mut events = self.lifecycle.next_events(false);
        while !events.is_empty() {
            for event in events {
                pulse.beat(self.runtime.clock.monotonic());
                for observer in &self.runtime.observers {
                    event.tell(&**observer, self.id());
                }
            }
            events = self.lifecycle.next_events(true);
        }
    }

    /// A thread that was at this job has shown no sign of life for too long.
    pub(super) fn note_lost_thread(&self, silence: Duration, not_replaced: Option<std::io::Error>) {
        let view = self.lifecycle.view();
        let silent = human::duration(silence);
        let mut chain = vec![match &not_replaced {
            None => {
                format!("a call has not returned for {silent}: its indexer thread is lost, another one was started")
            }
            Some(_) => format!("a call has not returned for {silent}, and no other indexer thread could be started"),
        }];
        chain.extend(not_replaced.map(|error| error.to_string()));
        self.note_error(view.run, view.phase, true, chain);
        self.deliver_later();
    }

    pub(super) fn note(&self, run: u64, text: String) {
        self.lifecycle.note(Notice { at: self.runtime.clock.now(), run, text });
    }

    pub(super) fn note_error(&self, run: u64, phase: Phase, transient: bool, chain: Vec<String>) {
        let at = self.runtime.clock.now();
        self.lifecycle.note_error(JobError { at, run, phase, transient, chain });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ceiling() == i64::MAX {
            self.runtime.unknown_ceilings.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Scheduled for Job {
    fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        self.current.now().context.config().schedule().next_after(instant)
    }

    fn tick(&self, scheduled: Timestamp) -> bool {
        // A tick that finds a run under way is dropped: the run has everything up to its own trigger, the next tick has
        // the rest. A stopped job is armed again by its next start.
        self.runtime.owner.lost().is_none() && self.trigger(scheduled).is_ok()
    }
}
