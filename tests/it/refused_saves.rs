//! What becomes of a start or a stop that the store refuses to save.
//!
//! A start that answered `Ok` was undone by another caller's start that was refused, and a stop that was refused once
//! was never saved again: the job came back started after a clean shutdown, though the store was well. Now the last
//! of several starters decides, and a refused stop is saved again, with growing pauses and at shutdown.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rollup_jobs::store::{Acquired, JobStore, JobStoreAdapter, Lease, Ownership, StoreError, StoreErrorKind};
use rollup_jobs::testing::{StoreCall, StoreFault};
use rollup_jobs::{
    DeleteError, DeleteOptions, HealthColor, JobRecord, JobState, OpenError, Phase, RollupJobManager, ShutdownError,
    StartError, StopError, StopOptions, StoredState,
};

use crate::support::{Heard, JoinInTime, PATIENCE, SpyStore, World, config, hold, in_thread, loaded, waiting};

/// Two callers start one job; the store holds both saves, refuses the first, and then takes the second.
#[test]
fn a_start_that_is_refused_does_not_undo_another_one() {
    let world = World::new();
    world.put("sensor");
    let (arrived, arrivals) = channel();
    let (verdict, verdicts) = channel::<()>();
    let (arrived, verdicts) = (Mutex::new(arrived), Mutex::new(verdicts));
    // The first save waits until the second one is made, and panics, which is a refusal.
    world.store.on_update(move |_| {
        // Before the other one hears of this one, and comes here too.
        let first = verdicts.try_lock();
        arrived.lock().unwrap().send(()).unwrap();
        if let Ok(verdicts) = first {
            verdicts.recv_timeout(PATIENCE).unwrap();
            panic!("planned refusal");
        }
    });
    let start = |manager: Arc<rollup_jobs::RollupJobManager>| in_thread(move || manager.start("sensor"));
    let first = start(world.manager.clone());
    arrivals.recv_timeout(PATIENCE).unwrap();
    let second = world.manager.start("sensor");
    verdict.send(()).unwrap();
    assert!(matches!(first.join_in_time(), Err(StartError::Store { .. })));
    second.unwrap();
    assert_eq!(world.state("sensor"), JobState::Started);
    assert_eq!(world.store.record("sensor").state(), StoredState::Started);
}

/// The same, but the refused one hears first, while the other one's save is on its way.
#[test]
fn a_start_is_decided_by_the_last_of_those_who_save_it() {
    for second_is_refused in [false, true] {
        let world = World::new();
        world.put("sensor");
        let (arrived, arrivals) = channel();
        let (verdict, verdicts) = channel::<bool>();
        let (arrived, verdicts) = (Mutex::new(arrived), Mutex::new(verdicts));
        world.store.on_update(move |record| {
            if record.state() == StoredState::Started {
                arrived.lock().unwrap().send(()).unwrap();
                assert!(!verdicts.lock().unwrap().recv_timeout(PATIENCE).unwrap(), "planned refusal");
            }
        });
        let start = || {
            let manager = world.manager.clone();
            in_thread(move || manager.start("sensor"))
        };
        let starters = [start(), start()];
        for _ in &starters {
            arrivals.recv_timeout(PATIENCE).unwrap();
        }
        verdict.send(true).unwrap();
        world
            .watcher
            .wait_for(&world.manager, "the refusal", || starters.iter().any(JoinHandle::is_finished).then_some(()));
        verdict.send(second_is_refused).unwrap();
        let answers = starters.map(JoinInTime::join_in_time);
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(refused, 1 + usize::from(second_is_refused));
        let (state, stored) = if second_is_refused {
            (JobState::Stopped, StoredState::Stopped)
        } else {
            (JobState::Started, StoredState::Started)
        };
        assert_eq!((world.state("sensor"), world.store.record("sensor").state()), (state, stored));
    }
}

#[test]
fn a_stop_that_was_refused_is_saved_again_without_being_asked() {
    let (world, store) = World::faulty_store();
    world.put_started("sensor");
    store.refuse(&[StoreCall::Update]);
    assert!(matches!(world.manager.stop("sensor", waiting()), Err(StopError::Store { .. })));
    let completion = match world.manager.stop("sensor", StopOptions::new()) {
        Err(StopError::Store { .. }) => world.status("sensor"),
        other => panic!("{other:?}"),
    };
    assert_eq!((completion.phase(), completion.health().color()), (Phase::Saving, HealthColor::Red));
    // However often it is refused.
    for _ in 0..10 {
        world.clock.advance(Duration::from_secs(31));
    }
    assert_eq!(world.state("sensor"), JobState::Stopping);
    store.heal();
    world.watcher.wait_for(&world.manager, "the stop to be saved", || {
        world.clock.advance(Duration::from_secs(31));
        (world.state("sensor") == JobState::Stopped).then_some(())
    });
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped);
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
    world.manager.start("sensor").unwrap();
}

/// The end of a run, refused on an indexer thread.
#[test]
fn the_end_of_a_stopped_run_that_was_refused_is_saved_again() {
    let world = World::new();
    world.put_stopping("sensor");
    world.store.refuse_updates(true);
    let updates = world.store.updates.load(Ordering::SeqCst);
    world.gates.commit().open();
    world.watcher.wait_for(&world.manager, "the end of the run", || {
        world.watcher.heard().iter().any(|heard| matches!(heard, Heard::Run(..))).then_some(())
    });
    assert_eq!(world.store.updates.load(Ordering::SeqCst), updates + 1, "the next try comes after a pause");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Red);
    world.store.refuse_updates(false);
    world.watcher.wait_for(&world.manager, "the stop to be saved", || {
        world.clock.advance(Duration::from_secs(31));
        (world.state("sensor") == JobState::Stopped).then_some(())
    });
    let record = world.store.record("sensor");
    assert_eq!(record.state(), StoredState::Stopped);
    assert_eq!(record.progress().position.as_ref(), world.status("sensor").position());
}

#[test]
fn a_shutdown_saves_a_stop_that_was_refused() {
    let (world, store) = World::faulty_store();
    world.put_started("sensor");
    store.fail_at(1, StoreFault::Unavailable);
    assert!(matches!(world.manager.stop("sensor", waiting()), Err(StopError::Store { .. })));
    assert_eq!(world.store.record("sensor").state(), StoredState::Started);
    world.manager.shutdown(PATIENCE).unwrap();
    assert_eq!(world.store.record("sensor").state(), StoredState::Stopped, "the store is well");
    assert_eq!(world.state("sensor"), JobState::Stopped);
}

#[test]
fn a_shutdown_reports_a_stop_that_it_could_not_save() {
    let (world, store) = World::faulty_store();
    world.put_started("sensor");
    store.refuse(&[StoreCall::Update]);
    assert!(matches!(world.manager.stop("sensor", waiting()), Err(StopError::Store { .. })));
    let error = world.manager.shutdown(PATIENCE).unwrap_err();
    let ShutdownError::Store { left, source } = &error else { panic!("{error:?}") };
    assert_eq!((left.len(), left[0].job_id(), left[0].state()), (1, "sensor", JobState::Stopping));
    assert!(source.is_transient());
    assert!(
        error
            .to_string()
            .starts_with("could not save the stop of what is left while shutting down: rollup job [sensor]")
    );
    assert!(world.manager.shutdown(PATIENCE).is_ok(), "once said, that is over");
}

/// The refused save took the position out of memory all the same, and the next run rolled everything up again.
#[test]
fn a_delete_that_is_refused_changes_nothing() {
    let (world, store) = World::faulty_store();
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    let before = world.status("sensor");
    store.refuse(&[StoreCall::Update]);
    let refused = world.manager.delete_with("sensor", DeleteOptions::new().delete_data(true));
    assert!(matches!(refused, Err(DeleteError::Store { .. })));
    let after = world.status("sensor");
    assert_eq!((after.position(), after.stats()), (before.position(), before.stats()));
    assert_eq!(world.documents().len(), 30);
}

/// Of two deletes that stop the job first, one comes while the other one removes: the job is being deleted, nothing
/// else.
#[test]
fn a_delete_against_another_one_says_that_the_job_is_being_deleted() {
    let world = World::new();
    world.put_started("sensor");
    let (hold, inside, leave) = hold();
    world.store.on_remove(move |_| hold());
    let options = || DeleteOptions::new().stop(waiting());
    let manager = world.manager.clone();
    let first = in_thread(move || manager.delete_with("sensor", options()));
    inside.recv_timeout(PATIENCE).unwrap();
    let second = world.manager.delete_with("sensor", options());
    assert!(matches!(second, Err(DeleteError::NotStopped { state: JobState::Aborting, .. })), "{second:?}");
    leave.send(()).unwrap();
    first.join_in_time().unwrap();
}

/// The acknowledged stop has to outlive a manager that was opened while it was being saved.
#[test]
fn a_manager_that_was_left_behind_is_fenced_by_a_store_without_epochs() {
    let (data, store) = (loaded(), Arc::new(WithoutEpochs::default()));
    let open = || RollupJobManager::builder(Arc::new(data.clone()), store.clone()).open().unwrap();
    let former = open();
    former.put(config("sensor").build().unwrap()).unwrap();
    former.start("sensor").unwrap();
    let successor = open();
    let late = former.stop("sensor", waiting());
    assert!(matches!(late, Err(StopError::LostOwnership { .. })), "{late:?}");
    // From then on it knows.
    let status = former.get("sensor").unwrap();
    assert_eq!((status.phase(), status.health().color()), (Phase::LostOwnership, HealthColor::Red));
    assert_eq!(successor.get("sensor").unwrap().state(), JobState::Started);
    let stored = || store.0.records().iter().map(JobRecord::state).collect::<Vec<_>>();
    assert_eq!(stored(), [StoredState::Started]);
    assert!(successor.stop("sensor", waiting()).unwrap().is_at_rest());
    assert_eq!(stored(), [StoredState::Stopped]);
}

/// Somebody has taken it away. Such a job was `stopping` for ever, and could not be deleted either.
#[test]
fn a_job_without_a_record_is_stopped_all_the_same() {
    let stopped_and_deleted = |world: &World| {
        assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
        assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
        world.manager.delete("sensor").unwrap();
        assert!(world.manager.get("sensor").is_none());
    };
    let is_gone = |error: &StoreError| error.kind() == StoreErrorKind::Gone;

    let world = World::new();
    world.put("sensor");
    world.store.inner.remove("sensor").unwrap();
    assert!(matches!(world.manager.start("sensor"), Err(StartError::NotFound { .. })));
    stopped_and_deleted(&world);

    let world = World::new();
    world.put_started("sensor");
    world.store.inner.remove("sensor").unwrap();
    let stopped = world.manager.stop("sensor", waiting());
    assert!(matches!(&stopped, Err(StopError::Store { source, .. }) if is_gone(source)), "{stopped:?}");
    stopped_and_deleted(&world);

    let world = World::new();
    world.put_stopping("sensor");
    world.store.inner.remove("sensor").unwrap();
    world.gates.commit().open();
    world.wait_for_state("sensor", JobState::Stopped);
    stopped_and_deleted(&world);
}

/// The fence of a record that cannot be saved now comes with its next save; who has lost the jobs does not open.
#[test]
fn a_manager_opens_though_a_fence_is_refused_but_not_without_the_ownership() {
    let store = Arc::new(WithoutEpochs::default());
    let open = || RollupJobManager::builder(Arc::new(loaded()), store.clone()).open();
    open().unwrap().put(config("sensor").build().unwrap()).unwrap();
    store.0.refuse_once(StoreError::unavailable("planned refusal"));
    assert_eq!(open().unwrap().get("sensor").unwrap().state(), JobState::Stopped);
    store.0.refuse_once(StoreError::lost_ownership("planned loss"));
    let Err(OpenError::Store(error)) = open() else { panic!("somebody else has the jobs") };
    assert_eq!(error.kind(), StoreErrorKind::LostOwnership);
}

/// It says of itself that it has one owner, and has had two.
#[derive(Debug, Default)]
struct WithoutEpochs(SpyStore);

impl JobStoreAdapter for WithoutEpochs {
    fn store(&self) -> &dyn JobStore {
        &self.0
    }

    fn acquire(&self, _lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        Ok(Acquired::Owned(Ownership::SOLE))
    }
}

/// A shutdown gives up waiting for a run whose stop could not be saved. Nobody is there to save it later: the thread
/// that comes late does it, though the end of its turn is refused once more.
#[test]
fn a_run_that_ends_after_the_shutdown_has_its_stop_saved_at_once() {
    let world = World::new();
    world.put_started("sensor");
    world.gates.commit().close();
    world.manager.trigger("sensor").unwrap();
    world.wait_for_phase("sensor", Phase::Committing);
    let before = world.store.record("sensor").state();
    let refusals = Arc::new(AtomicU32::new(2));
    world.store.on_update({
        let refusals = Arc::clone(&refusals);
        move |_| {
            let refused = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            assert!(refused.is_err(), "planned refusal");
        }
    });
    assert!(matches!(world.manager.stop("sensor", StopOptions::new()), Err(StopError::Store { .. })));
    assert_eq!(refusals.load(Ordering::SeqCst), 1, "the request was refused");
    assert!(matches!(world.manager.shutdown(Duration::ZERO), Err(ShutdownError::Timeout { .. })));
    assert_eq!(world.store.record("sensor").state(), before);
    world.gates.commit().open();
    world.watcher.wait_for(&world.manager, "the stop to be saved", || {
        (world.store.record("sensor").state() == StoredState::Stopped).then_some(())
    });
    assert_eq!(refusals.load(Ordering::SeqCst), 0, "the end of the turn was refused");
}

/// The errors of a store are foreign: once they are history, nothing of them is kept.
#[test]
fn a_refusal_is_forgotten_with_the_next_save() {
    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Full;
    let world = World::new();
    world.put_started("sensor");
    let full = Arc::new(Full);
    let kept = Arc::downgrade(&full);
    world.store.refuse_once(StoreError::rejected(full));
    drop(world.manager.stop("sensor", waiting()).unwrap_err());
    assert!(kept.upgrade().is_some(), "the health shows it");
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    assert!(kept.upgrade().is_none());
}
