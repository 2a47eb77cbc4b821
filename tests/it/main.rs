//! Behaviour through the public face, one file per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::similar_names, reason = "a waiter waits")]
#![allow(clippy::missing_panics_doc, unreachable_pub, reason = "nobody but these tests calls it")]

mod adopt;
mod architecture;
mod completion;
mod conformance;
mod delete;
mod disk;
mod errors;
mod faults;
mod half_way;
mod lifecycle;
mod lost_threads;
mod meddling;
mod ownership;
mod power_cut;
mod put;
mod random_sequences;
mod rest;
mod restart_table;
mod runs;
mod state_table;
mod stop_faults;
mod stop_many;
mod stop_promises;
mod stores;
mod support;
mod tantivy_engine;
mod tantivy_harness;
mod tantivy_scan;
mod values;
mod weaknesses;
