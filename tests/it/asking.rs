//! Scans with a request of their own: worked out by hand, and rolled up against raw.

use proptest::prelude::*;
use rollup_jobs::engine::{Batch, Engine, JobContext, MemoryEngine, PageStream, SourceDocument, StopSignal};
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::rollup::{Grouping, Measure, Measures, Page, roll_up};
use rollup_jobs::scan::{ScanRequest, Times};
use rollup_jobs::{
    DateHistogram, Histogram, IndexPattern, KeyPart, Metric, Progress, RollupJobConfig, Rounding, TermsType,
};

use crate::support::HOUR;

fn drained(mut stream: Box<dyn PageStream>) -> Page {
    let mut all = Page::default();
    loop {
        let page = stream.next_page(&StopSignal::never()).unwrap();
        if page.is_empty() {
            return all;
        }
        all.append(page);
    }
}

fn job() -> JobContext {
    let config =
        RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 * * * ?");
    let config = config.page_size(7).date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    let config = config.histogram(Histogram::new(5.0, ["load"])).terms(["node"]);
    let config = config.metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount]);
    JobContext::new(config.build().unwrap(), &[TermsType::Keyword])
}

fn raw(engine: &dyn Engine, request: ScanRequest) -> Page {
    drained(engine.scan(&job(), &IndexPattern::new("sensor-*"), request, &StopSignal::never()).unwrap())
}

/// Each group as its key in JSON, its count, and the sum of the first field.
fn groups(page: &Page) -> Vec<(Vec<String>, u64, f64)> {
    let key = |key: &[KeyPart]| key.iter().map(|part| part.to_json().to_string()).collect();
    page.iter().map(|bucket| (key(bucket.key), bucket.doc_count, bucket.metrics[0].sum())).collect()
}

fn group(key: &[&str], doc_count: u64, sum: f64) -> (Vec<String>, u64, f64) {
    (key.iter().map(ToString::to_string).collect(), doc_count, sum)
}

fn at(hours: f64, node: &[&str], temperature: f64) -> SourceDocument {
    #[expect(clippy::cast_possible_truncation, reason = "a few hours")]
    let document = SourceDocument::new().date("timestamp", (hours * 3.6e6) as i64);
    node.iter().fold(document.double("temperature", temperature), |document, node| document.keyword("node", node))
}

fn by_node() -> Grouping {
    Grouping::new("timestamp").terms("node", TermsType::Keyword).measure("temperature", Measure::Sum)
}

#[test]
fn worked_out_by_hand() {
    let engine = MemoryEngine::new();
    engine.extend(
        "sensor-1",
        [
            at(0.5, &["a"], 1.0),
            at(0.75, &["b"], 2.0),
            at(1.5, &["a", "b"], 4.0),
            at(2.5, &[], 8.0),
            at(2.6, &["ab"], 16.0),
            SourceDocument::new().keyword("node", "a").double("temperature", 32.0),
        ],
    );
    let of = |request| groups(&raw(&engine, request));
    let all = Grouping::new("timestamp").measure("temperature", Measure::Sum);
    assert_eq!(of(ScanRequest::new(all.clone())), [group(&[], 5, 31.0)], "a document without a date is in no group");
    assert_eq!(of(ScanRequest::new(all.clone()).after(vec![])), [], "there is one group, and nothing after it");

    // A document with two terms counts in both groups.
    let nodes =
        [group(&["null"], 1, 8.0), group(&["\"a\""], 2, 5.0), group(&["\"ab\""], 1, 16.0), group(&["\"b\""], 2, 6.0)];
    assert_eq!(of(ScanRequest::new(by_node())), nodes);
    let after = vec![KeyPart::Text("aa".into())];
    assert_eq!(of(ScanRequest::new(by_node()).after(after)), nodes[2..], "the key need not be that of a group");

    let of_filter = |filter| of(ScanRequest::new(all.clone()).filter(filter, 0));
    assert_eq!(of_filter(Filter::term("node", "a")), [group(&[], 2, 5.0)]);
    assert_eq!(
        of_filter(Filter::none_of([Filter::term("node", "a")])),
        [group(&[], 3, 26.0)],
        "a missing value is none"
    );
    assert_eq!(of_filter(Filter::prefix("node", "a")), [group(&[], 3, 21.0)]);
    assert_eq!(of_filter(Filter::range("temperature", FilterRange::new().above(1).at_most(8))), [group(&[], 3, 14.0)]);
    assert_eq!(of_filter(Filter::MatchNone), []);

    // From a quarter to one until half past two.
    let cut = || ScanRequest::new(all.clone()).times(Times::between(3 * HOUR / 4..5 * HOUR / 2));
    assert_eq!(of(cut()), [group(&[], 2, 6.0)]);
    let hourly = |times| {
        let grouping = all.clone().date(job().config().rounding().clone());
        of(ScanRequest::new(grouping).times(times))
    };
    let hours = [group(&["0"], 2, 3.0), group(&["3600000"], 1, 4.0), group(&["7200000"], 2, 24.0)];
    assert_eq!(hourly(Times::all()), hours);
    let quarter = hourly(Times::between(3 * HOUR / 4..5 * HOUR / 2));
    assert_eq!(
        quarter,
        [group(&["0"], 1, 2.0), group(&["3600000"], 1, 4.0)],
        "a bucket has what of it is in the times"
    );
    assert_eq!(hourly(Times::buckets_between(3 * HOUR / 4..5 * HOUR / 2)), hours[1..], "buckets are in them whole");
}

#[test]
fn what_is_not_asked_for_is_not_found_out() {
    let engine = MemoryEngine::new();
    engine.add("sensor-1", at(0.0, &["a"], 3.0));
    for measure in Measure::ALL {
        let grouping = Grouping::new("timestamp").measure("temperature", measure);
        let page = raw(&engine, ScanRequest::new(grouping));
        let found = page.get(0).unwrap().metrics[0];
        let known = [found.count() > 0, found.sum() > 0.0, found.min().is_finite(), found.max().is_finite()];
        assert_eq!(known, Measure::ALL.map(|other| other == measure), "{measure:?}");
    }
}

fn grid(interval: &str) -> Rounding {
    let config = RollupJobConfig::builder("a").index_pattern("in").rollup_index("out").cron("0 0 * * * ?").page_size(1);
    let config = config.date_histogram(DateHistogram::fixed_interval("timestamp", interval));
    config.build().unwrap().rounding().clone()
}

/// Rolls everything up.
fn rolled_up(engine: &dyn Engine) {
    let (job, never) = (job(), StopSignal::never());
    engine.prepare(&job).unwrap();
    let buckets = raw(engine, job.scan_request());
    for from in (0..buckets.len()).step_by(40) {
        let part = buckets.slice(from..(from + 40).min(buckets.len()));
        let mut writer = engine.begin(&job, &Batch::Append).unwrap();
        writer.write(roll_up(part, job.layout()).unwrap().documents(), &never).unwrap();
        writer.commit(&Progress::default()).unwrap();
    }
}

/// A request that the job's hours, nodes and ranges of load answer: no edge of it lies inside of any.
fn answerable() -> impl Strategy<Value = ScanRequest> {
    let interval = prop_oneof![Just(None), Just(Some("1h")), Just(Some("3h")), Just(Some("1d"))];
    let load = prop_oneof![Just(None), Just(Some(5.0)), Just(Some(10.0))];
    let edges = prop::collection::vec((0_i64..72, 1_i64..20), 0..4);
    let filter = prop_oneof![
        Just(Filter::MatchAll),
        Just(Filter::term("node", "a")),
        Just(Filter::none_of([Filter::terms("node", ["b", "c"])])),
        Just(Filter::exists("load")),
        (0..6, 1..4).prop_map(|(from, ranges)| {
            Filter::range("load", FilterRange::new().at_least(from * 5).below((from + ranges) * 5))
        }),
        (0_i64..72).prop_map(|hour| Filter::range("timestamp", FilterRange::new().at_least(hour * HOUR))),
    ];
    (interval, load, any::<bool>(), any::<u8>(), edges, filter, 1_usize..60).prop_map(
        |(interval, load, by_node, measures, edges, filter, page_size)| {
            let mut grouping = Grouping::new("timestamp");
            if let Some(interval) = interval {
                grouping = grouping.date(grid(interval));
            }
            if let Some(interval) = load {
                grouping = grouping.histogram("load", interval);
            }
            if by_node {
                grouping = grouping.terms("node", TermsType::Keyword);
            }
            let measures: Measures =
                (0..).zip(Measure::ALL).filter(|(bit, _)| measures >> bit & 1 == 1).map(|(_, m)| m).collect();
            let times = match edges.len() {
                0 => Times::all(),
                _ => Times::instants(edges.iter().map(|(from, hours)| from * HOUR..(from + hours) * HOUR)),
            };
            ScanRequest::new(grouping.measure("temperature", measures))
                .filter(filter, 0)
                .times(times)
                .page_size(page_size)
        },
    )
}

fn document() -> impl Strategy<Value = SourceDocument> {
    let node = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    (0..72 * HOUR, node, prop::option::of(0..120_u32), prop::option::of(-40..160_i32)).prop_map(
        |(at, node, load, temperature)| {
            let document = SourceDocument::new().date("timestamp", at);
            let document = node.into_iter().fold(document, |document, node| document.keyword("node", node));
            let document =
                load.into_iter().fold(document, |document, load| document.double("load", f64::from(load) / 4.0));
            // Whole numbers: their sums are the same in any order.
            temperature.into_iter().fold(document, |document, value| document.double("temperature", value.into()))
        },
    )
}

fn rolled_up_answers_as_raw(engine: &dyn Engine, requests: &[ScanRequest]) -> Result<(), TestCaseError> {
    rolled_up(engine);
    for request in requests {
        let stream = engine.scan_rolled_up(&job(), request.clone(), &StopSignal::never()).unwrap();
        let (rolled_up, raw) = (drained(stream), raw(engine, request.clone()));
        prop_assert_eq!(rolled_up, raw, "{:?}", request);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rolled_up_documents_answer_as_raw_ones_do(
        documents in prop::collection::vec(document(), 1..300),
        requests in prop::collection::vec(answerable(), 4),
    ) {
        let engine = MemoryEngine::new();
        engine.extend("sensor-1", documents);
        rolled_up_answers_as_raw(&engine, &requests)?;
    }
}

#[cfg(feature = "tantivy")]
mod with_tantivy {
    use std::sync::Arc;

    use rollup_jobs::engine::FieldType;
    use rollup_jobs::testing::EngineHarness;

    use super::*;
    use crate::tantivy_harness::TantivyHarness;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn rolled_up_documents_answer_as_raw_ones_do(
            documents in prop::collection::vec(document(), 1..1_500),
            requests in prop::collection::vec(answerable(), 8),
        ) {
            let harness = TantivyHarness::in_ram();
            let fields = [
                ("timestamp", FieldType::Date),
                ("node", FieldType::Keyword),
                ("load", FieldType::Double),
                ("temperature", FieldType::Double),
            ];
            harness.create_index("sensor-1", &fields);
            documents.chunks(400).for_each(|some| harness.add("sensor-1", some));
            let engine: Arc<dyn Engine> = harness.engine();
            rolled_up_answers_as_raw(&*engine, &requests)?;
        }
    }
}
