//! How segments become part of a job's index, together with the progress.
//!
//! tantivy's own writer begins half a dozen threads, and again as many with each commit. Where nothing is deleted a
//! commit is no more than a new `meta.json` in the place of the old one: it is written here, from tantivy's own types,
//! under the lock of tantivy's writer.

use std::io;
use std::path::Path;

use ::tantivy::directory::{Directory, DirectoryLock, INDEX_WRITER_LOCK};
use ::tantivy::index::SegmentMeta;
use ::tantivy::indexer::{LogMergePolicy, MergeCandidate, MergePolicy, NoMergePolicy};
use ::tantivy::{IndexWriter, Segment, TantivyError};

use super::replaced::Replaced;
use super::{FORMAT, JobIndex, Payload};
use crate::engine::{CommittedProgress, EngineError, JobContext};
use crate::job::Progress;
use crate::scan::Times;

/// The least that tantivy gives a writer.
const MIN_WRITER_MEMORY: usize = 15_000_000;

/// A segment of which more than this part is deleted is written anew.
const MOST_DELETED: f32 = 0.3;

/// The right to change an index, and what it takes to do so.
pub(super) enum Committer {
    /// Adds segments.
    Appending { _lock: DirectoryLock },
    /// Deletes the documents of these date buckets, and adds segments.
    Replacing { writer: Box<IndexWriter>, buckets: Times },
}

impl JobIndex {
    /// Whoever has it is alone.
    pub(super) fn committer(&self, replaced: Option<&Times>) -> Result<Committer, EngineError> {
        match replaced.filter(|buckets| !buckets.ranges().is_empty()) {
            Some(buckets) => Ok(Committer::Replacing { writer: Box::new(self.writer()?), buckets: buckets.clone() }),
            None => match self.index.directory().acquire_lock(&INDEX_WRITER_LOCK) {
                Ok(lock) => Ok(Committer::Appending { _lock: lock }),
                Err(error) => Err(self.failed(TantivyError::LockFailure(error, None))),
            },
        }
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
        Ok(!candidates(&all).is_empty())
    }

    fn append(&self, segments: Vec<Segment>, payload: String) -> Result<Vec<SegmentMeta>, TantivyError> {
        let mut metas = self.index.load_metas()?;
        metas.segments.extend(segments.iter().map(|segment| segment.meta().clone()));
        // As tantivy has them: a searcher on several threads begins with what takes longest.
        metas.segments.sort_by_key(|segment| std::cmp::Reverse(segment.max_doc()));
        metas.opstamp += 1;
        metas.payload = Some(payload);
        let text = serde_json::to_string_pretty(&metas).map_err(io::Error::other)?;
        let directory = self.index.directory();
        // The files have to be there before they are spoken of.
        directory.sync_directory()?;
        directory.atomic_write(Path::new("meta.json"), format!("{text}\n").as_bytes())?;
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
    pub(super) fn writer(&self) -> Result<IndexWriter, EngineError> {
        let writer = self.index.writer_with_num_threads(1, MIN_WRITER_MEMORY);
        let writer = writer.map_err(|error| self.failed(error))?;
        // Merging is a turn of its own, never in a stop's way.
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(writer)
    }

    /// Removes the segments of a writer that was given up.
    pub(super) fn collect_garbage(&self) {
        if let Ok(writer) = self.writer() {
            // What is left is removed with the next merge.
            let _ = writer.garbage_collect_files().wait();
        }
    }

    pub(super) fn merge_candidates(&self) -> Result<Vec<MergeCandidate>, EngineError> {
        self.index.searchable_segment_metas().map(|all| candidates(&all)).map_err(|error| self.failed(error))
    }
}

fn candidates(segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
    let mut policy = LogMergePolicy::default();
    policy.set_del_docs_ratio_before_merge(MOST_DELETED);
    policy.compute_merge_candidates(segments)
}
