//! A thousand minutely jobs on one index of ten million documents: what a round of their runs costs, and how long it
//! takes to stop them all in the middle of one.
//!
//! ```text
//! cargo bench --all-features --bench steady                  # 1,000 jobs, 10 million documents, 24 rounds
//! cargo bench --all-features --bench steady -- 100 1 24      # 100 jobs, 1 million documents
//! ```
//!
//! A minute comes to its end with its documents, a 1,440th of all, and each job rolls them up and commits, on disk,
//! with its progress in a job store on disk. The baseline, in the same run, is what somebody would do by hand who knows
//! tantivy: open a writer for each job's index, add the job's documents and commit, without reading anything; for a
//! tenth of the jobs, since it takes long.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(clippy::print_stdout, reason = "a benchmark reports")]

mod by_hand;
mod jobs;
#[path = "../stop/latencies.rs"]
#[allow(dead_code, reason = "a part of it is needed")]
mod latencies;
#[path = "../common/minutely.rs"]
mod minutely;

use std::path::Path;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use by_hand::ByHand;
use jobs::Jobs;
use latencies::Latencies;
use minutely::Host;
use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;

const MINUTES_OF_A_DAY: usize = 1_440;

/// A day of readings in 48 segments.
fn a_day(folder: &Path, documents: usize) -> Host {
    let mut host = Host::new(folder, u32::try_from(documents / MINUTES_OF_A_DAY).unwrap(), 128 << 20);
    host.set_merge_policy(Box::new(NoMergePolicy));
    (0..48).for_each(|_| host.add_minutes(30));
    host
}

/// What a round took.
struct Cost {
    wall: Duration,
    processor: Duration,
}

fn cost(work: impl FnOnce()) -> Cost {
    let (began, began_processor) = (Instant::now(), ProcessTime::now());
    work();
    Cost { wall: began.elapsed(), processor: began_processor.elapsed() }
}

fn seconds(all: impl Iterator<Item = Duration>) -> (f64, f64) {
    let all: Vec<f64> = all.map(|one| one.as_secs_f64()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    (mean, all.iter().fold(0.0, |most, one| one.max(most)))
}

fn print(what: &str, costs: &[Cost]) {
    let (processor, most_processor) = seconds(costs.iter().map(|cost| cost.processor));
    let (wall, most_wall) = seconds(costs.iter().map(|cost| cost.wall));
    println!("{what}: CPU {processor:.2} s, at most {most_processor:.2}; wall {wall:.2} s, at most {most_wall:.2}");
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    // As a test it only has to work.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (jobs, documents, rounds) = match given[..] {
        [jobs, millions, rounds] => (jobs, millions * 1_000_000, rounds),
        _ if is_measured => (1_000, 10_000_000, 24),
        _ => (4, 14_400, 3),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut host = a_day(&folder.path().join("source"), documents);
    let jobs = Jobs::new(folder.path(), &host, jobs);
    print("first runs", &[cost(|| jobs.await_all())]);
    let mut by_hand = ByHand::new(&folder.path().join("by-hand"), jobs.count().div_ceil(10));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        host.add_minutes(1);
        ours.push(cost(|| jobs.round()));
        theirs.push(cost(|| by_hand.round()));
    }
    let what = format!(
        "a round of {} jobs, {documents} documents and {} a minute",
        jobs.count(),
        documents / MINUTES_OF_A_DAY
    );
    print(&what, &ours);
    print("documents of a tenth of these written by hand, unread", &theirs);

    let mut stops = Latencies::default();
    for round in 0..rounds {
        host.add_minutes(1);
        stops.push(jobs.stop_within_round(round * jobs.count() / rounds));
    }
    stops.print("stop_many in the middle of a round");
    jobs.check(host.documents());
}
