//! Groups of keys that are few apart from the date: found by their place in a table, a row for each date bucket and a
//! column for each code. Nothing is hashed, and nothing needs to be sorted.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::cells::{self, CellShape, MeasureCells, ROWS, add_small};
use super::codes::Codes;
use super::columns::BLOCK;
use super::keys::{KeyShape, NULL, bytes_of};
use super::lane::Values;
use super::one_group::{self, only_slot};
use super::terms::KeywordTerms;
use super::timeline::{BYTES_PER_BUCKET, NONE, Timeline};
use crate::engine::EngineError;
use crate::exact::exact;
use crate::job::KeyPart;
use crate::measure::{Measure, MetricValues};
use crate::rollup::Page;
use crate::sync::Arc;

/// What a place for the key of a code takes.
const BYTES_PER_CODE: usize = size_of::<Option<Box<[KeyPart]>>>();
/// How many bytes the keys of codes may take before they are forgotten between two pages.
const MAX_CODE_KEYS: usize = 1 << 18;

/// A block of a field: a column of finite doubles of which a document has one at most, and whose sums do not overflow.
#[derive(Clone, Copy)]
pub(super) struct ValueBlock<'a> {
    pub(super) field: usize,
    pub(super) raw: &'a [u64],
    /// Which documents have one, unless all do.
    pub(super) values: Option<&'a [Values]>,
}

/// What a row takes: its places in the table, and in the timeline.
pub(super) fn bytes_per_row(codes: usize) -> usize {
    codes * size_of::<u32>() + BYTES_PER_BUCKET
}

/// The groups that one thread finds in a pass.
pub(super) struct DenseGroups {
    codes: usize,
    pub(super) shape: CellShape,
    empty: Vec<u64>,
    /// For each row and code the group's slot and one more; zero for none.
    table: Vec<u32>,
    /// The cells of all slots.
    pub(super) words: Vec<u64>,
    /// Slots that may be used again.
    free: Vec<u32>,
    /// The rows that are still wanted.
    rows: usize,
    most: usize,
    /// How long the table and the cells of earlier groups were, whose memory is still there.
    touched: (usize, usize),
}

impl DenseGroups {
    /// For `rows` date buckets, and about as many groups as take `bytes` with the table. Takes over the memory of
    /// earlier ones.
    pub(super) fn new(rows: usize, codes: usize, shape: CellShape, bytes: usize, earlier: Option<Self>) -> Self {
        let cells = bytes.saturating_sub(rows * bytes_per_row(codes) + codes * BYTES_PER_CODE) / shape.bytes();
        // A block may add one for each of its documents.
        let most = cells.saturating_sub(BLOCK).max(codes);
        let earlier = earlier.filter(|earlier| earlier.bytes() <= bytes);
        let touched = earlier.as_ref().map_or((0, 0), Self::touched);
        let (mut table, mut words) = earlier.map(|earlier| (earlier.table, earlier.words)).unwrap_or_default();
        table.clear();
        table.resize(rows * codes, 0);
        words.clear();
        // The system gives memory when it is first written to: what no group needs costs nothing.
        words.reserve(most.min(rows * codes) * shape.words);
        Self { codes, empty: shape.empty(), table, words, free: Vec::new(), rows, most, touched, shape }
    }

    /// How many date buckets are still wanted.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How many groups there are.
    fn len(&self) -> usize {
        self.words.len() / self.shape.words - self.free.len()
    }

    /// The slot of the group at this place.
    #[inline]
    pub(super) fn slot(&mut self, place: u32) -> u32 {
        let known = self.table[place as usize];
        if known == 0 { self.add(place as usize) } else { known - 1 }
    }

    /// The slots of the groups at these places.
    pub(super) fn find(&mut self, places: &[u32], slots: &mut [u32]) {
        for (slot, place) in slots.iter_mut().zip(places) {
            *slot = if *place == NONE { NONE } else { self.slot(*place) };
        }
    }

    #[cold]
    fn add(&mut self, place: usize) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.words.len() / self.shape.words;
            self.words.extend_from_slice(&self.empty);
            exact::<u32, _>(slot)
        });
        self.table[place] = slot + 1;
        slot
    }

    /// Where the measures of a field go.
    pub(super) fn cells(&mut self, field: usize) -> MeasureCells<'_> {
        MeasureCells { words: &mut self.words, width: self.shape.words, cells: self.shape.fields[field] }
    }

    /// Whether sum, least and greatest of a field are found out together.
    pub(super) fn has_sums(&self, field: usize) -> bool {
        self.shape.fields[field].sums.is_some()
    }

    /// Adds to each group's measures the values of its document in several such fields, and so much to its count of
    /// rows: they are counted here since here their groups are looked at.
    pub(super) fn add_blocks<const N: usize>(&mut self, slots: &[u32], rows: u64, blocks: [ValueBlock<'_>; N]) {
        if blocks.iter().all(|block| block.values.is_none()) {
            self.add_full_blocks(slots, rows, blocks);
            return;
        }
        let words = self.shape.words;
        let cells = blocks.map(|block| self.shape.fields[block.field]);
        let places = cells.map(|cells| cells.sums.unwrap_or(0));
        let counts = cells.map(|cells| cells.word(Measure::Count).unwrap_or(ROWS));
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let cell = &mut self.words[*slot as usize * words..][..words];
            cell[ROWS] += rows;
            for ((block, place), count) in blocks.iter().zip(places).zip(counts) {
                if block.values.is_none_or(|values| values[at] == Values::One) {
                    add_small(&mut cell[1..].as_chunks_mut().0[place], block.raw[at]);
                    cell[count] += u64::from(count != ROWS);
                }
            }
        }
    }

    /// The most usual kind of all, and the one to be fastest at.
    fn add_full_blocks<const N: usize>(&mut self, slots: &[u32], rows: u64, blocks: [ValueBlock<'_>; N]) {
        let words = self.shape.words;
        // Longer than the block they cannot be; told so, the compiler looks once and not for each document.
        let raw = blocks.map(|block| &block.raw[..slots.len()]);
        let cells = blocks.map(|block| self.shape.fields[block.field]);
        let places = cells.map(|cells| cells.sums.unwrap_or(0));
        if let Some(cell) = only_slot(slots).map(|slot| self.cell(slot)) {
            cell[ROWS] += rows * slots.len() as u64;
            for (place, raw) in places.iter().zip(&raw) {
                one_group::add_sums(&mut cell[1..].as_chunks_mut().0[*place], raw);
            }
        } else {
            for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
                let cell = &mut self.words[*slot as usize * words..][..words];
                cell[ROWS] += rows;
                let sums = cell[1..].as_chunks_mut().0;
                for (place, raw) in places.iter().zip(&raw) {
                    add_small(&mut sums[*place], raw[at]);
                }
            }
        }
        // In another block some may be missing.
        let counts = cells.iter().filter_map(|cells| cells.word(Measure::Count));
        for count in counts.filter(|count| *count != ROWS) {
            self.count(slots, count);
        }
    }

    /// The same for any field, measure by measure.
    pub(super) fn add_block(&mut self, slots: &[u32], block: ValueBlock<'_>) {
        let field = self.shape.fields[block.field];
        for measure in Measure::ALL {
            if let Some(word) = field.word(measure).filter(|word| *word != ROWS)
                && !self.all_in_one(slots, &block, |cell, raw| one_group::add_all(cell, word, measure, raw))
            {
                self.each(slots, &block, |cell, raw| cells::add(cell, word, measure, raw));
            }
        }
    }

    pub(super) fn cell(&mut self, slot: u32) -> &mut [u64] {
        &mut self.words[slot as usize * self.shape.words..][..self.shape.words]
    }

    /// Whether all documents of a block are in one group, and have a value: they are added at once then.
    pub(super) fn all_in_one(
        &mut self,
        slots: &[u32],
        block: &ValueBlock<'_>,
        add: impl FnOnce(&mut [u64], &[u64]),
    ) -> bool {
        let only = only_slot(slots).filter(|_| block.values.is_none());
        if let Some(slot) = only {
            add(self.cell(slot), &block.raw[..slots.len()]);
        }
        only.is_some()
    }

    #[inline]
    pub(super) fn each(&mut self, slots: &[u32], block: &ValueBlock<'_>, mut add: impl FnMut(&mut [u64], u64)) {
        let words = self.shape.words;
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            if block.values.is_none_or(|values| values[at] == Values::One) {
                add(&mut self.words[*slot as usize * words..][..words], block.raw[at]);
            }
        }
    }

    /// Counts one row in each of these groups.
    pub(super) fn count_rows(&mut self, slots: &[u32]) {
        self.count(slots, ROWS);
    }

    /// Counts so many rows in a group.
    #[inline]
    pub(super) fn count_several(&mut self, slot: u32, rows: u64) {
        self.words[slot as usize * self.shape.words + ROWS] += rows;
    }

    fn count(&mut self, slots: &[u32], word: usize) {
        for slot in slots.iter().filter(|slot| **slot != NONE) {
            self.words[*slot as usize * self.shape.words + word] += 1;
        }
    }

    /// Has the cells of these slots on their way to the processor before they are needed: they are far apart, and a
    /// look at each waits for no other.
    pub(super) fn fetch(&self, slots: impl Iterator<Item = u32>) {
        let words = self.shape.words;
        let looks = slots.map(|slot| {
            let cell = &self.words[slot as usize * words..][..words];
            cell[0] ^ cell[words / 2] ^ cell[words - 1]
        });
        std::hint::black_box(looks.fold(0, |all, look| all ^ look));
    }

    /// If there are too many groups, forgets those of the later half of the rows: a later pass has them.
    pub(super) fn shed(&mut self) {
        let words = self.shape.words;
        while self.len() > self.most && self.rows > 1 {
            let keep = self.rows / 2;
            for place in &mut self.table[keep * self.codes..self.rows * self.codes] {
                let Some(slot) = std::mem::take(place).checked_sub(1) else { continue };
                self.words[slot as usize * words..][..words].copy_from_slice(&self.empty);
                self.free.push(slot);
            }
            self.rows = keep;
        }
    }

    fn touched(&self) -> (usize, usize) {
        (self.table.len().max(self.touched.0), self.words.len().max(self.touched.1))
    }

    fn bytes(&self) -> usize {
        let (table, words) = self.touched();
        table * size_of::<u32>() + words * size_of::<u64>()
    }

    #[inline]
    fn get(&self, place: usize) -> Option<(u64, impl Iterator<Item = MetricValues>)> {
        let slot = self.table[place].checked_sub(1)? as usize;
        let cell = &self.words[slot * self.shape.words..][..self.shape.words];
        Some((cell[ROWS], self.shape.fields.iter().map(|field| field.values(cell))))
    }
}

/// What a dense pass groups.
pub(super) struct Plan {
    pub(super) codes: Arc<Codes>,
    pub(super) timeline: Arc<Timeline>,
    /// Where to begin in the first row.
    pub(super) first_code: usize,
    /// Whether there are date buckets behind the timeline.
    pub(super) is_cut: bool,
}

/// Where groups have fewer documents, a second thread gains nothing: what it groups travels to the core of the one that
/// hands the groups out, which takes as long as grouping does.
const FEW_PER_GROUP: usize = 12;
/// Where they have fewer than so many, to hand them out takes about as long as to make them.
const SLOWLY_HANDED_OUT: usize = 32;

/// What the groups of a pass leave to those of the next one.
#[derive(Default)]
pub(super) struct Left {
    pub(super) groups: Vec<DenseGroups>,
    /// Whether there were so few documents for each that most of the work was to hand groups out.
    pub(super) are_few_per_group: bool,
    keys: CodeKeys,
}

/// The parts of the key that each code stands for, as far as they were looked up.
#[derive(Default)]
struct CodeKeys {
    keys: Vec<Option<Box<[KeyPart]>>>,
    bytes: usize,
}

/// The finished groups of a pass, of all its threads, handed out row by row.
pub(super) struct DensePages {
    codes: Arc<Codes>,
    timeline: Arc<Timeline>,
    parts: Vec<DenseGroups>,
    /// The next place to look at, and the one behind the last.
    next: usize,
    end: usize,
    /// Whether there may be groups behind the last row.
    is_cut: bool,
    keys: CodeKeys,
    /// How many documents were read, and how many buckets have been handed out.
    read: usize,
    taken: usize,
}

impl DensePages {
    pub(super) fn new(plan: &Plan, parts: Vec<DenseGroups>, left: Left, read: usize) -> Self {
        let Plan { codes, timeline, first_code, is_cut } = plan;
        let rows = parts.iter().map(DenseGroups::rows).min().unwrap_or(0);
        let mut keys = left.keys;
        keys.keys.resize(codes.len(), None);
        Self {
            codes: Arc::clone(codes),
            timeline: Arc::clone(timeline),
            next: (*first_code).min(rows * codes.len()),
            end: rows * codes.len(),
            is_cut: *is_cut || rows < timeline.len(),
            parts,
            keys,
            read,
            taken: 0,
        }
    }

    /// How many groups there are; those that several threads have met count for each of them.
    fn groups(&self) -> usize {
        self.parts.iter().map(DenseGroups::len).sum()
    }

    pub(super) fn takes_long_to_hand_out(&self) -> bool {
        self.read < self.groups() * SLOWLY_HANDED_OUT
    }

    pub(super) fn leave(self) -> Left {
        let are_few_per_group = self.read < self.taken * FEW_PER_GROUP;
        Left { groups: self.parts, are_few_per_group, keys: self.keys }
    }

    /// How many buckets there are still to come at most.
    pub(super) fn left(&self) -> usize {
        self.groups().saturating_sub(self.taken)
    }

    /// Appends the next buckets to the page, at most `count`. Says the words of the last key, or nothing if there are
    /// no more.
    pub(super) fn take(
        &mut self,
        count: usize,
        shape: &KeyShape,
        terms: &[Option<KeywordTerms>],
        page: &mut Page,
    ) -> Result<Option<Vec<u64>>, EngineError> {
        let codes = self.codes.len();
        let (mut row, mut code) = (self.next / codes, self.next % codes);
        let mut places = Vec::with_capacity(count.min(self.end - self.next));
        while places.len() < count && self.next < self.end {
            if self.parts.iter().any(|part| part.table[self.next] != 0) {
                places.push((row, code));
            }
            self.next += 1;
            code += 1;
            if code == codes {
                (row, code) = (row + 1, 0);
            }
        }
        self.look_up(&places, terms)?;
        // Another thread may have made them.
        for part in &self.parts {
            part.fetch(places.iter().filter_map(|(row, code)| part.table[row * codes + code].checked_sub(1)));
        }
        self.taken += places.len();
        for (row, code) in &places {
            let date = shape.has_date().then(|| KeyPart::Date(self.timeline.start(*row)));
            let Some(rest) = self.keys.keys[*code].as_deref() else {
                unreachable!("the parts of code {code} were looked up")
            };
            let mut found = self.parts.iter().filter_map(|part| part.get(row * codes + code));
            let Some((doc_count, metrics)) = found.next() else { continue };
            page.push_parts(date, rest, doc_count, metrics);
            // Several threads have met the same stretch of time.
            found.for_each(|(doc_count, metrics)| page.add_to_last(doc_count, metrics));
        }
        Ok(places.last().map(|(row, code)| {
            let mut words = vec![self.timeline.start(*row).to_u64()];
            words.extend(self.codes.words(*code));
            words
        }))
    }

    /// Gets the keys of these places' codes.
    fn look_up(&mut self, places: &[(usize, usize)], terms: &[Option<KeywordTerms>]) -> Result<(), EngineError> {
        let known = &mut self.keys;
        if known.bytes > MAX_CODE_KEYS {
            known.keys.fill(None);
            known.bytes = 0;
        }
        let codes = places.iter().map(|(_, code)| *code);
        let mut missing: Vec<usize> = codes.filter(|code| known.keys[*code].is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let words: Vec<Vec<u64>> = missing.iter().map(|code| self.codes.words(*code)).collect();
        let mut keys = vec![Vec::with_capacity(self.codes.parts()); missing.len()];
        let mut at = 0;
        for (part, terms) in (0..self.codes.parts()).map(|part| self.codes.part(part)).zip(&terms[1..]) {
            let texts = terms
                .as_ref()
                .map(|terms| terms.texts(words.iter().map(|words| words[at]).filter(|word| *word != NULL).collect()));
            let texts = texts.transpose()?.unwrap_or_default();
            for (key, words) in keys.iter_mut().zip(&words) {
                key.push(KeyShape::decode(part, &words[at..], &texts));
            }
            at += part.words();
        }
        for (code, key) in missing.into_iter().zip(keys) {
            known.bytes += key.iter().map(bytes_of).sum::<usize>();
            known.keys[code] = Some(key.into_boxed_slice());
        }
        Ok(())
    }

    /// Where a later pass has to begin, if there may be more groups.
    pub(super) fn end(&self, stride: usize) -> Option<Vec<u64>> {
        self.is_cut.then(|| {
            let mut words = vec![NULL; stride];
            words[0] = self.timeline.start(self.end / self.codes.len()).to_u64();
            words
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let common = self.timeline.len() * BYTES_PER_BUCKET + self.codes.len() * BYTES_PER_CODE;
        common + self.parts.iter().map(DenseGroups::bytes).sum::<usize>()
    }
}
