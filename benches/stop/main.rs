//! How fast a stop is, beside what the primitives alone cost and what Elasticsearch's polling would, in the same run.
//!
//! ```text
//! cargo bench --all-features --bench stop              everything
//! taskset -c 0 cargo bench --all-features --bench stop -- waiting      hand-over, both threads on one core
//! ```
//!
//! Criterion says how long a call takes. Where the tail matters, the latencies of a group are printed after it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(clippy::print_stdout, reason = "a benchmark reports")]

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod everything;
mod latencies;
mod moments;
mod polling;
mod scale;
mod waiting;

use criterion::{Criterion, criterion_group, criterion_main};

/// What reads one large index.
fn of_ten_million(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let source = common::sensor_index(folder.path(), common::documents(10_000_000));
    waiting::during_a_scan(criterion, &source);
    everything::everything(criterion, &source);
    moments::moments(criterion, &source);
}

criterion_group!(
    benches,
    calls::by_number_of_jobs,
    calls::while_indexing,
    waiting::hand_over,
    of_ten_million,
    waiting::during_a_write,
    polling::against_polling,
    scale::many_jobs,
    scale::timer,
    scale::many_waiters,
);
criterion_main!(benches);
