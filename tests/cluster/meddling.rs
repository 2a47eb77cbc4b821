//! An engine in whose calls something happens: just before the n-th of a kind, so that the call meets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollup_jobs::engine::{
    Batch, CommitReport, CommittedProgress, Engine, EngineError, JobContext, PageStream, PageStreamAdapter,
    RollupIndex, RollupIndexAdapter, RollupWriter, RollupWriterAdapter, ScanRequest, Source, SourceAdapter, StopSignal,
    WriteReport,
};
use rollup_jobs::rollup::{Page, RolledUpDocuments};
use rollup_jobs::{IndexPattern, Progress};

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

impl SourceAdapter for Meddling {
    fn source(&self) -> &dyn Source {
        &*self.inner
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        self.before.call(Call::Open);
        Ok(Box::new(Stream { inner: self.inner.scan(job, pattern, request, stop)?, before: Arc::clone(&self.before) }))
    }
}

impl RollupIndexAdapter for Meddling {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.inner
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(Writer { inner: self.inner.begin(job, batch)?, before: Arc::clone(&self.before) }))
    }

    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        self.before.call(Call::Ask);
        self.inner.committed_progress(job)
    }
}

struct Stream {
    inner: Box<dyn PageStream>,
    before: Arc<Before>,
}

impl PageStreamAdapter for Stream {
    fn stream(&self) -> &dyn PageStream {
        &*self.inner
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.inner
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        self.before.call(Call::Page);
        self.inner.next_page(stop)
    }
}

struct Writer {
    inner: Box<dyn RollupWriter>,
    before: Arc<Before>,
}

impl RollupWriterAdapter for Writer {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.inner
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.inner
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        self.before.call(Call::Write);
        self.inner.write(documents, stop)
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        self.before.call(Call::Commit);
        self.inner.commit(progress)
    }
}
