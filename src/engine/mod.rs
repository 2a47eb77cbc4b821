//! Where is the data? The two roles of a search engine, and the engines that come with the crate.
//!
//! A [`Source`] is read: it holds source indices. A [`RollupIndex`] is written: it keeps rolled-up documents. An
//! [`Engine`] is both, as most are; a job may as well read in one system and write in another
//! ([`RollupJobManager::builder_of`](crate::RollupJobManager::builder_of)).
//!
//! [`MemoryEngine`] is the reference; `TantivyEngine` (feature `tantivy`) is the embedded engine for real use. All
//! engines of this crate pass the suite in `testing` (feature `testing`), which an engine of your own should pass too.
//!
//! What stands before an engine and changes a few of its calls (counts them, bounds them, refuses them) is written as
//! an adapter: [`SourceAdapter`], [`RollupIndexAdapter`], [`PageStreamAdapter`], [`RollupWriterAdapter`].

mod adapter;
mod capabilities;
mod context;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
mod error;
mod look;
mod memory;
mod rollup_index;
mod source;
#[cfg(any(feature = "tantivy", feature = "elasticsearch"))]
mod stretches;
#[cfg(feature = "tantivy")]
pub mod tantivy;

pub use crate::job::SourceIndex;
pub use crate::scan::{ScanRequest, Snapshot, SourceDocument, SourceValue};
pub use crate::stop_signal::{OnStopGuard, StopSignal};
pub use adapter::{PageStreamAdapter, RollupIndexAdapter, RollupWriterAdapter, SourceAdapter};
pub use capabilities::{FieldCapabilities, FieldCapability, FieldType};
pub use context::JobContext;
pub(crate) use error::call;
pub use error::{EngineError, EngineErrorKind};
pub use look::{Look, Noticed, Remembered, SourceChange, SourceMark};
pub use memory::MemoryEngine;
pub(crate) use rollup_index::RolledUpNow;
pub use rollup_index::{
    Batch, CommitReport, CommittedProgress, GivenUp, LeftOut, RejectedItem, RolledUpSnapshot, RollupIndex,
    RollupWriter, WriteReport,
};
pub use source::{PageStream, Source};
pub(crate) use source::{indices_of, left_out};

/// A search engine that holds both source indices and rollup indices. Whatever has the two roles is one.
pub trait Engine: Source + RollupIndex {}

impl<T: Source + RollupIndex + ?Sized> Engine for T {}
