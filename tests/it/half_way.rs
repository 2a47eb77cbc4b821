//! A job that has come to the middle of its data, and is stopped there.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use rollup_jobs::engine::Engine;
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{JobState, Observer, RollupJobConfig, RollupJobManager, RunEnded, StopOptions, TurnEnded};

/// Stops the job after its first turn, which is its first page.
struct Stops {
    manager: OnceLock<Weak<RollupJobManager>>,
    ends: Mutex<Sender<()>>,
}

impl Observer for Stops {
    fn turn_ended(&self, job_id: &str, turn: &TurnEnded) {
        if turn.turn == 1
            && let Some(manager) = self.manager.get().and_then(Weak::upgrade)
        {
            let _ = manager.stop(job_id, StopOptions::new()).unwrap();
        }
    }

    fn run_ended(&self, _: &str, _: &RunEnded) {
        let _ = self.ends.lock().unwrap().send(());
    }
}

pub(crate) fn half_way(engine: Arc<dyn Engine>, config: &RollupJobConfig) -> Arc<RollupJobManager> {
    let (ends, ended) = channel();
    let stops = Arc::new(Stops { manager: OnceLock::new(), ends: Mutex::new(ends) });
    let builder = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).turn_time(Duration::ZERO);
    let manager = Arc::new(builder.indexer_threads(1).observer(stops.clone()).open().unwrap());
    stops.manager.set(Arc::downgrade(&manager)).unwrap();
    manager.put(config.clone()).unwrap();
    manager.start(config.id()).unwrap();
    manager.trigger(config.id()).unwrap();
    ended.recv_timeout(Duration::from_mins(1)).expect("the run ends");
    let status = manager.get(config.id()).unwrap();
    assert!(status.state() == JobState::Stopped && status.position().is_some(), "{status:#?}");
    manager
}
