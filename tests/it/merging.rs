//! What a run makes of an engine that wants to merge.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rollup_jobs::engine::{
    Batch, CommitReport, Engine, EngineError, JobContext, RollupIndex, RollupIndexAdapter, RollupWriter,
    RollupWriterAdapter, Source, SourceAdapter, StopSignal,
};
use rollup_jobs::{HealthColor, Phase, Progress};

use crate::support::{World, loaded, undisturbed};

/// Wants to merge after each commit, and merges with this outcome.
#[derive(Debug, Clone)]
struct Merging {
    engine: Arc<dyn Engine>,
    commits: Arc<AtomicUsize>,
    /// How many commits there were before each merge.
    merges: Arc<Mutex<Vec<usize>>>,
    outcome: fn() -> Result<(), EngineError>,
}

impl SourceAdapter for Merging {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }
}

impl RollupIndexAdapter for Merging {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(Writer { writer: self.engine.begin(job, batch)?, commits: self.commits.clone() }))
    }

    fn merge(&self, _job: &JobContext, _stop: &StopSignal) -> Result<(), EngineError> {
        self.merges.lock().unwrap().push(self.commits.load(Ordering::SeqCst));
        (self.outcome)()
    }
}

struct Writer {
    writer: Box<dyn RollupWriter>,
    commits: Arc<AtomicUsize>,
}

impl RollupWriterAdapter for Writer {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.writer.commit(progress)?;
        Ok(CommitReport::new(true))
    }
}

/// A whole run, which merges after each of its eight commits.
fn run(outcome: fn() -> Result<(), EngineError>) -> World {
    let wrap = |engine| Merging { engine, commits: Arc::default(), merges: Arc::default(), outcome };
    let (world, engine) = World::wrapped(loaded(), wrap, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(*engine.merges.lock().unwrap(), (1..=8).collect::<Vec<_>>());
    assert_eq!(world.documents(), undisturbed("sensor"));
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
    world
}

#[test]
fn a_merge_comes_after_each_commit_that_asks_for_it() {
    assert!(run(|| Ok(())).status("sensor").last_errors().is_empty());
}

#[test]
fn a_merge_that_is_given_up_is_no_error() {
    assert!(run(|| Err(EngineError::cancelled())).status("sensor").last_errors().is_empty());
}

#[test]
fn a_merge_that_fails_is_noted_and_stops_nothing() {
    let world = run(|| Err(EngineError::rejected("planned fault")));
    let status = world.status("sensor");
    assert!(status.last_errors().iter().all(|error| error.phase() == Phase::Merging && !error.is_transient()));
    assert!(!status.last_errors().is_empty());
}
