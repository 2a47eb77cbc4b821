//! Stops at moments at which a thread is deep in something long.

use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::store::MemoryStore;

use crate::common::{documents, in_segments, sensor_index};
use crate::latencies::Latencies;
use crate::waiting::Rounds;

fn rounds(source: &Index, options: TantivyOptions) -> Rounds {
    let engine = TantivyEngine::in_ram_with(options);
    engine.register("sensor", source).unwrap();
    Rounds::new(engine, MemoryStore::new())
}

/// From the call to the return, of a stop that comes when `wait` returns. Each has an engine that knows nothing yet.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &str,
    new: impl Fn() -> Rounds,
    wait: impl Fn(&Rounds, u64),
) {
    let mut latencies = Latencies::default();
    group.bench_function(what, |b| {
        b.iter_custom(|count| {
            (0..count)
                .map(|round| {
                    let rounds = new();
                    let (rest, commit) = rounds.stop_after(1_000, || wait(&rounds, round));
                    latencies.push(rest + commit);
                    rest + commit
                })
                .sum()
        });
    });
    latencies.print(what);
}

pub(crate) fn moments(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let folder = folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let mut group = criterion.benchmark_group("moments");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    let sleep = |most: u64, round: u64| std::thread::sleep(Duration::from_micros(200 + round * 7_919 % most));

    let large: &Path = &at("large");
    let large = sensor_index(large, documents(10_000_000));
    let survey = |_: &Rounds, round| sleep(20_000, round);
    measure(&mut group, "stop during a survey of 10 M documents", || rounds(&large, TantivyOptions::new()), survey);

    // Segments of so little memory are so many that they are merged after the run.
    let merge = |rounds: &Rounds, round| {
        rounds.merged.recv_timeout(Duration::from_secs(60)).unwrap();
        sleep(20_000, round);
    };
    let small_segments = || TantivyOptions::new().writer_memory(if documents(100) == 100 { 8 << 20 } else { 1 });
    measure(&mut group, "stop during a merge of 424,000 documents", || rounds(&large, small_segments()), merge);

    let many = in_segments(&at("many"), documents(1_000_000), documents(1_000_000) / 1_000);
    let opening = |_: &Rounds, round| sleep(200_000, round);
    let first = "stop during a first scan over 1,000 segments";
    measure(&mut group, first, || rounds(&many, TantivyOptions::new()), opening);
    group.finish();
}
