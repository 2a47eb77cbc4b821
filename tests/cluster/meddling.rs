//! An engine in whose calls something happens: just before the n-th of a kind, so that the call meets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollup_jobs::engine::{
    CommitReport, CommittedCheckpoint, Engine, EngineError, FieldCapabilities, JobContext, PageStream, RollupWriter,
    ScanRequest, StopSignal, WriteReport,
};
use rollup_jobs::rollup::{Page, RolledUpDocuments};
use rollup_jobs::{Checkpoint, IndexPattern};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// How far the engine is, at the beginning of a run and after a failure.
    Ask,
    Open,
    Page,
    Write,
    Commit,
}

type Meddle = dyn Fn(Call, usize) + Send + Sync;

struct Before {
    counts: [AtomicUsize; 5],
    meddle: Box<Meddle>,
}

impl Before {
    fn call(&self, call: Call) {
        let number = self.counts[call as usize].fetch_add(1, Ordering::SeqCst);
        (self.meddle)(call, number);
    }
}

pub(crate) struct Meddling {
    inner: Arc<dyn Engine>,
    before: Arc<Before>,
}

impl Meddling {
    /// `meddle` gets the kind of each call, and how many of that kind were before.
    pub(crate) fn new(inner: Arc<dyn Engine>, meddle: impl Fn(Call, usize) + Send + Sync + 'static) -> Arc<Self> {
        let counts = Default::default();
        Arc::new(Self { inner, before: Arc::new(Before { counts, meddle: Box::new(meddle) }) })
    }
}

impl std::fmt::Debug for Meddling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddling")
    }
}

impl Engine for Meddling {
    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        self.inner.field_capabilities(job, pattern, fields)
    }

    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        self.inner.prepare(job)
    }

    fn adopt(&self, job: &JobContext, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        self.inner.adopt(job, checkpoint)
    }

    fn scan(
        &self,
        job: &JobContext,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        self.before.call(Call::Open);
        Ok(Box::new(Stream { inner: self.inner.scan(job, request, stop)?, before: Arc::clone(&self.before) }))
    }

    fn begin(&self, job: &JobContext) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(Writer { inner: self.inner.begin(job)?, before: Arc::clone(&self.before) }))
    }

    fn committed_checkpoint(&self, job: &JobContext) -> Result<CommittedCheckpoint, EngineError> {
        self.before.call(Call::Ask);
        self.inner.committed_checkpoint(job)
    }

    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        self.inner.merge(job, stop)
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        self.inner.rollup_indices_of(job_id)
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.inner.remove(job)
    }
}

struct Stream {
    inner: Box<dyn PageStream>,
    before: Arc<Before>,
}

impl PageStream for Stream {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        self.before.call(Call::Page);
        self.inner.next_page(stop)
    }

    fn lend_threads(&mut self, threads: usize) {
        self.inner.lend_threads(threads);
    }

    fn fetch_ahead(&mut self) {
        self.inner.fetch_ahead();
    }

    fn park(&mut self) {
        self.inner.park();
    }

    fn is_whole(&self) -> bool {
        self.inner.is_whole()
    }

    fn source_indices(&self) -> Option<Vec<String>> {
        self.inner.source_indices()
    }

    fn documents_skipped(&self) -> u64 {
        self.inner.documents_skipped()
    }

    fn reduced_page_size(&self) -> Option<usize> {
        self.inner.reduced_page_size()
    }

    fn take_notice(&mut self) -> Option<String> {
        self.inner.take_notice()
    }
}

struct Writer {
    inner: Box<dyn RollupWriter>,
    before: Arc<Before>,
}

impl RollupWriter for Writer {
    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        self.before.call(Call::Write);
        self.inner.write(documents, stop)
    }

    fn commit(self: Box<Self>, checkpoint: &Checkpoint) -> Result<CommitReport, EngineError> {
        self.before.call(Call::Commit);
        self.inner.commit(checkpoint)
    }
}
