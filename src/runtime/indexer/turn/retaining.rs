//! Retention: what is older than the job keeps is removed, in a commit of its own.

use super::{Turn, TurnError};
use crate::job::{Phase, TimeValue};
use crate::scan::Times;

/// What is a little older stays, so that not every run has something to remove: one part of so many of the age.
const PARTS: i64 = 100;

impl Turn<'_> {
    /// Removes what is too old. Where the rollup index does not keep the progress with the documents, that is noted
    /// first: until the store has the new progress too, what is removed is missing.
    pub(super) fn retain(&mut self, keeps_progress: bool) -> Result<(), TurnError> {
        let (runtime, context) = (&self.job.runtime, &self.run.context);
        let Some(age) = context.config().max_age().map(TimeValue::as_millis) else { return Ok(()) };
        let oldest = runtime.clock.now().as_millisecond().saturating_sub(age);
        let from = context.config().rounding().round_down(oldest);
        let known = self.progress.covered().start.max(self.progress.first_bucket.unwrap_or(i64::MIN));
        if self.progress.position.is_none() || known >= from.saturating_sub(age / PARTS) {
            return Ok(());
        }
        self.enter(Phase::Committing);
        if !keeps_progress {
            self.note_dirty(&(known..from))?;
        }
        let mut kept = self.progress.clone();
        kept.forget_before(from);
        self.run.repair.has_replaced |= self.remove(Times::buckets_between(i64::MIN..from), kept)?;
        Ok(())
    }
}
