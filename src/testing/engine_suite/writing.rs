//! What is written to a rollup index, and taken out of it again.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data::{END, config, context, loaded, wide};
use super::reading::scan;
use crate::engine::{Batch, CommittedProgress, EngineError, EngineErrorKind, JobContext, StopSignal};
use crate::rollup::{Page, RolledUpPage, roll_up};
use crate::scan::Times;
use crate::testing::EngineHarness;
use crate::{DateHistogram, Position, Progress, RollupJobConfig, TermsType};

#[expect(clippy::expect_used, clippy::unwrap_used, reason = "a suite fails by panicking")]
pub(super) fn prepare_is_idempotent(harness: &dyn EngineHarness) {
    loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("the first time");
    engine.prepare(&job).expect("once more");
    let other = context(config("a").page_size(7), &[]);
    assert_eq!(engine.prepare(&other).unwrap_err().kind(), EngineErrorKind::AlreadyExists, "another definition");
    let into_source = RollupJobConfig::builder("b")
        .index_pattern("other-*")
        .rollup_index("sensor-1")
        .cron("0 0 * * * ?")
        .page_size(1)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    assert!(engine.prepare(&context(into_source, &[])).is_err(), "a source index is no rollup index");
}

/// The documents of an adopted job up to its position are somebody else's affair.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn adopt_is_idempotent(harness: &dyn EngineHarness) {
    loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    let request = job.scan_request().times(Times::buckets_before(END));
    let never = StopSignal::never();
    let page = engine
        .scan(&job, job.config().index_pattern(), request, &never)
        .and_then(|mut stream| stream.next_page(&never))
        .expect("a page");
    let last = page.iter().last().map(|bucket| Position::of(job.config(), bucket.key));
    let progress = Progress { position: last, ..Progress::default() };
    engine.adopt(&job, &progress).expect("the first time");
    engine.adopt(&job, &progress).expect("once more");
    match engine.committed_progress(&job).expect("it was adopted") {
        CommittedProgress::NotKept => {}
        CommittedProgress::Kept(kept) => assert_eq!(kept, Some(progress)),
    }
    assert!(harness.rolled_up(&job).is_empty());
    let other = context(config("a").page_size(7), &[]);
    let elsewhere = Progress { position: Some(Position::of(other.config(), &[])), ..Progress::default() };
    let refused = engine.adopt(&other, &elsewhere).map_err(|error| error.kind());
    assert_eq!(refused, Err(EngineErrorKind::AlreadyExists), "another definition");
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn rolled(job: &JobContext, buckets: &Page) -> (RolledUpPage, Progress) {
    let position = buckets.last().map(|last| Position::of(job.config(), last.key));
    let page = roll_up(buckets.clone(), job.layout()).expect("it fits");
    (page, Progress { position, ..Progress::default() })
}

/// Writes the buckets in one turn.
pub(super) fn try_to_write(
    harness: &dyn EngineHarness,
    job: &JobContext,
    buckets: &Page,
) -> Result<Progress, EngineError> {
    let (page, progress) = rolled(job, buckets);
    let documents = page.documents();
    let mut writer = harness.engine().begin(job, &Batch::Append)?;
    for from in (0..documents.len()).step_by(100) {
        let part = documents.slice(from..(from + 100).min(documents.len()));
        let report = writer.write(part, &StopSignal::never())?;
        assert_eq!((report.taken, report.rejected.len()), (part.len(), 0));
    }
    writer.commit(&progress)?;
    Ok(progress)
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn write(harness: &dyn EngineHarness, job: &JobContext, buckets: &Page) -> Progress {
    try_to_write(harness, job, buckets).expect("a turn that is written")
}

/// Without nulls and without what is the same in all documents, which a typed index has no need to keep per document.
pub(super) fn bare(documents: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let constant =
        |name: &str| name.ends_with(".interval") || name.ends_with(".time_zone") || name.starts_with("_rollup.");
    let strip = |document: Value| match document {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(name, value)| !value.is_null() && !constant(name)).collect())
        }
        other => other,
    };
    documents.into_iter().map(|(id, document)| (id, strip(document))).collect()
}

pub(super) fn expected(job: &JobContext, buckets: &Page) -> BTreeMap<String, Value> {
    bare(
        rolled(job, buckets)
            .0
            .documents()
            .iter()
            .map(|document| (document.id().to_owned(), document.to_json()))
            .collect(),
    )
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn commit(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("prepared");
    let before = engine.committed_progress(&job).expect("a progress");
    assert!(matches!(before, CommittedProgress::NotKept | CommittedProgress::Kept(None)));
    let (buckets, _) = scan(&reference, &job, None, END);
    let middle = buckets.len() / 2;
    let (first, second) = (buckets.slice(0..middle), buckets.slice(middle..buckets.len()));
    for (part, sum) in [(&first, &first), (&second, &buckets)] {
        let progress = write(harness, &job, part);
        match engine.committed_progress(&job).expect("a progress") {
            CommittedProgress::NotKept => {
                // Replaced by id: writing it again changes nothing.
                write(harness, &job, part);
            }
            CommittedProgress::Kept(kept) => assert_eq!(kept, Some(progress)),
        }
        assert_eq!(bare(harness.rolled_up(&job)), expected(&job, sum));
    }
    assert_eq!(
        engine.prepare(&job).err().map(|error| error.kind()),
        Some(EngineErrorKind::AlreadyExists),
        "a rollup index with data is not prepared again"
    );
}

/// How a run learns that the rollup index is gone: without it, it would go on behind documents that are not there.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn begin_without_a_rollup_index(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let job = wide("a");
    let (buckets, _) = scan(&reference, &job, None, END);
    let error = try_to_write(harness, &job, &buckets).expect_err("the rollup index was never prepared");
    assert_eq!(error.kind(), EngineErrorKind::NotFound, "{error}");
    assert!(harness.rolled_up(&job).is_empty());
    harness.engine().prepare(&job).expect("prepared");
    write(harness, &job, &buckets);
    assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &buckets));
}

/// What it says that it took is there after the commit, and nothing else.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn a_write_that_is_stopped(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("prepared");
    let (buckets, _) = scan(&reference, &job, None, END);
    let (page, _) = rolled(&job, &buckets);
    let mut writer = engine.begin(&job, &Batch::Append).expect("a writer");
    let taken = writer.write(page.documents(), &StopSignal::raised_after(1)).expect("a stop is no error").taken;
    assert!(taken <= buckets.len(), "{taken} of {} documents were taken", buckets.len());
    let taken = buckets.slice(0..taken);
    writer.commit(&rolled(&job, &taken).1).expect("a commit is always awaited");
    assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &taken));
}

/// Whatever a stop makes a writer give up, what is left ends at a mark, and is there after the commit.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn what_a_writer_gives_up(harness: &dyn EngineHarness) {
    const AT_ONCE: usize = 10;
    let reference = loaded(harness);
    let stops = [StopSignal::raised(), StopSignal::raised_after(1), StopSignal::raised_after(3), StopSignal::never()];
    for (number, stop) in stops.into_iter().enumerate() {
        let (engine, job) = (harness.engine(), wide(&format!("job-{number}")));
        engine.prepare(&job).expect("prepared");
        let (buckets, _) = scan(&reference, &job, None, END);
        let (page, _) = rolled(&job, &buckets);
        let marked = |written: usize| rolled(&job, &buckets.slice(0..written)).1;
        let mut writer = engine.begin(&job, &Batch::Append).expect("a writer");
        let mut rest = page.documents();
        let mut marks = vec![0];
        while !rest.is_empty() {
            let written = buckets.len() - rest.len();
            let (part, behind) = rest.split_at(writer.mark(&marked(written)).min(AT_ONCE).min(rest.len()));
            let report = writer.write(part, &StopSignal::never()).expect("a write");
            assert_eq!((report.taken, report.rejected.len()), (part.len(), 0));
            marks.push(written + part.len());
            rest = behind;
        }
        writer.mark(&marked(buckets.len()));
        let given_up = writer.settle(&stop).expect("a stop is no error");
        assert!(stop.is_stopped() || given_up.is_none(), "nobody has asked for a stop");
        let left = given_up.as_ref().map_or(Some(buckets.len()), |given_up| {
            let progress = given_up.progress()?;
            let mark = marks.iter().find(|written| marked(**written).position == progress.position);
            Some(*mark.expect("what is left ends at a mark"))
        });
        match left {
            Some(left) => drop(writer.commit(&marked(left)).expect("a commit is always awaited")),
            None => drop(writer),
        }
        drop(given_up);
        assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &buckets.slice(0..left.unwrap_or(0))));
    }
}

/// It changes no document and no progress, whether or not it is stopped.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn merge(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("prepared");
    let (buckets, _) = scan(&reference, &job, None, END);
    for from in (0..buckets.len()).step_by(100) {
        write(harness, &job, &buckets.slice(from..(from + 100).min(buckets.len())));
    }
    let before = engine.committed_progress(&job).expect("a progress");
    for stop in [StopSignal::raised(), StopSignal::raised_after(1), StopSignal::never()] {
        if let Err(error) = engine.merge(&job, &stop) {
            assert!(stop.is_stopped() && error.is_cancelled(), "{error}");
        }
        assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &buckets));
        assert_eq!(engine.committed_progress(&job).expect("a progress"), before);
    }
}

/// New settings change no document and no progress, and the job is still the same one.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn redefine(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (job, engine) = (wide("a"), harness.engine());
    engine.prepare(&job).expect("prepared");
    let mut other = job.config().to_json();
    (other["cron"], other["page_size"]) = (Value::from("0 30 2 * * ?"), Value::from(7));
    other["groups"]["date_histogram"]["delay"] = Value::from("3h");
    let other = RollupJobConfig::from_json(&other.to_string()).expect("a valid configuration");
    let other = JobContext::new(other, job.terms_types());
    engine.redefine(&other).expect("redefined before there is anything");
    engine.prepare(&job).expect("prepared again: no document depends on the settings");
    let (buckets, _) = scan(&reference, &job, None, END);
    write(harness, &job, &buckets);
    let (documents, before) = (harness.rolled_up(&job), engine.committed_progress(&job).expect("a progress"));
    for job in [&other, &other, &job] {
        engine.redefine(job).expect("redefined");
        assert_eq!(harness.rolled_up(job), documents);
        assert_eq!(engine.committed_progress(job).expect("a progress"), before);
    }
    engine.remove(&other).expect("removed");
    assert!(harness.rolled_up(&job).is_empty());
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn a_dropped_writer(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("prepared");
    let (buckets, _) = scan(&reference, &job, None, END);
    let mut writer = engine.begin(&job, &Batch::Append).expect("a writer");
    writer.write(rolled(&job, &buckets.slice(0..50)).0.documents(), &StopSignal::never()).expect("a write");
    drop(writer);
    write(harness, &job, &buckets);
    assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &buckets), "none missing, none double");
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn jobs_share_a_rollup_index(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let jobs = [wide("a"), context(config("b").terms(["load"]), &[TermsType::Floating])];
    for job in &jobs {
        harness.engine().prepare(job).expect("prepared");
        write(harness, job, &scan(&reference, job, None, END).0);
    }
    for job in &jobs {
        assert_eq!(bare(harness.rolled_up(job)), expected(job, &scan(&reference, job, None, END).0));
    }
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn remove(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.remove(&job).expect("nothing there is no error");
    assert!(engine.rollup_indices_of("a").expect("nothing").is_empty());
    engine.prepare(&job).expect("prepared");
    write(harness, &job, &scan(&reference, &job, None, END).0);
    let other = context(config("b").terms(["node"]), &[TermsType::Keyword]);
    engine.prepare(&other).expect("prepared");
    let of_other = scan(&reference, &other, None, END).0;
    write(harness, &other, &of_other);
    let indices = engine.rollup_indices_of("a").expect("the indices of a job");
    assert!(indices.is_empty() || indices == ["rolled"], "{indices:?}: none if the engine cannot tell");
    engine.remove(&job).expect("removed");
    assert!(harness.rolled_up(&job).is_empty());
    assert!(engine.rollup_indices_of("a").expect("nothing").is_empty());
    assert_eq!(bare(harness.rolled_up(&other)), expected(&other, &of_other), "another job's documents stay");
    assert!(!matches!(engine.committed_progress(&job), Ok(CommittedProgress::Kept(Some(_)))));
    engine.prepare(&job).expect("the id can be used again");
}
