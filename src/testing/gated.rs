use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engine::{
    Batch, CommitReport, Engine, EngineError, JobContext, PageStream, PageStreamAdapter, RollupIndex,
    RollupIndexAdapter, RollupWriter, RollupWriterAdapter, ScanRequest, Source, SourceAdapter, StopSignal, WriteReport,
};
use crate::rollup::{Page, RolledUpDocuments};
use crate::{IndexPattern, Progress};

/// How long a test waits for a gate before it fails: a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine that holds its calls until they are let through, so that a test can be in the middle of one without a
/// sleep.
///
/// All gates are open at first. A closed gate counts who waits at it. A search that waits gives up when its run is
/// stopped, as a good engine's does; a write and a commit go on waiting.
#[derive(Debug, Clone)]
pub struct GatedEngine {
    engine: Arc<dyn Engine>,
    gates: Gates,
}

#[derive(Debug, Clone, Default)]
struct Gates {
    search: Gate,
    write: Gate,
    commit: Gate,
}

/// A door for calls.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    shared: Arc<(Mutex<Door>, Condvar)>,
}

#[derive(Debug, Default)]
struct Door {
    closed: bool,
    /// How many may pass though it is closed.
    passes: usize,
    waiting: usize,
    arrived: usize,
}

impl Gate {
    /// Holds every call from now on.
    pub fn close(&self) {
        self.change(|door| (door.closed, door.passes) = (true, 0));
    }

    /// Lets every call through.
    pub fn open(&self) {
        self.change(|door| door.closed = false);
    }

    /// Lets `count` calls through a closed gate.
    pub fn let_through(&self, count: usize) {
        self.change(|door| door.passes += count);
    }

    /// How many calls have come to the gate so far.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.lock().arrived
    }

    /// How many calls stand at the gate.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Waits until `count` calls stand at the closed gate.
    ///
    /// # Panics
    /// If they do not come within half a minute.
    pub fn wait_for_waiting(&self, count: usize) {
        let (_, changed) = &*self.shared;
        let (door, timeout) = changed
            .wait_timeout_while(self.lock(), PATIENCE, |door| door.waiting < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out() || door.waiting >= count,
            "{} calls wait at the gate, expected {count}",
            door.waiting
        );
    }

    fn lock(&self) -> MutexGuard<'_, Door> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Door)) {
        change(&mut self.lock());
        self.shared.1.notify_all();
    }

    /// Passes, or waits. `false` if `stop` was raised meanwhile.
    fn pass(&self, stop: Option<&StopSignal>) -> bool {
        let gate = self.clone();
        let _woken = stop.map(|stop| stop.on_stop(move || gate.change(|_| {})));
        let stopped = || stop.is_some_and(StopSignal::is_stopped);
        let mut door = self.lock();
        door.arrived += 1;
        door.waiting += 1;
        self.shared.1.notify_all();
        while door.closed && door.passes == 0 && !stopped() {
            door = self.shared.1.wait(door).unwrap_or_else(PoisonError::into_inner);
        }
        door.waiting -= 1;
        let passes = !stopped();
        if passes && door.closed {
            door.passes -= 1;
        }
        passes
    }
}

impl GatedEngine {
    /// Puts gates before `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, gates: Gates::default() }
    }

    /// The gate before every page of a search.
    #[must_use]
    pub fn search(&self) -> &Gate {
        &self.gates.search
    }

    /// The gate before every write.
    #[must_use]
    pub fn write(&self) -> &Gate {
        &self.gates.write
    }

    /// The gate before every commit.
    #[must_use]
    pub fn commit(&self) -> &Gate {
        &self.gates.commit
    }
}

impl SourceAdapter for GatedEngine {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let stream = self.engine.scan(job, pattern, request, stop)?;
        Ok(Box::new(GatedStream { stream, gate: self.gates.search.clone() }))
    }
}

impl RollupIndexAdapter for GatedEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(GatedWriter { writer: self.engine.begin(job, batch)?, gates: self.gates.clone() }))
    }
}

struct GatedStream {
    stream: Box<dyn PageStream>,
    gate: Gate,
}

impl PageStreamAdapter for GatedStream {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        if self.gate.pass(Some(stop)) { self.stream.next_page(stop) } else { Err(EngineError::cancelled()) }
    }
}

struct GatedWriter {
    writer: Box<dyn RollupWriter>,
    gates: Gates,
}

impl RollupWriterAdapter for GatedWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        self.gates.write.pass(None);
        self.writer.write(documents, stop)
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        self.gates.commit.pass(None);
        self.writer.commit(progress)
    }
}
