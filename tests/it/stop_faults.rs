//! A stop while any engine or store call of a run fails, panics or hangs, at every n: it is answered within its
//! deadline, truthfully, and when the cause is gone the results are those of a run without faults.

use std::time::Duration;

use rollup_jobs::testing::{EngineFault, StoreFault};
use rollup_jobs::{HealthColor, JobState, Phase, StopError, Stopped, StoredState};

use crate::support::{Heard, JoinInTime, World, loaded, undisturbed, waiting};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Stops while nobody but the clock moves: a fault that hangs is waited for until the deadline, and no longer.
fn stop(world: &World) -> Result<Stopped, StopError> {
    let stopper = world.stop_in_thread("sensor", TIMEOUT);
    world.watcher.wait_for(&world.manager, "the stop to be answered", || {
        world.clock.advance(Duration::from_secs(1));
        stopper.is_finished().then_some(())
    });
    stopper.join_in_time()
}

/// A fault that has struck before the stop was asked for has the job in one phase from then on.
fn check_status(world: &World, answer: &Result<Stopped, StopError>, hangs: bool, before_stop: bool) {
    let status = world.status("sensor");
    let record = world.store.record("sensor");
    match answer {
        Ok(stopped) => {
            assert!(stopped.is_at_rest());
            assert_eq!((status.state(), status.phase()), (JobState::Stopped, Phase::Idle));
            assert_eq!(record.state(), StoredState::Stopped);
            assert_eq!(record.progress().position.as_ref(), status.position());
        }
        Err(StopError::Timeout { job, .. }) => {
            assert!(hangs, "nothing but a call that hangs is worth a timeout");
            assert_eq!((status.state(), job.state()), (JobState::Stopping, JobState::Stopping));
            assert_ne!(job.phase(), Phase::Idle);
            if before_stop {
                assert!(job.in_phase_for() >= TIMEOUT, "{:?} for {:?}", job.phase(), job.in_phase_for());
            }
            assert_eq!(record.state(), StoredState::Stopped, "the stop stays in force, durably");
        }
        Err(StopError::Store { .. }) => {
            if status.state() == JobState::Stopping {
                assert_eq!((status.phase(), status.health().color()), (Phase::Saving, HealthColor::Red));
            }
        }
        Err(error) => panic!("{error}"),
    }
}

/// The cause is gone: the next stop ends well, and the next run has what is left.
fn finish(world: &World, what: &str) {
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest(), "{what}");
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped, "{what}");
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"), "{what}");
    let stats = world.status("sensor").stats().clone();
    assert_eq!((stats.documents_processed(), stats.rollups_indexed()), (60, 30), "{what}");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green, "{what}");
}

/// Waits until the fault has struck, or the run is over without it.
fn struck(world: &World, has_failed: impl Fn() -> bool) -> bool {
    world.watcher.wait_for(&world.manager, "the fault, or the end of the run", || {
        let over = world.watcher.heard().iter().any(|heard| matches!(heard, Heard::Run(..)));
        (has_failed() || over).then_some(())
    });
    has_failed()
}

fn engine_fails_at_every_call(fault: EngineFault) {
    for call in 1.. {
        let (world, engine) = World::faulty(loaded(), fault);
        world.put_started("sensor");
        engine.fail_at(call);
        world.manager.trigger("sensor").unwrap();
        let failed = struck(&world, || engine.has_failed());
        let answer = stop(&world);
        let hangs = failed && fault == EngineFault::Hang;
        assert_eq!(matches!(answer, Err(StopError::Timeout { .. })), hangs, "{fault:?} at engine call {call}");
        assert!(answer.is_ok() || hangs);
        check_status(&world, &answer, hangs, true);
        engine.heal();
        finish(&world, &format!("{fault:?} at engine call {call}"));
        if !failed {
            assert!(call > 25, "the whole run was tried: {call} calls");
            return;
        }
    }
}

#[test]
fn the_engine_fails_for_a_while() {
    engine_fails_at_every_call(EngineFault::Unavailable);
}

#[test]
fn the_engine_fails_for_good() {
    engine_fails_at_every_call(EngineFault::Rejected);
}

#[test]
fn the_engine_panics() {
    engine_fails_at_every_call(EngineFault::Panic);
}

#[test]
fn the_engine_commits_and_fails() {
    engine_fails_at_every_call(EngineFault::UnavailableAfterwards);
}

#[test]
fn the_engine_hangs() {
    engine_fails_at_every_call(EngineFault::Hang);
}

/// The calls of start, of the run's turns, and of the stop itself. `at_once` stops in the middle of the run.
fn store_fails_at_every_call(fault: StoreFault, at_once: bool) {
    let mut timeouts = 0;
    for call in 1.. {
        let (world, store) = World::faulty_store();
        world.put("sensor");
        store.fail_at(call, fault);
        let what = format!("{fault:?} at store call {call}, stopping at once: {at_once}");
        let started = world.manager.start("sensor");
        if started.is_ok() {
            world.manager.trigger("sensor").unwrap();
            if !at_once {
                struck(&world, || store.has_failed());
            }
        } else {
            assert!(store.has_failed(), "{what}");
        }
        let answer = stop(&world);
        timeouts += usize::from(matches!(answer, Err(StopError::Timeout { .. })));
        check_status(&world, &answer, fault == StoreFault::Hang, !at_once);
        let failed = store.has_failed();
        store.heal();
        finish(&world, &what);
        if !failed && call > 12 {
            // Where a stop comes at once it depends on the moment what it meets.
            assert!(at_once || (timeouts > 0) == (fault == StoreFault::Hang), "{fault:?}: {timeouts} timeouts");
            return;
        }
    }
}

#[test]
fn the_store_fails_for_a_while() {
    store_fails_at_every_call(StoreFault::Unavailable, false);
    store_fails_at_every_call(StoreFault::Unavailable, true);
}

#[test]
fn the_store_fails_for_good() {
    store_fails_at_every_call(StoreFault::Rejected, false);
    store_fails_at_every_call(StoreFault::Rejected, true);
}

#[test]
fn the_store_panics() {
    store_fails_at_every_call(StoreFault::Panic, false);
    store_fails_at_every_call(StoreFault::Panic, true);
}

#[test]
fn the_store_saves_and_fails() {
    store_fails_at_every_call(StoreFault::UnavailableAfterwards, false);
    store_fails_at_every_call(StoreFault::UnavailableAfterwards, true);
}

#[test]
fn the_store_hangs_on_an_indexer_thread() {
    store_fails_at_every_call(StoreFault::Hang, false);
    store_fails_at_every_call(StoreFault::Hang, true);
}
