//! A scan: passes over the columns, each grouping as much of the key range as fits into memory, handed out as sorted
//! pages.

mod ahead;
mod block_dates;
mod budget;
mod cells;
mod codes;
mod columns;
mod dense;
mod dense_pass;
mod finished;
mod grid;
mod groups;
mod hash_pass;
mod key_block;
mod keys;
mod lane;
mod mask;
mod merged;
mod one_group;
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
pub(super) use columns::millis;
pub(super) use open::{Committed, ScanSource, committed};
pub(super) use rows::RowColumns;
pub(super) use timeline::raw;

use std::collections::BTreeSet;

use crate::engine::{EngineError, PageStream, SourceIndex, StopSignal};
use crate::job::GroupKey;
use crate::rollup::Page;
use crate::sync::Arc;
use ahead::Ahead;
use dense::Left;
use finished::{Finished, ParkedGroups};
use groups::Begin;
use hash_pass::Crowding;
use open::{Found, Opened, Question};
use pass::{Task, Unfinished};

/// Groups that become buckets between two looks at the stop signal: so many are still in the processor's cache after
/// they were fetched.
const AT_ONCE: usize = 1 << 10;

pub(super) struct Scan {
    question: Arc<Question>,
    page_size: usize,
    after: Option<GroupKey>,
    columns: RowColumns,
    /// The segments of all sources.
    found: Vec<Found>,
    /// What of them has something that is wanted, once the first page was asked for.
    opened: Option<Arc<Opened>>,
    /// Where what is still to be handed out begins.
    from: Begin,
    /// How many threads a pass has in any case, and how many the next one may have.
    own_threads: usize,
    lent_threads: usize,
    /// The groups or the page of what was given up. Freeing them takes milliseconds, which nobody who waits for a
    /// stop should wait for: they go with the scan.
    discarded: Vec<Box<dyn Send>>,
    /// What a pass has left to the next one, while one follows the other.
    left: Left,
    crowding: Crowding,
    /// The next pass, if it has begun already.
    ahead: Option<Ahead>,
    done: bool,
    /// The source indices, if it reads such.
    source_indices: Option<Vec<SourceIndex>>,
    held: Arc<ParkedGroups>,
    budget: Arc<Budget>,
    /// The memory of the terms' numbering and of the blocks' dates, charged as long as the scan lives.
    charged: usize,
}

impl Scan {
    /// The groups of the first part of the rest.
    fn next_groups(&mut self, stop: &StopSignal) -> Result<Finished, EngineError> {
        let is_next = self.ahead.as_ref().is_some_and(|ahead| ahead.begins_at(&self.from));
        let ahead = self.ahead.take_if(|_| is_next);
        if ahead.is_none() {
            self.give_up_ahead();
        }
        self.discarded.clear();
        let opened = self.look_ahead(self.lent_threads.max(self.own_threads), stop)?;
        if let Some(ahead) = ahead {
            let joined = ahead.join(stop);
            self.unless_given_up(joined)?;
            // Somebody who needed the memory may have taken them.
            if let Some(groups) = self.held.take_ahead() {
                return Ok(groups);
            }
        }
        let finished = opened.pass(self.task(), &self.budget, stop);
        self.unless_given_up(finished)
    }

    /// The next pass.
    fn task(&mut self) -> Task {
        Task {
            from: self.from.clone(),
            own_threads: self.own_threads,
            lent_threads: self.lent_threads,
            left: std::mem::take(&mut self.left),
            crowding: std::mem::take(&mut self.crowding),
        }
    }

    /// What was made, or else the error; what was given up with it is kept for later.
    fn unless_given_up<T>(&mut self, made: Result<T, Unfinished>) -> Result<T, EngineError> {
        made.map_err(|Unfinished { error, groups }| {
            self.discarded.extend(groups);
            error
        })
    }

    /// Ends the pass that was begun ahead, or lets go of its groups.
    fn give_up_ahead(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            self.discarded.extend(ahead.give_up());
        }
        if let Some(groups) = self.held.take_ahead() {
            self.budget.give_back(groups.bytes());
            self.discarded.push(Box::new(groups));
        }
    }
}

impl PageStream for Scan {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let held = Arc::clone(&self.held);
        // While this is locked nobody takes the groups away.
        let mut groups = held.current.lock();
        let question = Arc::clone(&self.question);
        let mut page = Page::of_width(question.shape.delivered().len(), question.measures.len());
        while !self.done && page.len() < self.page_size {
            if stop.is_stopped() {
                self.discarded.push(Box::new(page));
                return Err(EngineError::cancelled());
            }
            let current = match &mut *groups {
                Some(current) => current,
                none => none.insert(self.next_groups(stop)?),
            };
            let room = self.page_size - page.len();
            page.reserve(room.min(current.left()));
            let room = room.min(AT_ONCE);
            let Some(opened) = &self.opened else { unreachable!("groups come out of what was opened") };
            if let Some(last) = current.take(room, opened, &mut page)? {
                self.from = Some((last, false));
                continue;
            }
            match current.next(&question) {
                None => self.done = true,
                next => self.from = next,
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

    fn fetch_ahead(&mut self) {
        if self.lent_threads < 2 || self.ahead.is_some() {
            return;
        }
        let (Some(opened), from @ Some(_)) = (&self.opened, self.held.next_while_handed_out(&self.question)) else {
            return;
        };
        let opened = Arc::clone(opened);
        let task = Task { from, lent_threads: 1, ..self.task() };
        self.ahead = Ahead::begin(opened, task, &self.held, &self.budget);
    }

    fn park(&mut self) {
        if self.ahead.as_ref().is_some_and(|ahead| !ahead.is_finished()) {
            self.give_up_ahead();
        }
    }

    fn source_indices(&self) -> Option<Vec<SourceIndex>> {
        self.source_indices.clone()
    }

    fn several_values(&self) -> Option<BTreeSet<String>> {
        Some(self.opened.as_ref()?.survey.several_values.clone())
    }

    fn documents_skipped(&self) -> u64 {
        self.opened.as_ref().map_or(0, |opened| opened.survey.skipped)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.give_up_ahead();
        let held = self.held.current.lock().take().map_or(0, |groups| groups.bytes());
        self.budget.give_back(held);
        self.budget.give_back_charge(self.charged);
    }
}
