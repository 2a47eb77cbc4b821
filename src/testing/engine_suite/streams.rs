//! What the stream of a scan promises besides its buckets.

use super::data::{END, config, context, loaded, wide};
use super::reading::{assert_same, open, scan};
use crate::engine::{PageStream, SourceIndex, StopSignal};
use crate::rollup::Page;
use crate::testing::EngineHarness;
use crate::{KeyPart, TermsType};

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn a_scan_gives_up_on_stop(harness: &dyn EngineHarness) {
    loaded(harness);
    let mut stream = open(harness, &wide("a"), None, END);
    let error = stream.next_page(&StopSignal::raised()).expect_err("a raised signal ends the search");
    assert!(error.is_cancelled(), "{error}");
}

/// A stop that comes while a page is made ends it. One that is only looked at between pages would have to wait for the
/// longest page.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn a_scan_looks_at_a_stop_within_a_page(harness: &dyn EngineHarness) {
    loaded(harness);
    let job = context(config("a").page_size(10_000).terms(["node"]), &[TermsType::Keyword]);
    let mut stream = open(harness, &job, None, END);
    let error = stream.next_page(&StopSignal::raised_after(1)).expect_err("the signal was raised within the page");
    assert!(error.is_cancelled(), "{error}");
}

/// Whatever happens to it between two pages, the run misses no bucket and gets none twice.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn a_stream_that_is_parked(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let job = context(config("a").page_size(7).terms(["node"]), &[TermsType::Keyword]);
    let (all, _) = scan(&reference, &job, None, END);
    let between: [fn(&mut dyn PageStream); 6] = [
        |stream| stream.lend_threads(4),
        |stream| stream.fetch_ahead(),
        |stream| {
            stream.lend_threads(2);
            stream.fetch_ahead();
        },
        |stream| stream.park(),
        |stream| {
            stream.fetch_ahead();
            stream.park();
        },
        |stream| {
            stream.park();
            stream.fetch_ahead();
        },
    ];
    for (number, between) in between.into_iter().enumerate() {
        let (mut found, mut opened) = (Page::default(), 0);
        let mut stream = open(harness, &job, None, END);
        loop {
            assert!(opened < 2 + all.len() / 7, "each stream gives a page at least");
            if !stream.is_whole() {
                opened += 1;
                stream = open(harness, &job, found.last(), END);
                assert!(stream.is_whole(), "a stream that was just opened has what it reads from");
            }
            let page = stream.next_page(&StopSignal::never()).expect("a page");
            if page.is_empty() {
                break;
            }
            found.append(page);
            assert!(stream.is_whole() || number > 2, "only a stream that was parked gives anything up");
            between(&mut *stream);
        }
        assert_same(&found, &all);
    }
}

/// Its remarks are true, and a notice is given once.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn what_a_stream_says(harness: &dyn EngineHarness) {
    loaded(harness);
    let job = wide("a");
    let mut stream = open(harness, &job, None, END);
    let mut indices = None;
    loop {
        let most = stream.reduced_page_size();
        if let Some(most) = most {
            assert!((1..job.config().page_size()).contains(&most), "a page size of {most} is not reduced");
        }
        let page = stream.next_page(&StopSignal::never()).expect("a page");
        let indices = indices.get_or_insert_with(|| stream.source_indices());
        if let Some(indices) = indices {
            let names: Vec<&str> = indices.iter().map(|index| index.name.as_str()).collect();
            assert_eq!(names, ["sensor-1", "sensor-2"], "the indices that the pattern means");
            for bucket in page.iter() {
                let Some(KeyPart::Date(start)) = bucket.key.first() else { continue };
                let bucket = job.config().rounding().bucket(*start);
                let is_of = |index: &SourceIndex| index.dates.start < bucket.end && index.dates.end > bucket.start;
                assert!(indices.iter().any(is_of), "the documents of {bucket:?} are of some index: {indices:?}");
            }
        }
        // The size may have been reduced for this page only.
        let most = most.max(stream.reduced_page_size()).unwrap_or(job.config().page_size());
        assert!(page.len() <= most, "a page of {} buckets, {most} at most were announced", page.len());
        let _ = stream.take_notice();
        assert_eq!(stream.take_notice(), None, "a notice is given once");
        if page.is_empty() {
            return;
        }
    }
}
