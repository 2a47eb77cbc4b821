//! What a run costs that finds little, or nothing: processor time of a run with 200 new documents, in an index that has
//! millions already, in 110 segments; and of one that no date bucket has ended since.
//!
//! ```text
//! cargo bench --features tantivy,testing --bench small_runs              # 1 and 10 million documents
//! cargo bench --features tantivy,testing --bench small_runs -- 30        # 30 million
//! ```
//!
//! The baseline, in the same run, is the least that somebody who knows tantivy would do: reload a reader, and read the
//! columns of the segments whose dates are new. A run that finds nothing is mostly a hand-over to a thread and back, if
//! somebody waits for it alone: what that takes by itself is said too, and what such runs take of many jobs at once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]

#[path = "common/ends.rs"]
mod ends;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cpu_time::ProcessTime;
use ends::ends;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, Field, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexReader, IndexWriter, ReloadPolicy, doc};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager};
use tempfile::TempDir;

const HOUR: i64 = 3_600_000;
const BEGIN: i64 = 1_735_689_600_000;
const SEGMENTS: i64 = 110;
/// Runs of each kind.
const RUNS: usize = 40;
/// Documents that are new to a run.
const NEW: i64 = 200;

struct Host {
    index: Index,
    writer: IndexWriter,
    reader: IndexReader,
    timestamp: Field,
    user: Field,
    value: Field,
    users: i64,
    added: i64,
}

impl Host {
    /// A document a second and a half, nearly in order.
    fn new(folder: &Path, documents: i64, users: i64) -> Self {
        let mut schema = Schema::builder();
        let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
        let timestamp = schema.add_date_field("timestamp", date);
        let user = schema.add_text_field("user", STRING | FAST);
        let value = schema.add_f64_field("value", FAST);
        let index = Index::create_in_dir(folder, schema.build()).unwrap();
        let writer: IndexWriter = index.writer_with_num_threads(1, 128 << 20).unwrap();
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().unwrap();
        let mut host = Self { index, writer, reader, timestamp, user, value, users, added: 0 };
        let span = 90 * 24 * HOUR;
        for segment in 0..SEGMENTS {
            let first = segment * documents / SEGMENTS;
            for number in first..(segment + 1) * documents / SEGMENTS {
                host.add(BEGIN + number * span / documents);
            }
            host.writer.commit().unwrap();
        }
        host
    }

    fn add(&mut self, millis: i64) {
        self.added += 1;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (user, value) = (self.added * 7_919 % self.users, (self.added % 1_000) as f64);
        let at = DateTime::from_timestamp_millis(millis);
        let document = doc!(self.timestamp => at, self.user => format!("user-{user:06}"), self.value => value);
        self.writer.add_document(document).unwrap();
    }

    /// What somebody would do by hand: nothing is grouped, nothing is kept.
    fn by_hand(&self, since: i64) -> u64 {
        self.reader.reload().unwrap();
        let mut seen = 0;
        for segment in self.reader.searcher().segment_readers() {
            let fast = segment.fast_fields();
            let dates = fast.date("timestamp").unwrap();
            if dates.max_value().into_timestamp_millis() < since {
                continue;
            }
            let (users, values) = (fast.str("user").unwrap().unwrap(), fast.f64("value").unwrap());
            for id in segment.doc_ids_alive() {
                if dates.first(id).is_some_and(|at| at.into_timestamp_millis() >= since) {
                    let mut user = String::new();
                    users.ord_to_str(users.term_ords(id).next().unwrap(), &mut user).unwrap();
                    seen += u64::from(values.first(id).is_some()) + user.len() as u64;
                }
            }
        }
        seen
    }
}

struct Jobs {
    manager: RollupJobManager,
    clock: Arc<ManualClock>,
    end: Receiver<()>,
    ids: Vec<String>,
}

impl Jobs {
    fn new(host: &Host, folder: &Path, now: i64, count: usize) -> Self {
        let engine = TantivyEngine::open(folder).unwrap();
        engine.register("log", &host.index).unwrap();
        let now = rollup_jobs::jiff::Timestamp::from_millisecond(now).unwrap();
        let clock = Arc::new(ManualClock::at(now));
        let (observer, end) = ends();
        let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new()))
            .clock(clock.clone())
            .observer(observer)
            .open()
            .unwrap();
        let ids: Vec<_> = (0..count).map(|number| format!("log-{number}")).collect();
        for id in &ids {
            let config =
                RollupJobConfig::builder(id).index_pattern("log").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
            let config = config.page_size(10_000).date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
            let config = config.terms(["user"]).metric("value", [Metric::Max, Metric::Avg]).build().unwrap();
            manager.put(config).unwrap();
            manager.start(id).unwrap();
        }
        Self { manager, clock, end, ids }
    }

    /// Runs all jobs, and waits for the ends of their runs.
    fn run(&self) {
        for id in &self.ids {
            self.manager.trigger(id).unwrap();
        }
        for _ in &self.ids {
            self.end.recv().unwrap();
        }
    }
}

/// The median of what it takes, in milliseconds of the processor.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let began = ProcessTime::now();
    work();
    began.elapsed()
}

fn measure(documents: i64, users: i64) -> [TempDir; 2] {
    let (source, rollups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut host = Host::new(source.path(), documents, users);
    let mut now = BEGIN + 90 * 24 * HOUR;
    let jobs = Jobs::new(&host, rollups.path(), now, 1);
    let first = timed(|| jobs.run());
    let (mut by_hand, mut runs, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        for number in 0..NEW {
            host.add(now + number * (HOUR / NEW));
        }
        host.writer.commit().unwrap();
        by_hand.push(timed(|| host.by_hand(now)));
        jobs.clock.advance(Duration::from_hours(1));
        now += HOUR;
        runs.push(timed(|| jobs.run()));
        idle.push(timed(|| jobs.run()));
    }
    println!(
        "{:>3} M documents, {users:>6} users: first run {:.2} s; {NEW} new: {:.2} ms (by hand {:.2} ms); nothing new: {:.3} ms",
        documents / 1_000_000,
        first.as_secs_f64(),
        median(runs),
        median(by_hand),
        median(idle),
    );
    [source, rollups]
}

/// What one of many runs costs that find nothing; and, of one that is waited for alone, the waiting.
fn measure_idle(jobs: usize) -> [TempDir; 2] {
    let (source, rollups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let host = Host::new(source.path(), 11_000, 200);
    let many = Jobs::new(&host, rollups.path(), BEGIN + 90 * 24 * HOUR, jobs);
    many.run();
    let at_once = (0..RUNS).map(|_| timed(|| many.run())).collect();
    let (ask, asked) = channel();
    let (answer, answered) = channel();
    let echo = std::thread::Builder::new().name("echo".to_owned());
    let echo = echo.spawn(move || asked.into_iter().for_each(|()| answer.send(()).unwrap())).unwrap();
    let hand_over = (0..RUNS).map(|_| {
        timed(|| {
            ask.send(()).unwrap();
            answered.recv().unwrap();
        })
    });
    let hand_over = median(hand_over.collect());
    drop(ask);
    echo.join().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let each = median(at_once) / jobs as f64;
    println!(
        "nothing new for {jobs} jobs at once: {each:.3} ms each (to hand something to a thread and back: \
         {hand_over:.3} ms)"
    );
    [source, rollups]
}

fn main() {
    // As a test it only has to work.
    if !std::env::args().any(|argument| argument == "--bench") {
        measure_idle(3);
        measure(11_000, 200);
        return;
    }
    let millions: Vec<i64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let millions = if millions.is_empty() { vec![1, 10] } else { millions };
    // ext4 without a journal is slow to create files while it remembers that others were deleted.
    let mut kept = Vec::new();
    for millions in millions {
        for users in [200, 50_000] {
            kept.extend(measure(millions * 1_000_000, users));
        }
    }
    kept.extend(measure_idle(100));
}
