//! The process ends in the middle of a commit.

use super::data::{END, loaded, wide};
use super::reading::scan;
use super::writing::{bare, expected, try_to_write, write};
use crate::engine::CommittedProgress;
use crate::testing::EngineHarness;

/// An engine that keeps progress commits it with its documents in one step: wherever the process ends, both are
/// there or neither is. Any other has the documents replaced when they are written again.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn in_the_middle_of_a_commit(new: &dyn Fn() -> Box<dyn EngineHarness>) {
    for change in 1.. {
        let harness = new();
        let reference = loaded(&*harness);
        let job = wide("a");
        harness.engine().prepare(&job).expect("prepared");
        let (buckets, _) = scan(&reference, &job, None, END);
        let middle = buckets.len() / 2;
        let (first, second) = (buckets.slice(0..middle), buckets.slice(middle..buckets.len()));
        let before = write(&*harness, &job, &first);
        if !harness.end_at(change) {
            return;
        }
        let written = try_to_write(&*harness, &job, &second);
        harness.restart();
        match harness.engine().committed_progress(&job).expect("a progress") {
            CommittedProgress::NotKept => {
                write(&*harness, &job, &second);
                assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &buckets), "ended at change {change}");
            }
            CommittedProgress::Kept(kept) => {
                let found = bare(harness.rolled_up(&job));
                if kept.as_ref() == Some(&before) {
                    assert!(written.is_err(), "a commit that has succeeded is there after the end");
                    assert_eq!(found, expected(&job, &first), "ended at change {change}: only the first half counts");
                } else {
                    assert_eq!(found, expected(&job, &buckets), "ended at change {change}: the progress counts all");
                }
            }
        }
        if written.is_ok() {
            assert!(change > 1, "a commit that changes nothing in the storage cannot be durable");
            return;
        }
    }
}
