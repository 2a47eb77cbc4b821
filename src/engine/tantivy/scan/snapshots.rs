//! What a scan reads: what the host has committed to each index, once, whatever names it has.

use std::collections::{BTreeSet, HashSet};

use ::tantivy::index::SegmentId;
use ::tantivy::{Index, ReloadPolicy, Searcher, TantivyError};

use crate::engine::EngineError;
use crate::engine::tantivy::failed;

/// How often indices that change all the time are looked at again.
const MAX_LOOKS: usize = 5;

/// The committed state of one index.
pub(super) struct Snapshot<'a> {
    pub(super) name: &'a str,
    pub(super) index: &'a Index,
    pub(super) searcher: Searcher,
}

/// Opens each index once: of those that are the same, under several names, the first.
///
/// Segments have ids that no other index has. Two names of one index have the same segments at the same moment; so
/// the states are looked at until none has changed while all were opened, lest a merge in between made one index look
/// like two.
pub(super) fn open(sources: &[(String, Index)]) -> Result<Vec<Snapshot<'_>>, EngineError> {
    let in_index = |name: &str, error| failed(&format!("source index [{name}]"), error);
    let snapshot = |(name, index): &'_ (String, Index)| committed(index).map_err(|error| in_index(name, error));
    let mut searchers = sources.iter().map(snapshot).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..if sources.len() > 1 { MAX_LOOKS } else { 0 } {
        let mut has_changed = false;
        for ((name, index), searcher) in sources.iter().zip(&mut searchers) {
            let now = index.searchable_segment_ids().map_err(|error| in_index(name, error))?;
            if BTreeSet::from_iter(now) != segments(searcher).collect() {
                *searcher = committed(index).map_err(|error| in_index(name, error))?;
                has_changed = true;
            }
        }
        if !has_changed {
            break;
        }
    }
    let mut seen = HashSet::new();
    let snapshots = sources.iter().zip(searchers).filter_map(|((name, index), searcher)| {
        let is_known = segments(&searcher).any(|id| seen.contains(&id));
        seen.extend(segments(&searcher));
        (!is_known).then_some(Snapshot { name, index, searcher })
    });
    Ok(snapshots.collect())
}

/// The default reload policy would poll on a thread.
fn committed(index: &Index) -> Result<Searcher, TantivyError> {
    Ok(index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher())
}

fn segments(searcher: &Searcher) -> impl Iterator<Item = SegmentId> {
    searcher.segment_readers().iter().map(tantivy::SegmentReader::segment_id)
}
