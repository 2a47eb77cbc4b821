//! What benchmarks and tests of the steady state share: an index to which each minute adds, and jobs that roll it up,
//! in a manager whose clock stands still between the minutes.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by those that use parts of it, and fail by panicking")]

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::directory::MmapDirectory;
use rollup_jobs::engine::tantivy::tantivy::indexer::MergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, Field, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexSettings, IndexWriter, doc};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::store::RedbStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{DateHistogram, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded, RunOutcome};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const BEGIN: i64 = 1_735_689_600_000;
pub(crate) const REGIONS: [&str; 5] = ["africa", "america", "asia", "australia", "europe"];

/// The host's index.
pub(crate) struct Host {
    pub(crate) index: Index,
    folder: MmapDirectory,
    writer: IndexWriter,
    timestamp: Field,
    region: Field,
    value: Field,
    per_minute: u32,
    minutes: i64,
}

impl Host {
    pub(crate) fn new(folder: &Path, per_minute: u32, writer_memory: usize) -> Self {
        let mut schema = Schema::builder();
        let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
        let timestamp = schema.add_date_field("timestamp", date);
        let region = schema.add_text_field("region", STRING | FAST);
        let value = schema.add_f64_field("value", FAST);
        std::fs::create_dir_all(folder).unwrap();
        let folder = MmapDirectory::open(folder).unwrap();
        let index = Index::create(folder.clone(), schema.build(), IndexSettings::default()).unwrap();
        let writer = index.writer_with_num_threads(1, writer_memory).unwrap();
        Self { index, folder, writer, timestamp, region, value, per_minute, minutes: 0 }
    }

    pub(crate) fn set_merge_policy(&self, policy: Box<dyn MergePolicy>) {
        self.writer.set_merge_policy(policy);
    }

    /// The readings of so many more minutes, committed.
    pub(crate) fn add_minutes(&mut self, minutes: i64) {
        for minute in self.minutes..self.minutes + minutes {
            for (number, region) in (0..self.per_minute).zip(REGIONS.into_iter().cycle()) {
                let millis = BEGIN + minute * MINUTE + i64::from(number) * MINUTE / i64::from(self.per_minute);
                let at = DateTime::from_timestamp_millis(millis);
                let value = f64::from(number * 7 % 1_000);
                let document = doc!(self.timestamp => at, self.region => region, self.value => value);
                self.writer.add_document(document).unwrap();
            }
        }
        self.minutes += minutes;
        self.writer.commit().unwrap();
        // Otherwise tantivy remembers the name of each file that was ever open.
        drop(self.folder.get_cache_info());
    }

    /// The minute that has not come to its end.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(BEGIN + self.minutes * MINUTE + 1).unwrap()
    }

    pub(crate) fn documents(&self) -> u64 {
        self.minutes.unsigned_abs() * u64::from(self.per_minute)
    }
}

struct Ends(Mutex<Sender<RunOutcome>>);

impl Observer for Ends {
    fn run_ended(&self, _: &str, run: &RunEnded) {
        let _ = self.0.lock().unwrap().send(run.outcome);
    }
}

/// A manager on disk whose clock stands still.
pub(crate) struct Minutely {
    pub(crate) manager: RollupJobManager,
    pub(crate) ends: Receiver<RunOutcome>,
    clock: Arc<ManualClock>,
}

impl Minutely {
    pub(crate) fn open(folder: &Path, host: &Host) -> Self {
        let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
        engine.register("readings", &host.index).unwrap();
        let clock = Arc::new(ManualClock::at(host.now()));
        let (sender, ends) = channel();
        let store = Arc::new(RedbStore::open(folder.join("jobs.redb")).unwrap());
        let manager = RollupJobManager::builder(Arc::new(engine), store)
            .clock(clock.clone())
            .observer(Arc::new(Ends(Mutex::new(sender))))
            .open()
            .unwrap();
        Self { manager, ends, clock }
    }

    /// A job that is started: a document for each minute and region.
    pub(crate) fn start(&self, id: &str) {
        let config = RollupJobConfig::builder(id)
            .index_pattern("readings")
            .rollup_index("rolled")
            .cron("0 * * * * ?")
            .page_size(1_000)
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1m"))
            .terms(["region"])
            .metric("value", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount]);
        self.manager.put(config.build().unwrap()).unwrap();
        self.manager.start(id).unwrap();
    }

    /// A minute comes to its end, and all jobs begin to roll it up.
    pub(crate) fn minute_passes(&self) {
        self.clock.advance(Duration::from_mins(1));
    }

    /// Waits for the runs of so many jobs.
    pub(crate) fn await_runs(&self, jobs: usize) {
        const PATIENCE: Duration = Duration::from_mins(5);
        for _ in 0..jobs {
            assert_eq!(self.ends.recv_timeout(PATIENCE).unwrap(), RunOutcome::Finished);
        }
    }

    /// How many documents the rolled-up ones of a job stand for, and how many these are.
    pub(crate) fn read(&self, id: &str) -> (u64, usize) {
        let rows: Vec<u64> = self.manager.rolled_up(id).unwrap().map(|row| row.unwrap().doc_count()).collect();
        (rows.iter().sum(), rows.len())
    }
}
