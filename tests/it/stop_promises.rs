//! The ten promises of stop, each with a test that bears its name.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use rollup_jobs::testing::{CountingEngine, EngineFault, FaultyEngine, GatedEngine, ManualClock};
use rollup_jobs::{
    Clock, DeleteError, HealthColor, JobState, Observer, Phase, RollupJobManager, StateChange, StopError, StopOptions,
    StoredState, TurnEnded, Wake,
};

use crate::meddling::{Act, Meddling};
use crate::support::{JoinInTime, NOW, PATIENCE, World, in_thread, loaded, undisturbed, waiting};

#[test]
fn promise_01_stopped_means_at_rest_and_durable() {
    let world = World::new();
    world.gates.search().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.search().let_through(3);
    world.gates.search().wait_for_waiting(1);
    world.wait_for("sensor", "three pages", |status| status.stats().pages_processed() == 3);

    // Whenever the store is about to save the stop, nobody has been told yet, and the documents are committed. (The
    // caller's own save may come late, when the run's end is saved already: an older revision, which says nothing any
    // more.)
    let (manager, data) = (Arc::downgrade(&world.manager), world.data.clone());
    let saved = Arc::new(Mutex::new(Vec::new()));
    let seen = saved.clone();
    world.store.on_update(move |record| {
        let state = manager.upgrade().unwrap().get("sensor").unwrap().state();
        let mut seen = seen.lock().unwrap();
        if seen.last().is_none_or(|(revision, _)| record.revision() > *revision) {
            seen.push((record.revision(), (record.state(), state, data.rolled_up("rolled").len())));
        }
    });
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    let saved = saved.lock().unwrap().clone();
    assert!(!saved.is_empty());
    assert!(saved.iter().all(|(_, seen)| *seen == (StoredState::Stopped, JobState::Stopping, 12)), "{saved:?}");
    assert_eq!(world.state("sensor"), JobState::Stopped);
    let record = world.store.record("sensor");
    assert_eq!(record.state(), StoredState::Stopped);
    assert_eq!(record.progress().position.as_ref(), world.status("sensor").position());
    assert_eq!(world.gates.search().arrived(), 4, "the engine is not called any more");
}

#[test]
fn promise_02_a_stop_survives_a_crash_from_the_moment_the_call_returns() {
    // Idle: Elasticsearch forgets this one.
    let world = World::new();
    world.put_started("idle");
    let _ = world.manager.stop("idle", StopOptions::new()).unwrap();
    assert_eq!(world.after_crash().state("idle"), JobState::Stopped);

    // Indexing, without waiting, while the run is held.
    world.put_stopping("indexing");
    assert_eq!(world.state("indexing"), JobState::Stopping);
    assert_eq!(world.after_crash().state("indexing"), JobState::Stopped);
    world.gates.commit().open();
}

#[test]
fn promise_02_no_checkpoint_on_its_way_overwrites_a_stop() {
    a_stop_overtakes_a_checkpoint();
}

pub fn a_stop_overtakes_a_checkpoint() {
    // A checkpoint is held on its way to the store; the stop overtakes it.
    let world = World::new();
    world.gates.search().close();
    world.put_started("sensor");
    let (held, release) = std::sync::mpsc::channel::<()>();
    let (at_store, arrived) = std::sync::mpsc::channel::<()>();
    let (release, first) = (Mutex::new(release), AtomicUsize::new(0));
    world.store.on_update(move |record| {
        if record.state() == StoredState::Indexing && first.fetch_add(1, Ordering::SeqCst) == 0 {
            at_store.send(()).unwrap();
            release.lock().unwrap().recv().unwrap();
        }
    });
    world.manager.trigger("sensor").unwrap();
    world.gates.search().let_through(1);
    arrived.recv().unwrap();
    let stopped = world.manager.stop("sensor", StopOptions::new()).unwrap();
    assert_eq!(world.after_crash().state("sensor"), JobState::Stopped, "before the late checkpoint");
    held.send(()).unwrap();
    stopped.completion().wait(PATIENCE).unwrap();
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped, "and after it");
}

#[test]
fn promise_03_a_waiter_waits_for_a_count_and_not_for_a_state() {
    // Several waiters; the first to return restarts the job at once. One that waited for `stopped` would miss it.
    let world = World::new();
    world.put_started("sensor");
    for _ in 0..50 {
        world.gates.commit().close();
        world.manager.start("sensor").unwrap();
        world.manager.trigger("sensor").unwrap();
        let _ = world.manager.stop("sensor", StopOptions::new()).unwrap();
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let manager = world.manager.clone();
                in_thread(move || {
                    let stopped = manager.stop("sensor", waiting());
                    let _ = manager.start("sensor");
                    stopped.map(|stopped| stopped.is_at_rest())
                })
            })
            .collect();
        world.gates.commit().open();
        for waiter in waiters {
            assert!(waiter.join_in_time().unwrap());
        }
        let _ = world.manager.stop("sensor", waiting()).unwrap();
    }
}

#[test]
fn promise_03_a_handle_polled_late_is_still_about_its_stop() {
    let world = World::new();
    world.put_stopping("sensor");
    let first = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    assert!(!first.is_completed());
    world.gates.commit().open();
    first.wait(PATIENCE).unwrap();
    world.gates.commit().close();
    world.manager.start("sensor").unwrap();
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let second = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    assert!(first.is_completed(), "the first stop stays completed whatever the job does");
    assert!(!second.is_completed());
    first.wait(Duration::ZERO).unwrap();
    assert!(matches!(second.wait(Duration::ZERO), Err(StopError::Timeout { .. })));
    world.gates.commit().open();
}

#[test]
fn promise_03_deadlines_cannot_overflow() {
    let world = World::new();
    world.put_stopping("sensor");
    let for_ever = world.stop_in_thread("sensor", Duration::MAX);
    let once = world.manager.stop("sensor", StopOptions::new().wait_for_completion(true).timeout(Duration::ZERO));
    assert!(matches!(once, Err(StopError::Timeout { .. })), "zero looks once");
    world.gates.commit().open();
    assert!(for_ever.join_in_time().unwrap().is_at_rest());
}

/// A clock that stands still and notes which threads go to sleep on it.
#[derive(Debug)]
struct SleepersClock {
    inner: ManualClock,
    sleepers: Mutex<Vec<std::thread::ThreadId>>,
}

impl Clock for SleepersClock {
    fn now(&self) -> jiff::Timestamp {
        self.inner.now()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn sleep_bound(&self, remaining: Duration) -> Option<Duration> {
        self.sleepers.lock().unwrap().push(std::thread::current().id());
        self.inner.sleep_bound(remaining)
    }

    fn on_advance(&self, wake: Weak<Wake>) {
        self.inner.on_advance(wake);
    }
}

#[test]
fn promise_04_no_polling() {
    // The waiter is asleep before the run may end, and the clock stands still: only a notification can wake it, and
    // it goes to sleep no more often than it is notified.
    let clock = Arc::new(SleepersClock { inner: ManualClock::at(NOW.parse().unwrap()), sleepers: Mutex::default() });
    let heard = clock.clone();
    let world = World::with(|builder| builder.clock(clock));
    world.put_stopping("sensor");
    let manager = world.manager.clone();
    let waiter = in_thread(move || manager.stop("sensor", waiting().timeout(Duration::from_secs(10))));
    let id = waiter.thread().id();
    let sleeps = || heard.sleepers.lock().unwrap().iter().filter(|sleeper| **sleeper == id).count();
    world.watcher.wait_for(&world.manager, "the waiter to sleep", || (sleeps() > 0).then_some(()));
    world.gates.commit().open();
    assert!(waiter.join_in_time().unwrap().is_at_rest());
    assert!(sleeps() <= 3, "it went to sleep {} times", sleeps());
}

#[test]
fn promise_05_a_search_in_flight_is_given_up() {
    let world = World::new();
    world.put_indexing("sensor");
    // The gate stays closed: only giving the search up can end it.
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    assert_eq!(world.status("sensor").stats().search_failures(), 0, "which is no failure");
    assert!(world.documents().is_empty());
}

#[test]
fn promise_05_a_write_that_ends_early_moves_the_position_to_its_last_document() {
    let hook: Arc<OnceLock<Weak<RollupJobManager>>> = Arc::default();
    let wrapped = hook.clone();
    let world = World::on(
        loaded(),
        move |engine| Arc::new(Meddling { engine, manager: wrapped, act: Act::StopInWrite }),
        |b| b,
    );
    hook.set(Arc::downgrade(&world.manager)).unwrap();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.wait_for_state("sensor", JobState::Stopped);
    assert_eq!(world.documents().len(), 2, "half of the first page");
    let position = world.status("sensor").position().unwrap().to_string();
    assert_eq!(position, r#"{"node.terms":"b","timestamp.date_histogram":0}"#);
    assert_eq!(world.status("sensor").stats().rollups_indexed(), 2);
}

#[test]
fn promise_05_a_commit_is_awaited() {
    let world = World::new();
    world.put_stopping("sensor");
    let waiter = world.stop_in_thread("sensor", Duration::from_secs(10));
    assert_eq!(world.state("sensor"), JobState::Stopping);
    assert!(world.documents().is_empty());
    world.gates.commit().open();
    assert!(waiter.join_in_time().unwrap().is_at_rest());
    assert_eq!(world.documents().len(), 4, "what was written is kept");
}

#[test]
fn promise_06_a_job_between_turns_stops_in_the_callers_own_thread() {
    // The only thread is held by another job; the clock stands still, so that no back-off ends.
    let (world, faulty) = World::faulty(loaded(), EngineFault::Unavailable);
    world.put_started("backing-off");
    faulty.fail_at(1);
    world.manager.trigger("backing-off").unwrap();
    world.wait_for_phase("backing-off", Phase::BackingOff);
    world.put_indexing("holder");
    world.put_started("idle");
    world.put_started("queued");
    world.manager.trigger("queued").unwrap();
    assert_eq!(world.status("queued").phase(), Phase::Queued);
    for id in ["idle", "queued", "backing-off"] {
        assert!(world.manager.stop(id, waiting()).unwrap().is_at_rest(), "{id}");
        assert_eq!(world.state(id), JobState::Stopped, "{id}");
        assert_eq!(world.store.record(id).state(), StoredState::Stopped, "{id}");
    }
    assert_eq!(world.state("holder"), JobState::Indexing);
}

#[test]
fn promise_06_a_job_has_at_most_one_token_whatever_the_sequence() {
    let (world, counting) = World::wrapped(loaded(), CountingEngine::new, |builder| builder.indexer_threads(4));
    world.put("sensor");
    for _ in 0..200 {
        world.manager.start("sensor").unwrap();
        world.manager.trigger("sensor").unwrap();
        let _ = world.manager.stop("sensor", waiting()).unwrap();
        world.manager.start("sensor").unwrap();
        world.manager.trigger("sensor").unwrap();
        let _ = world.manager.stop("sensor", waiting()).unwrap();
    }
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert_eq!(counting.calls().most_at_once, 1, "never two threads on one job");
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
fn promise_07_every_exit_publishes() {
    for fault in [EngineFault::Rejected, EngineFault::Panic] {
        let (world, engine) = World::faulty(loaded(), fault);
        world.put_started("sensor");
        // Checkpoint, prepare, scan, page, begin, write, commit: each ends the run, and its end is there for all to
        // see.
        for call in 1..=7 {
            engine.fail_at(call);
            world.run("sensor");
            assert!(engine.has_failed(), "{fault:?} {call}");
            let status = world.status("sensor");
            assert_eq!((status.state(), status.phase()), (JobState::Started, Phase::Idle), "{fault:?} {call}");
            assert!(world.documents().is_empty(), "{fault:?} {call}");
        }
        engine.heal();
        world.run("sensor");
        assert_eq!(world.documents(), undisturbed("sensor"), "the thread lives on");
    }
}

#[test]
fn promise_07_a_failing_engine_never_leaves_a_waiter_asleep() {
    for fault in [EngineFault::Rejected, EngineFault::Panic, EngineFault::Unavailable] {
        // The gates stand before the engine that fails, so that waiters are there when it does.
        for gate in [GatedEngine::write, GatedEngine::commit] {
            let faulty = FaultyEngine::new(Arc::new(loaded()), fault);
            let gates = GatedEngine::new(Arc::new(faulty.clone()));
            let world = World::on(loaded(), |_| Arc::new(gates.clone()), |builder| builder.indexer_threads(1));
            world.put_started("sensor");
            gate(&gates).close();
            world.manager.trigger("sensor").unwrap();
            gate(&gates).wait_for_waiting(1);
            let waiter = world.stop_in_thread("sensor", Duration::MAX);
            world.wait_for_state("sensor", JobState::Stopping);
            faulty.fail_at(1);
            gate(&gates).open();
            assert!(waiter.join_in_time().unwrap().is_at_rest(), "{fault:?}");
            assert!(faulty.has_failed());
            assert!(!world.status("sensor").last_errors().is_empty());
        }
    }
}

#[test]
fn promise_07_a_refused_last_save_wakes_every_waiter_and_the_next_stop_tries_again() {
    let world = World::new();
    world.put_stopping("sensor");
    let waiters: Vec<_> = (0..3).map(|_| world.stop_in_thread("sensor", Duration::MAX)).collect();
    world.store.refuse_updates(true);
    world.gates.commit().open();
    for waiter in waiters {
        assert!(matches!(waiter.join_in_time(), Err(StopError::Store { .. })));
    }
    let status = world.status("sensor");
    assert_eq!((status.state(), status.phase()), (JobState::Stopping, Phase::Saving));
    assert_eq!(status.health().color(), HealthColor::Red);
    assert!(matches!(world.manager.delete("sensor"), Err(DeleteError::NotStopped { state: JobState::Stopping, .. })));
    assert!(matches!(world.manager.stop("sensor", waiting()), Err(StopError::Store { .. })), "still refused");
    world.store.refuse_updates(false);
    assert!(world.manager.stop("sensor", StopOptions::new()).unwrap().is_at_rest());
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
    world.manager.delete("sensor").unwrap();
}

#[test]
fn promise_08_a_timeout_withdraws_nothing_and_says_where_the_job_is() {
    let world = World::new();
    world.put_indexing("sensor");
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    // The second run is held in its second commit.
    world.gates.commit().close();
    world.gates.search().open();
    world.manager.start("sensor").unwrap();
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().let_through(1);
    world.wait_for("sensor", "a page", |status| status.position().is_some());
    world.gates.commit().wait_for_waiting(1);
    let position = world.status("sensor").position().cloned();
    let waiters: Vec<_> = (0..2).map(|_| world.stop_in_thread("sensor", Duration::from_secs(10))).collect();
    world.wait_for_state("sensor", JobState::Stopping);
    // However late a waiter goes to sleep, time passes until it has timed out.
    let ended = || waiters.iter().all(std::thread::JoinHandle::is_finished);
    while !ended() {
        world.clock.advance(Duration::from_secs(3));
        std::thread::yield_now();
    }
    for waiter in waiters {
        let error = waiter.join_in_time().unwrap_err();
        let StopError::Timeout { waited, job } = &error else { panic!("{error}") };
        assert_eq!((job.state(), job.phase()), (JobState::Stopping, Phase::Committing));
        assert!(job.in_phase_for() >= Duration::from_secs(10));
        assert_eq!((*waited, job.run(), job.position()), (Duration::from_secs(10), 2, position.as_ref()));
        let text = error.to_string();
        assert!(
            text.starts_with("timed out after 10s while waiting for rollup job [sensor] to stop: it is stopping"),
            "{text}"
        );
        let end = format!("in run 2, after {}; the stop stays in force", position.as_ref().unwrap());
        assert!(text.ends_with(&end), "{text}");
    }
    let again = world.stop_in_thread("sensor", Duration::MAX);
    world.gates.commit().open();
    let stopped = again.join_in_time().unwrap();
    assert!(stopped.is_at_rest(), "the same call may be repeated");
    assert_eq!((stopped.job_id(), stopped.run()), ("sensor", 2));
    assert_eq!(world.state("sensor"), JobState::Stopped);
}

#[test]
fn promise_09_stop_may_be_called_from_an_observer() {
    #[derive(Default)]
    struct Stopper {
        manager: OnceLock<Weak<RollupJobManager>>,
        at_rest: Mutex<Vec<bool>>,
    }
    impl Observer for Stopper {
        fn turn_ended(&self, job_id: &str, _: &TurnEnded) {
            let stopped = self.manager.get().unwrap().upgrade().unwrap().stop(job_id, waiting()).unwrap();
            self.at_rest.lock().unwrap().push(stopped.is_at_rest());
        }
    }
    let observer: Arc<Stopper> = Arc::default();
    let heard = observer.clone();
    let world = World::with(|builder| builder.indexer_threads(1).observer(observer));
    heard.manager.set(Arc::downgrade(&world.manager)).unwrap();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.wait_for_state("sensor", JobState::Stopped);
    assert_eq!(*heard.at_rest.lock().unwrap(), [true], "between two turns it is done at once");
}

#[test]
fn promise_09_stop_may_be_called_from_an_engine_call() {
    let hook: Arc<OnceLock<Weak<RollupJobManager>>> = Arc::default();
    let wrapped = hook.clone();
    let world = World::on(
        loaded(),
        move |engine| Arc::new(Meddling { engine, manager: wrapped, act: Act::StopInCommit }),
        |b| b,
    );
    hook.set(Arc::downgrade(&world.manager)).unwrap();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.wait_for_state("sensor", JobState::Stopped);
    assert_eq!(world.documents().len(), 4, "it did not wait for itself");
}

#[test]
fn promise_09_stop_may_be_called_while_shutting_down() {
    let world = World::new();
    world.put_started("idle");
    world.gates.commit().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let manager = world.manager.clone();
    let shutdown = in_thread(move || manager.shutdown(Duration::MAX));
    world.watcher.wait_for(&world.manager, "the shutdown", || {
        matches!(world.manager.trigger("sensor"), Err(rollup_jobs::TriggerError::ShutDown { .. })).then_some(())
    });
    assert!(world.manager.stop("idle", waiting()).unwrap().is_at_rest());
    let waiter = world.stop_in_thread("sensor", Duration::MAX);
    world.wait_for_state("sensor", JobState::Stopping);
    world.gates.commit().open();
    assert!(waiter.join_in_time().unwrap().is_at_rest());
    shutdown.join_in_time().unwrap();
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped);
    assert_eq!(world.store.record("idle").state(), StoredState::Stopped);
}

#[test]
fn promise_09_the_last_owner_may_drop_the_manager_in_an_observer() {
    struct Dropper(Mutex<Option<Arc<RollupJobManager>>>, Mutex<Option<std::sync::mpsc::Sender<()>>>);
    impl Observer for Dropper {
        fn turn_ended(&self, job_id: &str, _: &TurnEnded) {
            let manager = self.0.lock().unwrap().take();
            if let Some(manager) = manager {
                // The world lets go of its reference at this moment; ours is to be the last.
                while Arc::strong_count(&manager) > 1 {
                    std::thread::yield_now();
                }
                let _ = manager.stop(job_id, waiting()).unwrap();
                drop(manager);
                self.1.lock().unwrap().take().unwrap().send(()).unwrap();
            }
        }
        fn state_changed(&self, _: &str, _: &StateChange) {}
    }
    let (dropped, wait) = std::sync::mpsc::channel();
    let dropper = Arc::new(Dropper(Mutex::default(), Mutex::new(Some(dropped))));
    let observer = dropper.clone();
    let world = World::with(|builder| builder.indexer_threads(2).observer(observer));
    world.put_started("sensor");
    *dropper.0.lock().unwrap() = Some(world.manager.clone());
    world.gates.commit().close();
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let store = world.store.clone();
    // Opens the gate, and lets go of the world's own reference.
    drop(world);
    wait.recv_timeout(PATIENCE).expect("no deadlock");
    assert_eq!(store.record("sensor").state(), StoredState::Stopped);
}

#[test]
fn promise_10_stopping_a_stopped_job_does_nothing_and_succeeds() {
    let world = World::new();
    world.put("sensor");
    let before = world.store.record("sensor");
    for options in [StopOptions::new(), waiting()] {
        let stopped = world.manager.stop("sensor", options).unwrap();
        assert!(stopped.is_at_rest() && stopped.completion().is_completed());
    }
    assert_eq!(world.store.record("sensor"), before, "nothing is saved");
    assert!(matches!(world.manager.stop("nobody", waiting()), Err(StopError::NotFound { .. })));
}

#[test]
fn promise_10_only_a_stopped_job_can_be_deleted_and_the_check_is_one_step() {
    // Starts and deletes race: either the delete came first, or it was refused.
    let world = World::new();
    for round in 0..100 {
        let id = format!("job-{round}");
        world.put(&id);
        let (manager, name) = (world.manager.clone(), id.clone());
        let starter = in_thread(move || manager.start(&name).is_ok());
        let deleted = world.manager.delete(&id).is_ok();
        let started = starter.join_in_time();
        assert!(deleted != started, "{deleted} {started}");
        assert_eq!(world.manager.get(&id).is_some(), started);
        assert_eq!(world.store.records().iter().any(|record| record.id() == id), started);
        if started {
            assert!(matches!(world.manager.delete(&id), Err(DeleteError::NotStopped { .. })));
        }
    }
}
