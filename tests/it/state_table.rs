//! What each operation does in each state, as in Elasticsearch 8, a test per state. Where something differs on purpose,
//! the test says so.

use std::sync::{Arc, Mutex};

use rollup_jobs::{DeleteError, JobState, PutError, StartError, StopError, StopOptions, TriggerError};

use crate::support::{JoinInTime, World, config, waiting};

/// Runs `check` on a job "sensor" in each state in turn; the last time there is no such job.
fn in_every_state(check: impl Fn(&World, Option<JobState>) + Send + Sync + Clone + 'static) {
    for state in JobState::ALL.map(Some).into_iter().chain([None]) {
        let world = Arc::new(World::new());
        match state {
            None => {}
            Some(JobState::Stopped) => world.put("sensor"),
            Some(JobState::Started) => world.put_started("sensor"),
            Some(JobState::Indexing) => world.put_indexing("sensor"),
            Some(JobState::Stopping) => world.put_stopping("sensor"),
            // A delete that is under way: the check is made from inside the store's removal.
            Some(JobState::Aborting) => {
                world.put("sensor");
                let (inside, check) = (Arc::downgrade(&world), check.clone());
                let checked = Arc::new(Mutex::new(false));
                let done = checked.clone();
                world.store.on_remove(move |_| {
                    let world = inside.upgrade().unwrap();
                    assert_eq!(world.state("sensor"), JobState::Aborting);
                    check(&world, Some(JobState::Aborting));
                    *done.lock().unwrap() = true;
                });
                world.manager.delete("sensor").unwrap();
                assert!(*checked.lock().unwrap());
                continue;
            }
            Some(state) => panic!("{state} is new"),
        }
        if let Some(state) = state {
            assert_eq!(world.state("sensor"), state);
        }
        check(&world, state);
    }
}

#[test]
fn start() {
    in_every_state(|world, state| {
        let started = world.manager.start("sensor");
        match state {
            Some(JobState::Stopped) => {
                started.unwrap();
                assert_eq!(world.state("sensor"), JobState::Started);
            }
            Some(state @ (JobState::Started | JobState::Indexing)) => {
                started.unwrap();
                assert_eq!(world.state("sensor"), state);
            }
            Some(JobState::Stopping) => assert!(matches!(started, Err(StartError::Stopping { .. }))),
            Some(JobState::Aborting) => assert!(matches!(started, Err(StartError::Aborting { .. }))),
            Some(state) => panic!("{state} is new"),
            None => assert!(matches!(started, Err(StartError::NotFound { .. }))),
        }
    });
}

#[test]
fn stop() {
    in_every_state(|world, state| {
        let stopped = world.manager.stop("sensor", StopOptions::new());
        match state {
            Some(JobState::Stopped | JobState::Started) => {
                assert!(stopped.unwrap().is_at_rest());
                assert_eq!(world.state("sensor"), JobState::Stopped);
            }
            // The run is held, but in a search, which is given up as soon as its thread sees it.
            Some(JobState::Indexing) => {
                let _ = stopped.unwrap();
                world.wait_for_state("sensor", JobState::Stopped);
            }
            Some(JobState::Stopping) => {
                assert!(!stopped.unwrap().is_at_rest());
                assert_eq!(world.state("sensor"), JobState::Stopping);
            }
            Some(JobState::Aborting) => assert!(matches!(stopped, Err(StopError::Aborting { .. }))),
            Some(state) => panic!("{state} is new"),
            None => assert!(matches!(stopped, Err(StopError::NotFound { .. }))),
        }
    });
}

#[test]
fn stop_with_waiting() {
    in_every_state(|world, state| {
        match state {
            Some(JobState::Stopping) => {
                let waiter = world.stop_in_thread("sensor", std::time::Duration::MAX);
                world.gates.commit().open();
                assert!(waiter.join_in_time().unwrap().is_at_rest());
            }
            Some(JobState::Aborting) => {
                assert!(matches!(world.manager.stop("sensor", waiting()), Err(StopError::Aborting { .. })));
                return;
            }
            None => {
                assert!(matches!(world.manager.stop("sensor", waiting()), Err(StopError::NotFound { .. })));
                return;
            }
            Some(_) => assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest()),
        }
        assert_eq!(world.state("sensor"), JobState::Stopped);
    });
}

#[test]
fn delete() {
    in_every_state(|world, state| {
        let deleted = world.manager.delete("sensor");
        match state {
            Some(JobState::Stopped) => {
                deleted.unwrap();
                assert!(world.manager.get("sensor").is_none());
            }
            Some(expected) => {
                let Err(DeleteError::NotStopped { state, job_id }) = deleted else { panic!("refused") };
                assert_eq!((state, job_id.as_str()), (expected, "sensor"));
            }
            None => assert!(matches!(deleted, Err(DeleteError::NotFound { .. }))),
        }
    });
}

#[test]
fn get() {
    in_every_state(|world, state| {
        assert_eq!(world.manager.get("sensor").map(|status| status.state()), state);
        assert_eq!(world.manager.list().len(), usize::from(state.is_some()));
    });
}

#[test]
fn put_same_id() {
    in_every_state(|world, state| {
        let put = world.manager.put(config("sensor").build().unwrap());
        match state {
            Some(_) => assert!(matches!(put, Err(PutError::AlreadyExists { .. }))),
            None => {
                put.unwrap();
                assert_eq!(world.state("sensor"), JobState::Stopped);
            }
        }
    });
}

/// Ours: Elasticsearch has no trigger, its schedule ticks every created job and ignores what it cannot use.
#[test]
fn trigger() {
    in_every_state(|world, state| {
        let triggered = world.manager.trigger("sensor");
        match state {
            Some(JobState::Started) => assert!(triggered.unwrap().is_new()),
            Some(JobState::Indexing) => assert!(!triggered.unwrap().is_new()),
            Some(expected) => {
                let Err(TriggerError::NotStarted { state, .. }) = triggered else { panic!("refused") };
                assert_eq!(state, expected);
            }
            None => assert!(matches!(triggered, Err(TriggerError::NotFound { .. }))),
        }
    });
}
