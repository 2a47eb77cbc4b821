//! A job that rolls up a minute's data every minute, for as long as one likes, on a simulated clock: what it holds on to
//! after its last run is what it held after its first thousand. Alone in its binary, since it counts what the whole
//! process has.
//!
//! ```text
//! cargo test --release --all-features --test soak -- --nocapture                           # 2,000 runs
//! ROLLUP_SOAK_RUNS=100000 cargo test --release --all-features --test soak -- --nocapture   # 69 days
//! ```
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one reports"
)]
#![allow(clippy::disallowed_methods, reason = "it tells how long a run takes, and asserts nothing of it")]

use std::alloc::System;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::directory::MmapDirectory;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, Field, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexSettings, IndexWriter, doc};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::rollup::RolledUpRow;
use rollup_jobs::store::RedbStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{DateHistogram, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded, RunOutcome};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MINUTE: i64 = 60_000;
const BEGIN: i64 = 1_767_225_600_000;
/// Where what the process has is compared and told.
const MILESTONES: [usize; 8] = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, usize::MAX];
/// Readings of a minute: two of each node.
const READINGS: u32 = 10;
const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// What the merge of the most documents that are merged in memory takes while it lasts.
const MERGE: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_mins(5);

/// What the process has, at most, over many runs.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Files of the rollup index.
    files: usize,
    descriptors: usize,
    /// Mappings of memory: what an open file of an index has in the place of a descriptor.
    mappings: usize,
    threads: usize,
    /// Bytes that are allocated.
    memory: usize,
    /// Bytes of the job store.
    store: u64,
}

impl Held {
    fn now(folder: &Path) -> Self {
        let allocated = ALLOCATOR.stats();
        Self {
            files: files(&folder.join("rollups")),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            memory: allocated.bytes_allocated - allocated.bytes_deallocated,
            store: fs::metadata(folder.join("jobs.redb")).unwrap().len(),
        }
    }

    fn most(self, other: Self) -> Self {
        Self {
            files: self.files.max(other.files),
            descriptors: self.descriptors.max(other.descriptors),
            mappings: self.mappings.max(other.mappings),
            threads: self.threads.max(other.threads),
            memory: self.memory.max(other.memory),
            store: self.store.max(other.store),
        }
    }
}

fn files(folder: &Path) -> usize {
    let count = |path: &Path| if path.is_dir() { files(path) } else { 1 };
    fs::read_dir(folder).unwrap().map(|entry| count(&entry.unwrap().path())).sum()
}

/// The host's index, to which each minute adds.
struct Host {
    folder: MmapDirectory,
    writer: IndexWriter,
    timestamp: Field,
    node: Field,
    temperature: Field,
    minutes: i64,
}

impl Host {
    fn new(folder: &Path) -> (Self, Index) {
        let mut schema = Schema::builder();
        let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
        let timestamp = schema.add_date_field("timestamp", date);
        let node = schema.add_text_field("node", STRING | FAST);
        let temperature = schema.add_f64_field("temperature", FAST);
        fs::create_dir(folder).unwrap();
        let folder = MmapDirectory::open(folder).unwrap();
        let index = Index::create(folder.clone(), schema.build(), IndexSettings::default()).unwrap();
        let writer = index.writer_with_num_threads(1, 15_000_000).unwrap();
        (Self { folder, writer, timestamp, node, temperature, minutes: 0 }, index)
    }

    fn add_minute(&mut self) {
        let begin = BEGIN + self.minutes * MINUTE;
        for (number, node) in (0..READINGS).zip(NODES.into_iter().cycle()) {
            let at = DateTime::from_timestamp_millis(begin + i64::from(number) * MINUTE / i64::from(READINGS));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let temperature = (self.minutes * 7 % 400) as f64 / 10.0;
            let document = doc!(self.timestamp => at, self.node => node, self.temperature => temperature);
            self.writer.add_document(document).unwrap();
        }
        self.writer.commit().unwrap();
        // Otherwise tantivy remembers the name of each file that was ever open.
        drop(self.folder.get_cache_info());
        self.minutes += 1;
    }
}

struct Ends(Mutex<Sender<RunOutcome>>);

impl Observer for Ends {
    fn run_ended(&self, _: &str, run: &RunEnded) {
        let _ = self.0.lock().unwrap().send(run.outcome);
    }
}

/// A minutely job, in a manager whose clock stands still between its runs.
struct Minutely {
    manager: RollupJobManager,
    clock: Arc<ManualClock>,
    ends: Receiver<RunOutcome>,
}

impl Minutely {
    fn new(folder: &Path, source: &Index) -> Self {
        let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
        engine.register("sensor", source).unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millisecond(BEGIN + 1).unwrap()));
        let (sender, ends) = channel();
        let store = Arc::new(RedbStore::open(folder.join("jobs.redb")).unwrap());
        let manager = RollupJobManager::builder(Arc::new(engine), store)
            .clock(clock.clone())
            .observer(Arc::new(Ends(Mutex::new(sender))))
            .open()
            .unwrap();
        let config = RollupJobConfig::builder("minutely")
            .index_pattern("sensor")
            .rollup_index("rolled")
            .cron("0 * * * * ?")
            .page_size(1_000)
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1m"))
            .terms(["node"])
            .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount]);
        manager.put(config.build().unwrap()).unwrap();
        manager.start("minutely").unwrap();
        Self { manager, clock, ends }
    }

    /// A minute passes, and its run comes to its end.
    fn run(&self) {
        self.clock.advance(Duration::from_mins(1));
        let outcome = self.ends.recv_timeout(PATIENCE).expect("a run in each minute");
        assert_eq!(outcome, RunOutcome::Finished);
    }

    /// How many documents the rolled-up ones stand for, and how many these are.
    fn read(&self) -> (u64, usize) {
        let rows: Vec<_> = self.manager.rolled_up("minutely").unwrap().map(Result::unwrap).collect();
        (rows.iter().map(RolledUpRow::doc_count).sum(), rows.len())
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[test]
fn nothing_grows_with_the_runs_of_a_minutely_job() {
    let runs = std::env::var("ROLLUP_SOAK_RUNS").map_or(2_000, |runs| runs.parse().expect("a number of runs"));
    let folder = tempfile::tempdir().unwrap();
    let (mut host, source) = Host::new(&folder.path().join("source"));
    let job = Minutely::new(folder.path(), &source);
    println!("   runs  files  descr.  mappings  threads  memory KB  store KB  a run ms (CPU)  a read, µs per row");
    let (mut first, mut most) = (None, Held::default());
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        host.add_minute();
        let (began, began_processor) = (Instant::now(), ProcessTime::now());
        job.run();
        times.push(began.elapsed());
        processor.push(began_processor.elapsed());
        most = most.most(Held::now(folder.path()));
        if !MILESTONES.contains(&run) && run != runs {
            continue;
        }
        let began = Instant::now();
        let (documents, rows) = job.read();
        let read = began.elapsed();
        assert_eq!((documents, rows), (run as u64 * u64::from(READINGS), run * NODES.len()));
        println!(
            "{run:>7} {:>6} {:>7} {:>9} {:>8} {:>10} {:>9} {:>8.2} ({:.2}) {:>19.3}",
            most.files,
            most.descriptors,
            most.mappings,
            most.threads,
            most.memory >> 10,
            most.store >> 10,
            median(&mut times),
            median(&mut processor),
            (read / u32::try_from(rows).unwrap()).as_secs_f64() * 1e6,
        );
        let at_rest = Held::now(folder.path()).memory;
        let (first, first_at_rest) = *first.get_or_insert((most, at_rest));
        assert_within_bounds(first, most);
        assert!(at_rest <= 2 * first_at_rest, "memory at rest: {at_rest}, at first {first_at_rest}");
        (most, times, processor) = (Held::default(), Vec::new(), Vec::new());
    }
}

/// What may still grow: for each tenfold of documents there are some segments more, as in any index.
fn assert_within_bounds(first: Held, now: Held) {
    let told = format!("{now:?}, at first {first:?}");
    assert!(now.files <= 300, "files: {told}");
    assert!(now.descriptors <= first.descriptors + 16, "descriptors: {told}");
    assert!(now.mappings <= first.mappings + 300, "mappings: {told}");
    assert!(now.threads <= first.threads + 8, "threads: {told}");
    assert!(now.memory <= first.memory + MERGE, "memory: {told}");
    assert!(now.store <= 2 * first.store, "store: {told}");
}
