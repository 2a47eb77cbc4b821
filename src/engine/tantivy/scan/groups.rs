//! The groups of one pass: a hash table of keys in words, with the values of each.

use std::cmp::Ordering;
use std::collections::HashMap;

use hashbrown::HashTable;

use super::columns::BLOCK;
use super::keys::{KeyShape, NULL};
use super::terms::KeywordTerms;
use crate::engine::{EngineError, StopSignal};
use crate::exact::exact;
use crate::measure::Measures;
use crate::rollup::{MetricValues, Page};
use crate::sync::Arc;

/// Groups are kept in pieces of so many, so that growing copies nothing.
const PIECE: usize = 256;
/// At least one group in so many is kept: where keys come ever more slowly the estimate is far too high.
const MIN_KEPT: usize = 8;

/// Where a part of the key range begins, if not with the first key, and whether that key is in it.
pub(super) type Begin = Option<(Vec<u64>, bool)>;

/// A part of the key range: a pass groups only what is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyRange {
    pub(super) from: Begin,
    /// Where it ends, that key not being in it.
    pub(super) to: Option<Vec<u64>>,
}

impl KeyRange {
    #[inline]
    pub(super) fn contains(&self, key: &[u64]) -> bool {
        // The first word tells nearly always.
        let after = self.from.as_ref().is_none_or(|(from, included)| {
            key[0] > from[0] || key[0] == from[0] && (key > from.as_slice() || *included && key == from.as_slice())
        });
        after && self.to.as_ref().is_none_or(|to| key[0] < to[0] || key[0] == to[0] && key < to.as_slice())
    }

    /// Whether no key whose first word lies in `first..=last` is in it.
    pub(super) fn misses(&self, first: u64, last: u64) -> bool {
        self.from.as_ref().is_some_and(|(from, _)| last < from[0]) || self.to.as_ref().is_some_and(|to| first > to[0])
    }
}

/// Values of a fixed width per group, in pieces.
struct Pieces<T> {
    pieces: Vec<Box<[T]>>,
    width: usize,
}

impl<T: Copy + Default> Pieces<T> {
    fn new(width: usize) -> Self {
        Self { pieces: Vec::new(), width }
    }

    #[inline]
    fn get(&self, slot: usize) -> &[T] {
        let at = slot % PIECE * self.width;
        &self.pieces[slot / PIECE][at..at + self.width]
    }

    #[inline]
    fn get_mut(&mut self, slot: usize) -> &mut [T] {
        let at = slot % PIECE * self.width;
        &mut self.pieces[slot / PIECE][at..at + self.width]
    }

    fn make_room_for(&mut self, slot: usize) {
        if slot / PIECE == self.pieces.len() {
            self.pieces.push(vec![T::default(); PIECE * self.width].into_boxed_slice());
        }
    }

    fn copy_down(&mut self, from: usize, to: usize) {
        for at in 0..self.width {
            let value = self.get(from)[at];
            self.get_mut(to)[at] = value;
        }
    }
}

pub(super) struct Groups {
    keys: Pieces<u64>,
    counts: Pieces<u64>,
    values: Pieces<MetricValues>,
    len: usize,
    index: HashTable<u32>,
    range: KeyRange,
    most: usize,
    /// How many blocks there are still to come, and how many there were when half of the memory was used.
    blocks: usize,
    blocks_at_half: Option<usize>,
}

/// What a group takes, with its share of the table and of the sorting.
pub(super) fn bytes_per_group(words: usize, metrics: usize) -> usize {
    kept_per_group(words, metrics) + 16 + size_of::<(u64, u64, u32)>()
}

fn kept_per_group(words: usize, metrics: usize) -> usize {
    words * 8 + 8 + metrics * size_of::<MetricValues>()
}

impl Groups {
    /// How many groups to have after a block, if there are so many bytes for them: the block may have added one per
    /// document, and the last piece may be empty but for one.
    pub(super) fn most(words: usize, metrics: usize, bytes: usize) -> usize {
        let fit = bytes / bytes_per_group(words, metrics);
        fit.saturating_sub(BLOCK + PIECE).max(fit / 4).max(2)
    }

    /// Groups of `range`, about `bytes` of them at most, of so many blocks.
    pub(super) fn new(words: usize, metrics: usize, range: KeyRange, bytes: usize, blocks: usize) -> Self {
        Self {
            keys: Pieces::new(words),
            counts: Pieces::new(1),
            values: Pieces::new(metrics),
            len: 0,
            index: HashTable::new(),
            range,
            most: Self::most(words, metrics, bytes),
            blocks,
            blocks_at_half: None,
        }
    }

    /// The group of `key`; `None` if the key is not in the range.
    #[inline]
    pub(super) fn slot(&mut self, key: &[u64]) -> Option<u32> {
        if !self.range.contains(key) {
            return None;
        }
        let Self { keys, index, .. } = self;
        // Words, compared one by one: a comparison of memory would be a call.
        let is_same = |slot: &u32| keys.get(*slot as usize).iter().zip(key).all(|(a, b)| a == b);
        let found = index.find(hash(key), is_same).copied();
        Some(found.unwrap_or_else(|| self.insert(key)))
    }

    /// Counts so many rows in a group.
    #[inline]
    pub(super) fn count(&mut self, slot: u32, rows: u64) {
        self.counts.get_mut(slot as usize)[0] += rows;
    }

    /// The values of a metric field in a group.
    #[inline]
    pub(super) fn values(&mut self, slot: u32, metric: usize) -> &mut MetricValues {
        &mut self.values.get_mut(slot as usize)[metric]
    }

    fn insert(&mut self, key: &[u64]) -> u32 {
        let slot = self.len;
        self.keys.make_room_for(slot);
        self.counts.make_room_for(slot);
        self.values.make_room_for(slot);
        self.keys.get_mut(slot).copy_from_slice(key);
        self.counts.get_mut(slot)[0] = 0;
        self.values.get_mut(slot).fill(MetricValues::default());
        self.len += 1;
        let slot = exact::<u32, _>(slot);
        let Self { keys, index, .. } = self;
        index.insert_unique(hash(key), slot, |slot| hash(keys.get(*slot as usize)));
        slot
    }

    /// A block is done. If there are too many groups, forgets the upper part and ends the range before it: a later
    /// pass has the rest. Slots given out before are void then.
    pub(super) fn end_block(&mut self) {
        self.blocks = self.blocks.saturating_sub(1);
        if self.len > self.most / 2 {
            self.blocks_at_half.get_or_insert(self.blocks);
        }
        if self.len <= self.most {
            return;
        }
        let keep = self.keep();
        self.blocks_at_half = None;
        let mut slots: Vec<u32> = (0..exact::<u32, _>(self.len)).collect();
        let keys = &self.keys;
        slots.select_nth_unstable_by(keep, |a, b| keys.get(*a as usize).cmp(keys.get(*b as usize)));
        self.range.to = Some(keys.get(slots[keep] as usize).to_vec());
        slots.truncate(keep);
        // In ascending order nothing is overwritten before it was moved.
        slots.sort_unstable();
        self.index.clear();
        for (to, from) in slots.into_iter().enumerate() {
            self.keys.copy_down(from as usize, to);
            self.counts.copy_down(from as usize, to);
            self.values.copy_down(from as usize, to);
            let keys = &self.keys;
            let to = exact::<u32, _>(to);
            self.index.insert_unique(hash(keys.get(to as usize)), to, |slot| hash(keys.get(*slot as usize)));
        }
        self.len = keep;
    }

    /// How many groups to keep, so that those which the blocks to come will add to them will just fit: to forget half
    /// again and again would be to look up most documents in vain. Half at most.
    fn keep(&self) -> usize {
        let added = self.len - self.most / 2;
        let in_blocks = self.blocks_at_half.unwrap_or(self.blocks).saturating_sub(self.blocks).max(1);
        let expected = self.len.saturating_add(added.saturating_mul(self.blocks) / in_blocks);
        let fits = self.most - self.most / 8;
        (self.len.saturating_mul(fits) / expected).max(self.len / MIN_KEPT).clamp(1, self.len / 2)
    }

    /// Where the groups are, in ascending order of their keys; no more come. `None` if a stop came.
    pub(super) fn order(&mut self, stop: &StopSignal) -> Option<Vec<u32>> {
        self.index = HashTable::new();
        let keys = &self.keys;
        let slots = 0..exact::<u32, _>(self.len);
        // Two words beside the slot tell nearly always: the first that are not the same in all keys, as those of one
        // date are.
        let word =
            (0..keys.width).find(|word| slots.clone().any(|slot| keys.get(slot as usize)[*word] != keys.get(0)[*word]));
        let first = word.unwrap_or(0);
        let mut order: Vec<(u64, u64, u32)> = slots
            .map(|slot| {
                let key = keys.get(slot as usize);
                (key[first], key.get(first + 1).copied().unwrap_or(0), slot)
            })
            .collect();
        let compare = |a: &(u64, u64, u32), b: &(u64, u64, u32)| {
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| keys.get(a.2 as usize).cmp(keys.get(b.2 as usize)))
        };
        sort(&mut order, compare, stop)?;
        Some(order.into_iter().map(|(_, _, slot)| slot).collect())
    }
}

/// How many are sorted between two looks at the stop signal: in about a millisecond.
const SORTED_AT_ONCE: usize = 1 << 14;

/// Sorts in pieces, then pairs of these, and so on: the standard library's sort merges what is in order already. `None`
/// if a stop came.
fn sort<T>(all: &mut [T], compare: impl Fn(&T, &T) -> Ordering, stop: &StopSignal) -> Option<()> {
    let mut length = SORTED_AT_ONCE;
    loop {
        for piece in all.chunks_mut(length) {
            if stop.is_stopped() {
                return None;
            }
            piece.sort_by(&compare);
        }
        if length >= all.len() {
            return Some(());
        }
        length *= 2;
    }
}

/// The finished groups that one thread has found, from the lowest on.
pub(super) struct SortedGroups {
    groups: Groups,
    order: Vec<u32>,
    next: usize,
}

impl SortedGroups {
    pub(super) fn new(groups: Groups, order: Vec<u32>) -> Self {
        Self { groups, order, next: 0 }
    }

    /// The lowest group that has not been taken.
    fn first(&self) -> Option<(&[u64], usize)> {
        let slot = *self.order.get(self.next)? as usize;
        Some((self.groups.keys.get(slot), slot))
    }

    fn bytes(&self) -> usize {
        let (words, metrics) = (self.groups.keys.width, self.groups.values.width);
        self.groups.keys.pieces.len() * PIECE * kept_per_group(words, metrics) + self.order.len() * 4
    }
}

/// Where groups have fewer documents, to hand them out takes about as long as to make them.
const SLOWLY_HANDED_OUT: usize = 8;

/// The finished groups of a pass, of all its threads, merged as they are handed out.
pub(super) struct HashedPages {
    parts: Vec<SortedGroups>,
    /// How many documents were read.
    read: usize,
    /// Where the range that all threads have kept ends.
    end: Option<Vec<u64>>,
}

/// A group that is handed out, or what another thread has found of the one before it.
struct Taken {
    part: usize,
    slot: usize,
    is_more_of_last: bool,
}

impl HashedPages {
    pub(super) fn new(parts: Vec<SortedGroups>, read: usize) -> Self {
        let end = parts.iter().filter_map(|part| part.groups.range.to.clone()).min();
        Self { parts, read, end }
    }

    /// Has the groups that may be next on their way to the processor: they are far apart, and a look at each waits
    /// for no other.
    fn fetch(&self, count: usize) {
        let mut all = 0;
        for SortedGroups { groups, order, next } in &self.parts {
            for slot in order[*next..].iter().take(count).map(|slot| *slot as usize) {
                let sums = groups.values.get(slot).iter().map(|values| values.sum().to_bits());
                all ^= sums.fold(groups.keys.get(slot)[0] ^ groups.counts.get(slot)[0], |all, sum| all ^ sum);
            }
        }
        std::hint::black_box(all);
    }

    /// The next groups, at most `count`.
    fn next(&mut self, count: usize) -> Vec<Taken> {
        let mut taken = Vec::new();
        for _ in 0..count {
            let lowest = self.parts.iter().filter_map(SortedGroups::first).map(|(key, _)| key).min();
            let Some(lowest) = lowest.filter(|lowest| self.end.as_deref().is_none_or(|end| *lowest < end)) else {
                break;
            };
            let found = self.parts.iter().enumerate().filter_map(|(part, groups)| Some((part, groups.first()?)));
            let found = found.filter(|(_, (key, _))| *key == lowest);
            let first = taken.len();
            taken.extend(found.map(|(part, (_, slot))| Taken { part, slot, is_more_of_last: true }));
            taken[first].is_more_of_last = false;
            for Taken { part, .. } in &taken[first..] {
                self.parts[*part].next += 1;
            }
        }
        taken
    }

    fn key(&self, taken: &Taken) -> &[u64] {
        self.parts[taken.part].groups.keys.get(taken.slot)
    }

    fn found(&self, taken: &Taken) -> (u64, &[MetricValues]) {
        let groups = &self.parts[taken.part].groups;
        (groups.counts.get(taken.slot)[0], groups.values.get(taken.slot))
    }

    /// Appends the next buckets to the page, at most `count`. Says the words of the last key, or nothing if there are
    /// no more.
    pub(super) fn take(
        &mut self,
        count: usize,
        shape: &KeyShape,
        measures: &[Measures],
        terms: &[Option<KeywordTerms>],
        page: &mut Page,
    ) -> Result<Option<Vec<u64>>, EngineError> {
        self.fetch(count);
        let taken = self.next(count);
        let mut texts: Vec<HashMap<u64, Arc<str>>> = Vec::with_capacity(terms.len());
        for ((_, at), terms) in shape.parts().iter().zip(terms) {
            let words = || taken.iter().map(|taken| self.key(taken)[*at]).filter(|word| *word != NULL).collect();
            texts.push(terms.as_ref().map(|terms| terms.texts(words())).transpose()?.unwrap_or_default());
        }
        for taken in &taken {
            let (key, (doc_count, values)) = (self.key(taken), self.found(taken));
            let values = values.iter().zip(measures).map(|(values, measures)| values.only(*measures));
            if taken.is_more_of_last {
                page.add_to_last(doc_count, values);
                continue;
            }
            let parts = shape.parts().iter().zip(&texts).skip(shape.parts().len() - shape.delivered().len());
            let key = parts.map(|((kind, at), texts)| KeyShape::decode(*kind, &key[*at..], texts));
            page.push(key, doc_count, values);
        }
        Ok(taken.last().map(|taken| self.key(taken).to_vec()))
    }

    pub(super) fn takes_long_to_hand_out(&self) -> bool {
        self.read < self.parts.iter().map(|part| part.order.len()).sum::<usize>() * SLOWLY_HANDED_OUT
    }

    /// How many buckets there are still to come at most.
    pub(super) fn left(&self) -> usize {
        self.parts.iter().map(|part| part.order.len() - part.next).sum()
    }

    /// Where a later pass has to begin, if there may be more groups.
    pub(super) fn end(&self) -> Option<Vec<u64>> {
        self.end.clone()
    }

    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(SortedGroups::bytes).sum()
    }
}

#[inline]
fn hash(key: &[u64]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = key.iter().fold(0_u64, |hash, word| (hash.rotate_left(23) ^ word).wrapping_mul(ODD));
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shedding_keeps_the_lowest_whole_and_later_passes_have_the_rest() {
        let all: Vec<[u64; 2]> = (0..500_u64).map(|n| [n * 7919 % 53, n % 10]).collect();
        let mut expected = all.clone();
        expected.sort_unstable();
        expected.dedup();
        let (mut found_keys, mut range, mut passes) = (Vec::new(), KeyRange::default(), 0);
        loop {
            // Two threads, each with half of the documents.
            let part = |documents: &[[u64; 2]]| {
                let mut groups = Groups::new(2, 1, range.clone(), 40 * bytes_per_group(2, 1), 16);
                for block in documents.chunks(16) {
                    for key in block {
                        if let Some(slot) = groups.slot(key) {
                            groups.count(slot, 1);
                            groups.values(slot, 0).add(1.0);
                        }
                    }
                    groups.end_block();
                }
                let order = groups.order(&StopSignal::never()).unwrap_or_default();
                SortedGroups::new(groups, order)
            };
            let mut pages = HashedPages::new(all.chunks(250).map(part).collect(), 0);
            let taken = pages.next(usize::MAX);
            for (at, group) in taken.iter().enumerate().filter(|(_, taken)| !taken.is_more_of_last) {
                let key = pages.key(group).to_vec();
                let more = taken[at + 1..].iter().take_while(|taken| taken.is_more_of_last);
                let found: Vec<_> = std::iter::once(group).chain(more).map(|taken| pages.found(taken)).collect();
                let doc_count: u64 = found.iter().map(|(doc_count, _)| doc_count).sum();
                assert_eq!(doc_count, found.iter().map(|(_, values)| values[0].count()).sum::<u64>());
                assert_eq!(doc_count, all.iter().filter(|other| **other == *key).count() as u64);
                found_keys.push([key[0], key[1]]);
            }
            passes += 1;
            match pages.end() {
                Some(end) => range = KeyRange { from: Some((end, true)), to: None },
                None => break,
            }
        }
        assert_eq!(found_keys, expected);
        assert!(passes > 3, "{passes}");
    }
}
