//! Date buckets whose documents are replaced.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data::{END, loaded, wide};
use super::reading::{assert_same, drain, scan};
use super::writing::{bare, expected, rolled, write};
use crate::engine::{Batch, CommittedProgress, EngineError, JobContext, StopSignal};
use crate::rollup::Page;
use crate::scan::{ScanRequest, Times};
use crate::testing::EngineHarness;
use crate::{KeyPart, Progress};

const HOUR: i64 = 3_600_000;

/// Two stretches of several date buckets each, and one that has none.
fn replaced() -> Times {
    Times::buckets([-5 * HOUR..2 * HOUR, 6 * HOUR..9 * HOUR, 900 * HOUR..901 * HOUR])
}

fn is_in(times: &Times, key: &[KeyPart]) -> bool {
    matches!(key[0], KeyPart::Date(start) if times.contain(start, start))
}

/// Of what lies in `times` every other group, and each counts more; of everything else nothing has changed.
fn changed(buckets: &Page, times: &Times) -> (Page, Page) {
    let (mut new, mut all) = (buckets.slice(0..0), buckets.slice(0..0));
    for (at, bucket) in buckets.iter().enumerate() {
        if !is_in(times, bucket.key) {
            all.push(bucket.key.to_vec(), bucket.doc_count, bucket.metrics.to_vec());
        } else if at % 2 == 0 {
            for page in [&mut new, &mut all] {
                page.push(bucket.key.to_vec(), bucket.doc_count + 1_000, bucket.metrics.to_vec());
            }
        }
    }
    (new, all)
}

/// Replaces `times` by these buckets.
fn replace(
    harness: &dyn EngineHarness,
    job: &JobContext,
    times: &Times,
    buckets: &Page,
    progress: &Progress,
) -> Result<(), EngineError> {
    let mut writer = harness.engine().begin(job, &Batch::Replace(times.clone()))?;
    let (page, _) = rolled(job, buckets);
    let report = writer.write(page.documents(), &StopSignal::never())?;
    assert_eq!((report.taken, report.rejected.len()), (buckets.len(), 0));
    writer.commit(progress).map(drop)
}

/// Whether documents and progress are committed in one step: then nobody sees a half of a replacement.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn is_in_one_step(harness: &dyn EngineHarness, job: &JobContext) -> bool {
    matches!(harness.engine().committed_progress(job).expect("a progress"), CommittedProgress::Kept(_))
}

fn documents(harness: &dyn EngineHarness, job: &JobContext) -> BTreeMap<String, Value> {
    bare(harness.rolled_up(job))
}

fn assert_documents(harness: &dyn EngineHarness, job: &JobContext, buckets: &Page, what: &str) {
    let (found, right) = (documents(harness, job), expected(job, buckets));
    let other = |found: &BTreeMap<String, Value>, right: &BTreeMap<String, Value>| {
        let differ = found.iter().filter(|(id, document)| right.get(*id) != Some(document));
        differ.map(|(id, document)| format!("{id} {document}")).take(3).collect::<Vec<_>>()
    };
    let (too_much, missing) = (other(&found, &right), other(&right, &found));
    let counts = (found.len(), right.len());
    assert!(found == right, "{what}: {counts:?} documents; {too_much:#?} instead of {missing:#?}");
}

/// All buckets, written in several turns.
fn written(harness: &dyn EngineHarness, reference: &dyn EngineHarness, job: &JobContext) -> (Page, Progress) {
    let (buckets, _) = scan(reference, job, None, END);
    let mut progress = Progress::default();
    for from in (0..buckets.len()).step_by(150) {
        progress = write(harness, job, &buckets.slice(from..(from + 150).min(buckets.len())));
    }
    (buckets, progress)
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn date_buckets(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    let other = wide("b");
    engine.prepare(&job).expect("the rollup index");
    engine.prepare(&other).expect("another job's");
    let (buckets, before) = written(harness, &reference, &job);
    written(harness, &reference, &other);
    let others = documents(harness, &other);
    let (new, all) = changed(&buckets, &replaced());

    let mut given_up = engine.begin(&job, &Batch::Replace(replaced())).expect("a writer");
    let (page, _) = rolled(&job, &new);
    given_up.write(page.documents(), &StopSignal::never()).expect("they are written");
    let is_in_one_step = is_in_one_step(harness, &job);
    if is_in_one_step {
        assert_documents(harness, &job, &buckets, "nothing is replaced before the commit");
    }
    drop(given_up);
    if is_in_one_step {
        assert_documents(harness, &job, &buckets, "nothing is replaced by what was given up");
    }

    for pass in 1..=3 {
        let after = Progress { sequence: before.sequence + pass, ..before.clone() };
        replace(harness, &job, &replaced(), &new, &after).expect("a replacement");
        assert_documents(harness, &job, &all, &format!("pass {pass}"));
        if let CommittedProgress::Kept(kept) = engine.committed_progress(&job).expect("a progress") {
            assert_eq!(kept, Some(after), "it was committed with the documents");
        }
        engine.merge(&job, &StopSignal::never()).expect("it is tidied up");
        assert_documents(harness, &job, &all, "a merge changes no document");
    }
    let request = ScanRequest::new(std::sync::Arc::clone(job.layout().grouping()));
    let stream = engine.scan_rolled_up(&job, request, &StopSignal::never()).expect("a scan");
    assert_same(&drain(stream, usize::MAX).0, &all);

    let nothing = Times::buckets([]);
    replace(harness, &job, &nothing, &all.slice(0..0), &before).expect("nothing goes");
    assert_documents(harness, &job, &all, "nothing was replaced");

    let everything = Times::all();
    replace(harness, &job, &everything, &all.slice(0..0), &Progress::default()).expect("all of them go");
    assert!(documents(harness, &job).is_empty());
    assert_eq!(documents(harness, &other), others, "another job's documents stay");
}

/// Wherever the process ends in a replacement, the old documents are there or the new ones: never both, never neither.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn in_the_middle(new: &dyn Fn() -> Box<dyn EngineHarness>) {
    for change in 1.. {
        let harness = new();
        let reference = loaded(&*harness);
        let job = wide("a");
        harness.engine().prepare(&job).expect("prepared");
        let (buckets, before) = written(&*harness, &reference, &job);
        let (changes, all) = changed(&buckets, &replaced());
        if !harness.end_at(change) {
            return;
        }
        let after = Progress { sequence: before.sequence + 1, ..before.clone() };
        let replaced = replace(&*harness, &job, &replaced(), &changes, &after);
        harness.restart();
        let CommittedProgress::Kept(kept) = harness.engine().committed_progress(&job).expect("a progress") else {
            return;
        };
        let is_replaced = kept == Some(after);
        assert!(is_replaced || replaced.is_err(), "a commit that has succeeded is there after the end");
        let right = if is_replaced { &all } else { &buckets };
        assert_documents(&*harness, &job, right, &format!("ended at change {change}"));
        if replaced.is_ok() {
            return;
        }
    }
}
