//! The next pass, begun while the groups of the one before are handed out.

use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use super::budget::Budget;
use super::finished::ParkedGroups;
use super::groups::Begin;
use super::open::Opened;
use super::pass::{Task, Unfinished};
use crate::engine::StopSignal;
use crate::sync::Arc;

/// A pass in a thread of its own.
pub(super) struct Ahead {
    begin: Begin,
    unwanted: StopSignal,
    thread: JoinHandle<Result<(), Unfinished>>,
}

impl Ahead {
    /// Begins it, if a thread can be had. Its groups will be with the scan's others.
    pub(super) fn begin(
        opened: Arc<Opened>,
        task: Task,
        held: &Arc<ParkedGroups>,
        budget: &Arc<Budget>,
    ) -> Option<Self> {
        let (begin, unwanted) = (task.from.clone(), StopSignal::new());
        let (held, budget, signal) = (Arc::clone(held), Arc::clone(budget), unwanted.clone());
        let pass = move || opened.pass(task, &budget, &signal).map(|groups| held.keep_ahead(groups));
        let thread = thread::Builder::new().name("rollup-scan-ahead".to_owned()).spawn(pass).ok()?;
        Some(Self { begin, unwanted, thread })
    }

    /// Whether it is the pass that begins there.
    pub(super) fn begins_at(&self, begin: &Begin) -> bool {
        self.begin == *begin
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end, which a stop brings about.
    pub(super) fn join(self, stop: &StopSignal) -> Result<(), Unfinished> {
        let unwanted = self.unwanted;
        let _raised_with_it = stop.on_stop(move || unwanted.raise());
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Has it end within a block of documents. Says what it had made, if it had not come to its end.
    pub(super) fn give_up(self) -> Option<Box<dyn Send>> {
        self.unwanted.raise();
        // Whoever asks for the same pass again will panic with it.
        self.thread.join().ok()?.err()?.groups
    }
}
