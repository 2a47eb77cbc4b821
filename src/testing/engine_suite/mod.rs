//! What every engine has to do, checked against the reference engine.

mod asking;
mod data;
mod ending;
mod reading;
mod replacing;
mod streams;
mod writing;

use super::harness::EngineHarness;

/// Checks an engine for everything that [`Engine`](crate::engine::Engine) promises. `new` makes a harness around an
/// empty engine; it is called for each check.
///
/// ```
/// use rollup_jobs::engine::MemoryEngine;
/// use rollup_jobs::testing::{MemoryHarness, check_engine};
///
/// check_engine(|| Box::new(MemoryHarness::new(MemoryEngine::new())));
/// ```
///
/// # Panics
/// If the engine does not keep one of its promises.
pub fn check_engine(new: impl Fn() -> Box<dyn EngineHarness>) {
    let suite = |name: &str, check: fn(&dyn EngineHarness)| {
        // The name is the first thing to know when a check panics.
        eprintln!("engine suite: {name}");
        check(&*new());
    };
    suite("capabilities", reading::capabilities);
    suite("patterns", reading::patterns);
    suite("prepare is idempotent", writing::prepare_is_idempotent);
    suite("adopt is idempotent", writing::adopt_is_idempotent);
    suite("scans equal the reference", reading::scans_equal_the_reference);
    suite("any scan of source documents", asking::source_documents);
    suite("fields of several types", asking::fields_of_several_types);
    suite("any scan of rolled-up documents", asking::rolled_up_documents);
    suite("bad requests", asking::bad_requests);
    suite("a scan resumes after every key", reading::a_scan_resumes_after_every_key);
    suite("a scan sees one snapshot", reading::a_scan_sees_one_snapshot);
    suite("an index without documents", reading::an_index_without_documents);
    suite("a scan gives up on stop", streams::a_scan_gives_up_on_stop);
    suite("a scan looks at a stop within a page", streams::a_scan_looks_at_a_stop_within_a_page);
    suite("a stream that is parked", streams::a_stream_that_is_parked);
    suite("what a stream says", streams::what_a_stream_says);
    suite("redefine", writing::redefine);
    suite("commit", writing::commit);
    suite("begin without a rollup index", writing::begin_without_a_rollup_index);
    suite("a write that is stopped", writing::a_write_that_is_stopped);
    suite("what a writer gives up", writing::what_a_writer_gives_up);
    suite("a dropped writer", writing::a_dropped_writer);
    suite("replaced date buckets", replacing::date_buckets);
    suite("merge", writing::merge);
    suite("jobs share a rollup index", writing::jobs_share_a_rollup_index);
    suite("remove", writing::remove);
    eprintln!("engine suite: an ending in the middle of a commit");
    ending::in_the_middle_of_a_commit(&new);
    eprintln!("engine suite: an ending in the middle of a replacement");
    replacing::in_the_middle(&new);
}
