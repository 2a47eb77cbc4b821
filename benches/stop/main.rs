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

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    calls::by_number_of_jobs,
    calls::while_indexing,
    waiting::hand_over,
    waiting::during_a_scan,
    waiting::during_a_write,
    everything::everything,
    moments::moments,
    polling::against_polling,
    scale::many_jobs,
    scale::timer,
    scale::many_waiters,
);
criterion_main!(benches);
