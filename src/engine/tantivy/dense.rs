//! Groups of keys that are few apart from the date: found by their place in a table, a row for each date bucket and a column for
//! each code. Nothing is hashed, and nothing needs to be sorted.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::codes::Codes;
use super::columns::{NumberColumn, Segment};
use super::keys::{KeyShape, NULL, PartKind};
use super::terms::KeywordTerms;
use super::timeline::{NONE, Timeline};
use crate::engine::{EngineError, MetricValues, Page};
use crate::job::KeyPart;
use crate::sync::Arc;

/// How many bytes the keys of codes may take before they are forgotten between two pages.
const MOST_CODE_KEYS: usize = 1 << 20;

/// What is kept of each group.
#[derive(Clone)]
pub(super) struct CellShape {
    /// For each metric field, the place of its count among those that are kept apart; none if every document has exactly one
    /// value, so that the count of documents tells.
    pub(super) counts: Vec<Option<usize>>,
    /// How many counts are kept apart.
    apart: usize,
}

impl CellShape {
    pub(super) fn of(segments: &[Segment], metrics: usize) -> Self {
        let is_full = |metric: &usize| {
            segments.iter().all(|segment| segment.metrics[*metric].as_ref().is_some_and(NumberColumn::is_full))
        };
        let mut apart = 0;
        let counts = (0..metrics).map(|metric| {
            (!is_full(&metric)).then(|| {
                apart += 1;
                apart - 1
            })
        });
        Self { counts: counts.collect(), apart }
    }

    /// What a group takes, besides its place in the table.
    pub(super) fn bytes(&self) -> usize {
        8 + self.counts.len() * size_of::<Cell>() + self.apart * 8
    }
}

/// The values of a metric field in a group, besides their number.
#[derive(Clone, Copy)]
struct Cell {
    sum: f64,
    /// What the sum is too large by (Kahan).
    compensation: f64,
    /// The extremes as a column of doubles holds them: mapped to integers, which compare faster.
    min: u64,
    max: u64,
}

impl Cell {
    const EMPTY: Self = Self { sum: 0.0, compensation: 0.0, min: u64::MAX, max: 0 };

    /// Takes a finite value whose sums do not overflow.
    #[inline]
    fn add_small(&mut self, raw: u64, value: f64) {
        self.min = self.min.min(raw);
        self.max = self.max.max(raw);
        let corrected = value - self.compensation;
        let sum = self.sum + corrected;
        self.compensation = (sum - self.sum) - corrected;
        self.sum = sum;
    }

    fn values(&self, count: u64) -> MetricValues {
        if count == 0 {
            return MetricValues::default();
        }
        let (min, max) = (f64::from_u64(self.min), f64::from_u64(self.max));
        MetricValues::from_parts(count, self.sum, min, max).compensated_by(self.compensation)
    }

    /// Takes a finite value.
    fn add(&mut self, value: f64) {
        self.add_small(value.to_u64(), value);
        // Once the sum has overflowed there is nothing to compensate any more.
        if !self.sum.is_finite() {
            self.compensation = 0.0;
        }
    }
}

/// The groups that one thread finds in a pass.
pub(super) struct DenseGroups {
    codes: usize,
    shape: CellShape,
    /// For each row and code the group's slot and one more; zero for none.
    table: Vec<u32>,
    doc_counts: Vec<u64>,
    values: Vec<Cell>,
    counts: Vec<u64>,
    /// Slots that may be used again.
    free: Vec<u32>,
    /// The rows that are still wanted.
    rows: usize,
    most: usize,
}

/// Where the values of a metric field go.
pub(super) struct MetricCells<'a> {
    values: &'a mut [Cell],
    width: usize,
    metric: usize,
    counts: Option<(&'a mut [u64], usize, usize)>,
}

impl MetricCells<'_> {
    /// Takes a value of a column of doubles that is finite, and one of those whose sums do not overflow.
    #[inline]
    pub(super) fn add_small(&mut self, slot: u32, raw: u64, value: f64) {
        self.values[slot as usize * self.width + self.metric].add_small(raw, value);
        self.count(slot);
    }

    /// Takes any value.
    #[inline]
    pub(super) fn add(&mut self, slot: u32, value: f64) {
        if value.is_finite() {
            self.values[slot as usize * self.width + self.metric].add(value);
            self.count(slot);
        }
    }

    #[inline]
    fn count(&mut self, slot: u32) {
        if let Some((counts, width, place)) = &mut self.counts {
            counts[slot as usize * *width + *place] += 1;
        }
    }
}

impl DenseGroups {
    /// For `rows` date buckets, and about as many groups as take `bytes` with the table.
    pub(super) fn new(rows: usize, codes: usize, shape: CellShape, bytes: usize) -> Self {
        let most = (bytes.saturating_sub(rows * codes * 4) / shape.bytes()).max(codes);
        // The system gives memory when it is first written to: what no group needs costs nothing.
        let room = most.min(rows * codes);
        Self {
            codes,
            table: vec![0; rows * codes],
            doc_counts: Vec::with_capacity(room),
            values: Vec::with_capacity(room * shape.counts.len()),
            counts: Vec::with_capacity(room * shape.apart),
            free: Vec::new(),
            rows,
            most,
            shape,
        }
    }

    /// How many date buckets are still wanted.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Counts one document in a group.
    #[inline]
    pub(super) fn count(&mut self, row: u32, code: u32) -> u32 {
        let place = row as usize * self.codes + code as usize;
        let known = self.table[place];
        let slot = if known == 0 { self.add(place) } else { known - 1 };
        self.doc_counts[slot as usize] += 1;
        slot
    }

    #[cold]
    fn add(&mut self, place: usize) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.doc_counts.len();
            self.doc_counts.push(0);
            self.values.resize((slot + 1) * self.shape.counts.len(), Cell::EMPTY);
            self.counts.resize((slot + 1) * self.shape.apart, 0);
            // There are as many as fit into the memory of a pass.
            u32::try_from(slot).unwrap_or(u32::MAX)
        });
        self.table[place] = slot + 1;
        slot
    }

    /// The cells of a metric field.
    pub(super) fn cells(&mut self, metric: usize) -> MetricCells<'_> {
        let counts = self.shape.counts[metric].map(|place| (self.counts.as_mut_slice(), self.shape.apart, place));
        MetricCells { values: &mut self.values, width: self.shape.counts.len(), metric, counts }
    }

    /// Adds to each group's values those of its document in several metric fields. They are in columns of doubles, each document
    /// has one in each, and their sums do not overflow: the most usual kind of all, and the one to be fastest at.
    pub(super) fn add_rows<const N: usize>(&mut self, slots: &[u32], metrics: [usize; N], raw: [&[u64]; N]) {
        let width = self.shape.counts.len();
        // Longer than the block they cannot be; told so, the compiler looks once and not for each document.
        let raw = raw.map(|raw| &raw[..slots.len()]);
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != NONE) {
            let cells = &mut self.values[*slot as usize * width..][..width];
            for (metric, raw) in metrics.iter().zip(&raw) {
                cells[*metric].add_small(raw[at], f64::from_u64(raw[at]));
            }
        }
    }

    /// If there are too many groups, forgets those of the later half of the rows: a later pass has them.
    pub(super) fn shed(&mut self) {
        while self.doc_counts.len() - self.free.len() > self.most && self.rows > 1 {
            let keep = self.rows / 2;
            for place in &mut self.table[keep * self.codes..self.rows * self.codes] {
                let Some(slot) = std::mem::take(place).checked_sub(1) else { continue };
                let (at, width, apart) = (slot as usize, self.shape.counts.len(), self.shape.apart);
                self.doc_counts[at] = 0;
                self.values[at * width..(at + 1) * width].fill(Cell::EMPTY);
                self.counts[at * apart..(at + 1) * apart].fill(0);
                self.free.push(slot);
            }
            self.rows = keep;
        }
    }

    fn get(&self, place: usize) -> Option<(u64, impl Iterator<Item = MetricValues>)> {
        let slot = self.table[place].checked_sub(1)? as usize;
        let (width, apart, doc_count) = (self.shape.counts.len(), self.shape.apart, self.doc_counts[slot]);
        let (values, counts) =
            (&self.values[slot * width..(slot + 1) * width], &self.counts[slot * apart..(slot + 1) * apart]);
        let count = move |place: &Option<usize>| place.map_or(doc_count, |place| counts[place]);
        let metrics = values.iter().zip(&self.shape.counts);
        Some((doc_count, metrics.map(move |(values, place)| values.values(count(place)))))
    }
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
    code_keys: Vec<Option<Box<[KeyPart]>>>,
    code_keys_bytes: usize,
}

impl DensePages {
    /// `first_code` is where to begin in the first row. `is_cut`: the timeline ends before the last date bucket.
    pub(super) fn new(
        codes: Arc<Codes>,
        timeline: Arc<Timeline>,
        parts: Vec<DenseGroups>,
        first_code: usize,
        is_cut: bool,
    ) -> Self {
        let rows = parts.iter().map(DenseGroups::rows).min().unwrap_or(0);
        let code_keys = vec![None; codes.len()];
        Self {
            next: first_code.min(rows * codes.len()),
            end: rows * codes.len(),
            is_cut: is_cut || rows < timeline.len(),
            codes,
            timeline,
            parts,
            code_keys,
            code_keys_bytes: 0,
        }
    }

    /// Appends the next buckets to the page, at most `count`. Says the words of the last key, or nothing if there are no more.
    pub(super) fn take(
        &mut self,
        count: usize,
        terms: &[Option<KeywordTerms>],
        page: &mut Page,
    ) -> Result<Option<Vec<u64>>, EngineError> {
        let mut places = Vec::with_capacity(count.min(self.end - self.next));
        while places.len() < count && self.next < self.end {
            if self.parts.iter().any(|part| part.table[self.next] != 0) {
                places.push(self.next);
            }
            self.next += 1;
        }
        self.look_up(&places, terms)?;
        page.reserve(places.len());
        let codes = self.codes.len();
        for place in &places {
            let date = KeyPart::Date(self.timeline.start(place / codes));
            let rest = self.code_keys[place % codes].as_deref().unwrap_or_default();
            let mut found = self.parts.iter().filter_map(|part| part.get(*place));
            let Some((doc_count, metrics)) = found.next() else { continue };
            page.push_parts(date, rest, doc_count, metrics);
            // Several threads have met the same stretch of time.
            found.for_each(|(doc_count, metrics)| page.add_to_last(doc_count, metrics));
        }
        Ok(places.last().map(|place| {
            let mut words = vec![self.timeline.start(place / codes).to_u64()];
            words.extend(self.codes.words(place % codes));
            words
        }))
    }

    /// Gets the keys of these places' codes.
    fn look_up(&mut self, places: &[usize], terms: &[Option<KeywordTerms>]) -> Result<(), EngineError> {
        if self.code_keys_bytes > MOST_CODE_KEYS {
            self.code_keys.fill(None);
            self.code_keys_bytes = 0;
        }
        let mut missing: Vec<usize> = places.iter().map(|place| place % self.codes.len()).collect();
        missing.retain(|code| self.code_keys[*code].is_none());
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
                key.push(match part {
                    PartKind::Keyword => {
                        texts.get(&words[at]).map_or(KeyPart::Null, |text| KeyPart::Text(Arc::clone(text)))
                    }
                    part => KeyShape::decode(part, &words[at..]),
                });
            }
            at += part.words();
        }
        for (code, key) in missing.into_iter().zip(keys) {
            let text = |part: &KeyPart| if let KeyPart::Text(text) = part { text.len() } else { 0 };
            self.code_keys_bytes += key.iter().map(|part| size_of::<KeyPart>() + text(part)).sum::<usize>();
            self.code_keys[code] = Some(key.into_boxed_slice());
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
        let part = |part: &DenseGroups| part.table.len() * 4 + part.doc_counts.len() * part.shape.bytes();
        self.parts.iter().map(part).sum::<usize>()
    }
}
