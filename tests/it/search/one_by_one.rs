//! The buckets of one aggregation, one after the other: those of an answer, however many there are.

use std::sync::Arc;

use rollup_jobs::RollupJobManager;
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::search::{
    Aggregation, Bucket, DateHistogramAggregation, HistogramAggregation, MetricAggregation, OrderBy, SearchCancel,
    SearchError, SearchRequest, TermsAggregation,
};
use rollup_jobs::store::MemoryStore;

use crate::support::{HOUR, World, config, loaded, now};

/// The same request as one whose buckets can be had one after the other, if it is of such.
pub fn of_one_aggregation(request: &SearchRequest) -> Option<SearchRequest> {
    let (name, mut aggregation) = request.aggregations.first().cloned()?;
    match &mut aggregation {
        Aggregation::DateHistogram(asked) => {
            (asked.min_doc_count, asked.extended_bounds) = (asked.min_doc_count.max(1), None);
            asked.order.clear();
        }
        Aggregation::Histogram(asked) => {
            (asked.min_doc_count, asked.extended_bounds) = (asked.min_doc_count.max(1), None);
            asked.order.clear();
        }
        Aggregation::Terms(asked) => {
            (asked.size, asked.missing) = (usize::MAX, None);
            asked.order = vec![OrderBy::Key.ascending()];
        }
        _ => return None,
    }
    let mut request = request.clone();
    request.aggregations = vec![(name, aggregation)];
    Some(request)
}

/// Asserts that the buckets of a request are those of its answer, with so many in memory.
pub fn are_those_of_the_answer(manager: &RollupJobManager, request: &SearchRequest, max_buckets: usize) {
    let Ok(response) = manager.search(request) else { return };
    let mut few = request.clone();
    few.max_buckets = max_buckets;
    let buckets = match manager.search_buckets(&few) {
        Ok(buckets) => buckets,
        Err(error) => {
            assert!(error.to_string().contains("several dates"), "{error} {few:#?}");
            return;
        }
    };
    let expected = response.buckets(&request.aggregations[0].0).unwrap();
    let mut count = 0;
    for bucket in buckets {
        let bucket = match bucket {
            Ok(bucket) => bucket,
            // What is inside of one key may be too much already.
            Err(SearchError::TooManyBuckets { .. }) => return,
            Err(error) => panic!("{error} {few:#?}"),
        };
        assert_eq!(format!("{bucket:?}"), format!("{:?}", expected[count]), "{few:#?}");
        count += 1;
    }
    assert_eq!(count, expected.len(), "{few:#?}");
}

/// Ten hours of readings that are rolled up, and one that has come since.
fn rolled_up() -> World {
    let world = World::on(loaded(), |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    let late = SourceDocument::new().date("timestamp", now()).keyword("node", "d");
    world.data.add("sensor-1", late.double("temperature", 99.0));
    world
}

fn hours() -> DateHistogramAggregation {
    let nodes = TermsAggregation::new("node").aggregation("warmest", MetricAggregation::max("temperature"));
    DateHistogramAggregation::fixed("timestamp", "1h").aggregation("nodes", nodes)
}

fn nodes() -> TermsAggregation {
    TermsAggregation::new("node").aggregation("hours", DateHistogramAggregation::fixed("timestamp", "2h"))
}

fn all(world: &World, request: &SearchRequest) -> Vec<Bucket> {
    world.manager.search_buckets(request).unwrap().map(Result::unwrap).collect()
}

#[test]
fn they_are_those_of_the_answer() {
    let world = rolled_up();
    let request = |aggregation: Aggregation| {
        of_one_aggregation(&SearchRequest::new("sensor-*").aggregation("all", aggregation)).unwrap()
    };
    let ranges = HistogramAggregation::new("temperature", 0.5);
    for aggregation in [Aggregation::from(hours()), nodes().into(), ranges.into()] {
        for most in [1_000, 40, 9, 4] {
            let request = request(aggregation.clone());
            are_those_of_the_answer(&world.manager, &request, most);
            let few = request.filter(Filter::range("timestamp", FilterRange::new().at_least(HOUR / 2)));
            are_those_of_the_answer(&world.manager, &few, most);
        }
    }
}

#[test]
fn there_may_be_more_than_an_answer_can_hold() {
    let world = rolled_up();
    let mut request = SearchRequest::new("sensor-*").aggregation("hours", hours());
    request.max_buckets = 4;
    assert!(matches!(world.manager.search(&request), Err(SearchError::TooManyBuckets { max_buckets: 4, .. })));
    let buckets = all(&world, &request);
    // Empty hours are left out.
    assert_eq!((buckets.len(), buckets.iter().map(Bucket::doc_count).sum::<u64>()), (11, 61));
    assert_eq!((buckets[10].date(), buckets[10].buckets("nodes").unwrap().len()), (Some(now()), 1));
    // An hour with its nodes is more than this.
    request.max_buckets = 3;
    let mut buckets = world.manager.search_buckets(&request).unwrap();
    assert!(matches!(buckets.next(), Some(Err(SearchError::TooManyBuckets { max_buckets: 3, .. }))));
    assert!(buckets.next().is_none());
}

#[test]
fn all_are_of_the_moment_at_which_they_were_asked_for() {
    let world = rolled_up();
    let mut request = SearchRequest::new("sensor-*").aggregation("hours", hours());
    request.max_buckets = 4;
    let mut buckets = world.manager.search_buckets(&request).unwrap();
    assert_eq!(buckets.next().unwrap().unwrap().doc_count(), 6);
    for at in [now(), now() + HOUR] {
        let later = SourceDocument::new().date("timestamp", at).keyword("node", "e");
        world.data.add("sensor-1", later.double("temperature", 1.0));
    }
    let last = buckets.map(Result::unwrap).last().unwrap();
    let nodes: Vec<_> = last.buckets("nodes").unwrap().iter().map(|node| node.text().unwrap().to_owned()).collect();
    assert_eq!((last.date(), last.doc_count(), nodes), (Some(now()), 1, vec!["d".to_owned()]));
    assert_eq!(all(&world, &request).len(), 12);
}

#[test]
fn what_has_no_keys_in_order_is_refused() {
    let world = rolled_up();
    let search = || SearchRequest::new("sensor-*");
    let warmest = MetricAggregation::max("temperature");
    for (request, place) in [
        (search(), "aggs"),
        (search().aggregation("hours", hours()).aggregation("nodes", nodes()), "aggs"),
        (search().aggregation("warmest", warmest), "aggs.warmest"),
        (search().aggregation("nodes", nodes().order(OrderBy::Count.descending())), "aggs.nodes.terms.order"),
        (search().aggregation("hours", hours().order(OrderBy::Key.descending())), "aggs.hours.date_histogram.order"),
        (search().aggregation("nodes", nodes().missing("none")), "aggs.nodes.terms.missing"),
    ] {
        match world.manager.search_buckets(&request) {
            Err(SearchError::Request { source, .. }) => assert_eq!(source.place(), place),
            other => panic!("{place}: {other:?}"),
        }
    }
}

#[test]
fn they_end_when_they_are_cancelled() {
    let world = rolled_up();
    let cancel = SearchCancel::new();
    let mut request = SearchRequest::new("sensor-*").aggregation("hours", hours()).cancelled_by(&cancel);
    request.max_buckets = 4;
    let mut buckets = world.manager.search_buckets(&request).unwrap();
    assert!(buckets.next().unwrap().is_ok());
    cancel.cancel();
    assert!(matches!(buckets.next(), Some(Err(SearchError::Cancelled { .. }))));
    assert!(buckets.next().is_none());
}

#[test]
fn a_reader_hands_them_out_too() {
    let (engine, store) = (Arc::new(loaded()), Arc::new(MemoryStore::new()));
    let manager = RollupJobManager::builder(Arc::clone(&engine) as _, Arc::clone(&store) as _).open().unwrap();
    manager.put(config("sensor").build().unwrap()).unwrap();
    let reader = RollupJobManager::builder(engine, store).open_reader();
    let request = SearchRequest::new("sensor-*").aggregation("nodes", nodes());
    let nodes: Vec<_> = reader.search_buckets(&request).unwrap().map(|node| node.unwrap().doc_count()).collect();
    assert_eq!(nodes, [20, 20, 20]);
}
