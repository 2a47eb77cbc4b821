//! Documents per second of a run on a generated tantivy index: the scan alone, and end to end with rolled-up
//! documents durable.
//!
//! ```text
//! cargo bench --features tantivy --bench rollup
//! ```
//!
//! The baseline of the same run is the bare minimum that any scan has to do: decoding the columns once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]

mod common;
#[path = "common/ends.rs"]
mod ends;

use std::sync::Arc;
use std::time::Duration;

use common::{hourly, sensor_index};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ends::ends;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::{Index, ReloadPolicy};
use rollup_jobs::engine::{JobContext, Source, StopSignal};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{RollupJobManager, TermsType};

fn decode(index: &Index) -> u64 {
    let reader: rollup_jobs::engine::tantivy::tantivy::IndexReader =
        index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().unwrap();
    let (mut sum, mut block) = (0_u64, vec![0_u64; 1_024]);
    for segment in reader.searcher().segment_readers() {
        for name in ["timestamp", "node", "temperature", "voltage", "humidity"] {
            let (column, _) = segment.fast_fields().u64_lenient(name).unwrap().unwrap();
            for start in (0..u64::from(segment.max_doc())).step_by(1_024) {
                let len = usize::try_from(u64::from(segment.max_doc()) - start).unwrap().min(1_024);
                column.values.get_range(start, &mut block[..len]);
                sum = sum.wrapping_add(block[0]);
            }
        }
    }
    sum
}

fn scan(engine: &TantivyEngine, job: &JobContext) -> usize {
    let request = job.scan_request();
    let mut stream = engine.scan(job, job.config().index_pattern(), request, &StopSignal::never()).unwrap();
    let mut buckets = 0;
    loop {
        let page = stream.next_page(&StopSignal::never()).unwrap().len();
        if page == 0 {
            return buckets;
        }
        buckets += page;
    }
}

/// A whole run, into a fresh rollup index on disk.
fn run(source: &Index, folder: &std::path::Path) -> u64 {
    let engine = TantivyEngine::open(folder).unwrap();
    engine.register("sensor", source).unwrap();
    let (observer, end) = ends();
    let manager =
        RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).observer(observer).open().unwrap();
    manager.put(hourly("sensor").build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    end.recv().unwrap();
    manager.get("sensor").unwrap().stats().rollups_indexed()
}

fn rollup(criterion: &mut Criterion) {
    for millions in [1_u64, 10] {
        let documents = millions * 1_000_000;
        let folder = tempfile::tempdir().unwrap();
        let source = sensor_index(folder.path(), documents);
        let engine = TantivyEngine::in_ram();
        engine.register("sensor", &source).unwrap();
        let job = JobContext::new(hourly("sensor").build().unwrap(), &[TermsType::Keyword]);
        println!("{millions} M documents -> {} buckets", scan(&engine, &job));

        let mut group = criterion.benchmark_group(format!("{millions} M documents"));
        group.throughput(Throughput::Elements(documents)).sample_size(10).measurement_time(Duration::from_secs(8));
        group.bench_function("baseline: decode the columns", |b| b.iter(|| decode(&source)));
        group.bench_function("scan", |b| b.iter(|| scan(&engine, &job)));
        group.bench_function("end to end", |b| {
            b.iter_batched(
                || tempfile::tempdir().unwrap(),
                |rollups| run(&source, rollups.path()),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, rollup);
criterion_main!(benches);
