use std::sync::Arc;
use std::time::Duration;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, TantivyDocument};
use rollup_jobs::store::RedbStore;
use rollup_jobs::*;

const HOUR: i64 = 3_600_000;
fn source() -> Index {
    let mut schema = Schema::builder();
    let t = schema.add_date_field("timestamp", DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds));
    let n = schema.add_text_field("node", STRING | FAST);
    let l = schema.add_i64_field("level", FAST);
    let s = schema.add_u64_field("serial", FAST);
    let v = schema.add_f64_field("temperature", FAST);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    for i in 0..60_i64 {
        let mut d = TantivyDocument::default();
        d.add_date(t, DateTime::from_timestamp_millis(i * HOUR / 6));
        d.add_text(n, ["a", "b", "c"][i as usize % 3]);
        d.add_i64(l, i % 2 - 1);
        if i % 4 != 0 { d.add_u64(s, u64::MAX - (i % 2) as u64); }
        if i % 5 != 0 { d.add_f64(v, i as f64 / 4.0); }
        writer.add_document(d).unwrap();
    }
    writer.commit().unwrap();
    index
}
fn config(id: &str) -> RollupJobConfigBuilder {
    RollupJobConfig::builder(id).index_pattern("sensor-*").rollup_index("rolled").cron("0 0 0 1 1 ? 2090").page_size(4)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .histogram(Histogram::new(2.5, ["temperature"]))
        .terms(["node", "level", "serial"])
        .metric("timestamp", [Metric::Min, Metric::Max])
}
struct StopAt(std::sync::OnceLock<std::sync::Weak<RollupJobManager>>);
impl Observer for StopAt {
    fn turn_ended(&self, job: &str, turn: &TurnEnded) {
        if job == "half" && turn.turn == 3 { self.0.get().unwrap().upgrade().unwrap().stop("half", StopOptions::new()).unwrap(); }
    }
}
fn main() {
    let to = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    std::fs::create_dir_all(&to).unwrap();
    let engine = Arc::new(TantivyEngine::open(to.join("rollups")).unwrap());
    engine.register("sensor-1", &source()).unwrap();
    let store = RedbStore::open(to.join("jobs.redb")).unwrap();
    let observer = Arc::new(StopAt(Default::default()));
    let manager = Arc::new(RollupJobManager::builder(engine, Arc::new(store)).turn_time(Duration::ZERO).indexer_threads(1).observer(observer.clone()).open().unwrap());
    observer.0.set(Arc::downgrade(&manager)).ok().unwrap();
    for id in ["fresh", "half", "started", "stopped"] {
        let options = if id == "stopped" { PutOptions::new().run_as(RunAs::new("jane")) } else { PutOptions::new() };
        manager.put_with(config(id).build().unwrap(), options).unwrap();
        if id == "fresh" { continue; }
        manager.start(id).unwrap();
        manager.trigger(id).unwrap();
        while manager.get(id).unwrap().phase() != Phase::Idle || manager.get(id).unwrap().state() == JobState::Indexing { std::thread::sleep(Duration::from_millis(20)); }
        if id == "stopped" { manager.stop(id, StopOptions::new().wait_for_completion(true)).unwrap(); }
    }
    for status in manager.list() { println!("{} {:?} {:?} {}", status.id(), status.state(), status.position().map(ToString::to_string), status.stats().to_json()); }
    manager.shutdown(Duration::from_secs(10)).unwrap();
}
