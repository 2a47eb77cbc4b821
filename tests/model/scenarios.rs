//! Who may meet whom: each scenario runs under thousands of schedules. A waiter that nobody wakes is a deadlock, which
//! shuttle reports; everything else is asserted.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::world::{ID, World, at_rest, check, pause, stop, waiting};
use crate::store::{JobStore as _, change_ledger};
use crate::{
    DeleteError, DeleteOptions, JobState, JobUpdate, Observer, RollupJobManager, StopError, StopOptions, StoredState,
    TurnEnded,
};

#[test]
fn start_stop_trigger_and_the_end_of_a_turn() {
    check(|| {
        let world = World::new(1);
        let starter = world.spawn(|manager| {
            let _ = manager.start(ID);
            let _ = manager.trigger(ID);
        });
        let stopper = world.spawn(|manager| at_rest(stop(manager)));
        stopper.join().unwrap();
        starter.join().unwrap();
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn stopped_is_durable_when_a_waiter_returns() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

/// Of the second run nothing is to be saved, but of a stop that meets it everything is.
#[test]
fn a_stop_meets_a_run_that_has_nothing_to_do() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        while world.manager.get(ID).is_some_and(|status| status.state() == JobState::Indexing) {
            pause();
        }
        let _ = world.manager.trigger(ID);
        let other = world.spawn(|manager| at_rest(stop(manager)));
        at_rest(stop(&world.manager));
        world.check_stopped();
        other.join().unwrap();
        world.end();
    });
}

/// Waiters that wait for a state miss it when somebody restarts the job at once.
fn stoppers_of_which_one_restarts(stoppers: usize) {
    let world = World::new(1);
    world.start_and_trigger();
    let mut threads: Vec<_> = (1..stoppers).map(|_| world.spawn(|manager| at_rest(stop(manager)))).collect();
    threads.push(world.spawn(|manager| {
        at_rest(stop(manager));
        let _ = manager.start(ID);
        let _ = manager.trigger(ID);
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    at_rest(stop(&world.manager));
    world.check_stopped();
    world.end();
}

#[test]
fn two_stoppers_of_which_one_restarts() {
    check(|| stoppers_of_which_one_restarts(2));
}

#[test]
fn four_stoppers_of_which_one_restarts() {
    check(|| stoppers_of_which_one_restarts(4));
}

#[test]
fn a_handle_is_about_its_own_stop() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let first = world.manager.stop(ID, StopOptions::new()).unwrap().completion();
        let late = first.clone();
        let waiter = world.spawn(move |_| late.wait(Duration::MAX).unwrap());
        at_rest(stop(&world.manager));
        world.start_and_trigger();
        assert!(first.is_completed());
        first.wait(Duration::MAX).unwrap();
        waiter.join().unwrap();
        at_rest(stop(&world.manager));
        assert!(first.is_completed());
        world.end();
    });
}

#[test]
fn never_two_threads_on_one_job() {
    check(|| {
        let world = World::new(2);
        world.start_and_trigger();
        let meddler = world.spawn(|manager| {
            for _ in 0..2 {
                let _ = manager.stop(ID, StopOptions::new());
                let _ = manager.start(ID);
                let _ = manager.trigger(ID);
            }
        });
        for _ in 0..2 {
            let _ = stop_start_and_trigger(&world.manager);
        }
        meddler.join().unwrap();
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

fn stop_start_and_trigger(manager: &RollupJobManager) -> Option<()> {
    let _ = manager.stop(ID, StopOptions::new()).ok()?;
    manager.start(ID).ok()?;
    manager.trigger(ID).ok().map(drop)
}

#[test]
fn stop_against_delete() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let stopper = world.spawn(stop);
        let deleted = match world.manager.delete(ID) {
            Ok(()) => true,
            Err(DeleteError::NotStopped { .. }) => false,
            Err(error) => panic!("{error}"),
        };
        match stopper.join().unwrap() {
            Ok(stopped) => assert!(stopped.is_at_rest()),
            Err(StopError::NotFound { .. } | StopError::Aborting { .. }) => assert!(deleted),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(world.store.record().is_none(), deleted);
        assert_eq!(world.manager.get(ID).is_none(), deleted);
        world.end();
    });
}

#[test]
fn no_start_slips_in_between_a_stop_and_its_delete() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let starter = world.spawn(|manager| {
            for _ in 0..2 {
                let _ = manager.start(ID);
                let _ = manager.trigger(ID);
            }
        });
        world.manager.delete_with(ID, DeleteOptions::new().stop(waiting()).delete_data(true)).unwrap();
        starter.join().unwrap();
        assert!(world.store.record().is_none() && world.manager.get(ID).is_none());
        world.end();
    });
}

#[test]
fn stop_against_shutdown() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let stopper = world.spawn(stop);
        world.manager.shutdown(Duration::MAX).unwrap();
        match stopper.join().unwrap() {
            Ok(stopped) => {
                assert!(stopped.is_at_rest());
                world.check_stopped();
            }
            Err(StopError::ShutDown { .. }) => {
                assert_ne!(world.store.record().unwrap().state(), StoredState::Stopped, "nobody asked in time");
            }
            Err(error) => panic!("{error}"),
        }
        world.end();
    });
}

#[test]
fn stop_against_drop() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let stopper = world.spawn(|manager| manager.stop(ID, StopOptions::new()).unwrap().completion());
        // One of the two lets go of the manager last.
        let store = Arc::clone(&world.store);
        world.end();
        let completion = stopper.join().unwrap();
        completion.wait(Duration::MAX).unwrap();
        assert_eq!(store.record().unwrap().state(), StoredState::Stopped);
    });
}

#[test]
fn stop_against_a_failing_turn() {
    check(|| {
        let world = World::new(1);
        world.plan.fail_in_write.store(true, Ordering::SeqCst);
        world.start_and_trigger();
        let other = world.spawn(|manager| at_rest(stop(manager)));
        at_rest(stop(&world.manager));
        other.join().unwrap();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn stop_against_a_panicking_turn() {
    check(|| {
        let world = World::new(1);
        world.plan.panic_in_commit.store(true, Ordering::SeqCst);
        world.start_and_trigger();
        let other = world.spawn(|manager| at_rest(stop(manager)));
        at_rest(stop(&world.manager));
        other.join().unwrap();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn stop_against_a_refusing_store() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let plan = Arc::clone(&world.plan);
        let healer = world.spawn(move |_| {
            plan.refuse_saves.store(true, Ordering::SeqCst);
            shuttle::thread::yield_now();
            plan.refuse_saves.store(false, Ordering::SeqCst);
        });
        let stoppers = [world.spawn(stop), world.spawn(stop)];
        for stopper in stoppers {
            match stopper.join().unwrap() {
                Ok(stopped) => assert!(stopped.is_at_rest()),
                Err(StopError::Store { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        healer.join().unwrap();
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_timeout_at_any_moment_withdraws_nothing() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let clock = Arc::clone(&world.clock);
        let time = world.spawn(move |_| clock.advance(Duration::from_secs(10)));
        match world.manager.stop(ID, waiting().timeout(Duration::from_secs(10))) {
            Ok(stopped) => assert!(stopped.is_at_rest()),
            Err(StopError::Timeout { .. }) => {
                assert_eq!(world.store.record().unwrap().state(), StoredState::Stopped, "it stays in force, durably");
                at_rest(stop(&world.manager));
            }
            Err(error) => panic!("{error}"),
        }
        time.join().unwrap();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_checkpoint_on_its_way_does_not_overwrite_a_stop() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let stopped = world.manager.stop(ID, StopOptions::new()).unwrap();
        let durable = || assert_eq!(world.store.record().unwrap().state(), StoredState::Stopped);
        durable();
        stopped.completion().wait(Duration::MAX).unwrap();
        durable();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn two_checkpoints_that_cross() {
    // A start's save, a stop's save, a turn's save: whichever reaches the store last, the newest stays.
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let restarter = world.spawn(|manager| {
            let _ = manager.stop(ID, StopOptions::new());
            let _ = manager.start(ID);
        });
        let _ = world.manager.stop(ID, StopOptions::new()).unwrap();
        let started = world.manager.start(ID).is_ok();
        restarter.join().unwrap();
        if !started {
            let _ = world.manager.start(ID);
        }
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.manager.start(ID).unwrap();
        assert_eq!(world.store.record().unwrap().state(), StoredState::Started);
        world.end();
    });
}

#[derive(Default)]
struct StopsInCallback(OnceLock<Weak<RollupJobManager>>);

impl Observer for StopsInCallback {
    fn turn_ended(&self, _: &str, _: &TurnEnded) {
        if let Some(manager) = self.0.get().and_then(Weak::upgrade) {
            let _ = stop(&manager);
        }
    }
}

#[test]
fn stop_from_an_observer() {
    check(|| {
        let observer = Arc::<StopsInCallback>::default();
        let world = World::observed(1, Arc::clone(&observer) as Arc<dyn Observer>);
        observer.0.set(Arc::downgrade(&world.manager)).unwrap();
        world.start_and_trigger();
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_task_that_awaits_a_stop_is_woken() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let completion = world.manager.stop(ID, StopOptions::new()).unwrap().completion();
        let task = {
            let completion = completion.clone();
            world.spawn(move |_| shuttle::future::block_on(completion).unwrap())
        };
        // One that is dropped after its first look takes its waker with it.
        let given_up = world.spawn(move |_| {
            let mut completion = pin!(completion);
            let poll = completion.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(poll, Poll::Pending | Poll::Ready(Ok(()))));
        });
        task.join().unwrap();
        given_up.join().unwrap();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_task_looks_while_the_stop_is_being_completed() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let completion = world.manager.stop(ID, StopOptions::new()).unwrap().completion();
        super::world::pause();
        shuttle::future::block_on(completion).unwrap();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_task_that_awaits_a_refused_stop_is_woken() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let completion = world.manager.stop(ID, StopOptions::new()).unwrap().completion();
        world.plan.refuse_saves.store(true, Ordering::SeqCst);
        match shuttle::future::block_on(completion) {
            Ok(()) | Err(StopError::Store { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        world.plan.refuse_saves.store(false, Ordering::SeqCst);
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_lost_thread_is_replaced_and_does_no_harm_when_it_comes_back() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let clock = Arc::clone(&world.clock);
        let time = world.spawn(move |_| {
            for _ in 0..2 {
                clock.advance(Duration::from_mins(6));
            }
        });
        at_rest(stop(&world.manager));
        world.start_and_trigger();
        at_rest(stop(&world.manager));
        time.join().unwrap();
        world.check_stopped();
        world.end();
    });
}

#[test]
fn stop_many_against_start() {
    check(|| {
        let world = World::new(1);
        world.start_and_trigger();
        let starter = world.spawn(|manager| manager.start(ID).is_ok());
        let report = world.manager.stop_many("_all", waiting()).unwrap();
        assert!(report.all_at_rest());
        starter.join().unwrap();
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn the_last_owner_drops_the_manager_in_a_callback() {
    #[derive(Default)]
    struct Drops(Mutex<Option<Arc<RollupJobManager>>>);
    impl Observer for Drops {
        fn turn_ended(&self, _: &str, _: &TurnEnded) {
            let manager = self.0.lock().unwrap().take();
            drop(manager);
        }
    }
    check(|| {
        let observer = Arc::<Drops>::default();
        let world = World::observed(2, Arc::clone(&observer) as Arc<dyn Observer>);
        *observer.0.lock().unwrap() = Some(Arc::clone(&world.manager));
        world.start_and_trigger();
        world.end();
        // If no turn came to its end the observer still owns it; its lock must not be held while threads are joined.
        let left = observer.0.lock().unwrap().take();
        drop(left);
    });
}

/// Hosts note changes while turns end, the job is stopped, and its saves go to the same store: no note is lost, and no
/// save.
#[test]
fn ledger_writers_against_the_ends_of_turns() {
    check(|| {
        let world = World::new(1);
        let note = |writer: i64| {
            let store = Arc::clone(&world.store);
            world.spawn(move |_| {
                [0, 1].map(|note| {
                    let range = writer * 10 + note * 2..writer * 10 + note * 2 + 1;
                    (range.clone(), change_ledger(&*store, "elsewhere", |ledger| ledger.note(range.clone())).unwrap().1)
                })
            })
        };
        let writers = [note(0), note(1)];
        world.start_and_trigger();
        at_rest(stop(&world.manager));
        let mut noted: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        noted.sort_unstable_by_key(|(_, number)| *number);
        let ledger = world.store.ledger("elsewhere").unwrap();
        assert!(noted.iter().map(|(_, number)| *number).eq(1..=4), "each has a number of its own: {noted:?}");
        assert!(
            ledger.notes.iter().map(|note| (note.range.clone(), note.number)).eq(noted),
            "and is there: {ledger:?}"
        );
        world.check_stopped();
        world.end();
    });
}

/// Two updates while turns end and the job is stopped: no later save brings former settings back.
#[test]
fn updates_against_the_ends_of_turns() {
    check(|| {
        let world = World::new(1);
        let update = |update: JobUpdate| world.spawn(move |manager| manager.update(ID, update).unwrap());
        let updates = [update(JobUpdate::new().page_size(77)), update(JobUpdate::new().delay("1h"))];
        world.start_and_trigger();
        at_rest(stop(&world.manager));
        for update in updates {
            update.join().unwrap();
        }
        let status = world.manager.get(ID).unwrap();
        let (known, stored) = (status.config().unwrap(), world.store.record().unwrap());
        assert_eq!((known.page_size(), known.delay().map(|delay| delay.to_string())), (77, Some("1h".to_owned())));
        assert_eq!(stored.config(), known, "durably");
        world.check_stopped();
        world.end();
    });
}
