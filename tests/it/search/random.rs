//! Random data, jobs and requests: the answer is that of the raw documents, whatever is rolled up.

#![expect(clippy::cast_precision_loss, reason = "numbers are small here")]

use std::sync::Arc;

use proptest::prelude::*;
use rollup_jobs::engine::{Engine, FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::search::{
    Aggregation, BucketBounds, DateHistogramAggregation, FilterAggregation, FiltersAggregation, HistogramAggregation,
    MetricAggregation, OrderBy, RangeAggregation, SearchError, SearchInterval, SearchMetric, SearchRequest,
    TermsAggregation, Tier,
};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::{EngineHarness, ManualClock, MemoryHarness};
use rollup_jobs::{DateHistogram, Histogram, Metric, RollupJobConfig, RollupJobManager};
use serde_json::Value;

use super::one_by_one::{are_those_of_the_answer, of_one_aggregation};
use super::oracle::without_texts;
use super::{cases, oracle};
use crate::support::{HOUR, Heard, Watcher};

const DAY: i64 = 24 * HOUR;

/// Where data begins: clocks are changed in Berlin and in St. John's, and once it is before 1970.
const BEGINNINGS: [&str; 3] = ["2025-10-20T00:00:00Z", "2010-10-30T00:00:00Z", "1969-12-25T00:00:00Z"];
const ZONES: [&str; 6] = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "-03:00", "Australia/Lord_Howe"];
/// How many days there are, and how many of them when the job runs.
const DAYS: i64 = 16;
const ROLLED_UP: i64 = 12;
const FIELDS: [(&str, FieldType); 5] = [
    ("timestamp", FieldType::Date),
    ("node", FieldType::Keyword),
    ("status", FieldType::Long),
    ("load", FieldType::Double),
    ("temperature", FieldType::Double),
];

fn beginning(at: usize) -> i64 {
    BEGINNINGS[at].parse::<rollup_jobs::jiff::Timestamp>().unwrap().as_millisecond()
}

/// How often a field has no value, or several.
#[derive(Debug, Clone, Copy)]
struct Oddities {
    missing: bool,
    several: bool,
    several_dates: bool,
}

fn document(odd: Oddities) -> impl Strategy<Value = SourceDocument> {
    let texts = move || values(odd, prop::sample::select(vec!["a", "ab", "b", "c"]));
    let numbers = move |most: i64| values(odd, -3..most);
    let dates = if odd.several_dates {
        prop_oneof![8 => 1_usize..2, 1 => 2_usize..3, 1 => 0_usize..1].boxed()
    } else {
        Just(1).boxed()
    };
    let dates = dates.prop_flat_map(|many| prop::collection::vec(0..DAYS * DAY / 60_000, many));
    (dates, texts(), numbers(4), numbers(40), numbers(100)).prop_map(|(dates, nodes, statuses, loads, temperatures)| {
        let mut document = SourceDocument::new();
        for date in dates {
            document = document.date("timestamp", date * 60_000);
        }
        document = nodes.into_iter().fold(document, |document, node| document.keyword("node", node));
        document = statuses.into_iter().fold(document, |document, status| document.integer("status", status));
        document = loads.into_iter().fold(document, |document, load| document.double("load", load as f64 / 2.0));
        temperatures.into_iter().fold(document, |document, value| document.double("temperature", value as f64))
    })
}

fn values<T: std::fmt::Debug + Clone + 'static>(
    odd: Oddities,
    value: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Vec<T>> {
    let many = match (odd.missing, odd.several) {
        (false, false) => Just(1_usize).boxed(),
        (true, false) => prop_oneof![4 => Just(1_usize), 1 => Just(0)].boxed(),
        (false, true) => prop_oneof![6 => Just(1_usize), 1 => Just(2)].boxed(),
        (true, true) => prop_oneof![6 => Just(1_usize), 1 => Just(0), 1 => Just(2)].boxed(),
    };
    many.prop_flat_map(move |many| prop::collection::vec(value.clone(), many))
}

fn config() -> impl Strategy<Value = RollupJobConfig> {
    let interval = prop::sample::select(vec!["15m", "1h", "1h", "3h", "day", "week"]);
    let zone = prop_oneof![2 => Just("UTC"), 1 => prop::sample::select(&ZONES[..])];
    let terms = prop::sample::subsequence(vec!["node", "status"], 0..=2);
    (interval, zone, terms, prop::option::of(prop::sample::select(vec![1.0, 5.0])), any::<u8>()).prop_map(
        |(interval, zone, terms, histogram, metrics)| {
            let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
            let date = match interval {
                "day" | "week" => DateHistogram::calendar_interval("timestamp", interval),
                fixed => DateHistogram::fixed_interval("timestamp", fixed),
            };
            let mut config = config.cron("0 0 0 1 1 ? 2099").page_size(50).date_histogram(date.time_zone(zone));
            if !terms.is_empty() {
                config = config.terms(terms);
            }
            if let Some(interval) = histogram {
                config = config.histogram(Histogram::new(interval, ["load"]));
            }
            let metrics: Vec<Metric> = match metrics % 4 {
                0 => vec![Metric::Min, Metric::Avg],
                _ => Metric::ALL.to_vec(),
            };
            config.metric("temperature", metrics).build().unwrap()
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let day = |day: i64, minutes: i64| day * DAY + minutes * 60_000;
    let minutes = || prop_oneof![2 => Just(0_i64), 1 => prop::sample::select(vec![60, 330, 7, -1])];
    let date = (0..DAYS, minutes(), 1..DAYS, any::<bool>()).prop_map(move |(from, minutes, days, is_open)| {
        let range = FilterRange::new().at_least(day(from, minutes));
        let range = if is_open { range } else { range.below(day(from + days, minutes)) };
        Filter::range("timestamp", range)
    });
    let leaf = prop_oneof![
        4 => date.boxed(),
        2 => prop::sample::select(vec!["a", "ab", "z"]).prop_map(|node| Filter::term("node", node)),
        1 => Just(Filter::prefix("node", "a")),
        1 => Just(Filter::exists("load")),
        1 => Just(Filter::terms("status", [1_i64, 2])),
        1 => (0_i64..4, 1_i64..3).prop_map(|(from, many)| {
            Filter::range("load", FilterRange::new().at_least(from * 5).below((from + many) * 5))
        }),
        1 => (0_i64..4).prop_map(|from| Filter::range("load", FilterRange::new().above(from * 5))),
        1 => Just(Filter::range("temperature", FilterRange::new().at_least(50_i64))),
    ];
    let leaf = leaf.boxed();
    prop_oneof![
        4 => Just(Filter::MatchAll),
        6 => leaf.clone(),
        2 => prop::collection::vec(leaf.clone(), 2..3).prop_map(Filter::all_of),
        1 => prop::collection::vec(leaf.clone(), 1..3).prop_map(Filter::none_of),
        1 => prop::collection::vec(leaf, 2..3).prop_map(Filter::any_of),
    ]
}

fn metric() -> impl Strategy<Value = Aggregation> {
    prop::sample::select(&SearchMetric::ALL[..]).prop_map(|metric| MetricAggregation::new(metric, "temperature").into())
}

/// Aggregations of buckets, nested as deep as this.
fn any_buckets(depth: u32) -> BoxedStrategy<Aggregation> {
    let inside = if depth == 0 {
        Just(Vec::new()).boxed()
    } else {
        let inside = prop_oneof![2 => metric().boxed(), 1 => any_buckets(depth - 1)];
        prop::collection::vec(inside, 0..3).boxed()
    };
    let interval = prop_oneof![
        prop::sample::select(vec!["30m", "1h", "6h", "24h"]).prop_map(|text| SearchInterval::Fixed(text.to_owned())),
        prop::sample::select(vec!["1h", "day", "week", "month"])
            .prop_map(|text| SearchInterval::Calendar(text.to_owned())),
    ];
    let zone = prop::option::of(prop::sample::select(&ZONES[..]));
    let kind = prop_oneof![3 => Just(0_u8), 1 => Just(1), 3 => Just(2), 1 => Just(3), 1 => Just(4), 1 => Just(5)];
    let options = (0_u64..3, any::<bool>(), 0_usize..4, any::<bool>(), 0_usize..5);
    let filters = prop::collection::vec(filter(), 2);
    (kind, interval, zone, options, filters, inside)
        .prop_map(|(kind, interval, zone, options, filters, inside)| {
            aggregation(kind, interval, zone, options, filters, inside)
        })
        .boxed()
}

fn aggregation(
    kind: u8,
    interval: SearchInterval,
    zone: Option<&str>,
    (min_doc_count, is_bounded, order, is_descending, size): (u64, bool, usize, bool, usize),
    mut filters: Vec<Filter>,
    inside: Vec<Aggregation>,
) -> Aggregation {
    let sorted = |by: OrderBy| if is_descending { by.descending() } else { by.ascending() };
    let metric = inside
        .iter()
        .position(|inside| matches!(inside, Aggregation::Metric(metric) if metric.metric != SearchMetric::Stats));
    let order = match (order, metric) {
        (1, _) => Some(sorted(OrderBy::Count)),
        (2, _) => Some(sorted(OrderBy::Key)),
        (3, Some(at)) => Some(sorted(OrderBy::Metric(format!("inside_{at}")))),
        _ => None,
    };
    macro_rules! with {
        ($aggregation:expr) => {{
            let mut aggregation = $aggregation;
            for (at, inside) in inside.into_iter().enumerate() {
                aggregation = aggregation.aggregation(format!("inside_{at}"), inside);
            }
            aggregation.into()
        }};
    }
    match kind {
        0 => {
            let mut histogram = DateHistogramAggregation::new("timestamp", interval).min_doc_count(min_doc_count);
            histogram.time_zone = zone.map(str::to_owned);
            histogram.order.extend(order);
            if size == 0 {
                histogram = histogram.offset("6h");
            }
            if is_bounded && min_doc_count == 0 {
                histogram = histogram.extended_bounds(BucketBounds::between(DAY, 3 * DAY));
            } else if is_bounded {
                histogram = histogram.hard_bounds(BucketBounds::between(2 * DAY, 9 * DAY));
            }
            with!(histogram)
        }
        1 => {
            let mut histogram = HistogramAggregation::new("load", if is_bounded { 5.0 } else { 10.0 });
            histogram.order.extend(order);
            with!(histogram.min_doc_count(min_doc_count))
        }
        2 => {
            let mut terms = TermsAggregation::new(if is_bounded { "node" } else { "status" });
            terms.order.extend(order);
            terms.size = size + 1;
            terms.min_doc_count = min_doc_count.max(1);
            if size == 2 {
                terms = if is_bounded { terms.missing("a") } else { terms.missing(7_i64) };
            } else if size == 3 && is_bounded {
                terms = terms.include(["a", "c", "z"]);
            } else if size == 3 {
                terms = terms.exclude([1_i64]);
            }
            with!(terms)
        }
        3 => with!(FilterAggregation::new(filters.remove(0))),
        4 => {
            let named = ["one", "two"].into_iter().zip(filters);
            with!(FiltersAggregation::named(named))
        }
        _ => {
            let ranges = RangeAggregation::new("load").range(None, 5.0).range(5.0, 10.0);
            with!(if is_bounded { ranges.range(7.5, None) } else { ranges })
        }
    }
}

fn request() -> impl Strategy<Value = SearchRequest> {
    let aggregations = prop_oneof![3 => any_buckets(2), 1 => metric().boxed()];
    (filter(), prop::collection::vec(aggregations, 0..3)).prop_map(|(filter, aggregations)| {
        let mut request = SearchRequest::new("sensor-*").filter(filter);
        for (at, aggregation) in aggregations.into_iter().enumerate() {
            request = request.aggregation(format!("top_{at}"), aggregation);
        }
        request
    })
}

/// Everything that is said in days since the beginning, moved there.
fn moved_filter(filter: Filter, by: i64) -> Filter {
    let moved = |filters: Vec<Filter>| filters.into_iter().map(|filter| moved_filter(filter, by)).collect();
    match filter {
        Filter::Range { field, mut range } if field == "timestamp" => {
            use rollup_jobs::filter::FilterValue;
            let at = |value: FilterValue| match value {
                FilterValue::Integer(millis) => FilterValue::Integer(millis + by),
                other => other,
            };
            (range.from, range.to) = (range.from.map(at), range.to.map(at));
            Filter::Range { field, range }
        }
        Filter::Bool(mut parts) => {
            parts.filter = moved(parts.filter);
            parts.must_not = moved(parts.must_not);
            parts.should = moved(parts.should);
            Filter::Bool(parts)
        }
        other => other,
    }
}

fn moved_aggregation(aggregation: Aggregation, by: i64) -> Aggregation {
    use rollup_jobs::filter::FilterValue;
    let inside = |aggregations: Vec<(String, Aggregation)>| {
        aggregations.into_iter().map(|(name, inside)| (name, moved_aggregation(inside, by))).collect()
    };
    let bounds = |bounds: Option<BucketBounds>| {
        let at = |value: Option<FilterValue>| match value {
            Some(FilterValue::Integer(millis)) => millis + by,
            other => panic!("{other:?}"),
        };
        bounds.map(|bounds| BucketBounds::between(at(bounds.min), at(bounds.max)))
    };
    match aggregation {
        Aggregation::DateHistogram(mut asked) => {
            asked.aggregations = inside(asked.aggregations);
            asked.extended_bounds = bounds(asked.extended_bounds);
            asked.hard_bounds = bounds(asked.hard_bounds);
            asked.into()
        }
        Aggregation::Histogram(mut asked) => {
            asked.aggregations = inside(asked.aggregations);
            asked.into()
        }
        Aggregation::Terms(mut asked) => {
            asked.aggregations = inside(asked.aggregations);
            asked.into()
        }
        Aggregation::Filter(mut asked) => {
            asked.aggregations = inside(asked.aggregations);
            asked.filter = moved_filter(asked.filter, by);
            asked.into()
        }
        Aggregation::Filters(mut asked) => {
            asked.aggregations = inside(asked.aggregations);
            asked.filters = asked.filters.into_iter().map(|(name, filter)| (name, moved_filter(filter, by))).collect();
            asked.into()
        }
        Aggregation::Range(mut asked) => {
            asked.aggregations = inside(asked.aggregations);
            asked.into()
        }
        other => other,
    }
}

fn moved_document(document: &SourceDocument, by: i64) -> SourceDocument {
    use rollup_jobs::engine::SourceValue;
    let values = document.fields().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    values.fold(SourceDocument::new(), |document, (name, value)| match value {
        SourceValue::Date(date) => document.date(name, date + by),
        other => document.with(name, other.clone()),
    })
}

/// How many buckets an answer has.
fn buckets(answer: &Value) -> usize {
    match answer {
        Value::Object(members) => {
            usize::from(members.contains_key("doc_count")) + members.values().map(buckets).sum::<usize>()
        }
        Value::Array(values) => values.iter().map(buckets).sum(),
        _ => 0,
    }
}

#[derive(Debug, Clone)]
struct Case {
    documents: Vec<SourceDocument>,
    config: RollupJobConfig,
    requests: Vec<SearchRequest>,
    begins: i64,
    has_several_dates: bool,
}

fn case(documents: usize) -> impl Strategy<Value = Case> {
    let odd = prop_oneof![
        3 => Just(Oddities { missing: true, several: false, several_dates: false }),
        1 => Just(Oddities { missing: false, several: false, several_dates: false }),
        1 => Just(Oddities { missing: true, several: true, several_dates: false }),
        1 => Just(Oddities { missing: true, several: true, several_dates: true }),
    ];
    let documents = odd.prop_flat_map(move |odd| (Just(odd), prop::collection::vec(document(odd), 1..documents)));
    (documents, config(), prop::collection::vec(request(), 6), 0..BEGINNINGS.len()).prop_map(
        |((odd, documents), config, requests, beginning_at)| {
            let begins = beginning(beginning_at);
            let documents = documents.iter().map(|document| moved_document(document, begins)).collect();
            let requests = requests.into_iter().map(|mut request| {
                request.filter = moved_filter(request.filter, begins);
                let aggregations = request.aggregations.into_iter();
                request.aggregations =
                    aggregations.map(|(name, inside)| (name, moved_aggregation(inside, begins))).collect();
                request
            });
            Case { documents, config, requests: requests.collect(), begins, has_several_dates: odd.several_dates }
        },
    )
}

/// Rolls up what there is after some days, adds the rest, and asks. Says how many of the answers have something rolled
/// up in them.
fn is_answered_as_raw(harness: &dyn EngineHarness, case: &Case) -> Result<usize, TestCaseError> {
    let Case { documents, config, requests, begins, has_several_dates } = case;
    harness.create_index("sensor-1", &FIELDS);
    let now = begins + ROLLED_UP * DAY + 17 * 60_000;
    let boundary = config.rounding().round_down(now);
    let is_late = |document: &SourceDocument| {
        let (_, dates) = document.fields().find(|(name, _)| *name == "timestamp").unwrap_or(("", &[]));
        !dates.is_empty()
            && dates.iter().all(|date| matches!(date, rollup_jobs::engine::SourceValue::Date(at) if *at >= boundary))
    };
    let (late, early): (Vec<_>, Vec<_>) = documents.iter().cloned().partition(is_late);
    harness.add("sensor-1", &early);

    let watcher: Arc<Watcher> = Arc::default();
    let clock = Arc::new(ManualClock::at(rollup_jobs::jiff::Timestamp::from_millisecond(now).unwrap()));
    let engine: Arc<dyn Engine> = harness.engine();
    let builder = RollupJobManager::builder(engine, Arc::new(MemoryStore::new()));
    let manager = builder.indexer_threads(1).clock(clock).observer(watcher.clone()).open().unwrap();
    manager.put(config.clone()).unwrap();
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    watcher.wait_for(&manager, "the end of the run", || {
        watcher.heard().iter().any(|heard| matches!(heard, Heard::Run(..))).then_some(())
    });
    harness.add("sensor-1", &late);

    let mut served = 0;
    for request in requests {
        let (total, expected) = oracle::answer(documents, request);
        match manager.search(request) {
            Ok(response) => {
                let printed = response.to_json();
                let found = printed.get("aggregations").cloned().unwrap_or_else(|| serde_json::json!({}));
                let plan = response.plan();
                prop_assert_eq!(without_texts(found), expected, "{:#?} by {:#?}", request, plan);
                if let Some(known) = response.total() {
                    prop_assert_eq!(known, total, "{:#?} by {:#?}", request, plan);
                }
                if let Some(request) = of_one_aggregation(request) {
                    are_those_of_the_answer(&manager, &request, 60);
                }
                served += usize::from(plan.parts.iter().any(|part| part.tier == Tier::RolledUp));
            }
            Err(SearchError::TooManyBuckets { max_buckets, .. }) => {
                prop_assert!(buckets(&expected) > max_buckets, "{request:#?}");
            }
            // What is refused is said in words.
            Err(error) => {
                let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let is_nested = text.contains("the buckets of one have to be made of those of the other");
                let is_of_dates = *has_several_dates && text.contains("several dates");
                prop_assert!(is_nested || is_of_dates, "{error}: {text} {request:#?}");
            }
        }
    }
    Ok(served)
}

#[test]
fn the_answer_is_that_of_the_raw_documents() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases(700)));
    let (served, asked) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let result = runner.run(&case(60), |case| {
        let engine = MemoryEngine::new();
        for (field, kind) in &FIELDS {
            engine.map("sensor-1", field, kind.clone());
        }
        served.set(served.get() + is_answered_as_raw(&MemoryHarness::new(engine), &case)?);
        asked.set(asked.get() + case.requests.len());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(served.get() * 4 > asked.get(), "{} of {} answers have something rolled up", served.get(), asked.get());
}

#[cfg(feature = "tantivy")]
#[test]
fn the_answer_is_that_of_the_raw_documents_with_tantivy() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases(150)));
    let result = runner
        .run(&case(200), |case| is_answered_as_raw(&crate::tantivy_harness::TantivyHarness::in_ram(), &case).map(drop));
    if let Err(error) = result {
        panic!("{error}");
    }
}
