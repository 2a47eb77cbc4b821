//! Bases for what stands before an engine: they pass every call on, those with a default too.
//!
//! A wrapper that implements a trait itself loses, without a word, the methods with a default that it does not know of,
//! and those that come later.

use std::collections::BTreeSet;
use std::fmt;

use super::capabilities::FieldCapabilities;
use super::context::JobContext;
use super::error::EngineError;
use super::look::{Look, Noticed, SourceMark};
use super::rollup_index::{
    Batch, CommitReport, CommittedProgress, GivenUp, RolledUpSnapshot, RollupIndex, RollupWriter, WriteReport,
};
use super::source::{PageStream, Source};
use crate::adapter::adapter;
use crate::job::{IndexPattern, NoticeBy, Progress, SourceIndex};
use crate::rollup::{Page, RolledUpDocuments};
use crate::scan::{ScanRequest, Snapshot};
use crate::stop_signal::StopSignal;

adapter! {
    /// What stands before a [`Source`]: it says what it stands before, and has the methods that it changes. All others
    /// are passed on, also those that come with later versions.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use rollup_jobs::engine::{
    ///     EngineError, JobContext, PageStream, RollupIndex, RollupIndexAdapter, ScanRequest, Source, SourceAdapter,
    ///     StopSignal,
    /// };
    /// use rollup_jobs::IndexPattern;
    ///
    /// /// Refuses jobs that run as nobody in particular.
    /// #[derive(Debug)]
    /// struct Guarded(Arc<dyn rollup_jobs::engine::Engine>);
    ///
    /// impl SourceAdapter for Guarded {
    ///     fn source(&self) -> &dyn Source {
    ///         &*self.0
    ///     }
    ///
    ///     fn scan(
    ///         &self,
    ///         job: &JobContext,
    ///         pattern: &IndexPattern,
    ///         request: ScanRequest,
    ///         stop: &StopSignal,
    ///     ) -> Result<Box<dyn PageStream>, EngineError> {
    ///         match job.run_as() {
    ///             Some(_) => self.0.scan(job, pattern, request, stop),
    ///             None => Err(EngineError::rejected("who is asking?")),
    ///         }
    ///     }
    /// }
    ///
    /// impl RollupIndexAdapter for Guarded {
    ///     fn rollup_index(&self) -> &dyn RollupIndex {
    ///         &*self.0
    ///     }
    /// }
    /// ```
    SourceAdapter: Source + Sync + fmt::Debug {
        /// What it stands before.
        fn source(&self) -> &dyn Source;

        pass on to source: fn field_capabilities(
            self: &Self, job: &JobContext, pattern: &IndexPattern, fields: &[&str]
        ) -> Result<FieldCapabilities, EngineError>;
        pass on to source: fn scan(
            self: &Self, job: &JobContext, pattern: &IndexPattern, request: ScanRequest, stop: &StopSignal
        ) -> Result<Box<dyn PageStream>, EngineError>;
        pass on to source: fn snapshot(
            self: &Self, job: &JobContext, pattern: &IndexPattern, stop: &StopSignal
        ) -> Result<Option<Snapshot>, EngineError>;
        pass on to source: fn look(
            self: &Self, job: &JobContext, pattern: &IndexPattern, look: &Look<'_>, stop: &StopSignal
        ) -> Result<Vec<Noticed>, EngineError>;
        pass on to source: fn notices_by(self: &Self, by: &NoticeBy) -> bool;
        pass on to source: fn read_mark(self: &Self, bytes: &[u8]) -> Option<SourceMark>;
    }
}

adapter! {
    /// What stands before a [`RollupIndex`], as [`SourceAdapter`] is what stands before a [`Source`].
    RollupIndexAdapter: RollupIndex + Sync + fmt::Debug {
        /// What it stands before.
        fn rollup_index(&self) -> &dyn RollupIndex;

        pass on to rollup_index: fn prepare(self: &Self, job: &JobContext) -> Result<(), EngineError>;
        pass on to rollup_index: fn adopt(
            self: &Self, job: &JobContext, progress: &Progress
        ) -> Result<(), EngineError>;
        pass on to rollup_index: fn redefine(self: &Self, job: &JobContext) -> Result<(), EngineError>;
        pass on to rollup_index: fn begin(
            self: &Self, job: &JobContext, batch: &Batch
        ) -> Result<Box<dyn RollupWriter>, EngineError>;
        pass on to rollup_index: fn scan_rolled_up(
            self: &Self, job: &JobContext, request: ScanRequest, stop: &StopSignal
        ) -> Result<Box<dyn PageStream>, EngineError>;
        pass on to rollup_index: fn snapshot_rolled_up(
            self: &Self, job: &JobContext, stop: &StopSignal
        ) -> Result<Option<RolledUpSnapshot>, EngineError>;
        pass on to rollup_index: fn committed_progress(
            self: &Self, job: &JobContext
        ) -> Result<CommittedProgress, EngineError>;
        pass on to rollup_index: fn merge(self: &Self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError>;
        pass on to rollup_index: fn rollup_indices_of(self: &Self, job_id: &str) -> Result<Vec<String>, EngineError>;
        pass on to rollup_index: fn remove(self: &Self, job: &JobContext) -> Result<(), EngineError>;
    }
}

adapter! {
    /// What stands before a [`PageStream`].
    PageStreamAdapter: PageStream {
        /// What it stands before.
        fn stream(&self) -> &dyn PageStream;
        /// The same, to be changed.
        fn stream_mut(&mut self) -> &mut dyn PageStream;

        pass on to stream_mut: fn next_page(self: &mut Self, stop: &StopSignal) -> Result<Page, EngineError>;
        pass on to stream_mut: fn lend_threads(self: &mut Self, threads: usize);
        pass on to stream_mut: fn fetch_ahead(self: &mut Self);
        pass on to stream_mut: fn park(self: &mut Self);
        pass on to stream: fn is_whole(self: &Self) -> bool;
        pass on to stream: fn is_one_snapshot(self: &Self) -> bool;
        pass on to stream: fn source_indices(self: &Self) -> Option<Vec<SourceIndex>>;
        pass on to stream: fn several_values(self: &Self) -> Option<BTreeSet<String>>;
        pass on to stream: fn documents_skipped(self: &Self) -> u64;
        pass on to stream: fn reduced_page_size(self: &Self) -> Option<usize>;
        pass on to stream_mut: fn take_notice(self: &mut Self) -> Option<String>;
    }
}

adapter! {
    /// What stands before a [`RollupWriter`].
    RollupWriterAdapter: RollupWriter {
        /// What it stands before.
        fn writer(&mut self) -> &mut dyn RollupWriter;
        /// The same, for the commit that ends it.
        fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter>;

        pass on to writer: fn write(
            self: &mut Self, documents: RolledUpDocuments<'_>, stop: &StopSignal
        ) -> Result<WriteReport, EngineError>;
        pass on to writer: fn mark(self: &mut Self, progress: &Progress) -> usize;
        pass on to writer: fn settle(self: &mut Self, stop: &StopSignal) -> Result<Option<GivenUp>, EngineError>;
        pass on to into_writer: fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError>;
    }
}
