//! The engine for clusters, against real ones. `tests/cluster/run` starts them, and says where they are:
//! `ROLLUP_OPENSEARCH` and `ROLLUP_ELASTICSEARCH`, node URLs separated by commas. Without them there is nothing to test against.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod client;
mod faults;
mod meddling;
mod same_documents;
mod scripted;
mod server;
mod suite;
#[path = "../it/tantivy_harness.rs"]
#[allow(dead_code, reason = "these tests need a part of it")]
mod tantivy_harness;
mod world;
