//! A scan: passes over the columns, each grouping as much of the key range as fits into memory, handed out as sorted pages.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Weak;

use ::tantivy::columnar::MonotonicallyMappableToU64;
use ::tantivy::{DocId, Index, ReloadPolicy, TantivyError};

use super::budget::{Budget, Holder};
use super::columns::{BLOCK, Buffers, Segment, millis, read_block};
use super::failed;
use super::groups::{Groups, KeyRange, SortedGroups};
use super::keys::{KeyShape, NULL, PartKind};
use super::schema::{check_source, fits_terms};
use super::terms::KeywordTerms;
use crate::engine::{EngineError, FieldType, JobContext, Page, PageStream, ScanRequest, StopSignal};
use crate::job::{BucketCursor, KeyPart};
use crate::sync::{Arc, Mutex};

pub(super) struct Scan {
    shape: KeyShape,
    page_size: usize,
    segments: Vec<Segment>,
    /// For each part of the key, the terms if it is a keyword.
    terms: Vec<Option<KeywordTerms>>,
    /// What is still to be handed out.
    rest: KeyRange,
    /// The date bucket in which the scan ends.
    before: u64,
    cursor: BucketCursor,
    skipped: Option<u64>,
    done: bool,
    held: Arc<Held>,
    budget: Arc<Budget>,
    /// The memory of the terms' numbering, charged as long as the scan lives.
    charged: usize,
}

/// The finished groups of a scan, which others may take away while it is parked.
#[derive(Default)]
struct Held {
    groups: Mutex<Option<SortedGroups>>,
}

impl Holder for Held {
    fn held(&self) -> Option<usize> {
        Some(self.groups.try_lock()?.as_ref().map_or(0, SortedGroups::bytes))
    }

    fn release(&self) -> usize {
        let groups = self.groups.try_lock().and_then(|mut groups| groups.take());
        groups.map_or(0, |groups| groups.bytes())
    }
}

impl Scan {
    pub(super) fn open(
        job: &JobContext,
        request: &ScanRequest,
        sources: &[(String, Index)],
        budget: Arc<Budget>,
        stop: &StopSignal,
    ) -> Result<Self, EngineError> {
        let shape = KeyShape::of(job);
        let (mut segments, mut keywords) = (Vec::new(), Vec::new());
        for (name, index) in sources {
            check_fields(job, name, index)?;
            let opened =
                open_segments(job, index, &shape).map_err(|error| failed(&format!("source index [{name}]"), error))?;
            for (segment, columns) in opened {
                segments.push(segment);
                keywords.push(columns);
            }
        }
        let terms = number_terms(&shape, &mut segments, keywords, stop)?;
        let charged: usize = terms.iter().flatten().map(KeywordTerms::bytes).sum();
        if charged > budget.most_for_terms() {
            return Err(EngineError::rejected(format!(
                "numbering the terms of job [{}] takes {charged} bytes, of a memory budget of which {} are for that: raise it",
                job.id(),
                budget.most_for_terms()
            )));
        }
        if !budget.try_charge(charged) {
            let text = "the memory budget is used up by other scans: there will be room when they have ended";
            return Err(EngineError::unavailable(text));
        }
        let held: Arc<Held> = Arc::default();
        let holder: Weak<Held> = Arc::downgrade(&held);
        budget.join(holder);
        let mut scan = Self {
            page_size: job.config().page_size(),
            segments,
            rest: KeyRange::default(),
            before: request.before.to_u64(),
            cursor: job.config().rounding().cursor(),
            skipped: None,
            done: false,
            held,
            budget,
            charged,
            shape,
            terms,
        };
        if let Some(after) = &request.after {
            scan.rest.from = Some((scan.shape.encode(after, &scan.terms)?, false));
        }
        Ok(scan)
    }

    /// Groups the first part of the rest that fits.
    fn pass(&mut self, stop: &StopSignal) -> Result<SortedGroups, EngineError> {
        let share = self.budget.take_share();
        let metrics = self.segments.first().map_or(0, |segment| segment.metrics.len());
        let mut groups = Groups::new(self.shape.stride(), metrics, self.rest.clone(), share.bytes());
        let mut pass = Pass::new(&self.shape, &mut self.cursor, self.before);
        for segment in &mut self.segments {
            if !pass.segment(segment, &mut groups, stop) {
                return Err(EngineError::cancelled());
            }
        }
        self.skipped.get_or_insert(pass.skipped);
        let groups = groups.finish();
        share.settle(groups.bytes());
        Ok(groups)
    }

    fn page(&self, groups: &mut SortedGroups) -> Result<(Page, Option<Vec<u64>>), EngineError> {
        let taken = groups.take(self.page_size);
        let mut texts: Vec<HashMap<u64, Arc<str>>> = Vec::with_capacity(self.terms.len());
        for ((_, at), terms) in self.shape.parts().iter().zip(&self.terms) {
            let words = || taken.clone().map(|group| group.key[*at]).filter(|word| *word != NULL).collect();
            texts.push(terms.as_ref().map(|terms| terms.texts(words())).transpose()?.unwrap_or_default());
        }
        let part = |key: &[u64], (kind, at): (PartKind, usize), texts: &HashMap<u64, Arc<str>>| match kind {
            PartKind::Keyword => texts.get(&key[at]).map_or(KeyPart::Null, |text| KeyPart::Text(Arc::clone(text))),
            kind => KeyShape::decode(kind, &key[at..]),
        };
        let last = taken.clone().last().map(|group| group.key.to_vec());
        let metrics = self.segments.first().map_or(0, |segment| segment.metrics.len());
        let mut page = Page::of_width(self.shape.parts().len(), metrics);
        page.reserve(taken.clone().count());
        for group in taken {
            let key = self.shape.parts().iter().zip(&texts).map(|(shape, texts)| part(group.key, *shape, texts));
            page.push(key, group.doc_count, group.values.iter().copied());
        }
        Ok((page, last))
    }
}

impl PageStream for Scan {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let held = Arc::clone(&self.held);
        // While this is locked nobody takes the groups away.
        let mut groups = held.groups.lock();
        while !self.done {
            if stop.is_stopped() {
                return Err(EngineError::cancelled());
            }
            let current = match &mut *groups {
                Some(current) => current,
                none => none.insert(self.pass(stop)?),
            };
            let (page, last) = self.page(current)?;
            if let Some(last) = last {
                self.rest.from = Some((last, false));
                return Ok(page);
            }
            match current.end() {
                Some(end) => self.rest.from = Some((end.to_vec(), true)),
                None => self.done = true,
            }
            if let Some(finished) = groups.take() {
                self.budget.give_back(finished.bytes());
            }
        }
        Ok(Page::default())
    }

    fn documents_skipped(&self) -> u64 {
        self.skipped.unwrap_or(0)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        let held = self.held.groups.lock().take().map_or(0, |groups| groups.bytes());
        self.budget.give_back(held);
        self.budget.give_back_charge(self.charged);
    }
}

/// A field may have become something else since the job was put.
fn check_fields(job: &JobContext, name: &str, index: &Index) -> Result<(), EngineError> {
    let (schema, groups) = (index.schema(), job.config().groups());
    check_source(name, &schema, groups.date_histogram().field(), FieldType::is_date, "a date")?;
    for field in groups.histogram_fields() {
        check_source(name, &schema, field, FieldType::is_numeric, "a number")?;
    }
    for (field, terms) in groups.terms_fields().iter().zip(job.terms_types()) {
        check_source(name, &schema, field, |found| fits_terms(*terms, found), &format!("{terms} terms"))?;
    }
    for metric in job.config().metrics() {
        check_source(
            name,
            &schema,
            metric.field(),
            |found| found.is_numeric() || found.is_date(),
            "a number or a date",
        )?;
    }
    Ok(())
}

type Opened = Vec<(Segment, Vec<Option<::tantivy::columnar::StrColumn>>)>;

/// The segments of what the host has committed. The default reload policy would poll on a thread.
fn open_segments(job: &JobContext, index: &Index, shape: &KeyShape) -> Result<Opened, TantivyError> {
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let searcher = reader.searcher();
    searcher.segment_readers().iter().map(|segment| Segment::open(segment, job, shape.parts())).collect()
}

fn number_terms(
    shape: &KeyShape,
    segments: &mut [Segment],
    keywords: Vec<Vec<Option<::tantivy::columnar::StrColumn>>>,
    stop: &StopSignal,
) -> Result<Vec<Option<KeywordTerms>>, EngineError> {
    let mut numbered = vec![None];
    for (part, (kind, _)) in shape.parts()[1..].iter().enumerate() {
        if *kind != PartKind::Keyword {
            numbered.push(None);
            continue;
        }
        let owners = keywords.iter().enumerate().filter(|(_, columns)| columns[part].is_some());
        let owners: Vec<usize> = owners.map(|(segment, _)| segment).collect();
        let columns = owners.iter().filter_map(|segment| keywords[*segment][part].clone()).collect();
        let terms = KeywordTerms::new(columns, stop)?;
        for (column, segment) in owners.into_iter().enumerate() {
            segments[segment].number_terms(part, terms.places(column));
        }
        numbered.push(Some(terms));
    }
    Ok(numbered)
}

/// What becomes of a document of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Deleted, without a date, or out of range.
    Out,
    /// In one group.
    One,
    /// A field has several values: in several groups, perhaps.
    Many,
}

/// One pass over all segments.
struct Pass<'a> {
    shape: &'a KeyShape,
    cursor: &'a mut BucketCursor,
    before: u64,
    buffers: Buffers,
    keys: Vec<u64>,
    fates: Vec<Fate>,
    slots: Vec<Option<u32>>,
    skipped: u64,
}

impl<'a> Pass<'a> {
    fn new(shape: &'a KeyShape, cursor: &'a mut BucketCursor, before: u64) -> Self {
        let keys = vec![NULL; BLOCK * shape.stride()];
        let (fates, slots) = (vec![Fate::Out; BLOCK], vec![None; BLOCK]);
        Self { shape, cursor, before, buffers: Buffers::new(), keys, fates, slots, skipped: 0 }
    }

    /// `false` if a stop came.
    fn segment(&mut self, segment: &mut Segment, groups: &mut Groups, stop: &StopSignal) -> bool {
        let blocks = segment.blocks(|first, last| first >= self.before || groups.range().misses(first, last));
        let mut seen = None;
        for block in blocks {
            if stop.is_stopped() {
                return false;
            }
            let dates = self.dates(segment, &block);
            segment.note_dates(&block, &mut seen, dates);
            if self.fates[..block.len()].iter().all(|fate| *fate == Fate::Out) {
                continue;
            }
            self.key_parts(segment, &block);
            self.group(segment, &block, groups);
            self.measure(segment, &block, groups);
            groups.shed();
        }
        true
    }

    /// Puts the date bucket of each document into its key. Says which buckets there are.
    fn dates(&mut self, segment: &Segment, block: &Range<DocId>) -> Option<(u64, u64)> {
        let Self { cursor, before, buffers, keys, fates, skipped, shape, .. } = self;
        let (stride, before) = (shape.stride(), *before);
        let fates = &mut fates[..block.len()];
        let is_alive = |at: usize| {
            let id = block.start + u32::try_from(at).unwrap_or(0);
            segment.alive.as_ref().is_none_or(|alive| alive.is_alive(id))
        };
        let Some(column) = &segment.date else {
            fates.fill(Fate::Out);
            *skipped += (0..block.len()).filter(|at| is_alive(*at)).count() as u64;
            return None;
        };
        fates.fill(Fate::One);
        let (mut several, mut missing) = (Vec::new(), Vec::new());
        let (mut first, mut last) = (u64::MAX, 0);
        read_block(
            column,
            block,
            buffers,
            |at, raw| {
                let bucket = cursor.round_down(millis(raw)).to_u64();
                (first, last) = (first.min(bucket), last.max(bucket));
                keys[at * stride] = bucket;
                if bucket >= before {
                    fates[at] = Fate::Out;
                }
            },
            |at| missing.push(at),
            |at| several.push(at),
        );
        for at in several {
            fates[at] = Fate::Many;
            for raw in column.values_for_doc(block.start + u32::try_from(at).unwrap_or(0)) {
                let bucket = cursor.round_down(millis(raw)).to_u64();
                (first, last) = (first.min(bucket), last.max(bucket));
            }
        }
        for at in missing {
            fates[at] = Fate::Out;
            *skipped += u64::from(is_alive(at));
        }
        if segment.alive.is_some() {
            for at in (0..block.len()).filter(|at| !is_alive(*at)) {
                fates[at] = Fate::Out;
            }
        }
        (first <= last).then_some((first, last))
    }

    /// Puts the other parts of the key into its words.
    fn key_parts(&mut self, segment: &Segment, block: &Range<DocId>) {
        let Self { buffers, keys, fates, shape, .. } = self;
        let stride = shape.stride();
        for ((kind, word), column) in shape.parts()[1..].iter().zip(&segment.keys) {
            let (word, words) = (*word, kind.words());
            let put = |keys: &mut [u64], at: usize, value: [u64; 2]| {
                keys[at * stride + word..at * stride + word + words].copy_from_slice(&value[..words]);
            };
            let Some(column) = column else {
                (0..block.len()).for_each(|at| put(keys, at, [NULL; 2]));
                continue;
            };
            let mut missing = Vec::new();
            read_block(
                &column.column,
                block,
                buffers,
                |at, raw| put(keys, at, column.words(raw)),
                |at| missing.push(at),
                |at| {
                    if fates[at] == Fate::One {
                        fates[at] = Fate::Many;
                    }
                },
            );
            for at in missing {
                put(keys, at, [NULL; 2]);
            }
        }
    }

    fn group(&mut self, segment: &Segment, block: &Range<DocId>, groups: &mut Groups) {
        let stride = self.shape.stride();
        for at in 0..block.len() {
            self.slots[at] = match self.fates[at] {
                Fate::One => groups.count(&self.keys[at * stride..(at + 1) * stride]),
                Fate::Out => None,
                Fate::Many => {
                    self.group_many(segment, block.start + u32::try_from(at).unwrap_or(0), groups);
                    None
                }
            };
        }
    }

    /// A document with several values in a field counts once in every group that a combination of its values falls into.
    fn group_many(&mut self, segment: &Segment, id: DocId, groups: &mut Groups) {
        let distinct = |mut words: Vec<[u64; 2]>| {
            words.sort_unstable();
            words.dedup();
            words
        };
        let dates = segment.date.iter().flat_map(|column| column.values_for_doc(id));
        let dates = dates.map(|raw| [self.cursor.round_down(millis(raw)).to_u64(), NULL]);
        let dates = distinct(dates.filter(|word| word[0] < self.before).collect());
        let mut keys: Vec<Vec<u64>> = dates.into_iter().map(|word| vec![word[0]]).collect();
        for ((kind, _), column) in self.shape.parts()[1..].iter().zip(&segment.keys) {
            let values = column.iter().flat_map(|column| column.column.values_for_doc(id).map(|raw| column.words(raw)));
            let mut words = distinct(values.filter(|words| words[0] != NULL).collect());
            if words.is_empty() {
                words.push([NULL; 2]);
            }
            keys = keys
                .iter()
                .flat_map(|key| words.iter().map(|words| [key.as_slice(), &words[..kind.words()]].concat()))
                .collect();
        }
        for slot in keys.iter().filter_map(|key| groups.count(key)).collect::<Vec<_>>() {
            for (metric, column) in segment.metrics.iter().enumerate() {
                for (column, raw) in
                    column.iter().flat_map(|column| column.column.values_for_doc(id).map(move |raw| (column, raw)))
                {
                    groups.values(slot, metric).add(column.number.to_double(raw));
                }
            }
        }
    }

    fn measure(&mut self, segment: &Segment, block: &Range<DocId>, groups: &mut Groups) {
        let slots = &self.slots;
        for (metric, column) in segment.metrics.iter().enumerate() {
            let Some(column) = column else { continue };
            let mut several = Vec::new();
            read_block(
                &column.column,
                block,
                &mut self.buffers,
                |at, raw| {
                    if let Some(slot) = slots[at] {
                        groups.values(slot, metric).add(column.number.to_double(raw));
                    }
                },
                |_| {},
                |at| several.push(at),
            );
            for at in several {
                let Some(slot) = slots[at] else { continue };
                for raw in column.column.values_for_doc(block.start + u32::try_from(at).unwrap_or(0)) {
                    groups.values(slot, metric).add(column.number.to_double(raw));
                }
            }
        }
    }
}
