//! A wall clock that was ahead, and is set back.
//!
//! A job that such a clock had armed was not run before that clock's time had come, while `next_run` named the next
//! minute; and a bucket that it had rolled up too early lost what came for it afterwards, without a word.

use std::time::Duration;

use rollup_jobs::HealthColor;
use rollup_jobs::engine::SourceDocument;

use crate::support::{HOUR, NOW, World, config};

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

/// The bucket of the running hour is rolled up by a clock that is an hour ahead.
#[test]
fn a_bucket_that_was_rolled_up_too_early_is_yellow_until_its_time_has_come() {
    let world = World::new();
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let reading = |at: i64| SourceDocument::new().date("timestamp", at).keyword("node", "a");
    world.data.add("sensor-1", reading(now.as_millisecond() + HOUR / 6));
    world.put_started("sensor");
    world.clock.set_wall_clock(now + Duration::from_hours(2));
    world.run("sensor");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green, "as far as that clock knows");
    world.clock.set_wall_clock(now + Duration::from_mins(20));
    let status = world.status("sensor");
    assert_eq!(status.health().color(), HealthColor::Yellow);
    let reason = "a clock that was ahead has rolled up a date bucket that goes on until 2026-11-23T13:00:00Z: what comes for it \
                  until then is left out";
    assert_eq!(status.health().reason(), Some(reason));
    world.data.add("sensor-1", reading(now.as_millisecond() + HOUR / 3));
    world.run("sensor");
    assert_eq!(world.status("sensor").notice().map(rollup_jobs::Notice::text), Some(reason));
    world.clock.advance(Duration::from_mins(40));
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
}
