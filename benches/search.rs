//! What a search costs beside its documents: a plan among a thousand jobs, the live edge, a million groups of which ten
//! are returned, and the run and the stop that it is beside.
//!
//! ```text
//! cargo bench --features tantivy,testing --bench search
//! ```
//!
//! What documents cost is `benches/compare/run --searches`, beside DuckDB.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]

#[path = "common/ends.rs"]
mod ends;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::{ProcessTime, ThreadTime};
use criterion::{Criterion, criterion_group, criterion_main};
use ends::ends;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, doc};
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{
    DateHistogramAggregation, MetricAggregation, OrderBy, SearchRequest, TermsAggregation, Tier,
};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager, StopOptions};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const BEGIN: i64 = 1_735_689_600_000;

/// Readings of so many nodes over a hundred days, in the order of time.
fn readings(documents: i64, nodes: i64) -> Index {
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let node = schema.add_text_field("node", STRING | FAST);
    let temperature = schema.add_f64_field("temperature", FAST);
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 256 << 20).unwrap();
    for number in 0..documents {
        let at = DateTime::from_timestamp_millis(BEGIN + number * (100 * DAY / documents));
        let value = f64::from(u16::try_from(number * 7 % 1_000).unwrap());
        writer
            .add_document(doc!(timestamp => at, node => format!("node-{}", number * 31 % nodes), temperature => value))
            .unwrap();
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
    index
}

/// A manager at this day of the hundred.
fn manager(engine: &TantivyEngine, day: i64) -> (RollupJobManager, Receiver<()>) {
    let clock = ManualClock::at(Timestamp::from_millisecond(BEGIN + day * DAY).unwrap());
    let (observer, ends) = ends();
    let builder = RollupJobManager::builder(Arc::new(engine.clone()), Arc::new(MemoryStore::new()));
    let builder = builder.clock(Arc::new(clock)).observer(observer);
    (builder.open().unwrap(), ends)
}

fn job(id: &str, pattern: &str) -> RollupJobConfig {
    let job = RollupJobConfig::builder(id).index_pattern(pattern).rollup_index(format!("rolled-{id}"));
    let job = job.cron("0 0 0 1 1 ? 2090").page_size(1_000).terms(["node"]);
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    job.metric("temperature", [Metric::Max, Metric::Avg]).build().unwrap()
}

fn roll_up(manager: &RollupJobManager, ends: &Receiver<()>, id: &str) {
    manager.start(id).unwrap();
    manager.trigger(id).unwrap();
    ends.recv().unwrap();
}

fn by_day_and_node() -> DateHistogramAggregation {
    let nodes = TermsAggregation::new("node").size(1_000).order(OrderBy::Key.ascending());
    let nodes = nodes.aggregation("average", MetricAggregation::avg("temperature"));
    DateHistogramAggregation::fixed("timestamp", "1d").aggregation("nodes", nodes)
}

/// Thirty days by day, where ten of a thousand jobs read the pattern.
fn planning(criterion: &mut Criterion) {
    let engine = TantivyEngine::in_ram();
    let index = readings(50_000, 20);
    for number in 0..100 {
        engine.register(&format!("sensor-{number}"), &index).unwrap();
    }
    let (manager, ends) = manager(&engine, 90);
    for number in 0..1_000 {
        manager.put(job(&format!("job-{number}"), &format!("sensor-{}", number % 100))).unwrap();
    }
    for number in (7..1_000).step_by(100) {
        roll_up(&manager, &ends, &format!("job-{number}"));
    }
    let range = FilterRange::new().at_least(BEGIN + 20 * DAY).below(BEGIN + 50 * DAY);
    let request = SearchRequest::new("sensor-7").filter(Filter::range("timestamp", range));
    let request = request.aggregation("days", DateHistogramAggregation::calendar("timestamp", "1d"));
    let plan = manager.plan(&request).unwrap();
    assert!(plan.parts.len() == 1 && plan.parts[0].tier == Tier::RolledUp, "{plan:#?}");
    criterion.bench_function("plan, 30 days by day, 10 of 1,000 jobs", |bencher| {
        bencher.iter(|| manager.plan(&request).unwrap());
    });
}

#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn median(repeats: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..repeats)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[repeats / 2]
}

/// One document of a hundred is not rolled up yet: both parts in one answer, beside each alone.
fn live_edge(_: &mut Criterion) {
    let engine = TantivyEngine::in_ram();
    engine.register("sensor-1", &readings(4_000_000, 200)).unwrap();
    let (manager, ends) = manager(&engine, 99);
    manager.put(job("sensor", "sensor-1")).unwrap();
    roll_up(&manager, &ends, "sensor");
    let edge = FilterRange::new().at_least(BEGIN + 99 * DAY);
    let both = SearchRequest::new("sensor-1").aggregation("days", by_day_and_node());
    let rolled_up = SearchRequest::new("rolled-sensor").aggregation("days", by_day_and_node());
    let raw = both.clone().filter(Filter::range("timestamp", edge));
    let total = |request: &SearchRequest| manager.search(request).unwrap().total().unwrap();
    assert_eq!((total(&both), total(&raw), total(&rolled_up)), (4_000_000, 40_000, 3_960_000));
    let [mut both_times, mut alone] = [Vec::new(), Vec::new()];
    for _ in 0..9 {
        let time = |request: &SearchRequest| median(3, || drop(manager.search(request).unwrap()));
        both_times.push(time(&both));
        alone.push(time(&rolled_up) + time(&raw));
    }
    both_times.sort_unstable();
    alone.sort_unstable();
    let (both, alone) = (both_times[4], alone[4]);
    let ratio = both.as_secs_f64() / alone.as_secs_f64();
    println!("live edge, 1 % raw: {both:.2?}, each part alone {alone:.2?}: {ratio:.2} times as long");
}

/// The ten of many groups with the highest average.
fn many_groups(_: &mut Criterion) {
    let mut last = None;
    for (documents, nodes) in [(1_000_000, 100_000), (1_000_000, 1_000_000), (4_000_000, 1_000_000)] {
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", &readings(documents, nodes)).unwrap();
        let (manager, _ends) = manager(&engine, 0);
        manager.put(job("sensor", "sensor-1")).unwrap();
        let hottest = TermsAggregation::new("node").order(OrderBy::Metric("average".into()).descending());
        let hottest = hottest.aggregation("average", MetricAggregation::avg("temperature"));
        let request = SearchRequest::new("sensor-1").aggregation("hottest", hottest);
        assert_eq!(manager.search(&request).unwrap().buckets("hottest").unwrap().len(), 10);
        let took = median(5, || drop(manager.search(&request).unwrap()));
        let (_, most) = engine.memory_used();
        let before = last.map_or(1.0, |before: Duration| took.as_secs_f64() / before.as_secs_f64());
        println!(
            "{documents} documents in {nodes} groups, top 10: {took:.1?} ({before:.2} of the line before), {} MB",
            most >> 20
        );
        last = Some(took);
    }
}

/// So many repeats where it is measured; one where it only has to work.
fn repeats(measured: u64) -> u64 {
    if std::env::args().any(|argument| argument == "--bench") { measured } else { 1 }
}

/// A job that has not run yet, on an engine that knows nothing yet and scans in the thread that asks.
fn unrun(index: &Index) -> (RollupJobManager, Receiver<()>) {
    let engine = TantivyEngine::in_ram_with(TantivyOptions::new().scan_threads(1));
    engine.register("sensor-1", index).unwrap();
    let (manager, ends) = manager(&engine, 99);
    manager.put(job("sensor", "sensor-1")).unwrap();
    (manager, ends)
}

/// What another thread does all the time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    Nothing,
    /// Takes a core, and no more: what is left of a difference is the search's doing.
    Spinning,
    Searches,
}

/// Does the work. The processor time is that of all but the other thread, and the number of searches comes third.
fn beside<T>(other: Beside, manager: &RollupJobManager, work: impl FnOnce() -> T) -> (T, Duration, u32) {
    let raw = SearchRequest::new("sensor-1").aggregation("days", by_day_and_node());
    let is_over = AtomicBool::new(other == Beside::Nothing);
    thread::scope(|scope| {
        let other_thread = scope.spawn(|| {
            let (begun, mut count) = (ThreadTime::now(), 0);
            while !is_over.load(Ordering::Relaxed) {
                if other == Beside::Searches {
                    manager.search(&raw).unwrap();
                    count += 1;
                }
            }
            (begun.elapsed(), count)
        });
        let begun = ProcessTime::now();
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        // The last search is made to its end before the time is taken.
        let (searching, count) = other_thread.join().unwrap();
        (result, begun.elapsed().saturating_sub(searching), count)
    })
}

/// What a run costs while somebody searches all the time.
fn run_beside_searches(index: &Index) {
    let run = |other| {
        let (manager, ends) = unrun(index);
        let ((), processor, searches) = beside(other, &manager, || roll_up(&manager, &ends, "sensor"));
        (processor, searches)
    };
    let others = [Beside::Nothing, Beside::Spinning, Beside::Searches];
    let mut times = others.map(|_| Vec::new());
    for _ in 0..repeats(9) {
        for (times, other) in times.iter_mut().zip(others) {
            times.push(run(other));
        }
    }
    let [alone, spinning, searching] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let ratio = searching.0.as_secs_f64() / alone.0.as_secs_f64();
    println!(
        "a run's processor time beside {} searches: {:.1?}, beside a thread that spins {:.1?}, alone {:.1?}: \
         {ratio:.2} times",
        searching.1, searching.0, spinning.0, alone.0
    );
}

/// How long a stop in the middle of a run takes while somebody searches all the time.
#[expect(clippy::disallowed_methods, reason = "time is what is measured, and a stop has to come in the middle")]
fn stop_beside_searches(index: &Index) {
    let stop = |other, round: u64| {
        let (manager, _ends) = unrun(index);
        let stop = || {
            manager.start("sensor").unwrap();
            manager.trigger("sensor").unwrap();
            thread::sleep(Duration::from_micros(200 + round * 7_919 % 100_000));
            let begun = Instant::now();
            let stopped = manager.stop("sensor", StopOptions::new().wait_for_completion(true)).unwrap();
            assert!(stopped.is_at_rest());
            begun.elapsed()
        };
        beside(other, &manager, stop).0
    };
    for other in [Beside::Nothing, Beside::Spinning, Beside::Searches] {
        let mut times: Vec<Duration> = (0..repeats(200)).map(|round| stop(other, round)).collect();
        times.sort_unstable();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("stop of a run, beside it {other:?}: p50 {p50:.2?}, p99 {p99:.2?}");
    }
}

fn beside_a_run(_: &mut Criterion) {
    let index = readings(4_000_000, 200);
    run_beside_searches(&index);
    stop_beside_searches(&index);
}

criterion_group!(benches, planning, live_edge, many_groups, beside_a_run);
criterion_main!(benches);
