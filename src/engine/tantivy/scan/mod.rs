//! A scan: passes over the columns, each grouping as much of the key range as fits into memory, handed out as sorted
//! pages.

mod block_dates;
mod budget;
mod codes;
mod columns;
mod dense;
mod dense_pass;
mod groups;
mod hash_pass;
mod key_block;
mod keys;
mod pass;
mod plan;
mod sections;
mod snapshots;
mod survey;
mod terms;
mod timeline;

use std::sync::Weak;

use ::tantivy::columnar::MonotonicallyMappableToU64;
use ::tantivy::{Index, Searcher, TantivyError};

pub(super) use budget::Budget;

use super::failed;
use super::schema::{check_source, fits_terms};
use crate::engine::{EngineError, FieldType, JobContext, PageStream, ScanRequest, StopSignal, only_runs};
use crate::job::Rounding;
use crate::rollup::Page;
use crate::sync::{Arc, Mutex};
use budget::Holder;
use codes::Codes;
use columns::Segment;
use dense::{CellShape, DensePages, Left};
use groups::{HashedPages, KeyRange};
use hash_pass::Crowding;
use keys::{KeyShape, PartKind};
use snapshots::Snapshot;
use survey::Survey;
use terms::KeywordTerms;

/// Groups that become buckets between two looks at the stop signal: so many are still in the processor's cache after
/// they were fetched.
const AT_ONCE: usize = 1 << 10;
/// How much memory a pass has for each of the threads that it was lent.
const MIN_PER_LENT_THREAD: usize = 16 << 20;

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
    /// How many threads a pass has in any case, and how many the next one may have.
    own_threads: usize,
    lent_threads: usize,
    survey: Option<Survey>,
    /// The groups or the page of what was given up. Freeing them takes milliseconds, which nobody who waits for a
    /// stop should wait for: they go with the scan.
    discarded: Option<Box<dyn Send>>,
    /// What a pass has left to the next one, while one follows the other.
    left: Left,
    crowding: Crowding,
    done: bool,
    /// The source indices.
    names: Vec<String>,
    held: Arc<ParkedGroups>,
    budget: Arc<Budget>,
    /// The memory of the terms' numbering and of the blocks' dates, charged as long as the scan lives.
    charged: usize,
}

/// The finished groups of a scan, which others may take away while it is parked.
#[derive(Default)]
struct ParkedGroups {
    groups: Mutex<Option<Finished>>,
}

impl Holder for ParkedGroups {
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
        let before = only_runs(job, request)?;
        let shape = KeyShape::of(job);
        let (mut segments, mut keywords) = (Vec::new(), Vec::new());
        for Snapshot { name, index, searcher } in snapshots::open(sources)? {
            check_fields(job, name, index)?;
            let opened = open_segments(job, &searcher, &shape);
            let opened = opened.map_err(|error| failed(&format!("source index [{name}]"), error))?;
            for (segment, columns) in opened {
                segments.push(segment);
                keywords.push(columns);
            }
        }
        Segment::agree(&mut segments);
        let terms = number_terms(&shape, &mut segments, keywords, stop)?;
        let charged = terms.iter().flatten().map(KeywordTerms::bytes).sum::<usize>()
            + segments.iter().map(survey::bytes).sum::<usize>();
        if charged > budget.most_for_terms() {
            return Err(EngineError::rejected(format!(
                "what has to be known of terms and dates for job [{}] takes {charged} bytes, of a memory budget of which {} are for that: raise it",
                job.id(),
                budget.most_for_terms()
            )));
        }
        if !budget.try_charge(charged) {
            let text = "the memory budget is used up by other scans: there will be room when they have ended";
            return Err(EngineError::unavailable(text));
        }
        let held: Arc<ParkedGroups> = Arc::default();
        let holder: Weak<ParkedGroups> = Arc::downgrade(&held);
        budget.join(holder);
        let mut scan = Self {
            page_size: job.config().page_size(),
            rest: KeyRange::default(),
            before: before.to_u64(),
            rounding: job.config().rounding().clone(),
            metrics: job.config().metrics().len(),
            codes: Codes::of(&shape, &segments, &terms).map(Arc::new),
            cells: CellShape::of(&segments, job.config().metrics().len()),
            own_threads: threads.max(1),
            lent_threads: 1,
            survey: None,
            discarded: None,
            left: Left::default(),
            crowding: Crowding::default(),
            done: false,
            names: sources.iter().map(|(name, _)| name.clone()).collect(),
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

    /// Groups the first part of the rest: a slice of time, or what of it fits.
    fn pass(&mut self, stop: &StopSignal) -> Result<Finished, EngineError> {
        self.discarded = None;
        let share = self.budget.take_share();
        // Threads that nobody asked for should not make the parts so small that there have to be more passes.
        let threads = self.lent_threads.min(share.bytes() / MIN_PER_LENT_THREAD).max(self.own_threads);
        let from = self.rest.from.as_ref().map_or(0, |(words, _)| words[0]);
        let survey = match &self.survey {
            Some(survey) => survey,
            None => {
                let survey = Survey::take(&mut self.segments, &self.rounding, &(from..self.before), threads, stop);
                self.survey.insert(survey.ok_or_else(EngineError::cancelled)?)
            }
        };
        let slice_end = survey.slice_end(from);
        let bytes = share.bytes() / threads;
        let finished = match self.plan(slice_end, bytes, stop)? {
            Some(plan) => self.dense_pass(&plan, threads, bytes, stop),
            None => self.hash_pass(slice_end, threads, bytes, stop),
        };
        match finished {
            Ok(finished) => {
                share.settle(finished.bytes());
                Ok(finished)
            }
            Err(error) => {
                // What is still there is still paid for.
                self.discarded = self.discarded.take().map(|groups| Box::new((groups, share)) as Box<dyn Send>);
                Err(error)
            }
        }
    }

    /// The groups of a pass, unless it was given up: then they are kept for later.
    fn unless_cancelled<T: Send + 'static>(&mut self, read: Option<()>, groups: T) -> Result<T, EngineError> {
        if read.is_none() {
            self.discarded = Some(Box::new(groups));
            return Err(EngineError::cancelled());
        }
        Ok(groups)
    }
}

/// The finished groups of a pass.
enum Finished {
    Dense(DensePages),
    Hashed(HashedPages, Crowding),
}

impl Finished {
    fn bytes(&self) -> usize {
        match self {
            Self::Dense(pages) => pages.bytes(),
            Self::Hashed(pages, crowding) => pages.bytes() + crowding.bytes(),
        }
    }

    /// Where a later pass has to begin, if there may be more groups.
    fn end(&self, shape: &KeyShape) -> Option<Vec<u64>> {
        match self {
            Self::Dense(pages) => pages.end(shape.stride()),
            Self::Hashed(pages, _) => pages.end(),
        }
    }
}

impl PageStream for Scan {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let held = Arc::clone(&self.held);
        // While this is locked nobody takes the groups away.
        let mut groups = held.groups.lock();
        let mut page = Page::of_width(self.shape.parts().len(), self.metrics);
        while !self.done && page.len() < self.page_size {
            if stop.is_stopped() {
                self.discarded = Some(Box::new(page));
                return Err(EngineError::cancelled());
            }
            let current = match &mut *groups {
                Some(current) => current,
                none => none.insert(self.pass(stop)?),
            };
            let room = (self.page_size - page.len()).min(AT_ONCE);
            let last = match current {
                Finished::Dense(pages) => pages.take(room, &self.terms, &mut page),
                Finished::Hashed(pages, _) => pages.take(room, &self.shape, &self.terms, &mut page),
            }?;
            if let Some(last) = last {
                self.rest.from = Some((last, false));
                continue;
            }
            match current.end(&self.shape) {
                Some(end) if end[0] < self.before => self.rest.from = Some((end, true)),
                _ => self.done = true,
            }
            if let Some(finished) = groups.take() {
                self.budget.give_back(finished.bytes());
                match finished {
                    Finished::Dense(pages) => self.left = pages.leave(),
                    Finished::Hashed(_, crowding) => self.crowding = crowding,
                }
            }
        }
        Ok(page)
    }

    fn lend_threads(&mut self, threads: usize) {
        self.lent_threads = threads;
    }

    fn source_indices(&self) -> Option<Vec<String>> {
        Some(self.names.clone())
    }

    fn documents_skipped(&self) -> u64 {
        self.survey.as_ref().map_or(0, |survey| survey.skipped)
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

fn open_segments(job: &JobContext, searcher: &Searcher, shape: &KeyShape) -> Result<Opened, TantivyError> {
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
