//! What owners and observers of a manager can rely on.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier, Mutex, OnceLock, Weak};
use std::time::Duration;

use rollup_jobs::testing::{FaultyStore, StoreCall};
use rollup_jobs::{
    JobState, Observer, OpenError, PutError, RollupJobManager, RunEnded, RunOutcome, ShutdownError, StartError,
    StateChange, StopError, StopOptions, TurnEnded,
};

use crate::support::{Heard, JoinInTime, PATIENCE, World, config, in_thread, loaded, undisturbed, waiting};

/// The sensor example could not open its store again while it still had the answer of a stop: the handle in it kept
/// the whole manager's inside alive, store file and all. Now it holds the lifecycle of its job only.
#[test]
fn a_kept_answer_of_a_stop_keeps_neither_store_nor_engine_alive() {
    let world = World::new();
    world.put_stopping("sensor");
    let answer = world.manager.stop("sensor", StopOptions::new()).unwrap();
    let completion = answer.completion();
    world.gates.commit().open();
    completion.wait(Duration::MAX).unwrap();
    let store: Weak<_> = Arc::downgrade(&world.store);
    drop(world);
    assert!(store.upgrade().is_none());
    assert!(completion.is_completed());
}

#[test]
fn a_manager_and_its_builder_can_be_printed() {
    let world = World::new();
    world.put("sensor");
    assert!(format!("{:?}", world.manager).contains("jobs: 1"));
    let builder = RollupJobManager::builder(Arc::new(loaded()), world.store.clone()).indexer_threads(7);
    assert!(format!("{builder:?}").contains("indexer_threads: 7"));
}

#[test]
fn a_start_that_cannot_be_saved_leaves_the_job_stopped() {
    // The first save is refused, the second, of the stop, gets through.
    let world = World::new();
    world.put("sensor");
    let (store, calls) = (Arc::downgrade(&world.store), std::sync::atomic::AtomicUsize::new(0));
    world.store.on_update(move |_| {
        let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        store.upgrade().unwrap().refuse_updates(first);
    });
    assert!(matches!(world.manager.start("sensor"), Err(StartError::Store { .. })));
    assert_eq!(world.state("sensor"), JobState::Stopped);
    world.manager.start("sensor").unwrap();
    assert_eq!(world.after_crash().state("sensor"), JobState::Started);
}

#[test]
fn a_start_is_durable_when_it_returns_also_for_the_second_caller() {
    let world = World::new();
    world.put("sensor");
    let (held, release) = std::sync::mpsc::channel::<()>();
    let (arrive, arrived) = std::sync::mpsc::channel::<()>();
    let (release, first) = (std::sync::Mutex::new(release), std::sync::atomic::AtomicBool::new(true));
    world.store.on_update(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            arrive.send(()).unwrap();
            release.lock().unwrap().recv().unwrap();
        }
    });
    let manager = world.manager.clone();
    let starter = in_thread(move || manager.start("sensor"));
    arrived.recv().unwrap();
    world.manager.start("sensor").unwrap();
    assert_eq!(world.after_crash().state("sensor"), JobState::Started, "the first one's save is still held");
    held.send(()).unwrap();
    starter.join_in_time().unwrap();
}

#[test]
fn a_delete_that_the_store_refuses_leaves_the_job_stopped() {
    let engine = Arc::new(loaded());
    let store = FaultyStore::new(Arc::new(rollup_jobs::store::MemoryStore::new()));
    let manager = RollupJobManager::builder(engine, Arc::new(store.clone())).indexer_threads(1).open().unwrap();
    manager.put(config("sensor").build().unwrap()).unwrap();
    store.refuse(&[StoreCall::Remove]);
    assert!(manager.delete("sensor").is_err());
    assert_eq!(manager.get("sensor").unwrap().state(), JobState::Stopped);
    store.heal();
    manager.delete("sensor").unwrap();
    store.refuse(&[StoreCall::Insert]);
    assert!(matches!(manager.put(config("sensor").build().unwrap()), Err(PutError::Store { .. })));
    assert!(manager.get("sensor").is_none());
}

#[test]
fn a_shutdown_that_times_out_names_the_job_and_is_never_waited_for_again() {
    let world = World::new();
    world.gates.commit().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let waiter = world.stop_in_thread("sensor", Duration::MAX);
    world.wait_for_state("sensor", JobState::Stopping);
    let Err(ShutdownError::Timeout { left, .. }) = world.manager.shutdown(Duration::ZERO) else { panic!("a timeout") };
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].job_id(), "sensor");
    assert!(matches!(waiter.join_in_time(), Err(StopError::ShutDown { .. })), "its waiters wake");
    world.manager.shutdown(Duration::MAX).unwrap();
    assert_eq!(world.manager.list().len(), 1, "which still answers");
    assert!(matches!(world.manager.start("sensor"), Err(StartError::ShutDown { .. } | StartError::Stopping { .. })));
    assert!(matches!(world.manager.put(config("b").build().unwrap()), Err(PutError::ShutDown { .. })));
}

#[test]
fn observers_hear_everything_in_order() {
    let world = World::new();
    world.put_started("sensor");
    world.run("sensor");
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.watcher.wait_for(&world.manager, "the last event", || {
        let last = Heard::State("sensor".to_owned(), change(&world, JobState::Stopping, JobState::Stopped)?);
        (world.watcher.heard().last() == Some(&last)).then_some(())
    });
    let heard = world.watcher.heard();
    let states: Vec<_> = heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::State(_, StateChange { from, to, .. }) => Some((*from, *to)),
            _ => None,
        })
        .collect();
    let expected = [
        (JobState::Stopped, JobState::Started),
        (JobState::Started, JobState::Indexing),
        (JobState::Indexing, JobState::Started),
        (JobState::Started, JobState::Stopping),
        (JobState::Stopping, JobState::Stopped),
    ];
    assert_eq!(states, expected);
    let turns = heard.iter().filter(|heard| matches!(heard, Heard::Turn(..))).count();
    assert_eq!(turns, 9, "eight pages of four, of which the last is half full, and the empty one");
    assert!(heard.iter().any(|heard| matches!(heard, Heard::Run(_, run) if run.outcome == RunOutcome::Finished)));
}

/// The event as it was heard, since events cannot be made outside the crate.
fn change(world: &World, from: JobState, to: JobState) -> Option<StateChange> {
    world.watcher.heard().into_iter().find_map(|heard| match heard {
        Heard::State(_, change) if (change.from, change.to) == (from, to) => Some(change),
        _ => None,
    })
}

#[test]
fn a_panicking_observer_harms_nobody() {
    struct Panicking;
    impl Observer for Panicking {
        fn turn_ended(&self, _: &str, _: &TurnEnded) {
            panic!("planned panic");
        }
    }
    let world = World::with(|builder| builder.indexer_threads(1).observer(Arc::new(Panicking)));
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.documents(), undisturbed("sensor"));
}

#[test]
fn a_slow_observer_does_not_delay_a_stop() {
    struct Slow(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);
    impl Observer for Slow {
        fn turn_ended(&self, _: &str, _: &TurnEnded) {
            let _ = self.0.lock().unwrap().recv();
        }
    }
    let (release, held) = std::sync::mpsc::channel();
    let world = World::with(|builder| builder.indexer_threads(1).observer(Arc::new(Slow(std::sync::Mutex::new(held)))));
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    // The observer has the only thread; the job is between two turns.
    world.wait_for("sensor", "the first turn", |status| status.position().is_some());
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    drop(release);
}

#[test]
fn no_threads_is_an_error() {
    let builder = RollupJobManager::builder(Arc::new(loaded()), Arc::new(rollup_jobs::store::MemoryStore::new()));
    assert!(matches!(builder.indexer_threads(0).open(), Err(OpenError::Option { option: "indexer_threads", .. })));
}

/// Two managers on one store, as when the first was not shut down in time: what the first one's threads still save
/// must not undo what the second one has answered.
#[test]
fn an_earlier_owner_of_a_store_can_change_nothing_any_more() {
    let store = Arc::new(rollup_jobs::store::MemoryStore::new());
    let engine = Arc::new(loaded());
    let open = || RollupJobManager::builder(engine.clone(), store.clone()).indexer_threads(1).open().unwrap();
    let first = open();
    first.put(config("sensor").build().unwrap()).unwrap();
    first.start("sensor").unwrap();
    first.put(config("idle").build().unwrap()).unwrap();
    let second = open();
    assert!(matches!(first.delete("idle"), Err(rollup_jobs::DeleteError::LostOwnership { .. })));
    assert_eq!(second.get("idle").unwrap().state(), JobState::Stopped);
    second.delete("idle").expect("its record is still there");
    let _ = second.stop("sensor", waiting()).unwrap();
    assert!(matches!(first.stop("sensor", waiting()), Err(StopError::LostOwnership { .. })));
    assert!(matches!(first.put(config("other").build().unwrap()), Err(PutError::LostOwnership { .. })));
    assert_eq!(first.get("sensor").unwrap().health().color(), rollup_jobs::HealthColor::Red, "get still works");
    drop(first);
    drop(second);
    assert_eq!(open().get("sensor").unwrap().state(), JobState::Stopped);
}

#[test]
fn a_second_shutdown_waits_for_the_first() {
    let world = World::new();
    world.gates.commit().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let manager = world.manager.clone();
    let first = in_thread(move || manager.shutdown(Duration::MAX));
    world.watcher.wait_for(&world.manager, "the shutdown", || {
        matches!(world.manager.put(config("b").build().unwrap()), Err(PutError::ShutDown { .. })).then_some(())
    });
    assert!(matches!(world.manager.shutdown(Duration::ZERO), Err(ShutdownError::Timeout { .. })), "it is not over yet");
    world.gates.commit().open();
    first.join_in_time().unwrap();
    world.manager.shutdown(Duration::ZERO).unwrap();
}

/// Shuts down at the end of a run, on the thread that ran it, when all have got there.
struct ShutsDown {
    manager: OnceLock<Weak<RollupJobManager>>,
    all: Barrier,
    ends: Mutex<Sender<bool>>,
}

impl Observer for ShutsDown {
    fn run_ended(&self, _: &str, _: &RunEnded) {
        self.all.wait();
        let manager = self.manager.get().unwrap().upgrade().unwrap();
        let ended = manager.shutdown(Duration::MAX).is_ok();
        self.ends.lock().unwrap().send(ended).unwrap();
    }
}

#[test]
fn two_of_its_own_threads_may_shut_a_manager_down() {
    let (sender, ends) = channel();
    let observer = Arc::new(ShutsDown { manager: OnceLock::new(), all: Barrier::new(2), ends: Mutex::new(sender) });
    let store = Arc::new(rollup_jobs::store::MemoryStore::new());
    let builder = RollupJobManager::builder(Arc::new(loaded()), store).indexer_threads(2);
    let manager = Arc::new(builder.observer(observer.clone()).open().unwrap());
    observer.manager.set(Arc::downgrade(&manager)).unwrap();
    for id in ["a", "b"] {
        manager.put(config(id).build().unwrap()).unwrap();
        manager.start(id).unwrap();
        manager.trigger(id).unwrap();
    }
    assert_eq!([ends.recv_timeout(PATIENCE), ends.recv_timeout(PATIENCE)], [Ok(true), Ok(true)]);
    manager.shutdown(Duration::MAX).unwrap();
}

#[test]
fn who_waits_for_a_shutdown_that_gives_up_is_told_what_is_left() {
    let world = World::new();
    world.gates.commit().close();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let shutdown = |timeout| {
        let manager = world.manager.clone();
        in_thread(move || manager.shutdown(timeout))
    };
    let first = shutdown(Duration::from_secs(1));
    world.watcher.wait_for(&world.manager, "the shutdown", || {
        matches!(world.manager.put(config("b").build().unwrap()), Err(PutError::ShutDown { .. })).then_some(())
    });
    let second = shutdown(Duration::MAX);
    while !first.is_finished() {
        world.clock.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
    assert!(matches!(first.join_in_time(), Err(ShutdownError::Timeout { left, .. }) if left.len() == 1));
    // It may have come when all was over already.
    match second.join_in_time() {
        Ok(()) => {}
        Err(ShutdownError::Timeout { left, .. }) => assert_eq!(left[0].job_id(), "sensor"),
        Err(other) => panic!("{other}"),
    }
    world.gates.commit().open();
}

#[test]
fn a_job_that_never_ran_leaves_its_id_free() {
    let world = World::new();
    world.put("sensor");
    world.manager.delete("sensor").unwrap();
    world.manager.put(config("sensor").page_size(9).build().unwrap()).unwrap();
}

#[test]
fn a_delete_of_the_data_that_fails_half_way_counts_nothing_twice() {
    let data = loaded();
    let store = FaultyStore::new(Arc::new(rollup_jobs::store::MemoryStore::new()));
    let watcher: Arc<crate::support::Watcher> = Arc::default();
    let manager = RollupJobManager::builder(Arc::new(data.clone()), Arc::new(store.clone()))
        .observer(watcher.clone())
        .open()
        .unwrap();
    manager.put(config("sensor").build().unwrap()).unwrap();
    let run = || {
        let before = watcher.heard().len();
        manager.start("sensor").unwrap();
        manager.trigger("sensor").unwrap();
        watcher.wait_for(&manager, "the run", || {
            watcher.heard()[before..].iter().any(|heard| matches!(heard, Heard::Run(..))).then_some(())
        });
        let _ = manager.stop("sensor", waiting()).unwrap();
    };
    run();
    store.refuse(&[StoreCall::Remove]);
    assert!(manager.delete_with("sensor", rollup_jobs::DeleteOptions::new().delete_data(true)).is_err());
    assert!(data.rolled_up("rolled").is_empty());
    run();
    assert_eq!(data.rolled_up("rolled").len(), 30, "rolled up again from the start");
    assert_eq!(manager.get("sensor").unwrap().stats().documents_processed(), 60);
}
