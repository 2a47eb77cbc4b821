//! Stop many: requests first, then waits, one deadline, one report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rollup_jobs::{
    JobSelector, JobState, Observer, Phase, RollupJobManager, StopError, StopManyError, StopOptions, StoredState,
    TurnEnded,
};

use crate::support::{JoinInTime, World, config, in_thread, loaded, waiting};
use crate::terse_store::TerseStore;

fn ids<'a>(outcomes: impl Iterator<Item = (&'a str, &'a Result<rollup_jobs::Stopped, StopError>)>) -> Vec<&'a str> {
    outcomes.map(|(id, _)| id).collect()
}

#[test]
fn a_selector_takes_ids_wildcards_and_all() {
    let world = World::new();
    for id in ["sensor-1", "sensor-2", "gateway", "other"] {
        world.put_started(id);
    }
    let report = world.manager.stop_many("sensor-*, gateway,sensor-1", waiting()).unwrap();
    assert_eq!(ids(report.outcomes()), ["gateway", "sensor-1", "sensor-2"], "sorted, each once");
    assert!(report.all_at_rest() && report.len() == 3 && !report.is_empty());
    assert_eq!(world.state("other"), JobState::Started);
    let report = world.manager.stop_many("_all", StopOptions::new()).unwrap();
    assert_eq!(report.len(), 4);
    assert!(world.manager.list().iter().all(|status| status.state() == JobState::Stopped));
    assert!(world.store.records().iter().all(|record| record.state() == StoredState::Stopped));
    assert_eq!(world.manager.stop_many(JobSelector::all(), waiting()).unwrap().len(), 4);
}

#[test]
fn ids_are_taken_as_they_are() {
    let world = World::new();
    world.put_started("plain");
    let report = world.manager.stop_many(JobSelector::ids(["pl*"]), waiting()).unwrap();
    assert!(matches!(report.failures().next(), Some(("pl*", StopError::NotFound { .. }))));
    assert_eq!(world.state("plain"), JobState::Started);
}

#[test]
fn what_matches_nothing_is_an_outcome_or_an_error_by_choice() {
    let world = World::new();
    world.put_started("sensor");
    let report = world.manager.stop_many("a*,nobody", waiting()).unwrap();
    assert_eq!(ids(report.outcomes()), ["nobody"]);
    assert!(!report.all_at_rest());
    assert!(world.manager.stop_many("a*", waiting()).unwrap().is_empty());

    let strict = JobSelector::from("sensor,a*,nobody").allow_no_match(false);
    let error = world.manager.stop_many(strict, waiting()).unwrap_err();
    assert_eq!(error, StopManyError::NoMatch { parts: vec!["a*".to_owned(), "nobody".to_owned()] });
    assert_eq!(error.to_string(), "no rollup job matches [a*,nobody]");
    assert_eq!(world.state("sensor"), JobState::Started, "nothing was stopped");
    assert_eq!(world.manager.stop_many(" , ", waiting()).unwrap_err(), StopManyError::EmptySelector);
}

#[test]
fn all_are_asked_before_any_is_waited_for() {
    let world = World::new();
    world.put_stopping("a-held");
    world.put_indexing("b-searching");
    world.put_started("c-idle");
    let manager = world.manager.clone();
    let many = in_thread(move || manager.stop_many("_all", waiting()));
    // The first of them blocks the waiting; the others stop all the same.
    world.wait_for_state("b-searching", JobState::Stopped);
    world.wait_for_state("c-idle", JobState::Stopped);
    assert_eq!(world.state("a-held"), JobState::Stopping);
    world.gates.commit().open();
    assert!(many.join_in_time().unwrap().all_at_rest());
}

#[test]
fn one_deadline_for_all_and_an_outcome_for_each() {
    let world = World::with(|builder| builder.indexer_threads(3));
    for id in ["a", "b"] {
        world.gates.commit().close();
        world.put_started(id);
        world.manager.trigger(id).unwrap();
    }
    world.gates.commit().wait_for_waiting(2);
    world.put_started("idle");
    let (manager, timeout) = (world.manager.clone(), Duration::from_secs(10));
    let many = in_thread(move || manager.stop_many("_all", waiting().timeout(timeout)));
    world.wait_for_state("b", JobState::Stopping);
    let deadline = rollup_jobs::Clock::monotonic(&*world.clock) + timeout;
    while !many.is_finished() {
        world.clock.advance(Duration::from_secs(1));
        std::thread::yield_now();
    }
    let report = many.join_in_time().unwrap();
    assert!(rollup_jobs::Clock::monotonic(&*world.clock) >= deadline);
    let failures: Vec<_> = report.failures().collect();
    assert_eq!(failures.len(), 2);
    for (id, error) in failures {
        let StopError::Timeout { waited, job } = error else { panic!("{error}") };
        assert_eq!((*waited, job.job_id(), job.phase()), (timeout, id, Phase::Committing));
    }
    assert!(!report.all_at_rest());
    world.gates.commit().open();
    assert!(world.manager.stop_many("_all", waiting()).unwrap().all_at_rest());
}

#[test]
fn what_has_to_be_saved_is_saved_together() {
    let world = World::new();
    for n in 0..100 {
        world.put_started(&format!("job-{n}"));
    }
    let before = world.store.updates.load(Ordering::SeqCst);
    assert!(world.manager.stop_many("_all", waiting()).unwrap().all_at_rest());
    assert_eq!(world.store.updates.load(Ordering::SeqCst) - before, 1);
}

#[test]
fn a_store_that_refuses_is_reported_for_each_job() {
    let world = World::new();
    for id in ["a", "b"] {
        world.put_started(id);
    }
    world.store.refuse_updates(true);
    let report = world.manager.stop_many("*", waiting()).unwrap();
    assert_eq!(report.failures().filter(|(_, error)| matches!(error, StopError::Store { .. })).count(), 2);
    world.store.refuse_updates(false);
    assert!(world.manager.stop_many("*", waiting()).unwrap().all_at_rest());
}

#[test]
fn from_an_observer_it_does_not_wait() {
    struct StopsAll(std::sync::OnceLock<std::sync::Weak<rollup_jobs::RollupJobManager>>);
    impl Observer for StopsAll {
        fn turn_ended(&self, _: &str, _: &TurnEnded) {
            let _ = self.0.get().unwrap().upgrade().unwrap().stop_many("_all", waiting()).unwrap();
        }
    }
    let observer = std::sync::Arc::new(StopsAll(std::sync::OnceLock::new()));
    let heard = observer.clone();
    let world = World::with(|builder| builder.indexer_threads(1).observer(observer));
    heard.0.set(std::sync::Arc::downgrade(&world.manager)).unwrap();
    for id in ["a", "b"] {
        world.put_started(id);
        world.manager.trigger(id).unwrap();
    }
    for id in ["a", "b"] {
        world.wait_for_state(id, JobState::Stopped);
    }
}

#[test]
fn a_store_that_gives_too_few_answers_is_not_believed() {
    let store = Arc::new(TerseStore::default());
    let manager = RollupJobManager::builder(Arc::new(loaded()), store.clone()).open().unwrap();
    for id in ["a", "b"] {
        manager.put(config(id).build().unwrap()).unwrap();
        manager.start(id).unwrap();
    }
    store.answer_at_most(1);
    let report = manager.stop_many("_all", waiting()).unwrap();
    assert_eq!(report.failures().map(|(id, _)| id).collect::<Vec<_>>(), ["b"]);
}
