//! The rounds of many jobs.

use std::path::Path;
use std::time::{Duration, Instant};

use rollup_jobs::StopOptions;

use crate::minutely::{Host, Minutely};

pub(crate) struct Jobs {
    minutely: Minutely,
    ids: Vec<String>,
}

impl Jobs {
    /// Begins their first runs, over all that is there.
    pub(crate) fn new(folder: &Path, host: &Host, count: usize) -> Self {
        let minutely = Minutely::open(folder, host);
        let ids: Vec<_> = (0..count).map(|number| format!("minutely-{number:04}")).collect();
        for id in &ids {
            minutely.start(id);
            minutely.manager.trigger(id).unwrap();
        }
        Self { minutely, ids }
    }

    pub(crate) fn count(&self) -> usize {
        self.ids.len()
    }

    /// Waits for the run of each job.
    pub(crate) fn await_all(&self) {
        self.minutely.await_runs(self.count());
    }

    /// A minute comes to its end, and all jobs roll it up.
    pub(crate) fn round(&self) {
        self.minutely.minute_passes();
        self.await_all();
    }

    /// A minute comes to its end, and all jobs are stopped once so many have rolled it up. How long that took.
    pub(crate) fn stop_within_round(&self, after: usize) -> Duration {
        self.minutely.minute_passes();
        for _ in 0..after {
            self.minutely.ends.recv().unwrap();
        }
        let (manager, waiting) =
            (&self.minutely.manager, StopOptions::new().wait_for_completion(true).timeout(Duration::MAX));
        let began = Instant::now();
        let report = manager.stop_many("_all", waiting).unwrap();
        let latency = began.elapsed();
        assert!(report.all_at_rest() && report.len() == self.count());
        self.ids.iter().for_each(|id| manager.start(id).map(drop).unwrap());
        latency
    }

    /// After stops and one more round nothing is missing, and nothing counted twice.
    pub(crate) fn check(&self, documents: u64) {
        self.minutely.minute_passes();
        let deadline = Instant::now() + Duration::from_mins(5);
        for id in &self.ids {
            // Ends of stopped runs may be told after the stop, so that these say nothing here.
            while self.minutely.read(id).0 != documents {
                assert!(Instant::now() < deadline, "{id} has {} of {documents}", self.minutely.read(id).0);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
