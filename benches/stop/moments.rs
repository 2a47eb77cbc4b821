//! Stops at moments at which a thread is deep in something long.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, Histogram, Metric, RollupJobConfig, RollupJobConfigBuilder};

use crate::common::{documents, hourly, in_segments};
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
    job: impl Fn(&str) -> RollupJobConfigBuilder,
    wait: impl Fn(&Rounds, u64),
) {
    let mut latencies = Latencies::default();
    group.bench_function(what, |b| {
        b.iter_custom(|count| {
            (0..count)
                .map(|round| {
                    let rounds = new();
                    let (rest, commit) = rounds.stop_one_after(&job, || wait(&rounds, round));
                    latencies.push(rest + commit);
                    rest + commit
                })
                .sum()
        });
    });
    latencies.print(what);
}

pub(crate) fn moments(criterion: &mut Criterion, large: &Index) {
    let mut group = criterion.benchmark_group("moments");
    group.sample_size(20).measurement_time(Duration::from_secs(10));
    let sleep = |most: u64, round: u64| std::thread::sleep(Duration::from_micros(200 + round * 7_919 % most));

    let new = || rounds(large, TantivyOptions::new());
    let survey = |_: &Rounds, round| sleep(20_000, round);
    measure(&mut group, "stop during a survey of 10 M documents", new, hourly, survey);

    // Hashed, and sorted before they are handed out.
    let each = |id: &str| {
        let job = RollupJobConfig::builder(id).index_pattern("sensor").rollup_index("rolled");
        let job = job.cron("0 0 0 1 1 ? 2090").page_size(1_000).terms(["node"]).metric("humidity", [Metric::Sum]);
        let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        job.histogram(Histogram::new(0.001, ["voltage", "temperature"]))
    };
    let sort = |_: &Rounds, round| sleep(400_000, round);
    measure(&mut group, "stop while each document has a group of its own", new, each, sort);

    // Segments of so little memory are so many that they are merged after the run.
    let merge = |rounds: &Rounds, round| {
        rounds.merged.recv_timeout(Duration::from_mins(1)).unwrap();
        sleep(20_000, round);
    };
    let small_segments = || TantivyOptions::new().writer_memory(if documents(100) == 100 { 8 << 20 } else { 1 });
    let new = || rounds(large, small_segments());
    measure(&mut group, "stop during a merge of 424,000 documents", new, hourly, merge);

    let folder = tempfile::tempdir().unwrap();
    let many = in_segments(folder.path(), documents(1_000_000), documents(1_000_000) / 1_000);
    let opening = |_: &Rounds, round| sleep(200_000, round);
    let new = || rounds(&many, TantivyOptions::new());
    measure(&mut group, "stop during a first scan over 1,000 segments", new, hourly, opening);
    group.finish();
}
