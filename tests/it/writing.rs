//! What becomes of documents that a rollup index does not take, or has no place for, and what of them is counted.

use std::time::Duration;

use rollup_jobs::engine::{EngineError, MemoryEngine, RejectedItem, WriteReport};
use rollup_jobs::rollup::RolledUpDocuments;
use rollup_jobs::{JobState, RollupJobManagerBuilder};

use crate::answering::Answering;
use crate::support::{JoinInTime, PATIENCE, World, hold, readings};

/// Sixty documents in thirty buckets, of which four are a page and a turn, in an engine that replaces by id and gives
/// these answers.
fn world(answer: impl Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync + 'static) -> World {
    world_with(answer, |builder| builder)
}

fn world_with(
    answer: impl Fn(RolledUpDocuments<'_>, WriteReport) -> WriteReport + Send + Sync + 'static,
    options: impl FnOnce(RollupJobManagerBuilder) -> RollupJobManagerBuilder,
) -> World {
    let data = MemoryEngine::without_progress();
    data.extend("sensor-1", readings());
    let wrap = |engine| Answering::new(engine).writes(answer);
    World::wrapped(data, wrap, |builder| options(builder.indexer_threads(1))).0
}

#[test]
fn what_is_left_out_counts_as_skipped_from_the_turn_on() {
    let world = world(|documents, report| {
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
    let world = world_with(hold_after_it, |builder| builder.turn_time(Duration::MAX));
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
    let world = world(|documents, _| {
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
