//! What a shutdown waits for, and what observers hear of it.

use std::thread::JoinHandle;
use std::time::Duration;

use rollup_jobs::testing::EngineFault;
use rollup_jobs::{JobState, Phase, PutError, RunOutcome, ShutdownError, StopOptions, StoredState, TriggerError};

use crate::support::{Heard, JoinInTime, PATIENCE, World, config, hold, in_thread, loaded, waiting};

fn outcomes(world: &World) -> Vec<RunOutcome> {
    let outcome = |heard| if let Heard::Run(_, run) = heard { Some(run.outcome) } else { None };
    world.watcher.heard().into_iter().filter_map(outcome).collect()
}

/// Begins a shutdown that has to wait: it is given the time to get to its end, were there nothing to wait for.
fn shut_down_in_vain(world: &World) -> JoinHandle<Result<(), ShutdownError>> {
    let manager = world.manager.clone();
    let shutdown = in_thread(move || manager.shutdown(Duration::MAX));
    world.watcher.wait_for(&world.manager, "the shutdown", || {
        matches!(world.manager.put(config("sensor").build().unwrap()), Err(PutError::ShutDown { .. })).then_some(())
    });
    for _ in 0..50 {
        // A thread that comes and goes takes as long as one that only has to end.
        in_thread(|| ()).join_in_time();
        assert!(!shutdown.is_finished(), "it has not waited");
    }
    shutdown
}

/// A stop that a caller's thread was saving was not waited for: the next manager opened the store meanwhile, and
/// undid it.
#[test]
fn a_shutdown_waits_for_a_stop_that_a_caller_saves() {
    let world = World::new();
    world.put_started("sensor");
    let (hold, inside, leave) = hold();
    world.store.on_update(move |record| {
        if record.state() == StoredState::Stopped {
            hold();
        }
    });
    let manager = world.manager.clone();
    let stop = in_thread(move || manager.stop("sensor", waiting()));
    inside.recv_timeout(PATIENCE).unwrap();
    let shutdown = shut_down_in_vain(&world);
    leave.send(()).unwrap();
    assert!(stop.join_in_time().unwrap().is_at_rest());
    shutdown.join_in_time().unwrap();
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped);
}

#[test]
fn a_shutdown_waits_for_a_put() {
    let world = World::new();
    let (hold, inside, leave) = hold();
    world.store.on_update(move |_| hold());
    let manager = world.manager.clone();
    let put = in_thread(move || manager.put(config("sensor").build().unwrap()));
    inside.recv_timeout(PATIENCE).unwrap();
    let shutdown = shut_down_in_vain(&world);
    leave.send(()).unwrap();
    put.join_in_time().unwrap();
    shutdown.join_in_time().unwrap();
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped);
}

#[test]
fn a_run_that_backs_off_ends_with_the_shutdown() {
    let (world, engine) = World::faulty(loaded(), EngineFault::Unavailable);
    world.put_started("sensor");
    engine.fail_from(1, u64::MAX / 2);
    world.manager.trigger("sensor").unwrap();
    world.wait_for_phase("sensor", Phase::BackingOff);
    world.manager.shutdown(PATIENCE).unwrap();
    assert_eq!(outcomes(&world), [RunOutcome::Interrupted]);
}

/// What happens in callers' threads until the shutdown is told too, and so is what the shutdown itself does.
#[test]
fn observers_hear_of_all_changes_until_the_end() {
    let world = World::new();
    let ids: Vec<String> = (0..50).map(|n| format!("job-{n}")).collect();
    for id in &ids {
        world.put_started(id);
    }
    for id in &ids {
        assert!(world.manager.stop(id, waiting()).unwrap().is_at_rest());
    }
    world.manager.shutdown(PATIENCE).unwrap();
    let heard = world.watcher.heard();
    for id in &ids {
        let states = heard.iter().filter_map(|heard| match heard {
            Heard::State(of, change) if of == id => Some(change.to),
            _ => None,
        });
        assert_eq!(states.collect::<Vec<_>>(), [JobState::Started, JobState::Stopping, JobState::Stopped], "{id}");
    }
}

#[test]
fn a_stop_during_a_shutdown_is_told_too() {
    let world = World::new();
    world.put_stopping("sensor");
    world.put_started("idle");
    let manager = world.manager.clone();
    let shutdown = in_thread(move || manager.shutdown(Duration::MAX));
    world.watcher.wait_for(&world.manager, "the shutdown", || {
        matches!(world.manager.trigger("sensor"), Err(TriggerError::ShutDown { .. })).then_some(())
    });
    assert!(world.manager.stop("idle", StopOptions::new()).unwrap().is_at_rest());
    world.gates.commit().open();
    shutdown.join_in_time().unwrap();
    let stopped =
        |heard: &Heard| matches!(heard, Heard::State(id, change) if id == "idle" && change.to == JobState::Stopped);
    assert!(world.watcher.heard().iter().any(stopped));
}
