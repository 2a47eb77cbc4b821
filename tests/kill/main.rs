//! Processes that are killed, and one that must end though an engine call never does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::missing_panics_doc, unreachable_pub, reason = "nobody but these tests calls it")]

#[allow(dead_code, reason = "other tests need the rest of it")]
mod child_process;
mod fifty;
mod matrix;
mod wedged;
