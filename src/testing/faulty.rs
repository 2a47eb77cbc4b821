use std::sync::Arc;

use super::fault_plan::{Due, FaultPlan};
use crate::engine::{
    Batch, CommitReport, CommittedProgress, Engine, EngineError, FieldCapabilities, JobContext, PageStream,
    PageStreamAdapter, RejectedItem, RollupIndex, RollupIndexAdapter, RollupWriter, RollupWriterAdapter, ScanRequest,
    Source, SourceAdapter, StopSignal, WriteReport,
};
use crate::rollup::{Page, RolledUpDocuments};
use crate::{IndexPattern, Progress};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineFault {
    /// With a transient error.
    Unavailable,
    /// With a permanent error.
    Rejected,
    /// By a panic.
    Panic,
    /// A commit takes place and reports a transient error all the same; other calls fail with one.
    UnavailableAfterwards,
    /// A write accepts all documents but the middle one, which it rejects for the time being (on an engine that
    /// replaces by id); other calls fail with a transient error.
    ItemUnavailable,
    /// Not at all, but it returns only after [`FaultyEngine::heal`].
    Hang,
}

/// An engine that fails its n-th call. All calls count: searches, writes, commits and the rest.
///
/// Run a job with `fail_at(1)`, `fail_at(2)` and so on until [`has_failed`](Self::has_failed) stays false: then every
/// call of the run has failed once.
#[derive(Debug, Clone)]
pub struct FaultyEngine {
    engine: Arc<dyn Engine>,
    plan: Arc<Plan>,
}

impl FaultyEngine {
    /// Passes everything on to `engine` until told otherwise.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, fault: EngineFault) -> Self {
        Self { engine, plan: Arc::new(Plan { fault, calls: FaultPlan::default() }) }
    }

    /// Fails the `n`-th call from now on, and only that.
    pub fn fail_at(&self, n: u64) {
        self.fail_from(n, 1);
    }

    /// Fails `times` calls in a row, from the `n`-th on.
    pub fn fail_from(&self, n: u64, times: u64) {
        self.plan.calls.fail_from(n, times);
    }

    /// Lets everything through from now on, and a call that hangs go on.
    pub fn heal(&self) {
        self.plan.calls.heal();
    }

    /// Whether a call has failed since the last [`fail_at`](Self::fail_at).
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.plan.calls.has_failed()
    }
}

#[derive(Debug)]
struct Plan {
    fault: EngineFault,
    calls: FaultPlan,
}

impl Plan {
    fn check(&self) -> Result<(), EngineError> {
        self.calls.due().map_or(Ok(()), |due| self.strike(due))
    }

    fn strike(&self, due: Due<'_>) -> Result<(), EngineError> {
        match self.fault {
            EngineFault::Rejected => Err(EngineError::rejected("planned fault")),
            EngineFault::Panic => panic!("planned fault"),
            EngineFault::Hang => {
                due.hang();
                Ok(())
            }
            _ => Err(EngineError::unavailable("planned fault")),
        }
    }
}

impl SourceAdapter for FaultyEngine {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }

    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        self.plan.check()?;
        self.engine.field_capabilities(job, pattern, fields)
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        self.plan.check()?;
        let stream = self.engine.scan(job, pattern, request, stop)?;
        Ok(Box::new(FaultyStream { stream, plan: Arc::clone(&self.plan) }))
    }
}

impl RollupIndexAdapter for FaultyEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        self.plan.check()?;
        self.engine.prepare(job)
    }

    fn adopt(&self, job: &JobContext, progress: &Progress) -> Result<(), EngineError> {
        self.plan.check()?;
        self.engine.adopt(job, progress)
    }

    fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        self.plan.check()?;
        self.engine.redefine(job)
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        self.plan.check()?;
        Ok(Box::new(FaultyWriter { writer: self.engine.begin(job, batch)?, plan: Arc::clone(&self.plan) }))
    }

    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        self.plan.check()?;
        self.engine.committed_progress(job)
    }

    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        self.plan.check()?;
        self.engine.merge(job, stop)
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        self.plan.check()?;
        self.engine.rollup_indices_of(job_id)
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.plan.check()?;
        self.engine.remove(job)
    }
}

struct FaultyStream {
    stream: Box<dyn PageStream>,
    plan: Arc<Plan>,
}

impl PageStreamAdapter for FaultyStream {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        self.plan.check()?;
        self.stream.next_page(stop)
    }
}

struct FaultyWriter {
    writer: Box<dyn RollupWriter>,
    plan: Arc<Plan>,
}

impl RollupWriterAdapter for FaultyWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let Some(due) = self.plan.calls.due() else {
            return self.writer.write(documents, stop);
        };
        if self.plan.fault != EngineFault::ItemUnavailable {
            self.plan.strike(due)?;
            return self.writer.write(documents, stop);
        }
        let middle = documents.len() / 2;
        for part in [documents.slice(0..middle), documents.slice(middle + 1..documents.len())] {
            self.writer.write(part, &StopSignal::never())?;
        }
        let rejected = RejectedItem { index: middle, error: EngineError::unavailable("planned fault") };
        Ok(WriteReport::with_rejected(documents.len(), vec![rejected]))
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        if let Some(due) = self.plan.calls.due() {
            match self.plan.fault {
                EngineFault::UnavailableAfterwards => {
                    self.writer.commit(progress)?;
                    return Err(EngineError::unavailable("planned fault"));
                }
                EngineFault::ItemUnavailable => return Err(EngineError::unavailable("planned fault")),
                _ => self.plan.strike(due)?,
            }
        }
        self.writer.commit(progress)
    }
}
