use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{
    Batch, CommitReport, Engine, EngineError, JobContext, PageStream, PageStreamAdapter, RollupIndex,
    RollupIndexAdapter, RollupWriter, RollupWriterAdapter, ScanRequest, Source, SourceAdapter, StopSignal, WriteReport,
};
use crate::rollup::{Page, RolledUpDocuments};
use crate::{IndexPattern, Progress};

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

impl SourceAdapter for CountingEngine {
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
        self.counts.scans.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(CountingStream { stream, counts: Arc::clone(&self.counts) }))
    }
}

impl RollupIndexAdapter for CountingEngine {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(CountingWriter { writer: self.engine.begin(job, batch)?, counts: Arc::clone(&self.counts) }))
    }
}

struct CountingStream {
    stream: Box<dyn PageStream>,
    counts: Arc<Counts>,
}

impl PageStreamAdapter for CountingStream {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let page = self.counts.busy(|| self.stream.next_page(stop))?;
        self.counts.pages.fetch_add(1, Ordering::SeqCst);
        Ok(page)
    }
}

struct CountingWriter {
    writer: Box<dyn RollupWriter>,
    counts: Arc<Counts>,
}

impl RollupWriterAdapter for CountingWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let report = self.counts.busy(|| self.writer.write(documents, stop))?;
        self.counts.writes.fetch_add(1, Ordering::SeqCst);
        self.counts.documents.fetch_add((report.taken - report.rejected.len()) as u64, Ordering::SeqCst);
        Ok(report)
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        let report = self.writer.commit(progress)?;
        self.counts.commits.fetch_add(1, Ordering::SeqCst);
        Ok(report)
    }
}
