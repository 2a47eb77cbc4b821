//! A job that rolls up a minute's data every minute, for as long as one likes, on a simulated clock: what it holds on
//! to after its last run is what it held after its first thousand. Alone in its binary, since it counts what the whole
//! process has.
//!
//! ```text
//! cargo test --release --all-features --test soak -- --nocapture                           # 2,000 runs
//! ROLLUP_SOAK_RUNS=100000 cargo test --release --all-features --test soak -- --nocapture   # 69 days
//! ```
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one reports"
)]
#![allow(clippy::disallowed_methods, reason = "it tells how long a run takes, and asserts nothing of it")]

#[path = "../benches/common/minutely.rs"]
mod minutely;

use std::alloc::System;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use minutely::{Host, Minutely, REGIONS};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Where what the process has is compared and told.
const MILESTONES: [usize; 8] = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, usize::MAX];
/// Readings of a minute: two of each region.
const READINGS: u32 = 10;
const ID: &str = "minutely";
/// What the merge of the most documents that are merged in memory takes while it lasts.
const MERGE: usize = 16 << 20;

/// What the process has, at most, over many runs.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Files of the rollup index.
    files: usize,
    descriptors: usize,
    /// Mappings of memory: what an open file of an index has in the place of a descriptor.
    mappings: usize,
    threads: usize,
    /// Bytes that are allocated.
    memory: usize,
    /// Bytes of the job store.
    store: u64,
}

impl Held {
    fn now(folder: &Path) -> Self {
        let allocated = ALLOCATOR.stats();
        Self {
            files: files(&folder.join("rollups")),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            memory: allocated.bytes_allocated - allocated.bytes_deallocated,
            store: fs::metadata(folder.join("jobs.redb")).unwrap().len(),
        }
    }

    fn most(self, other: Self) -> Self {
        Self {
            files: self.files.max(other.files),
            descriptors: self.descriptors.max(other.descriptors),
            mappings: self.mappings.max(other.mappings),
            threads: self.threads.max(other.threads),
            memory: self.memory.max(other.memory),
            store: self.store.max(other.store),
        }
    }
}

fn files(folder: &Path) -> usize {
    let count = |path: &Path| if path.is_dir() { files(path) } else { 1 };
    fs::read_dir(folder).unwrap().map(|entry| count(&entry.unwrap().path())).sum()
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

#[test]
fn nothing_grows_with_the_runs_of_a_minutely_job() {
    let runs = std::env::var("ROLLUP_SOAK_RUNS").map_or(2_000, |runs| runs.parse().expect("a number of runs"));
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::new(&folder.path().join("source"), READINGS, 15_000_000);
    let job = Minutely::open(folder.path(), &host);
    job.start(ID);
    println!("   runs  files  descr.  mappings  threads  memory KB  store KB  a run ms (CPU)  a read, µs per row");
    let (mut first, mut most) = (None, Held::default());
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        host.add_minutes(1);
        let (began, began_processor) = (Instant::now(), ProcessTime::now());
        job.minute_passes();
        job.await_runs(1);
        times.push(began.elapsed());
        processor.push(began_processor.elapsed());
        most = most.most(Held::now(folder.path()));
        if !MILESTONES.contains(&run) && run != runs {
            continue;
        }
        let began = Instant::now();
        let (documents, rows) = job.read(ID);
        let read = began.elapsed();
        assert_eq!((documents, rows), (run as u64 * u64::from(READINGS), run * REGIONS.len()));
        println!(
            "{run:>7} {:>6} {:>7} {:>9} {:>8} {:>10} {:>9} {:>8.2} ({:.2}) {:>19.3}",
            most.files,
            most.descriptors,
            most.mappings,
            most.threads,
            most.memory >> 10,
            most.store >> 10,
            median(&mut times),
            median(&mut processor),
            (read / u32::try_from(rows).unwrap()).as_secs_f64() * 1e6,
        );
        let at_rest = Held::now(folder.path()).memory;
        let (first, first_at_rest) = *first.get_or_insert((most, at_rest));
        assert_within_bounds(first, most);
        assert!(at_rest <= 2 * first_at_rest, "memory at rest: {at_rest}, at first {first_at_rest}");
        (most, times, processor) = (Held::default(), Vec::new(), Vec::new());
    }
}

/// What may still grow: for each tenfold of documents there are some segments more, as in any index.
fn assert_within_bounds(first: Held, now: Held) {
    let told = format!("{now:?}, at first {first:?}");
    assert!(now.files <= 300, "files: {told}");
    assert!(now.descriptors <= first.descriptors + 16, "descriptors: {told}");
    assert!(now.mappings <= first.mappings + 300, "mappings: {told}");
    assert!(now.threads <= first.threads + 8, "threads: {told}");
    assert!(now.memory <= first.memory + MERGE, "memory: {told}");
    assert!(now.store <= 2 * first.store, "store: {told}");
}
