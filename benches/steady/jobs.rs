//! The jobs, in a manager whose clock stands still between the minutes.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::store::RedbStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{
    DateHistogram, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded, RunOutcome, StopOptions,
};

use crate::host::{BEGIN, MINUTE, MINUTES_OF_A_DAY};

struct Ends(Mutex<Sender<RunOutcome>>);

impl Observer for Ends {
    fn run_ended(&self, _: &str, run: &RunEnded) {
        let _ = self.0.lock().unwrap().send(run.outcome);
    }
}

pub(crate) struct Jobs {
    manager: RollupJobManager,
    clock: Arc<ManualClock>,
    ends: Receiver<RunOutcome>,
    ids: Vec<String>,
}

impl Jobs {
    /// Begins their first runs, over all that is there.
    pub(crate) fn new(folder: &Path, source: &Index, count: usize) -> Self {
        let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
        engine.register("readings", source).unwrap();
        let now = BEGIN + MINUTES_OF_A_DAY * MINUTE + 1;
        let clock = Arc::new(ManualClock::at(rollup_jobs::jiff::Timestamp::from_millisecond(now).unwrap()));
        let (sender, ends) = channel();
        let store = Arc::new(RedbStore::open(folder.join("jobs.redb")).unwrap());
        let manager = RollupJobManager::builder(Arc::new(engine), store)
            .clock(clock.clone())
            .observer(Arc::new(Ends(Mutex::new(sender))))
            .open()
            .unwrap();
        let ids: Vec<_> = (0..count).map(|number| format!("minutely-{number:04}")).collect();
        for id in &ids {
            let config = RollupJobConfig::builder(id)
                .index_pattern("readings")
                .rollup_index("rolled")
                .cron("0 * * * * ?")
                .page_size(1_000)
                .date_histogram(DateHistogram::fixed_interval("timestamp", "1m"))
                .terms(["region"])
                .metric("value", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount]);
            manager.put(config.build().unwrap()).unwrap();
            manager.start(id).unwrap();
            manager.trigger(id).unwrap();
        }
        Self { manager, clock, ends, ids }
    }

    pub(crate) fn count(&self) -> usize {
        self.ids.len()
    }

    /// Waits for the run of each job.
    pub(crate) fn await_all(&self) {
        for _ in &self.ids {
            assert_eq!(self.ends.recv().unwrap(), RunOutcome::Finished);
        }
    }

    /// A minute comes to its end, and all jobs roll it up.
    pub(crate) fn round(&self) {
        self.clock.advance(Duration::from_mins(1));
        self.await_all();
    }

    /// A minute comes to its end, and all jobs are stopped once so many have rolled it up. How long that took.
    pub(crate) fn stop_within_round(&self, after: usize) -> Duration {
        self.clock.advance(Duration::from_mins(1));
        for _ in 0..after {
            self.ends.recv().unwrap();
        }
        let waiting = StopOptions::new().wait_for_completion(true).timeout(Duration::MAX);
        let began = Instant::now();
        let report = self.manager.stop_many("_all", waiting).unwrap();
        let latency = began.elapsed();
        assert!(report.all_at_rest() && report.len() == self.count());
        self.ids.iter().for_each(|id| self.manager.start(id).map(drop).unwrap());
        latency
    }

    /// After stops and one more round nothing is missing, and nothing counted twice.
    pub(crate) fn check(&self, documents: u64) {
        self.clock.advance(Duration::from_mins(1));
        let deadline = Instant::now() + Duration::from_mins(5);
        for id in &self.ids {
            // Ends of stopped runs may be told after the stop, so that these say nothing here.
            while self.documents(id) != documents {
                assert!(Instant::now() < deadline, "{id} has {} of {documents}", self.documents(id));
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn documents(&self, id: &str) -> u64 {
        self.manager.rolled_up(id).unwrap().map(|row| row.unwrap().doc_count()).sum()
    }
}
