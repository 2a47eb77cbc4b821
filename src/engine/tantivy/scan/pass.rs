//! A pass over the columns: which blocks of which segments, on how many threads, and how a block becomes groups.

use std::io;
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
/// `None` if a stop came; an error if there was no thread to be had.
pub(super) fn read<G: Grouping>(
    segments: &[Segment],
    chunks: Chunks<'_>,
    groupings: &mut [G],
    stop: &StopSignal,
) -> io::Result<Option<Vec<ChunkDates>>> {
    let threads = groupings.len().min(chunks.len() / CHUNKS_PER_THREAD).max(1);
    let mut stretches = chunks.chunks(chunks.len().div_ceil(threads).max(1));
    let Some((first, others)) = groupings.split_first_mut() else { return Ok(Some(Vec::new())) };
    let own = stretches.next().unwrap_or_default();
    let ended = thread::scope(|scope| {
        let spawn = |(number, (grouping, chunks)): (usize, (_, _))| {
            let builder = thread::Builder::new().name(format!("rollup-scan-{}", number + 1));
            builder.spawn_scoped(scope, move || stretch(segments, chunks, grouping, stop))
        };
        let spawned: Vec<_> = others.iter_mut().zip(stretches).enumerate().map(spawn).collect();
        let mut ended = vec![Ok(stretch(segments, own, first, stop))];
        for thread in spawned {
            ended.push(thread.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))));
        }
        ended
    });
    let ended: io::Result<Option<Vec<_>>> = ended.into_iter().collect();
    Ok(ended?.map(|stretches| stretches.into_iter().flatten().collect()))
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
