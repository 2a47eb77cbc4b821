//! An observer that never returns: what is kept for it is bounded, and it hears how much it missed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rollup_jobs::{Observer, StateChange};

use crate::support::{PATIENCE, World, hold, waiting};

/// Holds the first thing it is told until it is let go.
struct Held {
    hold: Box<dyn Fn() + Send + Sync>,
    changes: AtomicU64,
    missed: AtomicU64,
    after_lag: Mutex<Vec<StateChange>>,
}

impl Observer for Held {
    fn state_changed(&self, _: &str, change: &StateChange) {
        if self.changes.fetch_add(1, Ordering::SeqCst) == 0 {
            (self.hold)();
        }
        if self.missed.load(Ordering::SeqCst) > 0 {
            self.after_lag.lock().unwrap().push(*change);
        }
    }

    fn lagged(&self, job_id: &str, missed: u64) {
        assert_eq!(job_id, "sensor");
        self.missed.fetch_add(missed, Ordering::SeqCst);
    }
}

#[test]
fn what_an_observer_misses_is_counted_and_the_newest_is_kept() {
    const ROUNDS: u64 = 2_000;
    let (hold, inside, go) = hold();
    let held = Arc::new(Held {
        hold: Box::new(hold),
        changes: AtomicU64::new(0),
        missed: AtomicU64::new(0),
        after_lag: Mutex::default(),
    });
    let world = World::with(|builder| builder.observer(held.clone()).indexer_threads(1));
    world.put("sensor");
    for round in 0..ROUNDS {
        // Each is three changes.
        world.manager.start("sensor").unwrap();
        if round == 0 {
            // What comes before it has been told anything is not missed by its slowness.
            inside.recv_timeout(PATIENCE).unwrap();
        }
        assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    }
    go.send(()).unwrap();
    world.manager.shutdown(PATIENCE).unwrap();
    let (told, missed) = (held.changes.load(Ordering::SeqCst), held.missed.load(Ordering::SeqCst));
    assert_eq!(told + missed, ROUNDS * 3, "nothing is lost without a word");
    assert!(told <= 2_100, "at most twice what is kept: {told}");
    let newest = held.after_lag.lock().unwrap();
    assert_eq!(newest.len(), 1_024);
    assert_eq!(newest.last().unwrap().to, rollup_jobs::JobState::Stopped);
}
