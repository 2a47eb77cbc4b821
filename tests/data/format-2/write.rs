//! Wrote what is beside it, as an example of the crate at c05afb4: `cargo run --all-features --example write_format --
//! <folder>`.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, TantivyDocument};
use rollup_jobs::store::{RedbStore, change_ledger};
use rollup_jobs::*;

const HOUR: i64 = 3_600_000;

fn source() -> Index {
    let mut schema = Schema::builder();
    let millis = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", millis);
    let node = schema.add_text_field("node", STRING | FAST);
    let level = schema.add_i64_field("level", FAST);
    let serial = schema.add_u64_field("serial", FAST);
    let temperature = schema.add_f64_field("temperature", FAST);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    for n in 0..60_i64 {
        let mut document = TantivyDocument::default();
        document.add_date(timestamp, DateTime::from_timestamp_millis(n * HOUR / 6));
        document.add_text(node, ["a", "b", "c"][n as usize % 3]);
        document.add_i64(level, n % 2 - 1);
        if n % 4 != 0 {
            document.add_u64(serial, u64::MAX - (n % 2) as u64);
        }
        if n % 5 != 0 {
            document.add_f64(temperature, n as f64 / 4.0);
        }
        writer.add_document(document).unwrap();
    }
    writer.commit().unwrap();
    index
}

fn config(id: &str) -> RollupJobConfigBuilder {
    RollupJobConfig::builder(id)
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(4)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .histogram(Histogram::new(2.5, ["temperature"]))
        .terms(["node", "level", "serial"])
        .metric("timestamp", [Metric::Min, Metric::Max])
}

/// Stops the job `half` at its third page, and says when a run is over.
struct Runs {
    manager: OnceLock<Weak<RollupJobManager>>,
    ends: Mutex<Sender<()>>,
}

impl Observer for Runs {
    fn turn_ended(&self, job_id: &str, turn: &TurnEnded) {
        if job_id == "half" && turn.turn == 3 {
            self.manager.get().unwrap().upgrade().unwrap().stop("half", StopOptions::new()).unwrap();
        }
    }

    fn run_ended(&self, _: &str, _: &RunEnded) {
        self.ends.lock().unwrap().send(()).unwrap();
    }
}

fn main() {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    let engine = Arc::new(TantivyEngine::open(folder.join("rollups")).unwrap());
    engine.register("sensor-1", &source()).unwrap();
    let store = RedbStore::open(folder.join("jobs.redb")).unwrap();
    change_ledger(&store, "sensor-1", |ledger| ledger.note(0..HOUR)).unwrap();
    let (ends, ended) = channel();
    let runs = Arc::new(Runs { manager: OnceLock::new(), ends: Mutex::new(ends) });
    let builder = RollupJobManager::builder(engine, Arc::new(store)).turn_time(Duration::ZERO).indexer_threads(1);
    let manager = Arc::new(builder.observer(runs.clone()).open().unwrap());
    runs.manager.set(Arc::downgrade(&manager)).ok().unwrap();
    for id in ["fresh", "half", "started", "stopped"] {
        let options = PutOptions::new();
        let options = if id == "stopped" { options.run_as(RunAs::new("jane")) } else { options };
        manager.put_with(config(id).build().unwrap(), options).unwrap();
        if id != "fresh" {
            manager.start(id).unwrap();
            manager.trigger(id).unwrap();
            ended.recv().unwrap();
        }
        if id == "stopped" {
            assert!(manager.stop(id, StopOptions::new().wait_for_completion(true)).unwrap().is_at_rest());
        }
    }
    for status in manager.list() {
        println!("{} {} {}", status.id(), status.state(), status.stats().documents_processed());
    }
    manager.shutdown(Duration::from_secs(10)).unwrap();
}
