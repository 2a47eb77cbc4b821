//! How a run begins: where it goes on, and what has changed since the last one.

use std::ops::Range;

use super::{Turn, TurnError};
use crate::engine::{CommittedProgress, SourceIndex};
use crate::guard::texts_of;
use crate::job::{Phase, Position};

/// So many names of indices are told of many.
const MAX_NAMES: usize = 10;

impl Turn<'_> {
    /// Settles where to go on: the engine's own progress wins over the store's.
    pub(super) fn open(&mut self, is_gone: bool) -> Result<(), TurnError> {
        self.enter(Phase::Searching);
        let job = self.job;
        let kept = job.runtime.rollup_index.committed_progress(&self.run.context);
        let kept = kept.map_err(|error| self.failure(&error))?;
        let keeps_progress = kept != CommittedProgress::NotKept;
        match kept {
            CommittedProgress::Kept(Some(kept)) => {
                let is_elsewhere = kept.position != self.progress.position;
                self.progress.sequence = self.progress.sequence.max(kept.sequence + 1);
                // With one position the store may know of empty buckets that no commit has seen, or the other way.
                let is_newer = kept.sequence > self.run.committed.sequence;
                let is_restored = self.progress.is_behind_itself(&kept);
                if is_elsewhere {
                    self.note(format!(
                        "the engine has committed up to {}, the job store up to {}: going on from the engine's",
                        position_text(kept.position.as_ref()),
                        position_text(self.progress.position.as_ref()),
                    ));
                    self.progress.stats = self.progress.stats.rolled_back_to(&kept.stats);
                    self.progress.take_sources_of(&kept);
                }
                if is_elsewhere || is_newer || is_restored {
                    self.progress.go_to(&kept);
                }
                if is_restored {
                    self.distrust_restored()?;
                }
                self.progress.last_commit = kept.sequence;
            }
            CommittedProgress::Kept(None) => self.start_over()?,
            CommittedProgress::NotKept if is_gone => self.start_over()?,
            CommittedProgress::NotKept => {}
        }
        self.run.committed = self.progress.clone();
        self.redefine();
        self.rewind(keeps_progress)?;
        self.retain(keeps_progress)?;
        self.look_at_sources()?;
        self.look_at_the_clock();
        Ok(())
    }

    /// The rollup index was restored from a copy: what was rolled up again since is not in it, and what was said of
    /// that may be forgotten. All of it is rolled up again, as far as raw documents are there.
    fn distrust_restored(&mut self) -> Result<(), TurnError> {
        let covered = self.progress.covered();
        let from = self.progress.first_bucket.unwrap_or(covered.start).max(covered.start);
        if from < covered.end {
            self.note_dirty(&(from..covered.end))?;
        }
        self.note("the rollup index was restored from a copy: what it has is rolled up again".to_owned());
        Ok(())
    }

    /// The rollup index has nothing of the job: prepares it (again) and rolls up from the start.
    ///
    /// The position goes first, durably. Once the index is prepared nobody can tell any more that the position
    /// belongs to documents that are gone; and whatever fails before that is begun again.
    fn start_over(&mut self) -> Result<(), TurnError> {
        if self.progress.position.is_some() {
            self.give_up_position()?;
        }
        self.enter(Phase::Searching);
        self.job.runtime.rollup_index.prepare(&self.run.context).map_err(|error| self.failure(&error))
    }

    fn give_up_position(&mut self) -> Result<(), TurnError> {
        let job = self.job;
        self.enter(Phase::Saving);
        job.save(job.lifecycle.without_position(&job.runtime.revisions))
            .map_err(|error| TurnError::of_store(&error, Phase::Saving))?;
        job.lifecycle.forget_position();
        (self.run.stream, self.run.has_streamed) = (None, false);
        self.progress = self.progress.without_position();
        self.note("the rollup index has nothing of this job (any more): rolling up from the start".to_owned());
        Ok(())
    }

    /// Tells the rollup index of new settings. The run does not depend on it, and the next one tries again.
    fn redefine(&mut self) {
        let (job, context) = (self.job, &self.run.context);
        if !job.is_to_redefine() {
            return;
        }
        match job.runtime.rollup_index.redefine(context) {
            Ok(()) => {
                job.is_redefined(context);
                self.has_redefined = true;
            }
            Err(error) => {
                job.note_error(self.run.number, Phase::Searching, error.is_transient(), texts_of(&error));
            }
        }
    }

    /// What was rolled up by a clock that was ahead was rolled up too early: what comes until this clock is there is
    /// not seen.
    fn look_at_the_clock(&self) {
        if let Some(early) = self.job.early(self.progress.position.as_ref()) {
            self.note(early);
        }
    }

    /// Notes which indices the run reads in a stretch of time, and says which are gone. That there are fewer than
    /// before is ordinary where indices are dropped by and by; but it is also how one looks that was forgotten.
    pub(super) fn see_sources(&mut self, found: Vec<SourceIndex>, stretch: &Range<i64>) -> Option<String> {
        let before = &self.progress.source_indices;
        let is_there = |name: &String| found.iter().any(|found| found.name == *name && self.progress.is_same(found));
        let gone: Vec<_> = before.iter().filter(|name| !is_there(name)).cloned().collect();
        let has_none = found.is_empty() && !before.is_empty();
        self.run.has_no_source = found.is_empty();
        self.job.lifecycle.note_no_source(has_none);
        if !has_none {
            let within = |dates: &Range<i64>| dates.start.max(stretch.start)..dates.end.min(stretch.end);
            let found = found.into_iter().map(|index| SourceIndex { dates: within(&index.dates), ..index });
            self.progress.see_sources(found.collect());
        }
        let (names, more) = (&gone[..gone.len().min(MAX_NAMES)], gone.len().saturating_sub(MAX_NAMES));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("source indices that were there before are gone: {}{more}", names.join(", "));
        (!gone.is_empty()).then_some(text)
    }
}

fn position_text(position: Option<&Position>) -> String {
    position.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
