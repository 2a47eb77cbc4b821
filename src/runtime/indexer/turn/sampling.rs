//! Continuous verification: each run holds a part of what is rolled up against raw documents, and repairs what is not
//! right.

use std::ops::Range;

use super::{Turn, TurnError};
use crate::job::Phase;
use crate::runtime::{VerifyFault, Verifying};

impl Turn<'_> {
    /// Verifies the part that is this run's turn, if the job wants that. A stop leaves it out.
    pub(super) fn verify_a_part(&mut self) -> Result<(), TurnError> {
        let Some(part) = self.part() else { return Ok(()) };
        self.enter(Phase::Verifying);
        let (job, context, stop) = (self.job, &self.run.context, &self.run.signal);
        let verified = Verifying { runtime: &job.runtime, job, context, stop }.verify(&part, true);
        match verified {
            Ok(verified) => {
                if !verified.found.is_right() {
                    self.note(format!("a part was verified, and is rolled up again: {}", verified.found));
                    self.run.ledgers = self.ledgers()?;
                }
            }
            // It is another one's turn then; this part comes again.
            Err(VerifyFault::Moved) => {}
            Err(VerifyFault::Look(_)) if stop.is_stopped() => {}
            Err(VerifyFault::Look(error)) => return Err(self.failed_look(error)),
        }
        if let Some(verified) = job.lifecycle.take_verified() {
            self.own(&verified);
        }
        Ok(())
    }

    /// One part in so many of the time from the first bucket to the last, another one with each run.
    fn part(&self) -> Option<Range<i64>> {
        let config = self.run.context.config();
        let parts = i128::from(config.late_data().verifies_one_in()?);
        let covered = self.progress.covered();
        let last = config.rounding().bucket(self.progress.position.as_ref()?.date()?);
        let from = i128::from(self.progress.first_bucket?.max(covered.start));
        let length = i128::from(last.end.min(covered.end)) - from;
        let number = i128::from(self.run.number) % parts;
        let bound = |part: i128| i64::try_from(from + length * part / parts).ok();
        let part = bound(number)?..bound(number + 1)?;
        (part.start < part.end).then_some(part)
    }
}
