//! What becomes of documents that a rollup index does not take, or has no place for, and what of them is counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{
    Engine, EngineError, JobContext, MemoryEngine, RejectedItem, RollupIndex, RollupIndexAdapter, RollupWriter,
    RollupWriterAdapter, Source, SourceAdapter, StopSignal, WriteReport,
};
use rollup_jobs::rollup::RolledUpDocuments;
use rollup_jobs::{JobState, RollupJobManagerBuilder};

use crate::support::{JoinInTime, PATIENCE, World, hold, readings};

/// What a run gets of a write that has taken all documents.
type Answer = dyn Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync;

/// Gives answers of its own.
#[derive(Clone)]
struct Answering {
    engine: Arc<dyn Engine>,
    answer: Arc<Answer>,
}

impl Answering {
    /// Sixty documents in thirty buckets, of which four are a page and a turn, in an engine that replaces by id.
    fn world(answer: impl Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync + 'static) -> World {
        Self::world_with(answer, |builder| builder)
    }

    fn world_with(
        answer: impl Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync + 'static,
        options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
    ) -> World {
        let data = MemoryEngine::without_progress();
        data.extend("sensor-1", readings());
        let wrap = |engine| Self { engine, answer: Arc::new(answer) };
        World::wrapped(data, wrap, |builder| options(builder.indexer_threads(1))).0
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
}

impl RollupIndexAdapter for Answering {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(Writer { writer: self.engine.begin(job)?, answer: Arc::clone(&self.answer) }))
    }
}

struct Writer {
    writer: Box<dyn RollupWriter>,
    answer: Arc<Answer>,
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
        Ok((self.answer)(documents, report))
    }
}

#[test]
fn what_is_left_out_counts_as_skipped_from_the_turn_on() {
    let world = Answering::world(|documents, report| {
        let first = documents.buckets().next().map_or(0, |bucket| bucket.doc_count);
        report.leaving_out(1, first, "where there is no place")
    });
    let counts = || {
        let stats = world.status("sensor").stats().clone();
        (stats.documents_skipped(), stats.documents_processed(), stats.rollups_indexed())
    };
    world.put_indexing("sensor");
    world.gates.search().let_through(1);
    world.wait_for("sensor", "its first page to be saved", |status| status.stats().pages_processed() == 1);
    assert_eq!(counts(), (2, 6, 3));
    let notice = world.status("sensor").notice().unwrap().text().to_owned();
    assert_eq!(notice, "2 documents are left out: their date buckets begin where there is no place");
    world.gates.search().open();
    world.wait_for_end_of_run("sensor", 1);
    assert_eq!(counts(), (16, 44, 22));
}

/// A stop that comes when a page is written finds nothing more to wait for.
#[test]
fn after_a_stop_no_further_page_is_searched_for() {
    let (hold, inside, leave) = hold();
    let hold_after_it = move |_: RolledUpDocuments<'_>, report| {
        hold();
        report
    };
    let world = Answering::world_with(hold_after_it, |builder| builder.turn_time(Duration::MAX));
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let stop = world.stop_in_thread("sensor", PATIENCE);
    world.wait_for_state("sensor", JobState::Stopping);
    leave.send(()).unwrap();
    assert!(stop.join_in_time().unwrap().is_at_rest());
    assert_eq!((world.gates.search().arrived(), world.documents().len()), (1, 4));
}

/// To try again what will never be accepted is of no use, whatever else may be accepted then.
#[test]
fn of_several_rejections_the_one_for_good_ends_the_run() {
    let world = Answering::world(|documents, _| {
        let for_now = RejectedItem::new(1, EngineError::unavailable("planned, for now"));
        let for_good = RejectedItem::new(2, EngineError::rejected("planned, for good"));
        WriteReport::with_rejected(documents.len(), vec![for_now, for_good])
    });
    world.put_started("sensor");
    world.run("sensor");
    let status = world.status("sensor");
    let error = status.last_errors().last().expect("an error");
    assert!(!error.is_transient() && error.to_string().contains("planned, for good"), "{error}");
    // Those before the first one that was rejected are accepted.
    assert_eq!((status.stats().rollups_indexed(), status.stats().index_failures()), (1, 2));
}
