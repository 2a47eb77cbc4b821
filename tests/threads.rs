//! 200 jobs on two indexer threads: run at once on one engine, stopped all together with waiting, resumed, finished.
//! Every result equals the oracle's, and the process ends with the threads it began with. Alone in its binary, since
//! it counts them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, doc};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{
    DateHistogram, JobState, Metric, Observer, RollupJobConfig, RollupJobManager, StopOptions, TurnEnded,
};

const JOBS: usize = 200;
const DOCUMENTS: i64 = 20_000;
const PATIENCE: Duration = Duration::from_mins(5);

/// After this turn of one page each job has still two or more to come.
const IN_THE_MIDDLE: u64 = 4;

/// Holds the indexer threads after a job's first turn until all jobs are triggered, and after the one in the middle
/// until all are asked to stop: however the machine divides its time, no job comes to its end before.
#[derive(Default)]
struct Pace {
    are_triggered: AtomicBool,
    are_asked: AtomicBool,
}

impl Observer for Pace {
    fn turn_ended(&self, _: &str, turn: &TurnEnded) {
        let gate = match turn.turn {
            1 => &self.are_triggered,
            IN_THE_MIDDLE => &self.are_asked,
            _ => return,
        };
        eventually("a gate to open", || gate.load(Ordering::SeqCst));
    }
}

#[expect(clippy::disallowed_methods, reason = "the patience of a test is real time")]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        yield_now();
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// The n-th reading: a minute after the one before, of one of seven nodes.
fn reading(n: i64) -> (i64, String, f64) {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let temperature = (n * 37 % 1_000) as f64 / 8.0;
    (n * 60_000, format!("node-{}", n * n % 7), temperature)
}

fn config(n: usize) -> RollupJobConfig {
    let interval = ["10m", "15m", "20m", "30m", "1h"][n % 5];
    RollupJobConfig::builder(format!("job-{n:03}"))
        .index_pattern("sensor")
        .rollup_index(format!("rolled-{}", n % 10))
        .cron("0 0 0 1 1 ? 2090")
        .page_size(200)
        .date_histogram(DateHistogram::fixed_interval("timestamp", interval))
        .terms(["node"])
        .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount])
        .build()
        .unwrap()
}

/// What each job is to find: per bucket the document count, the least, the greatest and the sum.
type Oracle = BTreeMap<(i64, String), (u64, f64, f64, f64)>;

fn oracle(n: usize) -> Oracle {
    let millis = [10, 15, 20, 30, 60][n % 5] * 60_000;
    let mut groups = Oracle::new();
    for (at, node, temperature) in (0..DOCUMENTS).map(reading) {
        let empty = (0, f64::INFINITY, f64::NEG_INFINITY, 0.0);
        let (count, min, max, sum) = groups.entry((at.div_euclid(millis) * millis, node)).or_insert(empty);
        (*count, *sum) = (*count + 1, *sum + temperature);
        (*min, *max) = (min.min(temperature), max.max(temperature));
    }
    groups
}

fn rolled_up(engine: &TantivyEngine, n: usize) -> Oracle {
    let config = config(n);
    let index = engine.rollup_index(config.rollup_index(), config.id()).unwrap().expect("a rollup index");
    let reader: rollup_jobs::engine::tantivy::tantivy::IndexReader = index
        .reader_builder()
        .reload_policy(rollup_jobs::engine::tantivy::tantivy::ReloadPolicy::Manual)
        .try_into()
        .unwrap();
    let mut groups = Oracle::new();
    for segment in reader.searcher().segment_readers() {
        let fast = segment.fast_fields();
        let date = fast.date("timestamp.date_histogram.timestamp").unwrap();
        let node = fast.str("node.terms.value").unwrap().unwrap();
        let count = fast.i64("node.terms._count").unwrap();
        let metrics = ["min", "max", "sum", "value_count"];
        let metrics = metrics.map(|metric| fast.f64(&format!("temperature.{metric}.value")).unwrap());
        for id in 0..segment.max_doc() {
            let mut text = String::new();
            node.ord_to_str(node.term_ords(id).next().unwrap(), &mut text).unwrap();
            let key = (date.first(id).unwrap().into_timestamp_millis(), text);
            let [min, max, sum, values] = metrics.each_ref().map(|column| column.first(id).unwrap());
            let count = count.first(id).unwrap().unsigned_abs();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let all = count as f64;
            assert!((values - all).abs() < 0.5, "every document has a temperature");
            let value = (count, min, max, sum);
            assert!(groups.insert(key, value).is_none(), "a bucket is there twice");
        }
    }
    groups
}

#[test]
fn two_hundred_jobs_are_stopped_together_resumed_and_finished() {
    let before = threads();
    {
        let engine = Arc::new(TantivyEngine::in_ram());
        let mut schema = Schema::builder();
        let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
        let timestamp = schema.add_date_field("timestamp", date);
        let node = schema.add_text_field("node", STRING | FAST);
        let temperature = schema.add_f64_field("temperature", FAST);
        let index = Index::create_in_ram(schema.build());
        let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
        for (at, name, value) in (0..DOCUMENTS).map(reading) {
            let at = DateTime::from_timestamp_millis(at);
            writer.add_document(doc!(timestamp => at, node => name, temperature => value)).unwrap();
        }
        writer.commit().unwrap();
        writer.wait_merging_threads().unwrap();
        engine.register("sensor", &index).unwrap();

        let pace = Arc::new(Pace::default());
        let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new()))
            .observer(Arc::clone(&pace) as _)
            .indexer_threads(2)
            .turn_time(Duration::ZERO)
            .open()
            .unwrap();
        for n in 0..JOBS {
            manager.put(config(n)).unwrap();
            manager.start(config(n).id()).unwrap();
        }
        for n in 0..JOBS {
            manager.trigger(config(n).id()).unwrap();
        }
        pace.are_triggered.store(true, Ordering::SeqCst);
        eventually("the first turns", || manager.list().iter().all(|status| status.position().is_some()));
        std::thread::scope(|scope| {
            for n in 0..JOBS {
                let manager = &manager;
                std::thread::Builder::new()
                    .spawn_scoped(scope, move || {
                        let options = StopOptions::new().wait_for_completion(true).timeout(PATIENCE);
                        assert!(manager.stop(config(n).id(), options).unwrap().is_at_rest());
                    })
                    .unwrap();
            }
            eventually("all to be asked", || {
                let is_asked = |state| matches!(state, JobState::Stopping | JobState::Stopped);
                manager.list().iter().all(|status| is_asked(status.state()))
            });
            pace.are_asked.store(true, Ordering::SeqCst);
        });
        let statuses = manager.list();
        assert!(statuses.iter().all(|status| status.state() == JobState::Stopped));
        assert!(statuses.iter().all(|status| status.position().is_some()));
        let unfinished =
            |status: &rollup_jobs::JobStatus| status.stats().documents_processed() < DOCUMENTS.unsigned_abs();
        assert!(statuses.iter().all(unfinished), "all were stopped in the middle");

        for n in 0..JOBS {
            manager.start(config(n).id()).unwrap();
            manager.trigger(config(n).id()).unwrap();
        }
        let finished = DOCUMENTS.unsigned_abs();
        eventually("all runs to end", || {
            manager
                .list()
                .iter()
                .all(|status| status.state() == JobState::Started && status.stats().documents_processed() == finished)
        });
        for n in 0..JOBS {
            assert_eq!(rolled_up(&engine, n), oracle(n), "job {n}");
            assert!(manager.get(config(n).id()).unwrap().last_errors().is_empty());
        }
        manager.shutdown(PATIENCE).unwrap();
    }
    // A joined thread can be listed for a moment longer.
    eventually("the threads to be gone", || threads() == before);
}
