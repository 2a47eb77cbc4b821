//! A pass over the columns: which blocks of which segments, on how many threads, and how a block becomes groups.

use std::panic::resume_unwind;
use std::thread;

use super::columns::Segment;
use crate::engine::StopSignal;

/// So many blocks are worth a thread of their own.
const BLOCKS_PER_THREAD: usize = 64;

/// A block of documents of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) segment: usize,
    pub(super) number: u32,
}

/// What becomes of the documents that a pass reads.
pub(super) trait Work: Send {
    /// Takes a block of this segment.
    fn block(&mut self, block: Block, segment: &Segment);
}

/// The blocks that may have date buckets for which `wants` says so of the first and the last.
pub(super) fn blocks(segments: &[Segment], wants: impl Fn(u64, u64) -> bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (segment, dates) in segments.iter().map(|segment| &segment.dates).enumerate() {
        blocks.extend(dates.blocks(&wants).map(|number| Block { segment, number }));
    }
    blocks
}

/// Has these blocks read by as many threads as there are workers at most, each reading a stretch of them. `None` if a stop came.
pub(super) fn read<W: Work>(
    segments: &[Segment],
    blocks: &[Block],
    workers: &mut [W],
    stop: &StopSignal,
) -> Option<()> {
    let threads = workers.len().min(blocks.len() / BLOCKS_PER_THREAD).max(1);
    let stretches: Vec<_> = blocks.chunks(blocks.len().div_ceil(threads).max(1)).collect();
    let mut ended: Vec<_> = thread::scope(|scope| {
        let mut work = workers.iter_mut().zip(&stretches).enumerate();
        let own = work.next();
        let spawned: Vec<_> = work
            .map(|(number, (worker, blocks))| {
                let builder = thread::Builder::new().name(format!("rollup-scan-{number}"));
                builder.spawn_scoped(scope, move || read_stretch(segments, blocks, worker, stop)).ok()
            })
            .collect();
        let own = own.map(|(_, (worker, blocks))| Some(read_stretch(segments, blocks, worker, stop)));
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        own.into_iter().chain(spawned.into_iter().map(|thread| thread.map(join))).collect()
    });
    // What no thread could be had for.
    for ((ended, worker), blocks) in ended.iter_mut().zip(workers).zip(stretches) {
        ended.get_or_insert_with(|| read_stretch(segments, blocks, worker, stop));
    }
    ended.into_iter().flatten().collect()
}

fn read_stretch<W: Work>(segments: &[Segment], blocks: &[Block], worker: &mut W, stop: &StopSignal) -> Option<()> {
    for block in blocks {
        if stop.is_stopped() {
            return None;
        }
        worker.block(*block, &segments[block.segment]);
    }
    Some(())
}
