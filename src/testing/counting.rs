use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{
    CommitReport, CommittedCheckpoint, Engine, EngineError, FieldCapabilities, JobContext, PageStream, RollupWriter,
    ScanRequest, StopSignal, WriteReport,
};
use crate::rollup::{Page, RolledUpDocuments};
use crate::{Checkpoint, IndexPattern};

/// An engine that counts its calls.
#[derive(Debug, Clone)]
pub struct CountingEngine {
    engine: Arc<dyn Engine>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    scans: AtomicU64,
    pages: AtomicU64,
    writes: AtomicU64,
    documents: AtomicU64,
    commits: AtomicU64,
    /// Scans and writes under way, and the most at once.
    busy: AtomicU64,
    most_busy: AtomicU64,
}

/// How often each call was made so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineCalls {
    /// Streams opened.
    pub scans: u64,
    /// Pages delivered, empty ones included.
    pub pages: u64,
    /// Writes.
    pub writes: u64,
    /// Documents accepted.
    pub documents: u64,
    /// Commits that succeeded.
    pub commits: u64,
    /// The most searches and writes that were under way at once.
    pub most_at_once: u64,
}

impl CountingEngine {
    /// Counts the calls of `engine`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, counts: Arc::default() }
    }

    /// The counts.
    #[must_use]
    pub fn calls(&self) -> EngineCalls {
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        EngineCalls {
            scans: get(&self.counts.scans),
            pages: get(&self.counts.pages),
            writes: get(&self.counts.writes),
            documents: get(&self.counts.documents),
            commits: get(&self.counts.commits),
            most_at_once: get(&self.counts.most_busy),
        }
    }
}

impl Counts {
    fn busy<T>(&self, call: impl FnOnce() -> T) -> T {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_busy.fetch_max(busy, Ordering::SeqCst);
        let result = call();
        self.busy.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

impl Engine for CountingEngine {
    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        self.engine.field_capabilities(job, pattern, fields)
    }

    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        self.engine.prepare(job)
    }

    fn adopt(&self, job: &JobContext, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        self.engine.adopt(job, checkpoint)
    }

    fn scan(
        &self,
        job: &JobContext,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let stream = self.engine.scan(job, request, stop)?;
        self.counts.scans.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(CountingStream { stream, counts: Arc::clone(&self.counts) }))
    }

    fn begin(&self, job: &JobContext) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(CountingWriter { writer: self.engine.begin(job)?, counts: Arc::clone(&self.counts) }))
    }

    fn committed_checkpoint(&self, job: &JobContext) -> Result<CommittedCheckpoint, EngineError> {
        self.engine.committed_checkpoint(job)
    }

    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        self.engine.merge(job, stop)
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        self.engine.rollup_indices_of(job_id)
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.engine.remove(job)
    }
}

struct CountingStream {
    stream: Box<dyn PageStream>,
    counts: Arc<Counts>,
}

impl PageStream for CountingStream {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let page = self.counts.busy(|| self.stream.next_page(stop))?;
        self.counts.pages.fetch_add(1, Ordering::SeqCst);
        Ok(page)
    }

    fn lend_threads(&mut self, threads: usize) {
        self.stream.lend_threads(threads);
    }

    fn fetch_ahead(&mut self) {
        self.stream.fetch_ahead();
    }

    fn park(&mut self) {
        self.stream.park();
    }

    fn is_whole(&self) -> bool {
        self.stream.is_whole()
    }

    fn source_indices(&self) -> Option<Vec<String>> {
        self.stream.source_indices()
    }

    fn documents_skipped(&self) -> u64 {
        self.stream.documents_skipped()
    }

    fn reduced_page_size(&self) -> Option<usize> {
        self.stream.reduced_page_size()
    }

    fn take_notice(&mut self) -> Option<String> {
        self.stream.take_notice()
    }
}

struct CountingWriter {
    writer: Box<dyn RollupWriter>,
    counts: Arc<Counts>,
}

impl RollupWriter for CountingWriter {
    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let report = self.counts.busy(|| self.writer.write(documents, stop))?;
        self.counts.writes.fetch_add(1, Ordering::SeqCst);
        self.counts.documents.fetch_add((report.taken - report.rejected.len()) as u64, Ordering::SeqCst);
        Ok(report)
    }

    fn commit(self: Box<Self>, checkpoint: &Checkpoint) -> Result<CommitReport, EngineError> {
        let report = self.writer.commit(checkpoint)?;
        self.counts.commits.fetch_add(1, Ordering::SeqCst);
        Ok(report)
    }
}
