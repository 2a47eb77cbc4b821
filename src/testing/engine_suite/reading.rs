//! Capabilities, and scans that equal those of the reference.

use super::data::{END, config, context, documents, fields, loaded, wide};
use crate::engine::{EngineErrorKind, FieldType, JobContext, PageStream, StopSignal};
use crate::rollup::{Bucket, MetricValues, Page};
use crate::scan::Times;
use crate::testing::EngineHarness;
use crate::{DateHistogram, Histogram, IndexPattern, Metric, TermsType};

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn open(
    harness: &dyn EngineHarness,
    job: &JobContext,
    after: Option<Bucket<'_>>,
    before: i64,
) -> Box<dyn PageStream> {
    let request =
        job.scan_request().times(Times::buckets_before(before)).after(after.map(|bucket| bucket.key.to_vec()));
    harness.engine().scan(job, job.config().index_pattern(), request, &StopSignal::never()).expect("the scan opens")
}

pub(super) fn drain(mut stream: Box<dyn PageStream>, page_size: usize) -> (Page, u64) {
    let mut buckets = Page::default();
    loop {
        #[expect(clippy::expect_used, reason = "a suite fails by panicking")]
        let page = stream.next_page(&StopSignal::never()).expect("a page");
        assert!(page.len() <= page_size, "a page of {} buckets, at most {page_size} were asked for", page.len());
        if page.is_empty() {
            return (buckets, stream.documents_skipped());
        }
        buckets.append(page);
    }
}

pub(super) fn scan(
    harness: &dyn EngineHarness,
    job: &JobContext,
    after: Option<Bucket<'_>>,
    before: i64,
) -> (Page, u64) {
    drain(open(harness, job, after, before), job.config().page_size())
}

pub(super) fn assert_same(found: &Page, expected: &Page) {
    assert!(found.iter().is_sorted_by(|a, b| a.key < b.key), "keys ascend");
    for (found, expected) in found.iter().zip(expected.iter()) {
        assert_eq!(found.key, expected.key);
        assert_eq!(found.doc_count, expected.doc_count, "{:?}", expected.key);
        for (found, expected) in found.metrics.iter().zip(expected.metrics) {
            assert_same_values(found, expected);
        }
    }
    assert_eq!(found.len(), expected.len(), "as many buckets");
}

/// Every part of every metric, to the last bit; but sums depend on the order of documents.
fn assert_same_values(found: &MetricValues, expected: &MetricValues) {
    for part in Metric::ALL.iter().flat_map(|metric| metric.parts()) {
        let (stored, right) = (part.store(found), part.store(expected));
        let is_sum = matches!(part.metric(), Metric::Sum | Metric::Avg);
        let is_close = |stored: f64, right: f64| (stored - right).abs() <= 1e-9 * right.abs().max(1.0);
        let is_same = match (stored, right) {
            (Some(stored), Some(right)) if is_sum => is_close(stored, right),
            _ => stored.map(f64::to_bits) == right.map(f64::to_bits),
        };
        assert!(is_same, "{part:?} is {stored:?} instead of {right:?}: {found:?} {expected:?}");
    }
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn capabilities(harness: &dyn EngineHarness) {
    loaded(harness);
    let (job, pattern) = (wide("a"), IndexPattern::new("sensor-*"));
    let asked = ["timestamp", "node", "level", "load", "nothing"];
    let found = harness.engine().field_capabilities(&job, &pattern, &asked).expect("capabilities");
    assert_eq!(found.indices, ["sensor-1", "sensor-2"]);
    for (field, expected, indices) in [
        ("timestamp", FieldType::Date, vec!["sensor-1", "sensor-2"]),
        ("node", FieldType::Keyword, vec!["sensor-1", "sensor-2"]),
        ("level", FieldType::Long, vec!["sensor-1"]),
        ("load", FieldType::Double, vec!["sensor-1", "sensor-2"]),
    ] {
        let [capability] = found.fields[field].as_slice() else { panic!("[{field}] has one type") };
        assert_eq!(capability.field_type, expected);
        assert!(capability.aggregatable);
        assert_eq!(capability.indices, indices);
    }
    assert!(!found.fields.contains_key("nothing"));
}

#[expect(clippy::expect_used, clippy::unwrap_used, reason = "a suite fails by panicking")]
pub(super) fn patterns(harness: &dyn EngineHarness) {
    loaded(harness);
    let resolve =
        |pattern: &str| harness.engine().field_capabilities(&wide("a"), &IndexPattern::new(pattern), &["node"]);
    assert_eq!(resolve("sensor-2").expect("an index").indices, ["sensor-2"]);
    assert_eq!(resolve("sensor-1,sensor-*").expect("indices").indices, ["sensor-1", "sensor-2"]);
    let nothing = resolve("other-*").expect("a wildcard may match nothing");
    assert!(nothing.indices.is_empty() && nothing.fields.is_empty());
    assert_eq!(resolve("sensor-3").unwrap_err().kind(), EngineErrorKind::NotFound);
}

pub(super) fn scans_equal_the_reference(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    for page_size in [1, 7, 1_000] {
        for interval in ["1h", "90m"] {
            let date = || DateHistogram::fixed_interval("timestamp", interval).time_zone("America/St_Johns");
            let base = |id: &str| config(id).page_size(page_size).date_histogram(date());
            let jobs = [
                context(base("date"), &[]),
                context(base("terms").terms(["node"]), &[TermsType::Keyword]),
                context(base("numbers").terms(["level"]), &[TermsType::Integer]),
                context(base("unsigned").terms(["serial"]), &[TermsType::Unsigned]),
                context(base("doubles").terms(["load"]), &[TermsType::Floating]),
                context(base("histogram").histogram(Histogram::new(0.1, ["load"])), &[]),
                context(
                    base("all").histogram(Histogram::new(5.0, ["load"])).terms(["node", "level"]),
                    &[TermsType::Keyword, TermsType::Integer],
                ),
            ];
            for job in jobs {
                for before in [END, -3_600_000 * 5 + 1_800_000] {
                    let before = job.config().rounding().round_down(before);
                    let (found, skipped) = scan(harness, &job, None, before);
                    let (expected, expected_skipped) = scan(&reference, &job, None, before);
                    assert_same(&found, &expected);
                    assert_eq!(skipped, expected_skipped, "documents without a date");
                }
            }
        }
    }
}

pub(super) fn a_scan_resumes_after_every_key(harness: &dyn EngineHarness) {
    loaded(harness);
    let job = wide("a");
    let (all, _) = scan(harness, &job, None, END);
    for at in (0..all.len()).step_by(37).chain([0, all.len() - 1]) {
        let (rest, _) = scan(harness, &job, all.get(at), END);
        assert_same(&rest, &all.slice(at + 1..all.len()));
    }
}

pub(super) fn a_scan_sees_one_snapshot(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let job = context(config("a").terms(["node"]), &[TermsType::Keyword]);
    let stream = open(harness, &job, None, END);
    harness.add("sensor-1", &documents(harness, 50));
    assert_same(&drain(stream, 100).0, &scan(&reference, &job, None, END).0);
}

pub(super) fn an_index_without_documents(harness: &dyn EngineHarness) {
    harness.create_index("sensor-1", &fields());
    let (found, skipped) = scan(harness, &wide("a"), None, END);
    assert_eq!((found.len(), skipped), (0, 0));
}
