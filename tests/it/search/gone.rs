//! Raw documents that are not there any more: what is rolled up answers without them, or says why it cannot.

use rollup_jobs::engine::SourceDocument;
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::search::{DateHistogramAggregation, Edges, SearchError, SearchRequest, SearchResponse, Tier};
use rollup_jobs::store::change_ledger;

use crate::support::{HOUR, World, now};

/// Sixty readings in ten hours, rolled up by hours, and one that has come since into another index.
fn rolled_up() -> World {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.data.add("sensor-2", SourceDocument::new().date("timestamp", now()).double("temperature", 7.0));
    world
}

fn between(from: i64, to: i64) -> SearchRequest {
    SearchRequest::new("sensor-*").filter(Filter::range("timestamp", FilterRange::new().at_least(from).below(to)))
}

fn total(response: &SearchResponse) -> u64 {
    response.total().unwrap()
}

#[track_caller]
fn refusal(world: &World, request: &SearchRequest) -> String {
    match world.manager.search(request) {
        Err(SearchError::NotServed { raw, .. }) => raw,
        other => panic!("{other:?}"),
    }
}

/// What is told of a bound in the middle of an hour.
const HALF_A_BUCKET: &str = "; those from 1970-01-01T00:30:00Z until 1970-01-01T01:00:00Z are no whole buckets of \
                             rollup job [sensor]: where a bound lies inside of one, [edges] rounds it";

#[test]
fn an_index_that_went_without_a_word() {
    let world = rolled_up();
    assert!(world.data.remove_index("sensor-1"));
    // Whole buckets, and what is not rolled up yet.
    let response = world.manager.search(&SearchRequest::new("sensor-*")).unwrap();
    assert_eq!(total(&response), 61);
    assert_eq!(total(&world.manager.search(&between(2 * HOUR, 5 * HOUR)).unwrap()), 18);
    // A part of a bucket would have to be read where it was.
    let raw = refusal(&world, &between(HOUR / 2, 5 * HOUR));
    assert_eq!(raw, format!("source indices that are rolled up are not there any more: [sensor-1]{HALF_A_BUCKET}"));
    for (edges, expected) in [(Edges::Inner, 24), (Edges::Outer, 30), (Edges::Start, 24)] {
        assert_eq!(total(&world.manager.search(&between(HOUR / 2, 5 * HOUR).edges(edges)).unwrap()), expected);
    }
}

/// Runs after it went, which find other indices, do not make it forgotten.
#[test]
fn an_index_that_went_before_the_last_run() {
    for is_sealed in [true, false] {
        let world = rolled_up();
        if is_sealed {
            change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..10 * HOUR)).unwrap();
        }
        assert!(world.data.remove_index("sensor-1"));
        world.clock.set_wall_clock(rollup_jobs::jiff::Timestamp::from_millisecond(now() + 2 * HOUR).unwrap());
        world.run("sensor");
        assert_eq!(total(&world.manager.search(&SearchRequest::new("sensor-*")).unwrap()), 61);
        let raw = refusal(&world, &between(HOUR / 2, 5 * HOUR));
        assert_eq!(raw, format!("source indices that were rolled up were dropped{HALF_A_BUCKET}"));
        // Neither is it where no job serves.
        let halves = DateHistogramAggregation::fixed("timestamp", "30m");
        let raw = refusal(&world, &SearchRequest::new("sensor-*").aggregation("halves", halves));
        assert_eq!(raw, "source indices that were rolled up were dropped");
        // Where none of its documents was, others can be read.
        assert_eq!(total(&world.manager.search(&between(10 * HOUR, now() + HOUR / 2)).unwrap()), 1);
    }
}

#[test]
fn an_index_that_was_sealed_before_it_went() {
    let world = rolled_up();
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..10 * HOUR)).unwrap();
    assert!(world.data.remove_index("sensor-1"));
    assert_eq!(total(&world.manager.search(&SearchRequest::new("sensor-*")).unwrap()), 61);
    let raw = refusal(&world, &between(HOUR / 2, 5 * HOUR));
    assert_eq!(raw, format!("raw documents that are sealed are gone{HALF_A_BUCKET}"));
    // Where nothing is sealed there was nothing.
    let response = world.manager.search(&between(5 * HOUR, 20 * HOUR + 1)).unwrap();
    assert_eq!((total(&response), response.plan().parts.len()), (30, 2));
}

#[test]
fn what_was_changed_is_read_raw() {
    let world = rolled_up();
    world.data.add("sensor-1", SourceDocument::new().date("timestamp", 3 * HOUR).double("temperature", 7.0));
    let of_the_hour = |hour: i64| {
        let response = world.manager.search(&between(hour * HOUR, (hour + 1) * HOUR)).unwrap();
        (total(&response), response.plan().parts[0].tier)
    };
    // Nobody has said a word of it, so that it is not known.
    assert_eq!(of_the_hour(3), (6, Tier::RolledUp));
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.note(3 * HOUR + 1..3 * HOUR + 2)).unwrap();
    assert_eq!(
        (of_the_hour(2), of_the_hour(3), of_the_hour(4)),
        ((6, Tier::RolledUp), (7, Tier::Raw), (6, Tier::RolledUp))
    );
    assert_eq!(total(&world.manager.search(&SearchRequest::new("sensor-*")).unwrap()), 62);
    // And in the middle of a repair nobody knows which of the two it is.
    let raw = refusal(&world, &between(0, 10 * HOUR).edges(Edges::Outer).in_rolled("rolled"));
    assert!(raw.contains("raw documents are not asked for"), "{raw}");
}

trait InRolled {
    fn in_rolled(self, index: &str) -> Self;
}

impl InRolled for SearchRequest {
    /// The same search, of a rollup index alone.
    fn in_rolled(mut self, index: &str) -> Self {
        self.indices = rollup_jobs::IndexPattern::new(index);
        self
    }
}
