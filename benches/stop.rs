//! How fast a stop is: of an idle job, of a stopped one, of an indexing one without and with waiting, beside what the primitives
//! alone cost, and with 1, 1,000 and 100,000 jobs.
//!
//! ```text
//! cargo bench --features tantivy,testing --bench stop
//! ```
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{hourly, sensor_index};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, JobState, RollupJobConfig, RollupJobManager, StopOptions};

fn manager(jobs: usize) -> RollupJobManager {
    let engine = MemoryEngine::new();
    engine.add("sensor", SourceDocument::new().date("timestamp", 0));
    let manager =
        RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).indexer_threads(1).open().unwrap();
    for n in 0..jobs {
        let config = RollupJobConfig::builder(format!("job-{n}"))
            .index_pattern("sensor")
            .rollup_index("rolled")
            .cron("0 0 0 1 1 ? 2090")
            .page_size(100)
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        manager.put(config.build().unwrap()).unwrap();
    }
    manager
}

type Cell = Arc<(parking_lot::Mutex<u64>, parking_lot::Condvar)>;

fn by_number_of_jobs(criterion: &mut Criterion) {
    for jobs in [1, 1_000, 100_000] {
        let manager = manager(jobs);
        let id = format!("job-{}", jobs / 2);
        let mut group = criterion.benchmark_group(format!("{jobs} jobs"));
        group.sample_size(50).measurement_time(Duration::from_secs(3));

        // The same look-up by the same keys, a lock, a flip, a notification.
        let cells: HashMap<String, Cell> = (0..jobs).map(|n| (format!("job-{n}"), Cell::default())).collect();
        let cells = parking_lot::RwLock::new(cells);
        group.bench_function("baseline: look-up, lock, flip, notify", |b| {
            b.iter(|| {
                let cell = Arc::clone(&cells.read()[&id]);
                *cell.0.lock() += 1;
                cell.1.notify_all();
            });
        });
        group.bench_function("stop, already stopped", |b| b.iter(|| manager.stop(&id, StopOptions::new()).unwrap()));
        group.bench_function("stop, idle (with its save)", |b| {
            b.iter_batched(
                || manager.start(&id).unwrap(),
                |()| manager.stop(&id, StopOptions::new()).unwrap(),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

/// Stops of a job while it scans ten million documents, measured from the call to its return.
fn while_scanning(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let source = sensor_index(folder.path(), 10_000_000);
    let engine = TantivyEngine::in_ram();
    engine.register("sensor", &source).unwrap();
    let manager =
        RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).indexer_threads(1).open().unwrap();
    manager.put(hourly("sensor").build().unwrap()).unwrap();
    let mut group = criterion.benchmark_group("indexing");
    group.sample_size(50).measurement_time(Duration::from_secs(5));
    for (name, wait) in [("stop without waiting", false), ("stop with waiting, while a scan runs", true)] {
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for round in 0..rounds {
                    manager.start("sensor").unwrap();
                    manager.trigger("sensor").unwrap();
                    // Somewhere in the scan's first tenth of a second, before any document is written.
                    let began = Instant::now();
                    while began.elapsed() < Duration::from_micros(2_000 + round * 997 % 80_000) {
                        std::hint::spin_loop();
                    }
                    let began = Instant::now();
                    let stopped = manager.stop("sensor", StopOptions::new().wait_for_completion(wait)).unwrap();
                    spent += began.elapsed();
                    stopped.completion().wait(Duration::MAX).unwrap();
                    assert_eq!(manager.get("sensor").unwrap().state(), JobState::Stopped);
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, by_number_of_jobs, while_scanning);
criterion_main!(benches);
