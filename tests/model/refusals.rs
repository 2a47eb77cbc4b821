//! Refused saves, starts that meet, leases and pauses that run out, and foreign code that owns the manager: each under
//! thousands of schedules.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::world::{ID, OTHER, World, at_rest, check, pause, stop, waiting};
use crate::sync::Monitor;
use crate::{JobState, Observer, RollupJobManager, RunEnded, StopError, StopOptions, StoredState, TurnEnded};

#[test]
fn stoppers_of_an_idle_job_all_hear_that_the_store_refuses() {
    check(|| {
        let world = World::new(1);
        world.manager.start(ID).unwrap();
        world.plan.refuse_saves.store(true, Ordering::SeqCst);
        // Nobody saves again before the clock has moved: who is not told sleeps for ever.
        let stoppers = [world.spawn(stop), world.spawn(stop), world.spawn(stop)];
        for stopper in stoppers {
            assert!(matches!(stopper.join().unwrap(), Err(StopError::Store { .. })));
        }
        world.plan.refuse_saves.store(false, Ordering::SeqCst);
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_second_stop_is_as_durable_as_the_first() {
    check(|| {
        let world = World::new(1);
        for _ in 0..2 {
            world.start_and_trigger();
            let stopped = world.manager.stop(ID, StopOptions::new()).unwrap();
            assert_eq!(world.store.record().unwrap().state(), StoredState::Stopped, "when the call returns");
            stopped.completion().wait(Duration::MAX).unwrap();
        }
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_start_that_answers_ok_is_not_undone_by_another_that_is_refused() {
    check(|| {
        let world = World::new(1);
        let plan = Arc::clone(&world.plan);
        let healer = world.spawn(move |_| {
            plan.refuse_saves.store(true, Ordering::SeqCst);
            pause();
            plan.refuse_saves.store(false, Ordering::SeqCst);
        });
        let starters = [(); 2].map(|()| world.spawn(|manager| manager.start(ID).is_ok()));
        let is_started = starters.map(|starter| starter.join().unwrap()).contains(&true);
        healer.join().unwrap();
        if is_started {
            assert_eq!(world.manager.get(ID).unwrap().state(), JobState::Started);
            assert_eq!(world.store.record().unwrap().state(), StoredState::Started, "durably");
        }
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn at_rest_is_durable_whatever_becomes_of_the_lease() {
    check(|| {
        let world = World::leased(Duration::from_secs(30));
        world.start_and_trigger();
        let clock = Arc::clone(&world.clock);
        let time = world.spawn(move |_| {
            for _ in 0..3 {
                clock.advance(Duration::from_secs(20));
                pause();
            }
        });
        let stopper = world.spawn(|manager| manager.stop(ID, StopOptions::new()));
        if let Ok(stopped) = stopper.join().unwrap() {
            let stored = world.store.record().unwrap().state();
            assert_eq!(stored, StoredState::Stopped, "at rest: {}", stopped.is_at_rest());
        }
        time.join().unwrap();
        world.end();
    });
}

/// The turn that is withheld in that very moment goes on too: a run that is forgotten never ends.
#[test]
fn a_run_goes_on_however_a_resume_meets_it() {
    #[derive(Default)]
    struct Ended(Monitor<bool>);
    impl Observer for Ended {
        fn run_ended(&self, _: &str, _: &RunEnded) {
            *self.0.lock() = true;
            self.0.notify_all();
        }
    }
    check(|| {
        let ended = Arc::<Ended>::default();
        let world = World::paused(Arc::clone(&ended) as Arc<dyn Observer>);
        world.start_and_trigger();
        world.manager.resume();
        let mut is_over = ended.0.lock();
        while !*is_over {
            ended.0.wait(&mut is_over);
        }
        drop(is_over);
        world.end();
    });
}

/// A turn of one job stops the other, in observers on both threads at once: none waits for the other's.
#[test]
fn observers_of_two_jobs_stop_each_other() {
    #[derive(Default)]
    struct StopsTheOther(OnceLock<Weak<RollupJobManager>>);
    impl Observer for StopsTheOther {
        fn turn_ended(&self, job_id: &str, _: &TurnEnded) {
            if let Some(manager) = self.0.get().and_then(Weak::upgrade) {
                let other = if job_id == ID { OTHER } else { ID };
                drop(manager.stop(other, waiting()).unwrap());
            }
        }
    }
    for threads in [1, 2] {
        let scenario = move || {
            let observer = Arc::<StopsTheOther>::default();
            let world = World::of_two(threads, Arc::clone(&observer) as Arc<dyn Observer>);
            observer.0.set(Arc::downgrade(&world.manager)).unwrap();
            world.start_and_trigger();
            let stoppers = [ID, OTHER].map(|id| world.spawn(move |manager| manager.stop(id, waiting())));
            for stopper in stoppers {
                at_rest(stopper.join().unwrap());
            }
            world.check_stopped();
            world.end();
        };
        check(scenario);
    }
}

#[test]
fn the_last_owner_drops_the_manager_in_a_waker() {
    struct Drops(Mutex<Option<Arc<RollupJobManager>>>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            let manager = self.0.lock().unwrap().take();
            drop(manager);
        }
    }
    check(|| {
        let world = World::new(2);
        world.start_and_trigger();
        let owner = Arc::new(Drops(Mutex::new(Some(Arc::clone(&world.manager)))));
        let completion = world.manager.stop(ID, StopOptions::new()).unwrap().completion();
        let mut completion = pin!(completion);
        let poll = completion.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&owner))));
        assert!(matches!(poll, Poll::Pending | Poll::Ready(Ok(()))));
        world.end();
        // If the stop was completed before, nobody was to be woken.
        let left = owner.0.lock().unwrap().take();
        drop(left);
    });
}
