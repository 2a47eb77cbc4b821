//! Rollup jobs.

mod clock;
pub mod engine;
mod error;
mod indexer;
mod job;
mod lifecycle;
mod manager;
mod observer;
mod schedule;
mod stop_signal;
pub mod store;
mod sync;

pub use clock::{Clock, SystemClock, Wake};
pub use error::Error;
pub use job::*;
pub use manager::*;
pub use observer::*;
