//! A pass over the columns: which blocks of which segments, on how many threads, and how a block becomes groups.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use ::tantivy::DocId;

use super::columns::Segment;
use crate::engine::StopSignal;

/// So many chunks are worth a thread of their own.
const CHUNKS_PER_THREAD: usize = 8;

/// What becomes of the documents that a pass reads.
pub(super) trait Grouping: Send {
    /// Groups a block of a segment. Says the least and the greatest date in it, as the column holds them.
    fn block(&mut self, segment: &Segment, block: &Range<DocId>) -> Option<(u64, u64)>;
}

/// The dates of a chunk of a segment.
pub(super) struct ChunkDates {
    pub(super) segment: usize,
    pub(super) chunk: u32,
    pub(super) dates: Option<(u64, u64)>,
}

/// What one thread has to do.
type Chunks<'a> = &'a [(usize, u32)];

/// Reads these chunks of these segments with as many threads as there are groupings at most, each taking a stretch of them.
/// `None` if a stop came.
pub(super) fn read<G: Grouping>(
    segments: &[Segment],
    chunks: Chunks<'_>,
    groupings: &mut [G],
    stop: &StopSignal,
) -> Option<Vec<ChunkDates>> {
    let threads = groupings.len().min(chunks.len() / CHUNKS_PER_THREAD).max(1);
    let stretches: Vec<_> = chunks.chunks(chunks.len().div_ceil(threads).max(1)).collect();
    let mut ended: Vec<_> = thread::scope(|scope| {
        let mut work = groupings.iter_mut().zip(&stretches).enumerate();
        let own = work.next();
        let spawned: Vec<_> = work
            .map(|(number, (grouping, chunks))| {
                let builder = thread::Builder::new().name(format!("rollup-scan-{number}"));
                builder.spawn_scoped(scope, move || stretch(segments, chunks, grouping, stop)).ok()
            })
            .collect();
        let own = own.map(|(_, (grouping, chunks))| Some(stretch(segments, chunks, grouping, stop)));
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        own.into_iter().chain(spawned.into_iter().map(|thread| thread.map(join))).collect()
    });
    // What no thread could be had for.
    for ((ended, grouping), chunks) in ended.iter_mut().zip(groupings).zip(stretches) {
        ended.get_or_insert_with(|| stretch(segments, chunks, grouping, stop));
    }
    let ended: Option<Vec<_>> = ended.into_iter().flatten().collect();
    ended.map(|stretches| stretches.into_iter().flatten().collect())
}

fn stretch<G: Grouping>(
    segments: &[Segment],
    chunks: Chunks<'_>,
    grouping: &mut G,
    stop: &StopSignal,
) -> Option<Vec<ChunkDates>> {
    let mut known = Vec::with_capacity(chunks.len());
    for (number, chunk) in chunks {
        let (segment, mut dates) = (&segments[*number], None::<(u64, u64)>);
        for block in segment.blocks(*chunk).filter(|block| !block.is_empty()) {
            if stop.is_stopped() {
                return None;
            }
            let found = grouping.block(segment, &block);
            dates = match (dates, found) {
                (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
                (a, b) => a.or(b),
            };
        }
        known.push(ChunkDates { segment: *number, chunk: *chunk, dates });
    }
    Some(known)
}
