//! A scan: passes over the columns, each grouping as much of the key range as fits into memory, handed out as sorted
//! pages.

mod block_dates;
mod budget;
mod cells;
mod codes;
mod columns;
mod dense;
mod dense_pass;
mod grid;
mod groups;
mod hash_pass;
mod key_block;
mod keys;
mod lane;
mod mask;
mod open;
mod pass;
mod plan;
mod rows;
mod sections;
mod survey;
mod terms;
mod timeline;
mod window;

pub(super) use budget::{Budget, Kept};
pub(super) use open::ScanSource;
pub(super) use rows::RowColumns;

use std::collections::BTreeSet;

use crate::engine::{EngineError, PageStream, StopSignal};
use crate::job::GroupKey;
use crate::measure::Measures;
use crate::rollup::Page;
use crate::sync::{Arc, Mutex};
use budget::Holder;
use cells::CellShape;
use codes::Codes;
use columns::Segment;
use dense::{DensePages, Left};
use grid::Grid;
use groups::{HashedPages, KeyRange};
use hash_pass::Crowding;
use keys::KeyShape;
use open::Found;
use survey::Survey;
use terms::KeywordTerms;
use window::Window;

/// Groups that become buckets between two looks at the stop signal: so many are still in the processor's cache after
/// they were fetched.
const AT_ONCE: usize = 1 << 10;
/// How much memory a pass has for each of the threads that it was lent.
const MIN_PER_LENT_THREAD: usize = 16 << 20;

pub(super) struct Scan {
    shape: KeyShape,
    measures: Vec<Measures>,
    page_size: usize,
    after: Option<GroupKey>,
    grid: Grid,
    window: Window,
    columns: RowColumns,
    /// The segments of all sources.
    found: Vec<Found>,
    /// What is known of the dates in them, once the first page was asked for; and the columns of those segments that
    /// have something that is wanted.
    survey: Option<Survey>,
    segments: Vec<Segment>,
    /// For each part of the key, the terms if it is a keyword.
    terms: Vec<Option<KeywordTerms>>,
    /// What is still to be handed out.
    rest: KeyRange,
    /// How to number keys, if they are few.
    codes: Option<Arc<Codes>>,
    cells: CellShape,
    /// How many threads a pass has in any case, and how many the next one may have.
    own_threads: usize,
    lent_threads: usize,
    /// The groups or the page of what was given up. Freeing them takes milliseconds, which nobody who waits for a
    /// stop should wait for: they go with the scan.
    discarded: Option<Box<dyn Send>>,
    /// What a pass has left to the next one, while one follows the other.
    left: Left,
    crowding: Crowding,
    done: bool,
    /// The source indices, if it reads such.
    names: Option<Vec<String>>,
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
    /// Groups the first part of the rest: a slice of time, or what of it fits.
    fn pass(&mut self, stop: &StopSignal) -> Result<Finished, EngineError> {
        self.discarded = None;
        self.look_ahead(self.lent_threads.max(self.own_threads), stop)?;
        let share = self.budget.take_share();
        // Threads that nobody asked for should not make the parts so small that there have to be more passes.
        let threads = self.lent_threads.min(share.bytes() / MIN_PER_LENT_THREAD).max(self.own_threads);
        let threads = if self.left.are_few_per_group { 1 } else { threads };
        let from = self.rest.from.as_ref().map_or(0, |(words, _)| words[0]);
        let slice_end = self.survey.as_ref().and_then(|survey| survey.slice_end(from));
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

    /// How many buckets there are still to come at most.
    fn left(&self) -> usize {
        match self {
            Self::Dense(pages) => pages.left(),
            Self::Hashed(pages, _) => pages.left(),
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
        let mut page = Page::of_width(self.shape.delivered().len(), self.measures.len());
        while !self.done && page.len() < self.page_size {
            if stop.is_stopped() {
                self.discarded = Some(Box::new(page));
                return Err(EngineError::cancelled());
            }
            let current = match &mut *groups {
                Some(current) => current,
                none => none.insert(self.pass(stop)?),
            };
            let room = self.page_size - page.len();
            page.reserve(room.min(current.left()));
            let room = room.min(AT_ONCE);
            let last = match current {
                Finished::Dense(pages) => pages.take(room, &self.shape, &self.terms, &mut page),
                Finished::Hashed(pages, _) => pages.take(room, &self.shape, &self.measures, &self.terms, &mut page),
            }?;
            if let Some(last) = last {
                self.rest.from = Some((last, false));
                continue;
            }
            match current.end(&self.shape) {
                Some(end) if end[0] < self.window.buckets.end => self.rest.from = Some((end, true)),
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
        self.names.clone()
    }

    fn several_values(&self) -> Option<BTreeSet<String>> {
        Some(self.survey.as_ref()?.several_values.clone())
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
