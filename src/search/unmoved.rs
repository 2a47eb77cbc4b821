//! Whether what was read rolled up was of one moment, where the engine holds none.

use std::ops::Range;

use super::error::SearchFault;
use super::run::Ledgers;
use super::said::Said;
use super::spans::Spans;
use crate::store::StoreError;
use crate::sync::Arc;

/// A job's rolled-up documents as they were when it was looked at.
pub(crate) trait Standing: Send + Sync {
    /// Whether any of those in these date buckets may have been replaced or removed since, or are being. What is noted
    /// is replaced some time later: `has_been_noted` says whether anything was, for who cannot tell otherwise.
    fn has_changed(
        &self,
        buckets: &[Range<i64>],
        has_been_noted: &dyn Fn() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError>;
}

/// What has to hold still after rolled-up documents were read.
pub(super) struct Unmoved<'a> {
    pub(super) standing: Arc<dyn Standing>,
    pub(super) buckets: Spans,
    pub(super) said: Said,
    pub(super) ledgers: &'a dyn Ledgers,
}

impl Unmoved<'_> {
    /// Says that a search has to begin anew if some of what it has read may be from before a replacement and some from
    /// behind it.
    pub(super) fn check(&self) -> Result<(), SearchFault> {
        let has_been_noted = || self.said.has_changed(self.ledgers);
        if self.standing.has_changed(self.buckets.ranges(), &has_been_noted)? {
            return Err(SearchFault::Moved);
        }
        Ok(())
    }
}
