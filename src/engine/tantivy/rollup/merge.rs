//! Merging: small segments of a job's index become one.
//!
//! tantivy's writer begins half a dozen threads to merge, opens all files of each segment, and syncs what it never
//! speaks of: for the few documents of small commits that costs several times what the commits did. Such segments are
//! read as columns here, and written as a commit writes its own. Large ones are merged by tantivy, in little memory.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::Path;

use ::tantivy::columnar::ColumnarReader;
use ::tantivy::directory::DirectoryLock;
use ::tantivy::fastfield::AliveBitSet;
use ::tantivy::index::{SegmentComponent, SegmentId, SegmentMeta};
use ::tantivy::indexer::{LogMergePolicy, MergeCandidate, MergePolicy};
use ::tantivy::{Segment, TantivyError};

use super::directory::GiveUp;
use super::segment::{Documents, read_numbers};
use super::{JobIndex, META};
use crate::engine::{EngineError, JobContext, StopSignal};

/// A segment of which more than this part is deleted is written anew.
const MOST_DELETED: f32 = 0.3;
/// Segments with fewer documents are merged with each other, whatever the sizes.
const SMALL: u32 = 1_000;
/// Segments that have no more documents together are merged here.
const MOST_READ: u32 = 1 << 16;

impl JobIndex {
    /// Merges what has become many small segments. Ends soon after `stop` was raised.
    pub(in crate::engine::tantivy) fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        self.check_schema(job)?;
        let segments = self.index.searchable_segment_metas().map_err(|error| self.failed(error))?;
        let documents = |candidate: &MergeCandidate| {
            let merged = segments.iter().filter(|segment| candidate.0.contains(&segment.id()));
            merged.map(SegmentMeta::num_docs).sum::<u32>()
        };
        let (few, many): (Vec<_>, Vec<_>) =
            candidates(&segments).into_iter().partition(|candidate| documents(candidate) <= MOST_READ);
        let work = self.directory.begin_work();
        let to_give_up = work.clone();
        let _given_up = stop.on_stop(move || to_give_up.give_up());
        let mut merged = few.iter().try_for_each(|candidate| self.merge_here(&candidate.0, job, &work));
        if merged.is_ok() && !many.is_empty() && !stop.is_stopped() {
            merged = self.merge_by_tantivy(&many, stop);
        }
        // Whoever is late to give the merge up must not meet the next commit.
        drop(self.directory.begin_work());
        if stop.is_stopped() {
            return Err(EngineError::cancelled());
        }
        merged.map_err(|error| self.failed(error))
    }

    fn merge_by_tantivy(&self, candidates: &[MergeCandidate], stop: &StopSignal) -> Result<(), TantivyError> {
        let (mut writer, mut merged) = (self.writer()?, Ok(()));
        for candidate in candidates {
            if stop.is_stopped() {
                break;
            }
            merged = merged.and(writer.merge(&candidate.0).wait().map(|_| ()));
        }
        // Only here are tantivy's merging threads waited for.
        merged = merged.and(writer.wait_merging_threads());
        // tantivy leaves the files of segments that somebody may have open.
        let collected = self.lock().and_then(|alone| self.collect_garbage(&alone));
        merged.and(collected)
    }

    fn merge_here(&self, merged: &[SegmentId], job: &JobContext, work: &GiveUp) -> Result<(), TantivyError> {
        let alone = self.lock()?;
        let mut segments = self.index.searchable_segments()?;
        segments.retain(|segment| merged.contains(&segment.id()));
        let mut documents = Documents::new(job.layout());
        let date = &job.layout().key_field(0).name;
        // A later scan finds them in the order of time, if they came so.
        let mut readers = segments.iter().map(|segment| Reader::open(segment, date)).collect::<Result<Vec<_>, _>>()?;
        readers.sort_by_key(|reader| reader.earliest);
        for reader in &readers {
            work.check()?;
            documents.extend_from(&reader.columns, &reader.rows)?;
        }
        let written = self.write_merged(&documents, work).and_then(|segment| self.put_in_place(merged, &segment));
        // What was merged, or what is left of a try that failed.
        let collected = self.collect_garbage(&alone);
        written.and(collected)
    }

    fn write_merged(&self, documents: &Documents, work: &GiveUp) -> Result<Segment, TantivyError> {
        let empty = self.empty_files()?;
        let segment = documents.write(self.begin_segment(&empty)?, work)?;
        work.check()?;
        Ok(segment)
    }

    fn put_in_place(&self, merged: &[SegmentId], by: &Segment) -> Result<(), TantivyError> {
        let mut metas = self.index.load_metas()?;
        metas.segments.retain(|segment| !merged.contains(&segment.id()));
        metas.segments.push(by.meta().clone());
        self.write_metas(metas).map(drop)
    }

    /// Removes the files that no segment has.
    pub(super) fn collect_garbage(&self, _alone: &DirectoryLock) -> Result<(), TantivyError> {
        let segments = self.index.searchable_segment_metas()?;
        let segments: HashSet<_> = segments.iter().map(|segment| segment.id().uuid_string()).collect();
        let is_living = |file: &Path| {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name == META || name.split_once('.').is_some_and(|(segment, _)| segments.contains(segment))
        };
        let mut directory = self.index.directory().clone();
        let living = directory.list_managed_files().into_iter().filter(|file| is_living(file)).collect();
        directory.garbage_collect(|| living).map(drop)
    }
}

/// A segment that is to be merged.
struct Reader {
    columns: ColumnarReader,
    /// Those of its documents that are alive.
    rows: Vec<u32>,
    earliest: u64,
}

impl Reader {
    fn open(segment: &Segment, date: &str) -> Result<Self, TantivyError> {
        let columns = ColumnarReader::open(segment.open_read(SegmentComponent::FastFields)?)?;
        let mut rows: Vec<u32> = (0..segment.meta().max_doc()).collect();
        if segment.meta().has_deletes() {
            let alive = AliveBitSet::open(segment.open_read(SegmentComponent::Delete)?.read_bytes()?);
            rows.retain(|row| alive.is_alive(*row));
        }
        let earliest = read_numbers(&columns, date)?.map_or(0, |dates| dates.min_value());
        Ok(Self { columns, rows, earliest })
    }
}

/// Whether there is something to merge.
pub(super) fn wants_merge(segments: &[SegmentMeta]) -> bool {
    !candidates(segments).is_empty()
}

fn candidates(segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
    let mut policy = LogMergePolicy::default();
    policy.set_min_num_segments(enough(segments));
    policy.set_min_layer_size(SMALL);
    policy.set_del_docs_ratio_before_merge(MOST_DELETED);
    policy.compute_merge_candidates(segments)
}

/// How many segments of a size are merged: about eight, by the name of the largest. The jobs of an engine, which all
/// commit in the same minute, do not all merge in the same one.
fn enough(segments: &[SegmentMeta]) -> usize {
    const LEAST: usize = 6;
    const SPREAD: usize = 5;
    let largest = segments.iter().max_by_key(|segment| (segment.max_doc(), Reverse(segment.id())));
    let name = largest.map_or(0, |segment| segment.id().uuid_string().bytes().map(usize::from).sum());
    LEAST + name % SPREAD
}
