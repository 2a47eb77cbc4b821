//! What a ledger is told of: date buckets that may have groups of two snapshots, and what is removed where nobody keeps
//! the progress with the documents.

use std::ops::Range;
use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::JobStore;
use rollup_jobs::testing::StoreCall;
use rollup_jobs::{HealthColor, Phase};

use crate::support::{HOUR, NOW, World, now, readings, undisturbed, waiting};

fn noted(store: &dyn JobStore) -> Vec<Range<i64>> {
    store.ledger("sensor-1").unwrap().notes.into_iter().map(|note| note.range).collect()
}

/// A run that is stopped after so many pages, each a turn of four groups; every hour has three.
fn stopped_after(world: &World, pages: u64) {
    world.put_indexing("sensor");
    for page in 1..=pages {
        world.gates.search().let_through(1);
        world.wait_for("sensor", "a page", |status| {
            status.stats().pages_processed() == page && status.phase() == Phase::Searching
        });
    }
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    world.gates.search().open();
    world.manager.start("sensor").unwrap();
}

#[test]
fn a_date_bucket_that_another_snapshot_goes_on_with_is_noted() {
    let world = World::new();
    stopped_after(&world, 1);
    assert_eq!(noted(&*world.store), []);
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
    let hour = HOUR..2 * HOUR;
    assert_eq!(noted(&*world.store), std::slice::from_ref(&hour), "it has had one of its three groups");
    let revision = world.store.ledger("sensor-1").unwrap().revision;
    world.clock.advance(Duration::from_hours(2));
    world.data.add("sensor-1", SourceDocument::new().date("timestamp", now() - HOUR / 2).keyword("node", "a"));
    world.run("sensor");
    assert_eq!(world.store.ledger("sensor-1").unwrap().revision, revision, "nothing else is unsure");
}

#[test]
fn a_date_bucket_that_was_whole_is_not() {
    let world = World::new();
    stopped_after(&world, 3);
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
    assert_eq!(noted(&*world.store), []);
}

#[test]
fn nothing_is_written_before_it_is_noted() {
    let (world, store) = World::faulty_store();
    stopped_after(&world, 1);
    store.refuse(&[StoreCall::ReplaceLedger]);
    let run = world.manager.trigger("sensor").unwrap().run();
    world.let_pauses_pass_until_end_of_run(run);
    assert_eq!(world.documents().len(), 4);
    assert_eq!(world.status("sensor").health().color(), HealthColor::Yellow);
    store.heal();
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
    assert_eq!(noted(&*world.store).len(), 1);
}

/// Two hours that are not over are rolled up by a clock that is ahead.
fn rolled_up_too_early(data: MemoryEngine) -> World {
    data.extend("sensor-1", readings());
    let reading = |at| SourceDocument::new().date("timestamp", at).keyword("node", "a");
    data.extend("sensor-1", [reading(now() + HOUR / 6), reading(now() + HOUR)]);
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_started("sensor");
    let right: jiff::Timestamp = NOW.parse().unwrap();
    world.clock.set_wall_clock(right + Duration::from_hours(2));
    world.run("sensor");
    assert_eq!(world.documents().len(), undisturbed("sensor").len() + 2);
    world.clock.set_wall_clock(right);
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
    world
}

/// If the host ends before the store has the progress that goes with what was removed, the range is known.
#[test]
fn what_is_removed_is_noted_where_the_engine_keeps_no_progress() {
    let world = rolled_up_too_early(MemoryEngine::without_progress());
    assert_eq!(noted(&*world.store), std::slice::from_ref(&(now()..now() + 2 * HOUR)));
    let world = rolled_up_too_early(MemoryEngine::new());
    assert_eq!(noted(&*world.store), []);
}
