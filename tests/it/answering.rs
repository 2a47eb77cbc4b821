//! An engine that gives answers of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollup_jobs::IndexPattern;
use rollup_jobs::engine::{
    Batch, Engine, EngineError, JobContext, PageStream, PageStreamAdapter, RollupIndex, RollupIndexAdapter,
    RollupWriter, RollupWriterAdapter, ScanRequest, Source, SourceAdapter, StopSignal, WriteReport,
};
use rollup_jobs::rollup::{Page, RolledUpDocuments};

type Search = dyn Fn(usize, Page) -> Result<Page, EngineError> + Send + Sync;
type Write = dyn Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync;

/// Changes what another engine answers; its searches pay no attention to a stop.
#[derive(Clone)]
pub struct Answering {
    engine: Arc<dyn Engine>,
    search: Arc<Search>,
    searches: Arc<AtomicUsize>,
    write: Arc<Write>,
}

impl Answering {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            search: Arc::new(|_, page| Ok(page)),
            searches: Arc::default(),
            write: Arc::new(|_, report| report),
        }
    }

    /// What a run gets of the n-th search, from 1 on, which has found this page.
    pub fn searches(
        mut self,
        search: impl Fn(usize, Page) -> Result<Page, EngineError> + Send + Sync + 'static,
    ) -> Self {
        self.search = Arc::new(search);
        self
    }

    /// What a run gets of a write of these documents.
    pub fn writes(
        mut self,
        write: impl Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync + 'static,
    ) -> Self {
        self.write = Arc::new(write);
        self
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

impl SourceAdapter for Answering {
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
        Ok(Box::new(Pages { stream: self.engine.scan(job, pattern, request, stop)?, answering: self.clone() }))
    }
}

impl RollupIndexAdapter for Answering {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(Writer { writer: self.engine.begin(job, batch)?, write: Arc::clone(&self.write) }))
    }
}

struct Pages {
    stream: Box<dyn PageStream>,
    answering: Answering,
}

impl PageStreamAdapter for Pages {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, _stop: &StopSignal) -> Result<Page, EngineError> {
        let page = self.stream.next_page(&StopSignal::never())?;
        (self.answering.search)(self.answering.searches.fetch_add(1, Ordering::SeqCst) + 1, page)
    }
}

struct Writer {
    writer: Box<dyn RollupWriter>,
    write: Arc<Write>,
}

impl RollupWriterAdapter for Writer {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let report = self.writer.write(documents, stop)?;
        Ok((self.write)(documents, report))
    }
}
