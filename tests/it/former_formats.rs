//! Stores and rollup indices that former versions wrote: they open, and jobs go on where they were.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::{FieldType, SourceDocument};
use rollup_jobs::store::{JobStore, MemoryStore, RedbStore};
use rollup_jobs::{
    DateHistogram, Histogram, JobState, Metric, RollupJobConfig, RollupJobConfigBuilder, RollupJobManager,
};

use crate::support::{HOUR, Heard, Watcher, records, waiting};
use crate::tantivy_harness::{add_to_index, read_rollup, source_schema};

/// What `write.rs` had as its source.
fn source() -> Index {
    let fields = [
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("level", FieldType::Long),
        ("serial", FieldType::Unsigned),
        ("temperature", FieldType::Double),
    ];
    let documents = (0..60_u32).map(|n| {
        let document = SourceDocument::new()
            .date("timestamp", i64::from(n) * HOUR / 6)
            .keyword("node", ["a", "b", "c"][n as usize % 3])
            .integer("level", i64::from(n % 2) - 1);
        let document = if n % 4 == 0 { document } else { document.unsigned("serial", u64::MAX - u64::from(n % 2)) };
        if n % 5 == 0 { document } else { document.double("temperature", f64::from(n) / 4.0) }
    });
    let index = Index::create_in_ram(source_schema(&fields));
    add_to_index(&index, &documents.collect::<Vec<_>>());
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

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn open(engine: Arc<TantivyEngine>, store: Arc<dyn rollup_jobs::store::JobStore>) -> (RollupJobManager, Arc<Watcher>) {
    engine.register("sensor-1", &source()).unwrap();
    let watcher: Arc<Watcher> = Arc::default();
    let manager = RollupJobManager::builder(engine, store).observer(watcher.clone()).open().unwrap();
    (manager, watcher)
}

fn run(manager: &RollupJobManager, watcher: &Watcher, id: &str) {
    manager.start(id).unwrap();
    let run = manager.trigger(id).unwrap().run();
    watcher.wait_for(manager, "the end of the run", || {
        let ended = |heard: &Heard| matches!(heard, Heard::Run(job, ended) if job == id && ended.run == run);
        watcher.heard().iter().any(ended).then_some(())
    });
    assert!(manager.stop(id, waiting()).unwrap().is_at_rest());
}

#[test]
fn a_store_and_rollup_indices_of_format_1() {
    let folder = goes_on("format-1");
    let store = RedbStore::open(folder.path().join("jobs.redb")).unwrap();
    let inherited = |id: &str| {
        let records = records(&store);
        let record = records.iter().find(|record| record.id() == id).unwrap();
        record.progress().inherited.iter().map(|range| range.end).max()
    };
    // It knew of no source indices: the last date bucket is known to be whole only now.
    assert_eq!(["fresh", "half", "started"].map(inherited), [None, Some(HOUR), Some(9 * HOUR)]);
}

#[test]
fn a_store_and_rollup_indices_of_format_2() {
    let folder = goes_on("format-2");
    let store = RedbStore::open(folder.path().join("jobs.redb")).unwrap();
    let notes = store.ledger("sensor-1").unwrap().notes;
    assert_eq!((notes.len(), &notes[0].range), (1, &(0..HOUR)), "the ledger is still there");
    for record in records(&store) {
        let several = record.progress().several_values.clone();
        assert_eq!(several, Some(BTreeSet::new()), "{}: no document had several", record.id());
    }
}

/// What a version has left is opened, and its jobs go on to what today's jobs come to.
fn goes_on(format: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format), folder.path());
    let former = Arc::new(TantivyEngine::open(folder.path().join("rollups")).unwrap());
    let store = RedbStore::open(folder.path().join("jobs.redb")).unwrap();
    let (manager, watcher) = open(former.clone(), Arc::new(store));

    let fresh = Arc::new(TantivyEngine::in_ram());
    let (today, seen) = open(fresh.clone(), Arc::new(MemoryStore::new()));

    for (id, state, documents_processed) in [
        ("fresh", JobState::Stopped, 0),
        ("half", JobState::Stopped, 12),
        ("started", JobState::Started, 60),
        ("stopped", JobState::Stopped, 60),
    ] {
        let status = manager.get(id).unwrap();
        assert_eq!(status.state(), state, "{id}");
        assert_eq!(*status.config().unwrap(), config(id).build().unwrap(), "{id}");
        assert_eq!(status.stats().documents_processed(), documents_processed, "{id}");
        assert_eq!(status.position().is_some(), documents_processed > 0, "{id}");
        run(&manager, &watcher, id);
        assert!(
            manager.get(id).unwrap().last_errors().is_empty() && manager.get(id).unwrap().notice().is_none(),
            "{id}"
        );

        today.put(config(id).build().unwrap()).unwrap();
        run(&today, &seen, id);
        let documents = |engine: &TantivyEngine| read_rollup(&engine.rollup_index("rolled", id).unwrap().unwrap());
        assert_eq!(documents(&former), documents(&fresh), "{id}");
        assert_eq!(manager.get(id).unwrap().stats().documents_processed(), 60, "{id}: nothing is counted twice");
    }
    // What it is now can be opened again.
    manager.shutdown(crate::support::PATIENCE).unwrap();
    drop((manager, former));
    let former = Arc::new(TantivyEngine::open(folder.path().join("rollups")).unwrap());
    let store = RedbStore::open(folder.path().join("jobs.redb")).unwrap();
    let (manager, _) = open(former, Arc::new(store));
    assert_eq!(manager.list().len(), 4);
    manager.delete("stopped").unwrap();
    folder
}
