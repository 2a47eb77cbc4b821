//! The handle of a stop as a future, under tokio and by hand.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rollup_jobs::{JobState, StopError, StopOptions};

use crate::support::{JoinInTime, World, in_thread, waiting};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_task_awaits_a_stop() {
    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    assert!(format!("{completion:?}").contains("completed: false"));
    let task = in_thread(move || block_on(completion));
    world.gates.commit().open();
    task.join_in_time().unwrap();
    assert_eq!(world.state("sensor"), JobState::Stopped);
    let again = world.manager.stop("sensor", StopOptions::new()).unwrap();
    block_on(again.completion()).unwrap();
}

#[test]
fn it_can_be_given_up_and_taken_up_again() {
    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    let timed_out = block_on(async { tokio::time::timeout(Duration::from_millis(1), completion.clone()).await });
    assert!(timed_out.is_err());
    assert_eq!(world.state("sensor"), JobState::Stopping, "the stop stays in force");
    world.gates.commit().open();
    block_on(completion).unwrap();
}

#[test]
fn whoever_completes_the_stop_wakes_the_last_waker_of_each_future_that_is_left() {
    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    let [first, moved, dropped] = [(); 3].map(|()| Arc::<Wakes>::default());
    let poll = |future: std::pin::Pin<&mut rollup_jobs::StopCompletion>, wakes: &Arc<Wakes>| {
        future.poll(&mut Context::from_waker(&Waker::from(wakes.clone())))
    };
    let mut kept = pin!(completion.clone());
    assert!(poll(kept.as_mut(), &first).is_pending());
    assert!(poll(kept.as_mut(), &moved).is_pending(), "another task has it now");
    {
        let mut given_up = pin!(completion.clone());
        assert!(poll(given_up.as_mut(), &dropped).is_pending());
    }
    assert_eq!(Arc::strong_count(&dropped), 1, "a dropped future leaves no waker behind");
    world.gates.commit().open();
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.watcher.wait_for(&world.manager, "the wake", || (moved.0.load(Ordering::SeqCst) == 1).then_some(()));
    assert_eq!((first.0.load(Ordering::SeqCst), dropped.0.load(Ordering::SeqCst)), (0, 0));
    assert!(matches!(poll(kept.as_mut(), &first), Poll::Ready(Ok(()))));
}

#[test]
fn a_waker_that_panics_keeps_nobody_asleep() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("planned panic");
        }
    }
    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    let mut bad = pin!(completion.clone());
    assert!(bad.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics)))).is_pending());
    let task = in_thread(move || block_on(completion));
    let thread = world.stop_in_thread("sensor", Duration::MAX);
    world.gates.commit().open();
    task.join_in_time().unwrap();
    assert!(thread.join_in_time().unwrap().is_at_rest());
}

#[test]
fn a_refused_save_a_shutdown_and_a_delete_end_the_wait() {
    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    world.store.refuse_updates(true);
    let task = in_thread(move || block_on(completion));
    world.gates.commit().open();
    assert!(matches!(task.join_in_time(), Err(StopError::Store { .. })));

    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    let task = in_thread(move || block_on(completion));
    assert!(world.manager.shutdown(Duration::ZERO).is_err());
    assert!(matches!(task.join_in_time(), Err(StopError::ShutDown { .. })));

    let world = World::new();
    world.put_stopping("sensor");
    let completion = world.manager.stop("sensor", StopOptions::new()).unwrap().completion();
    world.gates.commit().open();
    let _ = world.manager.stop("sensor", waiting()).unwrap();
    world.manager.delete("sensor").unwrap();
    block_on(completion).unwrap();
}

#[test]
fn an_answer_that_needs_only_a_lock_is_at_hand_and_any_other_is_not_and_asks_for_nothing() {
    let world = World::new();
    assert!(matches!(world.manager.stop_at_hand("sensor"), Some(Err(StopError::NotFound { .. }))));
    world.put_started("sensor");
    assert!(world.manager.stop_at_hand("sensor").is_none(), "the stop of an idle job has to be saved");
    world.gates.commit().close();
    world.manager.trigger("sensor").unwrap();
    world.gates.commit().wait_for_waiting(1);
    let saved = world.store.records();
    assert!(world.manager.stop_at_hand("sensor").is_none(), "a first stop has to be saved");
    assert_eq!((world.state("sensor"), world.store.records()), (JobState::Indexing, saved));

    assert!(!world.manager.stop("sensor", StopOptions::new()).unwrap().is_at_rest());
    let joined = world.manager.stop_at_hand("sensor").unwrap().unwrap();
    assert!(!joined.is_at_rest());
    world.gates.commit().open();
    block_on(joined.completion()).unwrap();
    assert!(world.manager.stop_at_hand("sensor").unwrap().unwrap().is_at_rest());
    world.manager.delete("sensor").unwrap();
    assert!(matches!(world.manager.stop_at_hand("sensor"), Some(Err(StopError::NotFound { .. }))));
}
