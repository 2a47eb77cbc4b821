//! A scan: passes over the columns, each grouping as much of the key range as fits into memory, handed out as sorted pages.

mod budget;
mod codes;
mod columns;
mod dense;
mod dense_pass;
mod groups;
mod hash_pass;
mod keys;
mod pass;
mod terms;
mod timeline;

use std::cmp::Ordering;
use std::sync::Weak;

use ::tantivy::columnar::MonotonicallyMappableToU64;
use ::tantivy::{Index, ReloadPolicy, TantivyError};

pub(super) use budget::Budget;

use super::failed;
use super::schema::{check_source, fits_terms};
use crate::engine::{EngineError, FieldType, JobContext, Page, PageStream, ScanRequest, StopSignal};
use crate::job::Rounding;
use crate::sync::{Arc, Mutex};
use budget::Holder;
use codes::Codes;
use columns::{Segment, around, millis};
use dense::{CellShape, DenseGroups, DensePages, bytes_per_row};
use dense_pass::DensePass;
use groups::{Groups, HashedPages, KeyRange};
use hash_pass::HashPass;
use keys::{KeyShape, PartKind};
use pass::{ChunkDates, Grouping};
use terms::KeywordTerms;
use timeline::Timeline;

/// A table may have so many places for each document, or so many in any case.
const PLACES_PER_DOCUMENT: u64 = 2;
const FEW_PLACES: u64 = 1 << 16;
/// Which part of a pass's memory the table may have.
const TABLE_PART: usize = 4;
/// How much memory a pass has for each of the threads that it was lent.
const LEAST_PER_LENT_THREAD: usize = 16 << 20;
/// A day that begins daylight saving time, in milliseconds.
const LEAST_CALENDAR_BUCKET: i64 = 23 * 3_600_000;

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
    rounding: Rounding,
    /// How many metric fields there are.
    metrics: usize,
    /// How to number keys, if they are few.
    codes: Option<Arc<Codes>>,
    cells: CellShape,
    /// How many threads a pass has in any case, how many the next one may have, and how many it has.
    own_threads: usize,
    lent_threads: usize,
    threads: usize,
    skipped: Option<u64>,
    /// The groups of a pass that was given up. Freeing them takes milliseconds, which nobody who waits for a stop should wait for:
    /// they go with the scan.
    unneeded: Option<Box<dyn Send>>,
    done: bool,
    held: Arc<Held>,
    budget: Arc<Budget>,
    /// The memory of the terms' numbering, charged as long as the scan lives.
    charged: usize,
}

/// The finished groups of a scan, which others may take away while it is parked.
#[derive(Default)]
struct Held {
    groups: Mutex<Option<Finished>>,
}

impl Holder for Held {
    fn held(&self) -> Option<usize> {
        Some(self.groups.try_lock()?.as_ref().map_or(0, Finished::bytes))
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
        threads: usize,
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
        Segment::agree(&mut segments);
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
            rest: KeyRange::default(),
            before: request.before.to_u64(),
            rounding: job.config().rounding().clone(),
            metrics: job.config().metrics().len(),
            codes: Codes::of(&shape, &segments, &terms).map(Arc::new),
            cells: CellShape::of(&segments, job.config().metrics().len()),
            own_threads: threads.max(1),
            lent_threads: 1,
            threads: threads.max(1),
            skipped: None,
            unneeded: None,
            done: false,
            held,
            budget,
            charged,
            segments,
            shape,
            terms,
        };
        if let Some(after) = &request.after {
            scan.rest.from = Some((scan.shape.encode(after, &scan.terms)?, false));
        }
        Ok(scan)
    }

    /// Groups the first part of the rest that fits.
    fn pass(&mut self, stop: &StopSignal) -> Result<Finished, EngineError> {
        self.unneeded = None;
        let share = self.budget.take_share();
        // Threads that nobody asked for should not make the parts so small that there have to be more passes.
        self.threads = self.lent_threads.min(share.bytes() / LEAST_PER_LENT_THREAD).max(self.own_threads);
        let bytes = share.bytes() / self.threads;
        let finished = match self.plan(bytes, stop)? {
            Some(plan) => self.dense_pass(&plan, bytes, stop),
            None => self.hash_pass(bytes, stop),
        };
        match finished {
            Ok(finished) => {
                share.settle(finished.bytes());
                Ok(finished)
            }
            Err(error) => {
                // What is still there is still paid for.
                self.unneeded = self.unneeded.take().map(|groups| Box::new((groups, share)) as Box<dyn Send>);
                Err(error)
            }
        }
    }

    /// How to group by place, if the keys are few enough: a stretch of time, and whether there is more behind it.
    fn plan(&self, bytes: usize, stop: &StopSignal) -> Result<Option<Plan>, EngineError> {
        let Some(codes) = &self.codes else { return Ok(None) };
        let dates = self.segments.iter().filter_map(|segment| segment.date.as_ref());
        let dates = dates.filter(|date| date.values.num_vals() > 0);
        let (first, last) =
            dates.fold((u64::MAX, 0), |(first, last), date| (first.min(date.min_value()), last.max(date.max_value())));
        let from = self.rest.from.as_ref().map_or(i64::MIN, |(words, _)| i64::from_u64(words[0]));
        let (first, last) = (millis(first).max(from), millis(last).min(i64::from_u64(self.before).saturating_sub(1)));
        if first > last {
            return Ok(None);
        }
        // At the ends of what a column can hold there are buckets whose bounds it cannot.
        let is_exact = |millis: i64| millis.checked_mul(1_000_000).is_some();
        if !is_exact(self.rounding.round_down(first)) || !is_exact(self.rounding.bucket(last).end) {
            return Ok(None);
        }
        // A row is one stretch of time.
        if !self.rounding.is_monotone(first, last) {
            return Ok(None);
        }
        // In a table with few groups the hash would be faster.
        let documents: u64 = self.segments.iter().map(|segment| u64::from(segment.documents)).sum();
        let length = self.rounding.fixed_millis().unwrap_or(LEAST_CALENDAR_BUCKET).max(1);
        let buckets = u64::try_from((last.saturating_sub(first)) / length).unwrap_or(u64::MAX);
        let places = buckets.saturating_add(1).saturating_mul(codes.len() as u64);
        if places > documents.saturating_mul(PLACES_PER_DOCUMENT).max(FEW_PLACES) {
            return Ok(None);
        }
        let rows = bytes / TABLE_PART / bytes_per_row(codes.len());
        let one_row = codes.len() * self.cells.bytes();
        if rows == 0 || one_row > bytes / 2 {
            return Ok(None);
        }
        let timeline = Timeline::new(&self.rounding, first, last, rows, stop).ok_or_else(EngineError::cancelled)?;
        let timeline = Arc::new(timeline);
        let is_cut = timeline.start(timeline.len()) <= last;
        // The position may be in the middle of the first row, or behind it if dates were rounded otherwise then.
        let first_code = self.rest.from.as_ref().map_or(0, |(words, included)| match timeline.start(0).cmp(&from) {
            Ordering::Less => codes.len(),
            Ordering::Equal => codes.first_from(&words[1..], *included),
            Ordering::Greater => 0,
        });
        Ok(Some(Plan { codes: Arc::clone(codes), timeline, first_code, is_cut }))
    }

    fn dense_pass(&mut self, plan: &Plan, bytes: usize, stop: &StopSignal) -> Result<Finished, EngineError> {
        let Plan { codes, timeline, first_code, is_cut } = plan;
        let groups = || DenseGroups::new(timeline.len(), codes.len(), self.cells.clone(), bytes);
        let mut passes: Vec<_> = (0..self.threads).map(|_| DensePass::new(timeline, codes, groups())).collect();
        let from = timeline.start(0).to_u64();
        let to = timeline.start(timeline.len()).to_u64();
        let read = self.read(&mut passes, |first, last| last < from || first >= to, stop);
        let skipped = passes.iter().map(|pass| pass.skipped).sum();
        let groups: Vec<_> = passes.into_iter().map(DensePass::into_groups).collect();
        let groups = self.settle(read, groups, skipped)?;
        let pages = DensePages::new(Arc::clone(codes), Arc::clone(timeline), groups, *first_code, *is_cut);
        Ok(Finished::Dense(pages))
    }

    fn hash_pass(&mut self, bytes: usize, stop: &StopSignal) -> Result<Finished, EngineError> {
        let pass = |_| {
            let groups = Groups::new(self.shape.stride(), self.metrics, self.rest.clone(), bytes);
            HashPass::new(&self.shape, self.rounding.cursor(), self.before, groups)
        };
        let mut passes: Vec<_> = (0..self.threads).map(pass).collect();
        let misses = |first, last| first >= self.before || self.rest.misses(first, last);
        let read = self.read(&mut passes, misses, stop);
        let skipped = passes.iter().map(|pass| pass.skipped).sum();
        let groups: Vec<_> = passes.into_iter().map(HashPass::into_groups).collect();
        let groups = self.settle(read, groups, skipped)?;
        let pages = HashedPages::new(groups.into_iter().map(Groups::finish).collect());
        Ok(Finished::Hashed(pages))
    }

    /// Reads all chunks in which there may be something.
    fn read<G: Grouping>(
        &self,
        passes: &mut [G],
        misses: impl Fn(u64, u64) -> bool,
        stop: &StopSignal,
    ) -> Result<Vec<ChunkDates>, EngineError> {
        let segments = self.segments.iter().enumerate();
        let chunks: Vec<(usize, u32)> = segments
            .flat_map(|(number, segment)| segment.chunks(&misses).map(move |chunk| (number, chunk)).collect::<Vec<_>>())
            .collect();
        pass::read(&self.segments, &chunks, passes, stop).ok_or_else(EngineError::cancelled)
    }

    /// Keeps what a pass has found out beside its groups, or the groups of one that was given up.
    fn settle<T: Send + 'static>(
        &mut self,
        read: Result<Vec<ChunkDates>, EngineError>,
        groups: T,
        skipped: u64,
    ) -> Result<T, EngineError> {
        let dates = match read {
            Ok(dates) => dates,
            Err(error) => {
                self.unneeded = Some(Box::new(groups));
                return Err(error);
            }
        };
        let mut cursor = self.rounding.cursor();
        let mut bucket = |millis: i64| cursor.round_down(millis).to_u64();
        for ChunkDates { segment, chunk, dates } in dates {
            let dates = dates.map(|(first, last)| around(&self.rounding, first, last));
            self.segments[segment].note_dates(chunk, dates.map(|(first, last)| (bucket(first), bucket(last))));
        }
        // The first pass has read all documents that may have no date.
        self.skipped.get_or_insert(skipped);
        Ok(groups)
    }
}

/// What a dense pass groups.
struct Plan {
    codes: Arc<Codes>,
    timeline: Arc<Timeline>,
    /// Where to begin in the first row.
    first_code: usize,
    /// Whether there are date buckets behind the timeline.
    is_cut: bool,
}

/// The finished groups of a pass.
enum Finished {
    Dense(DensePages),
    Hashed(HashedPages),
}

impl Finished {
    fn bytes(&self) -> usize {
        match self {
            Self::Dense(pages) => pages.bytes(),
            Self::Hashed(pages) => pages.bytes(),
        }
    }

    /// Where a later pass has to begin, if there may be more groups.
    fn end(&self, shape: &KeyShape) -> Option<Vec<u64>> {
        match self {
            Self::Dense(pages) => pages.end(shape.stride()),
            Self::Hashed(pages) => pages.end(),
        }
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
            let mut page = Page::of_width(self.shape.parts().len(), self.metrics);
            let last = match current {
                Finished::Dense(pages) => pages.take(self.page_size, &self.terms, &mut page),
                Finished::Hashed(pages) => pages.take(self.page_size, &self.shape, &self.terms, &mut page),
            }?;
            if let Some(last) = last {
                self.rest.from = Some((last, false));
                return Ok(page);
            }
            match current.end(&self.shape) {
                Some(end) => self.rest.from = Some((end, true)),
                None => self.done = true,
            }
            if let Some(finished) = groups.take() {
                self.budget.give_back(finished.bytes());
            }
        }
        Ok(Page::default())
    }

    fn lend_threads(&mut self, threads: usize) {
        self.lent_threads = threads;
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
