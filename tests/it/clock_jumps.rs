//! A wall clock that was ahead, and is set back.
//!
//! A job that such a clock had armed was not run before that clock's time had come, while `next_run` named the next
//! minute; and a bucket that it had rolled up too early lost what came for it afterwards, without a word.

use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::change_ledger;
use rollup_jobs::testing::{EngineFault, FaultyEngine};
use rollup_jobs::{HealthColor, JobUpdate, Ledger, Phase};

use crate::support::{HOUR, NOW, World, config, now, undisturbed, waiting};

const MINUTE: Duration = Duration::from_mins(1);

fn minutely(world: &World, id: &str) {
    world.manager.put(config(id).cron("0 * * * * ?").build().unwrap()).unwrap();
    world.manager.start(id).unwrap();
}

/// Lets so many minutes pass, and waits for a run in each.
fn runs_in_each_of(world: &World, id: &str, minutes: u64) {
    for _ in 0..minutes {
        let before = world.status(id).run();
        world.clock.advance(MINUTE);
        world.wait_for(id, "this minute's run", |status| status.run() == before + 1);
        world.wait_for_end_of_run(id, before + 1);
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_job_from_running() {
    for ahead in ["2026-11-23T14:00:30Z", "2027-11-23T12:00:30Z"] {
        let world = World::new();
        minutely(&world, "sensor");
        let now: jiff::Timestamp = NOW.parse().unwrap();
        world.clock.set_wall_clock(ahead.parse().unwrap());
        world.wait_for("sensor", "the run of the wrong clock", |status| status.run() == 1);
        world.wait_for_end_of_run("sensor", 1);
        world.clock.set_wall_clock(now);
        let next = now + MINUTE;
        world.wait_for("sensor", "its next time", |status| status.next_run() == Some(next));
        runs_in_each_of(&world, "sensor", 10);
    }
}

#[test]
fn a_job_that_a_wrong_clock_has_armed_runs_when_the_clock_is_right() {
    let world = World::new();
    let now: jiff::Timestamp = NOW.parse().unwrap();
    world.clock.set_wall_clock("2027-11-23T12:00:30Z".parse().unwrap());
    minutely(&world, "sensor");
    assert_eq!(world.status("sensor").next_run(), Some("2027-11-23T12:01:00Z".parse().unwrap()), "what is armed");
    world.clock.set_wall_clock(now);
    // One that is armed now does not hide what the other one was armed by.
    minutely(&world, "other");
    world.wait_for("sensor", "its next time", |status| status.next_run() == Some(now + MINUTE));
    runs_in_each_of(&world, "sensor", 10);
}

#[test]
fn a_clock_that_is_corrected_by_a_little_runs_nothing_twice() {
    let world = World::new();
    minutely(&world, "sensor");
    runs_in_each_of(&world, "sensor", 1);
    let now: jiff::Timestamp = NOW.parse().unwrap();
    world.clock.set_wall_clock(now + MINUTE - Duration::from_millis(500));
    world.clock.advance(Duration::from_secs(1));
    runs_in_each_of(&world, "sensor", 1);
    assert_eq!(world.status("sensor").run(), 2);
}

fn reading(at: i64) -> SourceDocument {
    SourceDocument::new().date("timestamp", at).keyword("node", "a")
}

/// How many readings the document of each of the hours around now has.
fn counts(world: &World) -> Vec<(i64, u64)> {
    let rows = world.manager.rolled_up("sensor").unwrap().map(Result::unwrap);
    let hours = rows.map(|row| ((row.date() - now()).div_euclid(HOUR), row.doc_count()));
    hours.filter(|(hour, _)| (-10..10).contains(hour)).collect()
}

/// Two hours that are not over are rolled up by a clock that is two hours ahead.
fn rolled_up_too_early() -> World {
    let world = World::new();
    world.data.extend("sensor-1", [reading(now() - HOUR / 2), reading(now() + HOUR / 6), reading(now() + HOUR)]);
    world.put_started("sensor");
    world.clock.set_wall_clock(right() + Duration::from_hours(2));
    world.run("sensor");
    assert_eq!(counts(&world), [(-1, 1), (0, 1), (1, 1)]);
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green, "as far as that clock knows");
    world
}

fn right() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

#[test]
fn what_was_rolled_up_too_early_goes_and_is_rolled_up_when_it_is_over() {
    let world = rolled_up_too_early();
    world.clock.set_wall_clock(right() + Duration::from_mins(20));
    let status = world.status("sensor");
    let reason = "a clock that was ahead has rolled up a date bucket that goes on until 2026-11-23T14:00:00Z: what comes for it \
                  until then is left out";
    assert_eq!((status.health().color(), status.health().reason()), (HealthColor::Yellow, Some(reason)));
    let before = world.store.record("sensor").progress().sequence;

    world.run("sensor");
    let status = world.status("sensor");
    let notice = "a clock that was ahead had rolled up until 2026-11-23T14:00:00Z: from 2026-11-23T12:00:00Z on it is removed, \
                  and rolled up when it is over";
    assert_eq!(status.notice().map(rollup_jobs::Notice::text), Some(notice));
    assert_eq!(status.health().color(), HealthColor::Green);
    assert_eq!(status.rolled_up_until(), Some(right()));
    assert_eq!(counts(&world), [(-1, 1)], "what was over stays");
    assert!(world.store.record("sensor").progress().sequence > before);

    // It survives a crash, and what comes meanwhile is counted.
    let world = world.after_crash();
    world.gates.search().open();
    world.clock.set_wall_clock(right() + Duration::from_mins(30));
    world.data.add("sensor-1", reading(now() + HOUR / 3));
    world.clock.advance(Duration::from_mins(90));
    world.run("sensor");
    assert_eq!(counts(&world), [(-1, 1), (0, 2), (1, 1)]);
    assert_eq!(world.documents().len(), 33);
}

/// A run of the wrong clock is stopped inside of a date bucket that is not over: its groups that are there lack what
/// comes until then.
#[test]
fn a_date_bucket_that_was_begun_too_early_goes_too() {
    let world = World::new();
    let node = |node: u32, at| SourceDocument::new().date("timestamp", at).keyword("node", &format!("node-{node}"));
    world.data.extend("sensor-1", (0..6).map(|number| node(number, now() + HOUR / 6)));
    world.clock.set_wall_clock(right() + Duration::from_hours(2));
    world.put_indexing("sensor");
    for page in 1..=8 {
        world.gates.search().let_through(1);
        world.wait_for("sensor", "a page", |status| {
            status.stats().pages_processed() == page && status.phase() == Phase::Searching
        });
    }
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    world.gates.search().open();
    assert_eq!(counts(&world), [(0, 1), (0, 1)], "two of six groups");
    assert_eq!(world.status("sensor").rolled_up_until(), Some(right()));

    world.clock.set_wall_clock(right() + Duration::from_mins(20));
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert_eq!(counts(&world), []);
    world.data.add("sensor-1", node(0, now() + HOUR / 2));
    world.clock.set_wall_clock(right() + Duration::from_hours(1));
    world.run("sensor");
    assert_eq!(counts(&world), [(0, 2), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)]);
}

#[test]
fn a_longer_delay_or_a_small_correction_takes_nothing_back() {
    let world = rolled_up_too_early();
    let all = counts(&world);
    world.clock.set_wall_clock(right() + Duration::from_hours(2) - Duration::from_millis(500));
    world.run("sensor");
    assert_eq!(counts(&world), all);
    world.clock.set_wall_clock(right() + Duration::from_hours(2));
    world.manager.update("sensor", JobUpdate::new().delay("5h")).unwrap();
    world.run("sensor");
    assert_eq!(counts(&world), all);
    let notice = world.status("sensor").notice().map(|notice| notice.text().to_owned());
    assert!(notice.is_none_or(|notice| !notice.contains("removed")));
}

/// What cannot be rolled up once more stays as it is.
#[test]
fn where_raw_data_is_gone_nothing_is_taken_back() {
    let seal = |world: &World| {
        let seal = |ledger: &mut Ledger| ledger.seals.push(0..now() + HOUR);
        change_ledger(&*world.store, "sensor-1", seal).unwrap();
    };
    let drop_index = |world: &World| assert!(world.data.remove_index("sensor-1"));
    // Of the hour's only document, and the one after it: what is gone is told by its group.
    let drop_documents = |world: &World| {
        assert!(world.data.remove_index("sensor-1"));
        world.data.extend("sensor-1", crate::support::readings());
        world.data.add("sensor-1", reading(now() + HOUR / 6));
    };
    let gone: [&dyn Fn(&World); 3] = [&seal, &drop_index, &drop_documents];
    for (case, goes) in gone.iter().enumerate() {
        let world = rolled_up_too_early();
        let all = counts(&world);
        goes(&world);
        world.clock.set_wall_clock(right() + Duration::from_mins(20));
        world.run("sensor");
        assert_eq!(counts(&world), all, "case {case}");
    }
}

/// A machine that wakes up in 1970 loses nothing of what it has no raw data for any more.
#[test]
fn a_clock_that_is_decades_behind_loses_nothing() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.data.remove_index("sensor-1"));
    world.data.extend("sensor-1", crate::support::readings().skip(1));
    world.clock.set_wall_clock(jiff::Timestamp::UNIX_EPOCH);
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
    world.clock.set_wall_clock(right());
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
}

fn with_two_more() -> Vec<SourceDocument> {
    crate::support::readings().chain([reading(now() - HOUR / 2), reading(now() + HOUR / 6)]).collect()
}

/// An engine that fails at any call of it takes back what is too early in the end, and nothing else.
fn is_taken_back(open: impl Fn(EngineFault) -> (World, FaultyEngine)) {
    for fault in
        [EngineFault::Unavailable, EngineFault::UnavailableAfterwards, EngineFault::Rejected, EngineFault::Panic]
    {
        for call in 1.. {
            let (world, engine) = open(fault);
            let run = || {
                let run = world.manager.trigger("sensor").unwrap().run();
                world.let_pauses_pass_until_end_of_run(run);
            };
            world.put_started("sensor");
            world.clock.set_wall_clock(right() + Duration::from_hours(1));
            run();
            world.clock.set_wall_clock(right());
            engine.fail_at(call);
            run();
            let failed = engine.has_failed();
            engine.heal();
            run();
            assert_eq!(counts(&world), [(-1, 1)], "{fault:?} at call {call}");
            world.clock.set_wall_clock(right() + Duration::from_hours(1));
            run();
            assert_eq!(counts(&world), [(-1, 1), (0, 1)], "{fault:?} at call {call}");
            assert_eq!(world.manager.rolled_up("sensor").unwrap().count(), 32, "{fault:?} at call {call}");
            if !failed {
                assert!(call > 4, "the whole of it was tried: {call} calls");
                break;
            }
        }
    }
}

#[test]
fn it_is_taken_back_whatever_fails() {
    for data in [MemoryEngine::new, MemoryEngine::without_progress] {
        is_taken_back(|fault| {
            let data = data();
            data.extend("sensor-1", with_two_more());
            World::faulty(data, fault)
        });
    }
}

#[cfg(feature = "tantivy")]
#[test]
fn it_is_taken_back_on_tantivy_whatever_fails() {
    use rollup_jobs::testing::EngineHarness;

    is_taken_back(|fault| {
        let harness = crate::tantivy_harness::TantivyHarness::in_ram();
        harness.create_index("sensor-1", &crate::tantivy_harness::FIELDS);
        harness.add("sensor-1", &with_two_more());
        let engine = FaultyEngine::new(harness.engine.clone(), fault);
        let between = engine.clone();
        (World::on(MemoryEngine::new(), |_| std::sync::Arc::new(between), |builder| builder), engine)
    });
}
