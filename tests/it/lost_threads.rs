//! A call that never returns keeps its thread: the pool starts another one, and says so.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use jiff::Timestamp;
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::{GatedEngine, ManualClock};
use rollup_jobs::{
    Clock, HealthColor, JobState, Observer, Phase, RollupJobManager, ShutdownError, StopError, TurnEnded, Wake,
};

use crate::support::{Heard, JoinInTime, NOW, PATIENCE, Watcher, World, config, loaded, undisturbed, waiting};

/// A world whose only thread is held in a commit of the job `stuck`.
fn stuck() -> World {
    let world = World::with(|builder| builder.indexer_threads(1));
    world.gates.commit().close();
    world.put_started("stuck");
    world.manager.trigger("stuck").unwrap();
    world.gates.commit().wait_for_waiting(1);
    world
}

fn wait_for_replacement(world: &World) {
    world.wait_for("stuck", "another thread", |status| !status.last_errors().is_empty());
}

#[test]
fn the_other_jobs_go_on() {
    let world = stuck();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    assert_eq!(world.status("sensor").phase(), Phase::Queued);
    world.clock.advance(Duration::from_mins(4));
    assert!(world.status("stuck").last_errors().is_empty(), "it may still come back");
    world.clock.advance(Duration::from_mins(1));
    wait_for_replacement(&world);
    let error = world.status("stuck").last_errors()[0].to_string();
    assert!(error.contains("has not returned for 5m: its indexer thread is lost, another one was started"), "{error}");
    assert_eq!(world.status("stuck").health().color(), HealthColor::Red);
    world.gates.commit().wait_for_waiting(2);
    world.clock.advance(Duration::from_mins(5));
    world.wait_for("sensor", "a thread for it too", |status| !status.last_errors().is_empty());
    assert_eq!(world.status("stuck").last_errors().len(), 1, "its thread was replaced once");
    world.gates.commit().open();
    world.wait_for_end_of_run("sensor", 1);
    world.wait_for_end_of_run("stuck", 1);
    // Not before: the other thread may have come to the gate before there was something to tell.
    world.watcher.wait_for(&world.manager, "the observers to be told", || {
        let told = |heard: &Heard| matches!(heard, Heard::Error(id, _) if id == "stuck");
        world.watcher.heard().iter().any(told).then_some(())
    });
    assert_eq!(world.documents(), {
        let mut both = undisturbed("sensor");
        both.extend(undisturbed("stuck"));
        both
    });
}

#[test]
fn a_stop_says_where_it_is_stuck_and_a_shutdown_names_it() {
    let world = stuck();
    world.put("idle");
    world.clock.advance(Duration::from_mins(6));
    wait_for_replacement(&world);
    let error = world.manager.stop("stuck", waiting().timeout(Duration::ZERO)).unwrap_err();
    let StopError::Timeout { job, .. } = &error else { panic!("{error}") };
    assert_eq!(
        (job.state(), job.phase(), job.in_phase_for()),
        (JobState::Stopping, Phase::Committing, Duration::from_mins(6))
    );
    assert_eq!(
        error.to_string(),
        "timed out after 0s while waiting for rollup job [stuck] to stop: it is stopping, committing for 6m, in run 1; \
         the stop stays in force"
    );
    let Err(error @ ShutdownError::Timeout { .. }) = world.manager.shutdown(Duration::ZERO) else {
        panic!("a timeout")
    };
    assert_eq!(
        error.to_string(),
        "timed out after 0s while shutting down: rollup job [stuck] is stopping, committing for 6m, in run 1"
    );
}

thread_local! {
    static ALIVE: Cell<Option<mpsc::Sender<()>>> = const { Cell::new(None) };
}

#[test]
fn a_thread_that_comes_back_ends() {
    let world = stuck();
    world.clock.advance(Duration::from_mins(6));
    wait_for_replacement(&world);
    // The next save is by the thread that is held, and leaves something that goes when the thread goes.
    let (alive, ended) = mpsc::channel::<()>();
    let alive = Mutex::new(Some(alive));
    world.store.on_update(move |_| {
        if let Some(alive) = alive.lock().unwrap().take() {
            ALIVE.set(Some(alive));
        }
    });
    world.gates.commit().open();
    assert_eq!(ended.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected), "its thread has ended");
    world.wait_for_end_of_run("stuck", 1);
    assert_eq!(world.documents(), undisturbed("stuck"));
    world.put_started("sensor");
    world.run("sensor");
    world.manager.shutdown(Duration::MAX).unwrap();
}

/// Counts who looks at it.
#[derive(Debug)]
struct Counted {
    clock: ManualClock,
    looks: AtomicUsize,
}

impl Clock for Counted {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.clock.monotonic()
    }

    fn sleep_bound(&self, remaining: Duration) -> Option<Duration> {
        self.clock.sleep_bound(remaining)
    }

    fn on_advance(&self, wake: Weak<Wake>) {
        self.clock.on_advance(wake);
    }
}

/// A manager with one thread, held in its first search. It has nobody to tell of anything, which would be something
/// else to do.
fn stuck_alone() -> (RollupJobManager, GatedEngine, Arc<Counted>) {
    let gates = GatedEngine::new(Arc::new(loaded()));
    gates.search().close();
    let clock = Arc::new(Counted { clock: ManualClock::at(NOW.parse().unwrap()), looks: AtomicUsize::new(0) });
    let builder = RollupJobManager::builder(Arc::new(gates.clone()), Arc::new(MemoryStore::new()));
    let builder = builder.indexer_threads(1).turn_time(Duration::ZERO).clock(clock.clone());
    let manager = builder.open().unwrap();
    manager.put(config("stuck").build().unwrap()).unwrap();
    manager.start("stuck").unwrap();
    manager.trigger("stuck").unwrap();
    gates.search().wait_for_waiting(1);
    (manager, gates, clock)
}

fn wait_for_a_word(manager: &RollupJobManager) {
    Watcher::default().wait_for(manager, "a word about the thread", || {
        (!manager.get("stuck").unwrap().last_errors().is_empty()).then_some(())
    });
}

#[test]
fn the_very_first_call_is_watched() {
    let (manager, gates, clock) = stuck_alone();
    clock.clock.advance(Duration::from_mins(6));
    wait_for_a_word(&manager);
    gates.search().open();
}

#[test]
fn so_is_one_that_began_after_the_watch() {
    let (manager, gates, clock) = stuck_alone();
    clock.clock.advance(Duration::from_mins(1));
    gates.search().let_through(1);
    while gates.search().arrived() < 2 {
        std::thread::yield_now();
    }
    for _ in 0..5 {
        // It is looked at before, most of the time, when it has not been silent for long enough.
        (0..1_000).for_each(|_| std::thread::yield_now());
        clock.clock.advance(Duration::from_mins(1));
    }
    wait_for_a_word(&manager);
    gates.search().open();
}

#[test]
fn nobody_watches_threads_that_have_nothing_to_do() {
    let (manager, gates, clock) = stuck_alone();
    gates.search().open();
    Watcher::default().wait_for(&manager, "the end of the run", || {
        (manager.get("stuck").unwrap().state() == JobState::Started).then_some(())
    });
    clock.clock.advance(Duration::from_mins(6));
    (0..10_000).for_each(|_| std::thread::yield_now());
    let before = clock.looks.load(Ordering::SeqCst);
    (0..10_000).for_each(|_| std::thread::yield_now());
    assert!(clock.looks.load(Ordering::SeqCst) - before < 10);
}

/// Each of them keeps its stack, and what the engine has given it.
#[test]
fn sixty_four_threads_may_be_lost_at_once() {
    let world = World::with(|builder| builder.indexer_threads(65));
    world.gates.commit().close();
    let ids: Vec<_> = (0..65).map(|n| format!("stuck-{n}")).collect();
    for id in &ids {
        world.put_started(id);
        world.manager.trigger(id).unwrap();
    }
    world.gates.commit().wait_for_waiting(65);
    world.clock.advance(Duration::from_mins(6));
    let is_kept = |id: &String| {
        world.wait_for(id, "a word about its thread", |status| !status.last_errors().is_empty());
        let error = world.status(id).last_errors()[0].to_string();
        error.ends_with("no other indexer thread could be started: 64 threads are lost already")
    };
    assert_eq!(ids.iter().filter(|id| is_kept(id)).count(), 1);
    world.gates.commit().open();
    for id in &ids {
        world.wait_for_end_of_run(id, 1);
    }

    // Those that came back are lost no more.
    world.gates.commit().close();
    world.put_started("stuck");
    world.manager.trigger("stuck").unwrap();
    world.gates.commit().wait_for_waiting(1);
    world.watcher.wait_for(&world.manager, "another thread", || {
        world.clock.advance(Duration::from_mins(6));
        let errors = world.status("stuck").last_errors().to_vec();
        errors.iter().any(|error| error.to_string().contains("another one was started")).then_some(())
    });
}

#[test]
fn a_long_turn_of_short_calls_is_not_lost() {
    let world = World::with(|builder| builder.indexer_threads(1).turn_time(Duration::MAX));
    world.put_indexing("sensor");
    for page in 1..=4 {
        world.clock.advance(Duration::from_mins(3));
        world.gates.search().let_through(1);
        world.wait_for("sensor", "a page", |status| {
            status.phase() == Phase::Searching && world.gates.search().arrived() == page + 1
        });
    }
    world.gates.search().open();
    world.wait_for_end_of_run("sensor", 1);
    assert!(world.status("sensor").last_errors().is_empty());
}

#[test]
fn an_observer_that_never_returns_costs_no_thread_either() {
    struct Held {
        entered: mpsc::Sender<()>,
        released: Mutex<mpsc::Receiver<()>>,
    }
    impl Observer for Held {
        fn turn_ended(&self, job_id: &str, _: &TurnEnded) {
            if job_id == "stuck" {
                let _ = self.entered.send(());
                let _ = self.released.lock().unwrap().recv();
            }
        }
    }
    let (entered, entries) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let held = Arc::new(Held { entered, released: Mutex::new(released) });
    let world = World::with(|builder| builder.indexer_threads(1).observer(held));
    world.put_started("stuck");
    world.manager.trigger("stuck").unwrap();
    // From here on the thread gives no sign of life; its turn's end could be seen before.
    entries.recv_timeout(PATIENCE).unwrap();
    world.put_started("sensor");
    world.manager.trigger("sensor").unwrap();
    world.clock.advance(Duration::from_mins(6));
    world.wait_for_end_of_run("sensor", 1);
    let stopper = world.stop_in_thread("stuck", Duration::MAX);
    assert!(stopper.join_in_time().unwrap().is_at_rest(), "no stop waits for an observer");
    let Err(ShutdownError::Timeout { left, .. }) = world.manager.shutdown(Duration::ZERO) else { panic!("a timeout") };
    // The run of `sensor` has ended, its thread may not have left the turn yet.
    assert!(left.iter().any(|job| job.job_id() == "stuck"), "{left:?}");
    drop(release);
}

#[test]
fn a_limit_under_which_everything_would_be_lost_is_refused() {
    let builder = rollup_jobs::RollupJobManager::builder(
        Arc::new(rollup_jobs::engine::MemoryEngine::new()),
        Arc::new(rollup_jobs::store::MemoryStore::new()),
    );
    let error = builder.wedged_after(Duration::ZERO).open().unwrap_err();
    assert!(error.to_string().starts_with("invalid option [wedged_after]"), "{error}");
}
