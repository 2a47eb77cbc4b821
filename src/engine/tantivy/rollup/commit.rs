//! How segments become part of a job's index, together with the progress.
//!
//! tantivy's own writer begins half a dozen threads, and again as many with each commit. Where nothing is deleted a
//! commit is no more than a new `meta.json` in the place of the old one: it is written here, from tantivy's own types,
//! under the lock of tantivy's writer.

use std::io;
use std::path::Path;

use ::tantivy::directory::{Directory, DirectoryLock, INDEX_WRITER_LOCK};
use ::tantivy::index::{IndexMeta, SegmentMeta};
use ::tantivy::indexer::NoMergePolicy;
use ::tantivy::{IndexWriter, Segment, TantivyError};

use super::merge::wants_merge;
use super::replaced::Replaced;
use super::{FORMAT, JobIndex, META, Payload};
use crate::engine::{CommittedProgress, JobContext};
use crate::job::Progress;
use crate::scan::Times;

/// The least that tantivy gives a writer.
const MIN_WRITER_MEMORY: usize = 15_000_000;

/// The right to change an index, and what it takes to do so.
pub(super) enum Committer {
    /// Adds segments.
    Appending { _lock: DirectoryLock },
    /// Deletes the documents of these date buckets, and adds segments.
    Replacing { writer: Box<IndexWriter>, buckets: Times },
}

impl JobIndex {
    /// Whoever has it is alone.
    pub(super) fn committer(&self, replaced: Option<&Times>) -> Result<Committer, TantivyError> {
        match replaced.filter(|buckets| !buckets.ranges().is_empty()) {
            Some(buckets) => Ok(Committer::Replacing { writer: Box::new(self.writer()?), buckets: buckets.clone() }),
            None => Ok(Committer::Appending { _lock: self.lock()? }),
        }
    }

    /// The right to change the index.
    pub(super) fn lock(&self) -> Result<DirectoryLock, TantivyError> {
        let lock = self.index.directory().acquire_lock(&INDEX_WRITER_LOCK);
        lock.map_err(|error| TantivyError::LockFailure(error, None))
    }

    /// Makes these segments part of the index, with the job's definition and this progress. Says whether any could be
    /// merged now.
    pub(super) fn commit(
        &self,
        committer: Committer,
        segments: Vec<Segment>,
        job: &JobContext,
        progress: Option<&Progress>,
    ) -> Result<bool, TantivyError> {
        // Of a commit that fails nobody knows whether it took place.
        *self.progress.lock() = None;
        let payload = Payload { format: FORMAT, rollup: job.config().to_json(), progress: progress.cloned() };
        let payload = serde_json::to_string(&payload).map_err(|error| TantivyError::SystemError(error.to_string()))?;
        let all = match committer {
            Committer::Appending { .. } => self.append(segments, payload)?,
            Committer::Replacing { writer, buckets } => self.replace(*writer, &buckets, segments, job, &payload)?,
        };
        *self.progress.lock() = Some(CommittedProgress::Kept(progress.cloned()));
        Ok(wants_merge(&all))
    }

    fn append(&self, segments: Vec<Segment>, payload: String) -> Result<Vec<SegmentMeta>, TantivyError> {
        let mut metas = self.index.load_metas()?;
        metas.segments.extend(segments.iter().map(|segment| segment.meta().clone()));
        metas.payload = Some(payload);
        self.write_metas(metas)
    }

    /// Commits what the index is made of from now on.
    pub(super) fn write_metas(&self, mut metas: IndexMeta) -> Result<Vec<SegmentMeta>, TantivyError> {
        // As tantivy has them: a searcher on several threads begins with what takes longest.
        metas.segments.sort_by_key(|segment| std::cmp::Reverse(segment.max_doc()));
        metas.opstamp += 1;
        let text = serde_json::to_string_pretty(&metas).map_err(io::Error::other)?;
        let directory = self.index.directory();
        // The files have to be there before they are spoken of.
        directory.sync_directory()?;
        directory.atomic_write(Path::new(META), format!("{text}\n").as_bytes())?;
        Ok(metas.segments)
    }

    fn replace(
        &self,
        mut writer: IndexWriter,
        buckets: &Times,
        segments: Vec<Segment>,
        job: &JobContext,
        payload: &str,
    ) -> Result<Vec<SegmentMeta>, TantivyError> {
        // A try that ended halfway may have left files of deletions, which tantivy would not write over.
        writer.garbage_collect_files().wait()?;
        let date = self.index.schema().get_field(&job.layout().key_field(0).name)?;
        let before = self.index.searchable_segment_ids()?.into_iter().collect();
        writer.delete_query(Box::new(Replaced::new(date, buckets, before)))?;
        segments.into_iter().try_for_each(|segment| writer.add_segment(segment.meta().clone()))?;
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(payload);
        prepared.commit()?;
        self.index.searchable_segment_metas()
    }

    /// tantivy's own writer, for what is more than adding.
    pub(super) fn writer(&self) -> Result<IndexWriter, TantivyError> {
        let writer = self.index.writer_with_num_threads(1, MIN_WRITER_MEMORY)?;
        // Merging is a turn of its own, never in a stop's way.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(writer)
    }
}
