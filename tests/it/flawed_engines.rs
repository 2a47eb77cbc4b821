//! The suite of engines finds each flaw that an engine can have in what the traits promise: an engine with one of these
//! passed it once.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rollup_jobs::engine::{
    Batch, CommitReport, CommittedProgress, Engine, EngineError, FieldType, JobContext, MemoryEngine, PageStream,
    PageStreamAdapter, RollupIndex, RollupIndexAdapter, RollupWriter, RollupWriterAdapter, ScanRequest, Source,
    SourceAdapter, SourceDocument, SourceIndex, SourceValue, StopSignal, WriteReport,
};
use rollup_jobs::rollup::{Page, RolledUpDocuments};
use rollup_jobs::testing::{EngineHarness, MemoryHarness, check_engine};
use rollup_jobs::{IndexPattern, Progress};
use serde_json::Value;

use crate::disk::Left;
use crate::ending_harness::EndingHarness;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    BeginPrepares,
    CheckpointInAStepOfItsOwn,
    StopBetweenPagesOnly,
    UnsignedIsSigned,
    MergeLosesThePosition,
    ParkSkipsAPage,
    ParkedIsGoneWithoutAWord,
    FetchAheadSkipsAPage,
    NeverWhole,
    LentThreadsRepeatAPage,
    ReducedPageSizeIsZero,
    ReducedPageSizeIsExceeded,
    NoticeWithoutEnd,
    SourceIndicesOfThePattern,
    SourceIndicesWithoutDates,
    StoppedWriteCountsAll,
    RemovedIsStillListed,
    RemoveTakesAll,
}

#[derive(Debug)]
struct Flawed {
    engine: Arc<dyn Engine>,
    flaw: Flaw,
}

impl SourceAdapter for Flawed {
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
        Ok(Box::new(Pages { stream, flaw: self.flaw, parked: false, lent: false, last: None }))
    }
}

impl RollupIndexAdapter for Flawed {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        let writer = match self.engine.begin(job, batch) {
            Err(_) if self.flaw == Flaw::BeginPrepares => {
                self.engine.prepare(job)?;
                self.engine.begin(job, batch)?
            }
            other => other?,
        };
        Ok(Box::new(Turn { writer, engine: Arc::clone(&self.engine), job: job.clone(), flaw: self.flaw }))
    }

    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        if self.flaw == Flaw::MergeLosesThePosition {
            self.engine.begin(job, &Batch::Append)?.commit(&Progress::default())?;
        }
        self.engine.merge(job, stop)
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        if self.flaw == Flaw::RemovedIsStillListed {
            return Ok(vec!["rolled".to_owned()]);
        }
        self.engine.rollup_indices_of(job_id)
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        if self.flaw == Flaw::RemoveTakesAll {
            let other = rollup_jobs::RollupJobConfig::builder("b").index_pattern("sensor-*").rollup_index("rolled");
            let date = rollup_jobs::DateHistogram::fixed_interval("timestamp", "1h");
            let other = other.cron("0 0 * * * ?").page_size(1).date_histogram(date).build().unwrap();
            self.engine.remove(&JobContext::new(other, &[]))?;
        }
        self.engine.remove(job)
    }
}

struct Pages {
    stream: Box<dyn PageStream>,
    flaw: Flaw,
    parked: bool,
    lent: bool,
    last: Option<Page>,
}

impl Pages {
    fn skip(&mut self) {
        drop(self.stream.next_page(&StopSignal::never()));
    }
}

impl PageStreamAdapter for Pages {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        if self.flaw == Flaw::ParkedIsGoneWithoutAWord && self.parked {
            return Ok(Page::default());
        }
        if self.lent
            && let Some(last) = self.last.take()
        {
            return Ok(last);
        }
        let page = if self.flaw == Flaw::StopBetweenPagesOnly && !stop.is_stopped() {
            self.stream.next_page(&StopSignal::never())?
        } else {
            self.stream.next_page(stop)?
        };
        self.last = (self.flaw == Flaw::LentThreadsRepeatAPage && self.last.is_none()).then(|| page.clone());
        Ok(page)
    }

    fn lend_threads(&mut self, threads: usize) {
        self.lent = self.flaw == Flaw::LentThreadsRepeatAPage;
        self.stream.lend_threads(threads);
    }

    fn fetch_ahead(&mut self) {
        if self.flaw == Flaw::FetchAheadSkipsAPage {
            self.skip();
        }
        self.stream.fetch_ahead();
    }

    fn park(&mut self) {
        self.parked = true;
        if self.flaw == Flaw::ParkSkipsAPage {
            self.skip();
        }
        self.stream.park();
    }

    fn is_whole(&self) -> bool {
        self.flaw != Flaw::NeverWhole && self.stream.is_whole()
    }

    fn source_indices(&self) -> Option<Vec<SourceIndex>> {
        if self.flaw == Flaw::SourceIndicesOfThePattern {
            return Some(vec![SourceIndex::new("sensor-*")]);
        }
        let found = self.stream.source_indices();
        if self.flaw == Flaw::SourceIndicesWithoutDates {
            return found.map(|found| found.into_iter().map(|index| index.dates(0..0)).collect());
        }
        found
    }

    fn reduced_page_size(&self) -> Option<usize> {
        match self.flaw {
            Flaw::ReducedPageSizeIsZero => Some(0),
            Flaw::ReducedPageSizeIsExceeded => Some(3),
            _ => self.stream.reduced_page_size(),
        }
    }

    fn take_notice(&mut self) -> Option<String> {
        if self.flaw == Flaw::NoticeWithoutEnd {
            return Some("beware".to_owned());
        }
        self.stream.take_notice()
    }
}

struct Turn {
    writer: Box<dyn RollupWriter>,
    engine: Arc<dyn Engine>,
    job: JobContext,
    flaw: Flaw,
}

impl RollupWriterAdapter for Turn {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        let report = self.writer.write(documents, stop)?;
        if self.flaw == Flaw::StoppedWriteCountsAll { Ok(WriteReport::accepted(documents.len())) } else { Ok(report) }
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        if self.flaw == Flaw::CheckpointInAStepOfItsOwn {
            let CommittedProgress::Kept(before) = self.engine.committed_progress(&self.job)? else {
                panic!("an engine that keeps checkpoints")
            };
            self.writer.commit(&before.unwrap_or_default())?;
            return self.engine.begin(&self.job, &Batch::Append)?.commit(progress);
        }
        self.writer.commit(progress)
    }
}

struct FlawedHarness {
    harness: Box<dyn EngineHarness>,
    flaw: Flaw,
}

impl EngineHarness for FlawedHarness {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Flawed { engine: self.harness.engine(), flaw: self.flaw })
    }

    fn create_index(&self, index: &str, fields: &[(&str, FieldType)]) {
        self.harness.create_index(index, fields);
    }

    fn add(&self, index: &str, documents: &[SourceDocument]) {
        if self.flaw != Flaw::UnsignedIsSigned {
            return self.harness.add(index, documents);
        }
        let signed = |document: &SourceDocument| {
            let values = document.fields().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
            values.fold(SourceDocument::new(), |document, (name, value)| match value {
                SourceValue::Unsigned(value) => document.integer(name, value.cast_signed()),
                other => document.with(name, other.clone()),
            })
        };
        self.harness.add(index, &documents.iter().map(signed).collect::<Vec<_>>());
    }

    fn as_held(&self, document: SourceDocument) -> SourceDocument {
        self.harness.as_held(document)
    }

    fn rolled_up(&self, job: &JobContext) -> BTreeMap<String, Value> {
        self.harness.rolled_up(job)
    }

    fn end_at(&self, change: u64) -> bool {
        self.harness.end_at(change)
    }

    fn restart(&self) {
        self.harness.restart();
    }
}

fn passes(flaw: Flaw) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        check_engine(|| {
            let harness: Box<dyn EngineHarness> = match flaw {
                // Only a storage that can end tells it from one step.
                Flaw::CheckpointInAStepOfItsOwn => Box::new(EndingHarness::new(Left::Everything)),
                _ => Box::new(MemoryHarness::new(MemoryEngine::new())),
            };
            Box::new(FlawedHarness { harness, flaw })
        });
    }))
    .is_ok()
}

#[test]
fn the_suite_finds_every_flaw() {
    assert!(passes(Flaw::None), "the wrapper itself has none");
    for flaw in [
        Flaw::BeginPrepares,
        Flaw::CheckpointInAStepOfItsOwn,
        Flaw::StopBetweenPagesOnly,
        Flaw::UnsignedIsSigned,
        Flaw::MergeLosesThePosition,
        Flaw::ParkSkipsAPage,
        Flaw::ParkedIsGoneWithoutAWord,
        Flaw::FetchAheadSkipsAPage,
        Flaw::NeverWhole,
        Flaw::LentThreadsRepeatAPage,
        Flaw::ReducedPageSizeIsZero,
        Flaw::ReducedPageSizeIsExceeded,
        Flaw::NoticeWithoutEnd,
        Flaw::SourceIndicesOfThePattern,
        Flaw::SourceIndicesWithoutDates,
        Flaw::StoppedWriteCountsAll,
        Flaw::RemovedIsStillListed,
        Flaw::RemoveTakesAll,
    ] {
        assert!(!passes(flaw), "{flaw:?} passes");
    }
}
