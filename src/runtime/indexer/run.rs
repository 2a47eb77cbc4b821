//! A run between its turns.

use std::collections::BTreeMap;
use std::time::Duration;

use super::repair::Repair;
use crate::engine::{JobContext, PageStream};
use crate::guard::guarded;
use crate::job::{Ledger, Progress};
use crate::lifecycle::EndOfTurn;
use crate::observer::RunOutcome;
use crate::runtime::Settings;
use crate::stop_signal::StopSignal;
use crate::store::StoreError;

/// Everything from a trigger until no complete bucket is left. It is parked in the job's lifecycle between turns.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each with its own sentence")]
pub(crate) struct Run {
    pub(super) number: u64,
    /// The job as it was at the trigger.
    pub(super) context: JobContext,
    /// Only buckets that end at or before it are rolled up: fixed by the trigger.
    pub(super) boundary: i64,
    pub(super) signal: StopSignal,
    pub(super) stage: Stage,
    /// Nothing new is left.
    pub(super) is_exhausted: bool,
    /// The run's one snapshot of the source.
    pub(super) stream: Option<Box<dyn PageStream>>,
    /// Whether nothing was written of it yet.
    pub(super) is_snapshot_new: bool,
    /// What was said of the source indices before the run began to read them.
    pub(super) ledgers: BTreeMap<String, Ledger>,
    pub(super) repair: Repair,
    /// What the engine has made durable.
    pub(super) committed: Progress,
    pub(super) turns: u64,
    /// Source documents that the rollup index has no place for.
    pub(super) left_out: u64,
    /// Failed tries since something last went well.
    pub(super) failures: u32,
    /// Ends of turns in a row that could not be saved, whatever was committed in between.
    pub(super) unsaved: u32,
    /// How long the engine has asked to be left alone after the last of them.
    pub(super) retry_after: Duration,
    /// There is no source index at all, so that nobody can say what was rolled up.
    pub(super) has_no_source: bool,
    /// Whether a stream was opened before, so that opening another one is worth a notice.
    pub(super) has_streamed: bool,
}

/// What the next turn begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Ask the engine how far it is. `is_gone` if the rollup index was found to be so.
    Opening { is_gone: bool },
    /// Roll up again what has changed.
    Repairing,
    /// Roll pages up.
    Paging,
    /// Let the engine merge.
    Merging { next: AfterMerge },
}

/// How a run goes on when the engine has merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterMerge {
    Repair,
    Page,
    End,
}

impl Run {
    pub(in crate::runtime) fn new(number: u64, context: JobContext, boundary: i64, signal: StopSignal) -> Self {
        let repair = Repair::new(context.config().late_data());
        Self {
            number,
            context,
            boundary,
            signal,
            stage: Stage::Opening { is_gone: false },
            is_exhausted: false,
            stream: None,
            is_snapshot_new: false,
            ledgers: BTreeMap::new(),
            repair,
            committed: Progress::default(),
            turns: 0,
            left_out: 0,
            failures: 0,
            unsaved: 0,
            retry_after: Duration::ZERO,
            has_no_source: false,
            has_streamed: false,
        }
    }

    /// How a turn ends, now that its end was saved or could not be. What the engine has is committed, so nothing is
    /// lost; but a run that cannot be saved at last does not go on.
    pub(super) fn after_save(
        &mut self,
        saved: &Result<(), StoreError>,
        end: EndOfTurn,
        settings: &Settings,
    ) -> EndOfTurn {
        let Err(error) = saved else {
            self.unsaved = 0;
            return end;
        };
        self.unsaved += 1;
        let goes_on = !matches!(end, EndOfTurn::Over(_));
        if goes_on && error.is_transient() && self.unsaved < settings.retry_attempts {
            EndOfTurn::BackOff
        } else {
            EndOfTurn::Over(RunOutcome::Failed)
        }
    }

    /// A run that has to wait, or is over, holds no page.
    pub(super) fn park(&mut self) {
        for stream in self.stream.iter_mut().chain(self.repair.stream()) {
            // A panic is the engine's own matter here: what it says next counts.
            let _ = guarded(|| stream.park());
        }
    }
}
