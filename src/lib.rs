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
#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, SystemClock, Wake};
pub use error::Error;
pub use indexer::{MisfitBucket, roll_up};
pub use job::*;
pub use manager::*;
pub use observer::*;
