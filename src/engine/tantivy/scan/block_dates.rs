//! Which date buckets the blocks of a segment have, so that a pass reads only those in which there is something for it.

/// Blocks that are looked at together when a pass looks for its own.
const CHUNK: usize = 64;

/// The date buckets of the blocks of a segment, the least and the greatest of each.
#[derive(Default)]
pub(super) struct BlockDates {
    blocks: Vec<(u64, u64)>,
    chunks: Vec<(u64, u64)>,
    /// Of which blocks only a part of what they have is wanted.
    cut: Vec<u32>,
}

/// The date buckets of a block that has none: they are in no range.
pub(super) const NO_DATES: (u64, u64) = (u64::MAX, 0);

impl BlockDates {
    /// `cut` are the numbers of those blocks, ascending, that have something beside what is wanted.
    pub(super) fn new(blocks: Vec<(u64, u64)>, cut: Vec<u32>) -> Self {
        let both = |(a, b): (u64, u64), (c, d): &(u64, u64)| (a.min(*c), b.max(*d));
        let chunks = blocks.chunks(CHUNK).map(|chunk| chunk.iter().fold(NO_DATES, both)).collect();
        Self { blocks, chunks, cut }
    }

    /// The bucket that all documents of a block are in, if it is one, and all are wanted.
    pub(super) fn common_bucket(&self, number: u32) -> Option<u64> {
        let (first, last) = self.blocks.get(number as usize).copied().unwrap_or(NO_DATES);
        (first == last && self.cut.binary_search(&number).is_err()).then_some(first)
    }

    /// The least and the greatest bucket of each block that has dates.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.blocks.iter().copied().filter(|dates| *dates != NO_DATES)
    }

    /// The blocks for which `wants` says so of the first and the last bucket.
    pub(super) fn blocks(&self, wants: impl Fn(u64, u64) -> bool + Copy) -> impl Iterator<Item = u32> {
        let chunks = self.blocks.chunks(CHUNK).zip(&self.chunks).zip((0..).step_by(CHUNK));
        let chunks = chunks.filter(move |((_, (first, last)), _)| wants(*first, *last));
        let blocks = chunks.flat_map(|((blocks, _), begin)| (begin..).zip(blocks));
        blocks.filter(move |(_, (first, last))| wants(*first, *last)).map(|(number, _)| number)
    }
}
