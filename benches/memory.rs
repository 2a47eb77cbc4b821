//! What an idle job costs in memory beyond its record: its stored configuration, position and statistics.
//!
//! ```text
//! cargo bench --bench memory
//! ```
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]
#![allow(clippy::print_stdout, reason = "a benchmark reports")]

use std::alloc::System;
use std::sync::Arc;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::{JobStore, LoadedRecord, MemoryStore};
use rollup_jobs::{DateHistogram, JobRecord, RollupJobConfig, RollupJobManager};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const JOBS: usize = 100_000;

fn open(store: &MemoryStore) -> RollupJobManager {
    let engine = MemoryEngine::new();
    engine.add("sensor", SourceDocument::new().date("timestamp", 0));
    RollupJobManager::builder(Arc::new(engine), Arc::new(store.clone())).indexer_threads(1).open().unwrap()
}

fn main() {
    for started in [false, true] {
        let store = MemoryStore::new();
        let manager = open(&store);
        let config =
            RollupJobConfig::builder("job-000000").index_pattern("sensor").rollup_index("rolled").page_size(100);
        let config = config.cron("0 0 0 1 1 ? 2090").date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        manager.put(config.build().unwrap()).unwrap();
        if started {
            manager.start("job-000000").unwrap();
        }
        drop(manager);
        let LoadedRecord::Job(record) = store.load().unwrap().remove(0) else { panic!("a record") };
        let json = record.to_json().to_string();
        for n in 1..JOBS {
            let text = json.replace("job-000000", &format!("job-{n:06}"));
            store.insert(&JobRecord::from_json(text.as_bytes()).unwrap()).unwrap();
        }
        let region = Region::new(ALLOCATOR);
        let manager = open(&store);
        let change = region.change();
        let bytes = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
        println!("{JOBS} jobs, started: {started}: {} bytes each beyond the record", bytes / JOBS);
        drop(manager);
    }
}
