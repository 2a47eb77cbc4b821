//! Behaviour through the public face, one file per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::similar_names, reason = "a waiter waits")]
#![allow(clippy::missing_panics_doc, unreachable_pub, reason = "nobody but these tests calls it")]

#[cfg(all(feature = "tantivy", feature = "rest"))]
mod adopt;
mod answering;
mod architecture;
mod asking;
mod bad_configurations;
mod changes;
mod clock_jumps;
mod completion;
mod conformance;
mod coverage;
mod cron;
mod delete;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod disk;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod ending_harness;
mod errors;
mod faults;
mod fetching_ahead;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod flawed_engines;
mod foreign_code;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod former_formats;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod full_disk;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod giving_up;
#[cfg(feature = "tantivy")]
mod half_way;
#[cfg(feature = "tantivy")]
mod hostile_documents;
mod inherited;
#[cfg(feature = "tantivy")]
mod late_data;
mod late_observers;
mod lifecycle;
mod lost_threads;
mod meddling;
mod merging;
#[cfg(feature = "tantivy")]
mod noticing;
#[cfg(feature = "tantivy")]
mod noticing_meanwhile;
mod noting;
mod opening;
mod ownership;
mod page_sizes;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod power_cut;
mod put;
mod put_or_keep;
mod random_sequences;
mod refused_saves;
mod remove_data;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod removed_while_read;
mod repairing;
#[cfg(feature = "rest")]
mod rest;
mod restart_table;
mod restored;
mod retention;
mod runs;
mod sealing;
mod search;
mod searching;
mod several_values;
mod shutdown;
mod sources;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod started_over;
mod state_table;
mod stop_faults;
mod stop_many;
mod stop_promises;
#[cfg(feature = "redb")]
mod stores;
mod support;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod tantivy_engine;
#[cfg(feature = "tantivy")]
mod tantivy_harness;
#[cfg(feature = "tantivy")]
mod tantivy_scan;
#[cfg(feature = "tantivy")]
mod telling;
mod terse_store;
#[cfg(feature = "tracing")]
mod tracing_observer;
#[cfg(all(feature = "tantivy", feature = "redb"))]
mod two_systems;
mod update;
#[cfg(feature = "tantivy")]
mod values;
mod verifying;
mod weaknesses;
mod writes_of_runs;
mod writing;
