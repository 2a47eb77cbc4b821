//! Behaviour through the public face, one file per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::similar_names, reason = "a waiter waits")]
#![allow(clippy::missing_panics_doc, unreachable_pub, reason = "nobody but these tests calls it")]

mod adopt;
mod architecture;
mod bad_configurations;
mod clock_jumps;
mod completion;
mod conformance;
mod coverage;
mod cron;
mod delete;
mod disk;
mod ending_harness;
mod errors;
mod faults;
mod flawed_engines;
mod foreign_code;
mod former_formats;
mod full_disk;
mod half_way;
mod hostile_documents;
mod late_observers;
mod lifecycle;
mod lost_threads;
mod meddling;
mod opening;
mod ownership;
mod power_cut;
mod put;
mod put_or_keep;
mod random_sequences;
mod refused_saves;
mod remove_data;
mod rest;
mod restart_table;
mod runs;
mod shutdown;
mod sources;
mod started_over;
mod state_table;
mod stop_faults;
mod stop_many;
mod stop_promises;
mod stores;
mod support;
mod tantivy_engine;
mod tantivy_harness;
mod tantivy_scan;
mod terse_store;
mod two_systems;
mod update;
mod values;
mod weaknesses;
