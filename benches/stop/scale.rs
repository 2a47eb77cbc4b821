//! A hundred thousand jobs, and ten thousand waiters.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::GatedEngine;
use rollup_jobs::{DateHistogram, JobRecord, RollupJobConfig, RollupJobManager, StopOptions};

use crate::waiting::waiting;

const JOBS: usize = 100_000;

fn config(id: &str) -> RollupJobConfig {
    let config = RollupJobConfig::builder(id).index_pattern("sensor").rollup_index("rolled").page_size(100);
    config.cron("0 0 0 1 1 ? 2090").date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build().unwrap()
}

/// A store of `jobs` records, by way of one that was really put.
fn store(jobs: usize, started: bool) -> MemoryStore {
    let engine = MemoryEngine::new();
    engine.add("sensor", SourceDocument::new().date("timestamp", 0));
    let template = MemoryStore::new();
    let manager =
        RollupJobManager::builder(Arc::new(engine), Arc::new(template.clone())).indexer_threads(1).open().unwrap();
    manager.put(config("job-000000")).unwrap();
    if started {
        manager.start("job-000000").unwrap();
    }
    drop(manager);
    let rollup_jobs::store::LoadedRecord::Job(record) = template.load().unwrap().remove(0) else { panic!("a record") };
    let json = record.to_json().to_string();
    let store = MemoryStore::new();
    for n in 0..jobs {
        let text = json.replace("job-000000", &format!("job-{n:06}"));
        store.insert(&JobRecord::from_json(text.as_bytes()).unwrap()).unwrap();
    }
    store
}

/// A manager of `jobs` jobs, and how long it took to open.
pub(crate) fn manager(jobs: usize, started: bool) -> (RollupJobManager, Duration) {
    open(&store(jobs, started))
}

fn open(store: &MemoryStore) -> (RollupJobManager, Duration) {
    let engine = MemoryEngine::new();
    engine.add("sensor", SourceDocument::new().date("timestamp", 0));
    let began = Instant::now();
    let manager =
        RollupJobManager::builder(Arc::new(engine), Arc::new(store.clone())).indexer_threads(1).open().unwrap();
    (manager, began.elapsed())
}

/// The processor time of all threads so far.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

pub(crate) fn many_jobs(criterion: &mut Criterion) {
    for started in [false, true] {
        let (manager, _) = open(&store(JOBS, started));
        let before = processor_time();
        std::thread::sleep(Duration::from_secs(3));
        println!(
            "    {JOBS} jobs, started: {started}, none due: {:?} of processor time in 3 s",
            processor_time().saturating_sub(before)
        );
        drop(manager);
    }
    let mut group = criterion.benchmark_group(format!("scale, {JOBS} idle jobs"));
    group.sample_size(10);
    let store = store(JOBS, true);
    group.bench_function("open", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| open(&store).1).sum());
    });
    let (manager, _) = open(&store);
    group.bench_function("stop_many of all, with waiting", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                for n in 0..JOBS {
                    manager.start(&format!("job-{n:06}")).unwrap();
                }
                let began = Instant::now();
                let report = manager.stop_many("_all", waiting()).unwrap();
                spent += began.elapsed();
                assert!(report.all_at_rest() && report.len() == JOBS);
            }
            spent
        });
    });
    group.finish();
}

/// What the timer does with the next job that is due, on the structure it is made of: an ordered map by time and key.
pub(crate) fn timer(criterion: &mut Criterion) {
    let mut agenda: BTreeMap<(i64, u64), Arc<()>> = BTreeMap::new();
    for n in 0..JOBS as u64 {
        agenda.insert((i64::try_from(n * 7_919 % 60_000).unwrap(), n), Arc::new(()));
    }
    let mut group = criterion.benchmark_group(format!("scale, timer of {JOBS} jobs"));
    group.bench_function("pop the next and push it again", |b| {
        b.iter(|| {
            let ((at, key), job) = agenda.pop_first().unwrap();
            agenda.insert((at + 60_000, key), job);
        });
    });
    group.finish();
}

/// Threads and futures that wait for the same stop: from its release until the last of them has come back.
pub(crate) fn many_waiters(criterion: &mut Criterion) {
    const THREADS: usize = 500;
    const FUTURES: usize = 10_000;
    let data = MemoryEngine::new();
    data.add("sensor", SourceDocument::new().date("timestamp", 0));
    let gates = GatedEngine::new(Arc::new(data));
    let manager =
        RollupJobManager::builder(Arc::new(gates.clone()), Arc::new(MemoryStore::new())).indexer_threads(1).open();
    let manager = manager.unwrap();
    let mut group = criterion.benchmark_group(format!("scale, {THREADS} threads and {FUTURES} futures wait"));
    group.sample_size(10);
    let mut job = 0;
    group.bench_function("until all are woken", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                job += 1;
                let id = format!("job-{job}");
                manager.put(config(&id)).unwrap();
                manager.start(&id).unwrap();
                gates.commit().close();
                manager.trigger(&id).unwrap();
                gates.commit().wait_for_waiting(1);
                let completion = manager.stop(&id, StopOptions::new()).unwrap().completion();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                spent += std::thread::scope(|scope| {
                    let (manager, id) = (&manager, &id);
                    let threads: Vec<_> = (0..THREADS)
                        .map(|_| scope.spawn(move || assert!(manager.stop(id, waiting()).unwrap().is_at_rest())))
                        .collect();
                    let began = runtime.block_on(async {
                        let mut tasks = tokio::task::JoinSet::new();
                        for _ in 0..FUTURES {
                            tasks.spawn(completion.clone());
                        }
                        // Each has left its waker before the stop is let go.
                        tokio::task::yield_now().await;
                        gates.commit().open();
                        let began = Instant::now();
                        while let Some(woken) = tasks.join_next().await {
                            woken.unwrap().unwrap();
                        }
                        began
                    });
                    for thread in threads {
                        thread.join().unwrap();
                    }
                    began.elapsed()
                });
                manager.delete(&id).unwrap();
            }
            spent
        });
    });
    group.finish();
}
