//! How far everything is rolled up: never further than is true, durable, and not behind on a quiet series.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rollup_jobs::engine::{Batch, CommittedProgress, JobContext, RollupIndex, SourceDocument};
use rollup_jobs::store::{JobStore, StoreError};
use rollup_jobs::testing::{CountingEngine, EngineFault};
use rollup_jobs::{JobState, Phase, Progress, TermsType};

use crate::support::{HOUR, SpyStore, World, config, loaded, now, undisturbed, waiting};

fn until(world: &World) -> Option<String> {
    world.status("sensor").rolled_up_until().map(|until| until.to_string())
}

fn hour(hours: i64) -> String {
    jiff::Timestamp::from_millisecond(hours * HOUR).unwrap().to_string()
}

const NOW: &str = "2026-11-23T12:00:00Z";

#[test]
fn nothing_is_rolled_up_before_the_first_page() {
    let world = World::new();
    world.put_started("sensor");
    assert_eq!(until(&world), None);
}

#[test]
fn at_the_end_of_the_data_it_is_the_end_of_the_last_bucket_that_is_over() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some(NOW));
    assert_eq!(world.status("sensor").position().unwrap().to_json()["timestamp.date_histogram"], 9 * HOUR);
}

#[test]
fn a_delay_keeps_it_back() {
    let world = World::new();
    let date = rollup_jobs::DateHistogram::fixed_interval("timestamp", "1h").delay("90m");
    world.manager.put(config("sensor").date_histogram(date).build().unwrap()).unwrap();
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some("2026-11-23T10:00:00Z"), "of 10:30 the bucket is not over");
}

#[test]
fn it_goes_on_over_empty_buckets_and_the_position_does_not() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let position = world.status("sensor").position().cloned();
    world.clock.advance(Duration::from_secs(3 * 3600 + 59));
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some("2026-11-23T15:00:00Z"));
    assert_eq!(world.status("sensor").position().cloned(), position);
}

#[test]
fn until_the_next_bucket_is_over_a_run_costs_nothing() {
    let (world, engine) = World::wrapped(loaded(), CountingEngine::new, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    let known = (engine.calls(), world.store.updates.load(Ordering::SeqCst), world.store.record("sensor"));
    for _ in 0..3 {
        world.clock.advance(Duration::from_mins(19));
        world.run("sensor");
    }
    let found = (engine.calls(), world.store.updates.load(Ordering::SeqCst), world.store.record("sensor"));
    assert_eq!(found, known, "no scan, no writer, no commit, no save");
    assert_eq!(world.status("sensor").stats().trigger_count(), 4);
    world.clock.advance(Duration::from_mins(3));
    world.run("sensor");
    assert_eq!((engine.calls().scans, until(&world).as_deref()), (known.0.scans + 1, Some("2026-11-23T13:00:00Z")));
}

/// A stop, and what a stop could not save, is saved however little a run has to do.
#[test]
fn a_run_with_nothing_to_do_saves_what_was_not_saved() {
    let world = World::new();
    world.put_started("sensor");
    world.store.refuse_once(StoreError::rejected("refused"));
    world.run("sensor");
    world.run("sensor");
    let saved = world.store.record("sensor").progress().rolled_up_until();
    assert_eq!(saved.map(|until| until.to_string()).as_deref(), Some(NOW));
}

/// What comes after its bucket was rolled up is not added to it.
#[test]
fn inside_of_it_nothing_is_added() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let documents = world.documents();
    let late = SourceDocument::new().date("timestamp", 11 * HOUR).keyword("node", "late");
    world.data.add("sensor-1", late);
    world.clock.advance(Duration::from_hours(1));
    world.run("sensor");
    assert_eq!(world.documents(), documents);
}

#[test]
fn documents_of_the_future_do_not_move_it() {
    let world = World::new();
    let ahead = "2027-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    world.data.add("sensor-1", SourceDocument::new().date("timestamp", ahead).keyword("node", "a"));
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some(NOW));
}

/// A page ends in the middle of a date bucket: three nodes an hour, four buckets a page.
#[test]
fn in_the_middle_of_a_run_it_is_the_start_of_the_bucket_at_hand() {
    let world = World::new();
    world.put_indexing("sensor");
    for (pages, expected) in [(1, 1), (2, 2), (3, 3)] {
        world.gates.search().let_through(1);
        world.wait_for("sensor", "a page", |status| {
            status.stats().pages_processed() == pages && status.phase() == Phase::Searching
        });
        assert_eq!(until(&world), Some(hour(expected)), "after page {pages}");
    }
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    assert_eq!(until(&world), Some(hour(3)), "a stop changes nothing");
    assert_eq!(until(&world.after_crash()), Some(hour(3)), "and it is durable");
}

#[test]
fn it_survives_a_restart() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.clock.advance(Duration::from_hours(2));
    world.run("sensor");
    let again = world.after_crash();
    assert_eq!(until(&again).as_deref(), Some("2026-11-23T14:00:00Z"), "what no commit has seen, too");
    again.gates.search().open();
    again.run("sensor");
    assert_eq!(until(&again).as_deref(), Some(NOW), "by this clock the rest is not over");
}

#[test]
fn a_clock_that_was_set_back_takes_back_what_is_not_over() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    world.clock.set_wall_clock("2026-11-20T00:00:00Z".parse().unwrap());
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some("2026-11-20T00:00:00Z"));
    assert_eq!(world.documents(), undisturbed("sensor"), "there is nothing behind it");
}

/// What a turn has written and could not commit is not rolled up. At every call of a run.
#[test]
fn what_was_not_committed_does_not_count() {
    for fault in [EngineFault::Rejected, EngineFault::UnavailableAfterwards] {
        for call in 1.. {
            let (world, engine) = World::faulty(loaded(), fault);
            world.put_started("sensor");
            engine.fail_at(call);
            world.manager.trigger("sensor").unwrap();
            world.watcher.wait_for(&world.manager, "the fault, or the end of the run", || {
                let status = world.status("sensor");
                (status.state() == JobState::Started && status.phase() == Phase::Idle || engine.has_failed())
                    .then_some(())
            });
            let failed = engine.has_failed();
            assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
            // The documents tell: three for each whole hour.
            let whole = i64::try_from(world.documents().len()).unwrap() / 3;
            let found = world.status("sensor").rolled_up_until().map_or(0, |until| until.as_millisecond() / HOUR);
            if failed {
                assert!(found <= whole, "{fault:?} at {call}: {found} hours, {whole} are whole");
            } else {
                assert_eq!(until(&world).as_deref(), Some(NOW));
                assert!(call > 25);
                break;
            }
        }
    }
}

#[test]
fn a_source_that_is_gone_says_nothing() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.data.remove_index("sensor-1"));
    world.clock.advance(Duration::from_hours(5));
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some(NOW), "what has come meanwhile nobody knows");
}

#[test]
fn with_the_rollup_index_it_is_gone() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.data.remove_index("rolled"));
    world.gates.search().close();
    world.manager.trigger("sensor").unwrap();
    world.gates.search().wait_for_waiting(1);
    assert_eq!(until(&world), None);
    world.gates.search().open();
    world.wait_for_state("sensor", JobState::Started);
    assert_eq!(until(&world).as_deref(), Some(NOW));
}

fn committed(world: &World) -> (JobContext, Progress) {
    let job = JobContext::new(config("sensor").build().unwrap(), &[TermsType::Keyword]);
    let Ok(CommittedProgress::Kept(Some(kept))) = world.data.committed_progress(&job) else { panic!("it is there") };
    (job, kept)
}

/// Of two that have one position the higher number knows more, so that none is given twice.
#[test]
fn a_job_that_is_behind_its_engine_counts_on_from_there() {
    let world = World::new();
    world.put_started("sensor");
    let behind = SpyStore::default();
    behind.inner.insert(&world.store.record("sensor")).unwrap();
    world.run("sensor");
    let (_, kept) = committed(&world);
    let world = World::on_store(world.data.clone(), Arc::new(behind));
    world.gates.search().open();
    world.run("sensor");
    assert!(world.store.record("sensor").progress().sequence > kept.sequence);
}

#[test]
fn with_one_position_the_higher_number_counts() {
    let world = World::new();
    let date = rollup_jobs::DateHistogram::fixed_interval("timestamp", "1h").delay("5h");
    world.manager.put(config("sensor").date_histogram(date).build().unwrap()).unwrap();
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    let (job, mut newer) = committed(&world);
    newer.sequence += 10;
    newer.rolled_up_until = Some(now() - 2 * HOUR);
    world.data.begin(&job, &Batch::Append).unwrap().commit(&newer).unwrap();
    world.run("sensor");
    assert_eq!(until(&world).as_deref(), Some("2026-11-23T10:00:00Z"));
}
