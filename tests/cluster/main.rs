//! The engine for clusters, against real ones. `tests/cluster/run` starts them, and says where they are:
//! `ROLLUP_OPENSEARCH` and `ROLLUP_ELASTICSEARCH`, node URLs separated by commas. Without them there is nothing to
//! test against.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod authority;
mod bulks;
#[path = "../kill/child_process.rs"]
#[allow(
    clippy::missing_panics_doc,
    dead_code,
    unreachable_pub,
    reason = "nobody but these tests calls it, and not all of it"
)]
mod child_process;
mod client;
mod dates;
mod faults;
#[path = "../it/half_way.rs"]
mod half_way;
mod hand_over;
mod hostile_server;
#[path = "../it/search/live_edge.rs"]
#[allow(unreachable_pub, reason = "other tests have it too")]
mod live_edge;
mod meddling;
mod moving;
mod noticing;
#[path = "../it/search/oracle.rs"]
#[allow(unreachable_pub, reason = "other tests have it too")]
mod oracle;
mod proxy;
mod repairing;
mod replacing;
mod same_documents;
mod scripted;
mod searching;
mod server;
mod sources;
mod started_over;
mod store;
mod struck;
mod suite;
#[path = "../it/tantivy_harness.rs"]
#[allow(dead_code, reason = "these tests need a part of it")]
mod tantivy_harness;
mod world;
