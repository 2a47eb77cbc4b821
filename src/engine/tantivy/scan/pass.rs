//! A pass over the columns, which groups a slice of time, or what of it fits into memory: which blocks of which
//! segments, and on how many threads.

use std::panic::resume_unwind;
use std::thread;

use super::budget::Budget;
use super::columns::Segment;
use super::dense::Left;
use super::finished::Finished;
use super::groups::Begin;
use super::hash_pass::Crowding;
use super::open::Opened;
use crate::engine::{EngineError, StopSignal};
use crate::sync::{Arc, Mutex};

/// How much memory a pass has for each of the threads that it was lent.
const MIN_PER_LENT_THREAD: usize = 16 << 20;
/// So many blocks are worth a thread of their own.
const BLOCKS_PER_THREAD: usize = 64;

/// How many of them a thread takes at once.
const BLOCKS_AT_ONCE: usize = 8;

/// Where a pass begins, what it may use, and what the one before has left to it.
pub(super) struct Task {
    pub(super) from: Begin,
    pub(super) own_threads: usize,
    pub(super) lent_threads: usize,
    pub(super) left: Left,
    pub(super) crowding: Crowding,
}

/// Why a pass has not come to its end.
pub(super) struct Unfinished {
    pub(super) error: EngineError,
    /// What it had made, with the memory that is paid for: to free it takes milliseconds.
    pub(super) groups: Option<Box<dyn Send>>,
}

impl From<EngineError> for Unfinished {
    fn from(error: EngineError) -> Self {
        Self { error, groups: None }
    }
}

impl Unfinished {
    /// A stop came.
    pub(super) fn cancelled(groups: impl Send + 'static) -> Self {
        Self { error: EngineError::cancelled(), groups: Some(Box::new(groups)) }
    }
}

impl Opened {
    /// Groups what begins there.
    pub(super) fn pass(&self, task: Task, budget: &Arc<Budget>, stop: &StopSignal) -> Result<Finished, Unfinished> {
        let share = budget.take_share();
        // Threads that nobody asked for should not make the parts so small that there have to be more passes.
        let threads = task.lent_threads.min(share.bytes() / MIN_PER_LENT_THREAD).max(task.own_threads);
        let threads = if task.left.are_few_per_group { 1 } else { threads };
        let from = task.from.as_ref().map_or(0, |(words, _)| words[0]);
        let slice_end = self.survey.slice_end(from);
        let bytes = share.bytes() / threads;
        let finished = match self.plan(&task.from, slice_end, bytes, stop)? {
            Some(plan) => self.dense_pass(&plan, task.left, threads, bytes, stop),
            None => self.hash_pass(task, slice_end, threads, bytes, stop),
        };
        match finished {
            Ok(finished) => {
                share.settle(finished.bytes());
                Ok(finished)
            }
            Err(Unfinished { error, groups }) => {
                // What is still there is still paid for.
                let groups = groups.map(|groups| Box::new((groups, share)) as Box<dyn Send>);
                Err(Unfinished { error, groups })
            }
        }
    }
}

/// A block of documents of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) segment: usize,
    pub(super) number: u32,
}

/// What becomes of the documents that a pass reads.
pub(super) trait Work: Send {
    /// Takes a block.
    fn block(&mut self, block: Block);
}

/// The blocks that may have date buckets for which `wants` says so of the first and the last.
pub(super) fn blocks(segments: &[Segment], wants: impl Fn(u64, u64) -> bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (segment, dates) in segments.iter().map(|segment| &segment.dates).enumerate() {
        blocks.extend(dates.blocks(&wants).map(|number| Block { segment, number }));
    }
    blocks
}

/// Has these blocks read by as many threads as there are workers at most. Each reads a stretch of them, so that two
/// seldom meet the same group, and then what others have not come to yet. `None` if a stop came.
pub(super) fn read<W: Work>(blocks: &[Block], workers: &mut [W], stop: &StopSignal) -> Option<()> {
    let threads = workers.len().min(blocks.len() / BLOCKS_PER_THREAD).max(1);
    let stretches: Vec<_> = blocks.chunks(blocks.len().div_ceil(threads).max(1)).map(Mutex::new).collect();
    let stretches = stretches.as_slice();
    thread::scope(|scope| {
        let mut work = workers.iter_mut().take(stretches.len()).enumerate();
        let own = work.next();
        let spawned: Vec<_> = work
            .map(|(number, worker)| {
                let builder = thread::Builder::new().name(format!("rollup-scan-{number}"));
                // Where no thread can be had, the others do its work.
                builder.spawn_scoped(scope, move || read_stretches(stretches, number, worker, stop)).ok()
            })
            .collect();
        let own = own.map(|(number, worker)| read_stretches(stretches, number, worker, stop));
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        own.into_iter().chain(spawned.into_iter().flatten().map(join)).collect()
    })
}

/// Reads the worker's own stretch from its beginning, and the others' from their ends.
fn read_stretches<W: Work>(stretches: &[Mutex<&[Block]>], own: usize, worker: &mut W, stop: &StopSignal) -> Option<()> {
    let others = || stretches[own + 1..].iter().chain(&stretches[..own]);
    while let Some(blocks) = take(&stretches[own], true).or_else(|| others().find_map(|other| take(other, false))) {
        for block in blocks {
            if stop.is_stopped() {
                return None;
            }
            worker.block(*block);
        }
    }
    Some(())
}

fn take<'a>(stretch: &Mutex<&'a [Block]>, is_own: bool) -> Option<&'a [Block]> {
    let mut rest = stretch.lock();
    let at = if is_own { rest.len().min(BLOCKS_AT_ONCE) } else { rest.len().saturating_sub(BLOCKS_AT_ONCE) };
    let (front, back) = rest.split_at(at);
    let taken = if is_own { front } else { back };
    *rest = if is_own { back } else { front };
    (!taken.is_empty()).then_some(taken)
}
