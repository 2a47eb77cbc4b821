//! Random sequences of everything that can be done to two jobs, on the real manager, against a small model that says
//! what must come of it: each answer, each state, each record, each document. 1,000 sequences, or as many as
//! `ROLLUP_SEQUENCES` says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use rollup_jobs::engine::{
    Batch, CommittedProgress, EngineError, FieldCapabilities, JobContext, MemoryEngine, PageStream, RollupIndex,
    RollupWriter, ScanRequest, Source, StopSignal,
};
use rollup_jobs::testing::{EngineFault, FaultyEngine, GatedEngine, ManualClock, documents_of};
use rollup_jobs::{
    DeleteError, DeleteOptions, IndexPattern, JobState, PutError, RetryOptions, RollupJobManager, ShutdownError,
    StartError, StopCompletion, StopError, StopOptions, StoredState, TriggerError,
};

use crate::support::{NOW, SpyStore, Watcher, config, loaded, undisturbed, waiting};

/// Eight pages of four buckets, the last one half full.
const PAGES: u64 = 8;
const BUCKETS: u64 = 30;

/// What a job may be doing when nothing moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Absent,
    Stopped,
    Started,
    /// A run is held before its next page.
    Searching,
    /// A run is held in its commit.
    Committing,
    /// Likewise, and somebody asked for a stop.
    StoppingInCommit,
    /// The end of a stop could not be saved. That is so only while the store refuses updates.
    Unsaved,
}

#[derive(Debug, Clone)]
struct JobModel {
    doing: Doing,
    on_disk: Option<StoredState>,
    pages: u64,
}

#[derive(Debug, Clone)]
struct Model {
    jobs: [JobModel; 2],
    store_refuses: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Put(usize),
    Start(usize),
    Trigger(usize),
    /// Lets a held search deliver its page.
    Page(usize),
    /// Lets a held search fail, for good.
    FailPage(usize),
    /// Lets a held commit through.
    Commit(usize),
    Stop(usize),
    StopAndLook(usize),
    StopBoth,
    Delete(usize),
    StopAndDelete(usize),
    /// From now on; and when it takes updates again, time passes until all stops are saved.
    StoreRefuses(bool),
    SixMinutes,
    /// The process dies, and everything is opened again.
    Crash,
    Reopen,
}

/// What an operation answers, as far as the model tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Ok,
    NotFound,
    Exists,
    NotStarted,
    NotStopped,
    Stopping,
    Store,
    Timeout,
}

impl JobModel {
    const ABSENT: Self = Self { doing: Doing::Absent, on_disk: None, pages: 0 };

    fn save(&mut self, refuses: bool, state: StoredState) -> bool {
        if !refuses {
            self.on_disk = Some(state);
        }
        !refuses
    }

    /// A stop that could not be saved is saved again after a while.
    fn retry(&mut self, refuses: bool) {
        if self.doing == Doing::Unsaved && self.save(refuses, StoredState::Stopped) {
            self.doing = Doing::Stopped;
        }
    }

    fn stop(&mut self, refuses: bool, waits: bool) -> Answer {
        match self.doing {
            Doing::Absent => Answer::NotFound,
            Doing::Stopped => Answer::Ok,
            // The search is given up; either side saves.
            Doing::Started | Doing::Searching | Doing::Unsaved => {
                if self.save(refuses, StoredState::Stopped) {
                    self.doing = Doing::Stopped;
                    Answer::Ok
                } else {
                    self.doing = Doing::Unsaved;
                    Answer::Store
                }
            }
            Doing::Committing | Doing::StoppingInCommit => {
                let durable = self.on_disk == Some(StoredState::Stopped) && self.doing == Doing::StoppingInCommit;
                self.doing = Doing::StoppingInCommit;
                if !durable && !self.save(refuses, StoredState::Stopped) {
                    return Answer::Store;
                }
                if waits { Answer::Timeout } else { Answer::Ok }
            }
        }
    }

    fn apply(&mut self, step: Step, refuses: bool) -> Answer {
        match step {
            Step::Put(_) if self.doing != Doing::Absent => Answer::Exists,
            Step::Put(_) if refuses => Answer::Store,
            Step::Put(_) => {
                *self = Self { doing: Doing::Stopped, on_disk: Some(StoredState::Stopped), pages: 0 };
                Answer::Ok
            }
            Step::Start(_) => match self.doing {
                Doing::Absent => Answer::NotFound,
                Doing::StoppingInCommit | Doing::Unsaved => Answer::Stopping,
                Doing::Stopped => {
                    let saved = self.save(refuses, StoredState::Started);
                    self.doing = if saved { Doing::Started } else { Doing::Unsaved };
                    if saved { Answer::Ok } else { Answer::Store }
                }
                _ => Answer::Ok,
            },
            Step::Trigger(_) => match self.doing {
                Doing::Absent => Answer::NotFound,
                Doing::Started | Doing::Searching => {
                    self.doing = Doing::Searching;
                    Answer::Ok
                }
                Doing::Committing => Answer::Ok,
                _ => Answer::NotStarted,
            },
            Step::Page(_) => {
                if self.doing == Doing::Searching {
                    if self.pages < PAGES {
                        self.doing = Doing::Committing;
                    } else {
                        self.doing = Doing::Started;
                        self.save(refuses, StoredState::Started);
                    }
                }
                Answer::Ok
            }
            Step::FailPage(_) => {
                if self.doing == Doing::Searching {
                    self.doing = Doing::Started;
                    self.save(refuses, StoredState::Started);
                }
                Answer::Ok
            }
            Step::Commit(_) => {
                match self.doing {
                    Doing::Committing => {
                        self.pages += 1;
                        // A run whose end cannot be saved does not go on.
                        let saved = self.save(refuses, StoredState::Indexing);
                        self.doing = if saved { Doing::Searching } else { Doing::Started };
                    }
                    Doing::StoppingInCommit => {
                        self.pages += 1;
                        let saved = self.save(refuses, StoredState::Stopped);
                        self.doing = if saved { Doing::Stopped } else { Doing::Unsaved };
                    }
                    _ => {}
                }
                Answer::Ok
            }
            Step::Stop(_) | Step::StopBoth => self.stop(refuses, false),
            Step::StopAndLook(_) => self.stop(refuses, true),
            Step::Delete(_) | Step::StopAndDelete(_) => {
                if matches!(step, Step::StopAndDelete(_)) {
                    let stopped = self.stop(refuses, true);
                    if stopped != Answer::Ok {
                        return stopped;
                    }
                }
                match self.doing {
                    Doing::Absent => Answer::NotFound,
                    Doing::Stopped if refuses => Answer::Store,
                    Doing::Stopped => {
                        *self = Self::ABSENT;
                        Answer::Ok
                    }
                    _ => Answer::NotStopped,
                }
            }
            Step::StoreRefuses(refuses) => {
                self.retry(refuses);
                Answer::Ok
            }
            Step::SixMinutes => Answer::Ok,
            Step::Crash | Step::Reopen => {
                if matches!(step, Step::Reopen) && self.doing == Doing::Searching {
                    // A shutdown saves that the run goes on.
                    self.save(refuses, StoredState::Indexing);
                }
                self.doing = match self.on_disk {
                    None => Doing::Absent,
                    Some(StoredState::Started) => Doing::Started,
                    Some(StoredState::Indexing) => Doing::Searching,
                    Some(_) => Doing::Stopped,
                };
                Answer::Ok
            }
        }
    }

    fn state(&self) -> Option<JobState> {
        match self.doing {
            Doing::Absent => None,
            Doing::Stopped => Some(JobState::Stopped),
            Doing::Started => Some(JobState::Started),
            Doing::Searching | Doing::Committing => Some(JobState::Indexing),
            Doing::StoppingInCommit | Doing::Unsaved => Some(JobState::Stopping),
        }
    }

    fn documents(&self) -> u64 {
        (self.pages * 4).min(BUCKETS)
    }
}

impl Step {
    /// The jobs that it is for.
    fn jobs(self) -> std::ops::Range<usize> {
        match self {
            Self::Put(n)
            | Self::Start(n)
            | Self::Trigger(n)
            | Self::Page(n)
            | Self::FailPage(n)
            | Self::Commit(n)
            | Self::Stop(n)
            | Self::StopAndLook(n)
            | Self::Delete(n)
            | Self::StopAndDelete(n) => n..n + 1,
            _ => 0..2,
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { jobs: [JobModel::ABSENT, JobModel::ABSENT], store_refuses: false }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let job = 0..2_usize;
        prop_oneof![
            3 => job.clone().prop_map(Step::Put),
            4 => job.clone().prop_map(Step::Start),
            4 => job.clone().prop_map(Step::Trigger),
            6 => job.clone().prop_map(Step::Page),
            1 => job.clone().prop_map(Step::FailPage),
            6 => job.clone().prop_map(Step::Commit),
            2 => job.clone().prop_map(Step::Stop),
            2 => job.clone().prop_map(Step::StopAndLook),
            1 => Just(Step::StopBoth),
            1 => job.clone().prop_map(Step::Delete),
            1 => job.prop_map(Step::StopAndDelete),
            1 => Just(Step::StoreRefuses(true)),
            3 => Just(Step::StoreRefuses(false)),
            1 => Just(Step::SixMinutes),
            1 => Just(Step::Crash),
            1 => Just(Step::Reopen),
        ]
        .boxed()
    }

    fn preconditions(model: &Self, step: &Step) -> bool {
        // A shutdown waits for commits, which nobody would let through.
        let held = |job: &JobModel| matches!(job.doing, Doing::Committing | Doing::StoppingInCommit);
        !(matches!(step, Step::Reopen) && model.jobs.iter().any(held))
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        for n in step.jobs() {
            model.jobs[n].apply(*step, model.store_refuses);
        }
        if let Step::StoreRefuses(refuses) = step {
            model.store_refuses = *refuses;
        }
        model
    }
}

const IDS: [&str; 2] = ["a", "b"];

/// Gates for each job, before an engine that can fail.
#[derive(Debug, Clone)]
struct PerJob([GatedEngine; 2], [FaultyEngine; 2]);

impl PerJob {
    fn of(&self, job: &JobContext) -> &GatedEngine {
        &self.0[usize::from(job.id() == IDS[1])]
    }

    fn open(&self) {
        for gates in &self.0 {
            gates.search().open();
            gates.commit().open();
        }
    }
}

impl Source for PerJob {
    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        self.of(job).field_capabilities(job, pattern, fields)
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        self.of(job).scan(job, pattern, request, stop)
    }
}

impl RollupIndex for PerJob {
    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        self.of(job).prepare(job)
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        self.of(job).begin(job, batch)
    }

    fn scan_rolled_up(
        &self,
        job: &JobContext,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        self.of(job).scan_rolled_up(job, request, stop)
    }

    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        self.of(job).committed_progress(job)
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.of(job).remove(job)
    }
}

struct Sut {
    manager: Arc<RollupJobManager>,
    gates: PerJob,
    store: Arc<SpyStore>,
    data: MemoryEngine,
    clock: Arc<ManualClock>,
    watcher: Arc<Watcher>,
    /// The handles of stops that were answered before they were completed.
    handles: Vec<(usize, StopCompletion)>,
}

impl Sut {
    fn open(data: MemoryEngine, store: Arc<SpyStore>, refuses: bool) -> Self {
        let faulty = [(); 2].map(|()| FaultyEngine::new(Arc::new(data.clone()), EngineFault::Rejected));
        let gates = PerJob(faulty.clone().map(|faulty| GatedEngine::new(Arc::new(faulty))), faulty);
        for gates in &gates.0 {
            gates.search().close();
            gates.commit().close();
        }
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let watcher: Arc<Watcher> = Arc::default();
        store.refuse_updates(refuses);
        let manager = RollupJobManager::builder(Arc::new(gates.clone()), store.clone())
            .indexer_threads(2)
            .turn_time(Duration::ZERO)
            // A run whose end cannot be saved is over, and does not wait for a clock that only this test moves.
            .retry(RetryOptions::new().attempts(1))
            .clock(clock.clone())
            .observer(watcher.clone())
            .open()
            .unwrap();
        Self { manager: Arc::new(manager), gates, store, data, clock, watcher, handles: Vec::new() }
    }

    fn stop(&mut self, n: usize, options: StopOptions) -> Answer {
        match self.manager.stop(IDS[n], options) {
            Ok(stopped) => {
                self.handles.push((n, stopped.completion()));
                Answer::Ok
            }
            Err(error) => stop_answer(&error),
        }
    }

    fn perform(&mut self, step: Step, n: usize) -> Answer {
        let id = IDS[n];
        match step {
            Step::Put(_) => match self.manager.put(config(id).build().unwrap()) {
                Ok(()) => Answer::Ok,
                Err(PutError::AlreadyExists { .. }) => Answer::Exists,
                Err(PutError::Store { .. }) => Answer::Store,
                Err(error) => panic!("{error}"),
            },
            Step::Start(_) => match self.manager.start(id) {
                Ok(()) => Answer::Ok,
                Err(StartError::NotFound { .. }) => Answer::NotFound,
                Err(StartError::Stopping { .. }) => Answer::Stopping,
                Err(StartError::Store { .. }) => Answer::Store,
                Err(error) => panic!("{error}"),
            },
            Step::Trigger(_) => match self.manager.trigger(id) {
                Ok(_) => Answer::Ok,
                Err(TriggerError::NotFound { .. }) => Answer::NotFound,
                Err(TriggerError::NotStarted { .. }) => Answer::NotStarted,
                Err(error) => panic!("{error}"),
            },
            Step::Stop(_) => self.stop(n, StopOptions::new()),
            Step::StopAndLook(_) => self.stop(n, waiting().timeout(self.patience(n))),
            Step::Delete(_) => delete_answer(self.manager.delete_with(id, DeleteOptions::new().delete_data(true))),
            Step::StopAndDelete(_) => {
                let stop = StopOptions::new().timeout(self.patience(n));
                delete_answer(self.manager.delete_with(id, DeleteOptions::new().stop(stop).delete_data(true)))
            }
            _ => Answer::Ok,
        }
    }

    /// In this time stops that could not be saved are tried again, as often as there are such.
    fn let_six_minutes_pass(&self, unsaved: usize) {
        let tries = self.store.updates.load(Ordering::SeqCst) + unsaved;
        self.clock.advance(Duration::from_mins(6));
        self.let_time_pass("the next tries", || self.store.updates.load(Ordering::SeqCst) >= tries);
    }

    /// A refusal is seen a moment before the next try is planned, so that no single step of the clock is sure to make
    /// it due. Another try may be under way afterwards.
    fn let_time_pass(&self, what: &str, is_enough: impl Fn() -> bool) {
        self.watcher.wait_for(&self.manager, what, || {
            is_enough().then_some(()).or_else(|| {
                self.clock.advance(Duration::from_mins(1));
                None
            })
        });
    }

    fn are_stopped(&self, jobs: &[usize]) -> bool {
        let state = |n: usize| self.manager.get(IDS[n]).map(|status| status.state());
        jobs.iter().all(|n| state(*n) == Some(JobState::Stopped))
    }

    /// Somebody waits for ever, but for what is held: the clock stands still.
    fn patience(&self, n: usize) -> Duration {
        let phase = self.manager.get(IDS[n]).map(|status| status.phase());
        if phase == Some(rollup_jobs::Phase::Committing) { Duration::ZERO } else { Duration::MAX }
    }

    /// Waits until the job is where the model says.
    fn settle(&self, n: usize, job: &JobModel) {
        let gates = &self.gates.0[n];
        match job.doing {
            Doing::Searching => gates.search().wait_for_waiting(1),
            Doing::Committing | Doing::StoppingInCommit => gates.commit().wait_for_waiting(1),
            _ => {}
        }
        self.watcher.wait_for(&self.manager, &format!("[{}] to be {:?}", IDS[n], job.doing), || {
            let status = self.manager.get(IDS[n]);
            let state = status.as_ref().map(rollup_jobs::JobStatus::state);
            // Red health alone may be about a call that has not returned for six minutes.
            let is_unsaved = |status: &rollup_jobs::JobStatus| {
                status.health().reason().is_some_and(|reason| reason.contains("could not be saved"))
            };
            let settled = job.doing != Doing::Unsaved || status.as_ref().is_some_and(is_unsaved);
            (state == job.state() && settled).then_some(())
        });
    }
}

fn stop_answer(error: &StopError) -> Answer {
    match error {
        StopError::NotFound { .. } => Answer::NotFound,
        StopError::Timeout { .. } => Answer::Timeout,
        StopError::Store { .. } => Answer::Store,
        error => panic!("{error}"),
    }
}

fn delete_answer(deleted: Result<(), DeleteError>) -> Answer {
    match deleted {
        Ok(()) => Answer::Ok,
        Err(DeleteError::NotFound { .. }) => Answer::NotFound,
        Err(DeleteError::NotStopped { .. }) => Answer::NotStopped,
        Err(DeleteError::Store { .. }) => Answer::Store,
        Err(DeleteError::Stop { source, .. }) => stop_answer(&source),
        Err(error) => panic!("{error}"),
    }
}

struct Sequences;

impl StateMachineTest for Sequences {
    type SystemUnderTest = (Sut, Model);
    type Reference = Model;

    fn init_test(model: &Model) -> (Sut, Model) {
        (Sut::open(loaded(), Arc::default(), false), model.clone())
    }

    fn apply((mut sut, mut before): (Sut, Model), model: &Model, step: Step) -> (Sut, Model) {
        let refuses = before.store_refuses;
        let unsaved: Vec<_> = (0..2).filter(|n| before.jobs[*n].doing == Doing::Unsaved).collect();
        let expected: BTreeMap<_, _> = step.jobs().map(|n| (n, before.jobs[n].apply(step, refuses))).collect();
        match step {
            Step::StopBoth => {
                let report = sut.manager.stop_many("a,b", StopOptions::new()).unwrap();
                for (n, (_, outcome)) in report.outcomes().enumerate() {
                    let answer = match outcome {
                        Ok(stopped) => {
                            sut.handles.push((n, stopped.completion()));
                            Answer::Ok
                        }
                        Err(error) => stop_answer(error),
                    };
                    assert_eq!(answer, expected[&n], "{step:?} of {}", IDS[n]);
                }
            }
            Step::StoreRefuses(refuses) => {
                sut.store.refuse_updates(refuses);
                if !refuses {
                    sut.let_time_pass("all stops to be saved", || sut.are_stopped(&unsaved));
                }
            }
            Step::SixMinutes => sut.let_six_minutes_pass(unsaved.len()),
            Step::Crash => sut = crash(sut, refuses),
            Step::Reopen => sut = reopen(sut, refuses, !unsaved.is_empty()),
            Step::Page(n) if sut.gates.0[n].search().waiting() > 0 => sut.gates.0[n].search().let_through(1),
            Step::Commit(n) if sut.gates.0[n].commit().waiting() > 0 => sut.gates.0[n].commit().let_through(1),
            Step::FailPage(n) if sut.gates.0[n].search().waiting() > 0 => {
                sut.gates.1[n].fail_at(1);
                sut.gates.0[n].search().let_through(1);
            }
            Step::Page(_) | Step::FailPage(_) | Step::Commit(_) => {}
            _ => {
                for n in step.jobs() {
                    assert_eq!(sut.perform(step, n), expected[&n], "{step:?} of {}", IDS[n]);
                }
            }
        }
        for (n, job) in model.jobs.iter().enumerate() {
            sut.settle(n, job);
        }
        (sut, model.clone())
    }

    fn check_invariants((sut, _): &(Sut, Model), model: &Model) {
        let records = sut.store.records();
        for (n, job) in model.jobs.iter().enumerate() {
            let record = records.iter().find(|record| record.id() == IDS[n]);
            assert_eq!(record.map(rollup_jobs::JobRecord::state), job.on_disk, "the record of {}", IDS[n]);
            let documents = documents_of(&sut.data, "rolled").into_keys().filter(|id| id.starts_with(IDS[n])).count();
            assert_eq!(documents as u64, job.documents(), "the documents of {}", IDS[n]);
            // A handle is about its own stop: completed once, completed for ever.
            let open = sut.handles.iter().filter(|(of, handle)| *of == n && !handle.is_completed()).count();
            if !matches!(job.doing, Doing::StoppingInCommit | Doing::Unsaved) {
                assert_eq!(open, 0, "stops of {} that nobody completes", IDS[n]);
            }
        }
    }

    /// Whatever happened: everything can be brought to its end.
    fn teardown((sut, _): (Sut, Model), model: Model) {
        sut.store.refuse_updates(false);
        sut.gates.open();
        for (n, job) in model.jobs.iter().enumerate() {
            if job.doing == Doing::Absent {
                continue;
            }
            assert!(sut.manager.stop(IDS[n], waiting()).unwrap().is_at_rest());
            sut.manager.start(IDS[n]).unwrap();
            let run = sut.manager.trigger(IDS[n]).unwrap().run();
            sut.watcher.wait_for(&sut.manager, "the last run", || {
                let status = sut.manager.get(IDS[n]).unwrap();
                (status.run() == run && status.state() == JobState::Started).then_some(())
            });
            let all = documents_of(&sut.data, "rolled").into_iter().filter(|(id, _)| id.starts_with(IDS[n]));
            assert_eq!(all.collect::<BTreeMap<_, _>>(), undisturbed(IDS[n]));
        }
        sut.manager.shutdown(Duration::MAX).unwrap();
    }
}

/// The manager on what is stored now, after the old one has handed over; it says so if a stop is left that it could
/// not save.
fn reopen(old: Sut, refuses: bool, leaves_a_stop: bool) -> Sut {
    let shut_down = old.manager.shutdown(Duration::MAX);
    assert_eq!(matches!(shut_down, Err(ShutdownError::Store { .. })), leaves_a_stop, "{shut_down:?}");
    assert!(shut_down.is_ok() || leaves_a_stop);
    let (data, store) = (old.data.snapshot(), old.store.clone());
    old.gates.open();
    drop(old);
    Sut::open(data, store, refuses)
}

/// The manager on a copy of what is stored now. What is in memory is lost, documents that were not committed
/// included. The old one is still there, like a process that does not know it yet, and changes nothing any more.
fn crash(old: Sut, refuses: bool) -> Sut {
    let copy = SpyStore::default();
    for record in old.store.records() {
        rollup_jobs::store::JobStore::insert(&copy.inner, &record).unwrap();
    }
    let data = old.data.snapshot();
    old.gates.open();
    drop(old);
    Sut::open(data, Arc::new(copy), refuses)
}

prop_state_machine! {
    #![proptest_config(Config {
        cases: std::env::var("ROLLUP_SEQUENCES").map_or(1_000, |text| text.parse().unwrap()),
        failure_persistence: None,
        .. Config::default()
    })]

    #[test]
    fn random_sequences(sequential 1..40 => Sequences);
}
