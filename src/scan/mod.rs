//! What is asked of rows? Rolling up, searching, verifying and repairing are the same act on different rows: group
//! them by keys, find out measures, deliver groups in key order.
//!
//! A [`ScanRequest`] says which groups. The rows are those of source indices
//! ([`Source::scan`](crate::engine::Source::scan)), or what a job has rolled up
//! ([`RollupIndex::scan_rolled_up`](crate::engine::RollupIndex::scan_rolled_up)). A [`Fold`] answers a request over
//! rows in memory; [`RolledUpFields`] says which fields of rolled-up documents it is about.

mod document;
mod fold;
mod request;
mod rolled_up;
mod times;

pub use document::{SourceDocument, SourceValue};
pub use fold::{Fold, Pages};
pub use request::{ScanRequest, ScanRequestError, Snapshot};
pub(crate) use rolled_up::is_made_of;
pub use rolled_up::{RolledUpFields, RolledUpKey};
pub use times::Times;
