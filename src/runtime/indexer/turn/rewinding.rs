//! A clock that was ahead: what it has rolled up too early goes again, and is rolled up when it is over.

use jiff::Timestamp;

use super::{Turn, TurnError};
use crate::engine::{EngineError, PageStream};
use crate::rollup::Bucket;
use crate::scan::{ScanRequest, Times};
use crate::stop_signal::StopSignal;
use crate::sync::Arc;
use crate::verify::{Pair, pair_up};

/// A clock that is set right by less than this, in milliseconds, was not ahead.
const CORRECTION: i64 = 60_000;

impl Turn<'_> {
    /// Takes back what a clock that was ahead has rolled up, if there is such.
    ///
    /// A longer delay is no such clock, and neither is one that is set right by a little. Where raw data is gone that
    /// was rolled up, everything stays as it is: this clock may be the wrong one. Where the rollup index does not keep
    /// the progress with the documents, what is removed is noted first.
    pub(super) fn rewind(&mut self, keeps_progress: bool) -> Result<(), TurnError> {
        let (runtime, context) = (&self.job.runtime, &self.run.context);
        let now = runtime.clock.now().as_millisecond().saturating_add(CORRECTION);
        let there = context.config().rounding().round_down(now);
        let Some(until) = self.progress.reached(context.config()).filter(|until| *until > there) else { return Ok(()) };
        if !keeps_progress && self.progress.source_indices.is_empty() || !self.can_be_repeated(there)? {
            return Ok(());
        }
        if !keeps_progress {
            // Until the store has the new progress too, what is removed is missing.
            self.note_dirty(&(there..until))?;
        }
        let mut rewound = self.progress.clone();
        rewound.rewind_to(there, self.run.context.config());
        if !self.remove(Times::buckets_between(there..i64::MAX), rewound)? {
            return Ok(());
        }
        let text =
            |millis| Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string());
        self.note(format!(
            "a clock that was ahead had rolled up until {}: from {} on it is removed, and rolled up when it is over",
            text(until),
            text(there)
        ));
        Ok(())
    }

    /// Whether all raw data that was rolled up from an instant on is still there.
    fn can_be_repeated(&self, from: i64) -> Result<bool, TurnError> {
        let (runtime, context) = (&self.job.runtime, &self.run.context);
        let ledgers = self.ledgers_of(self.progress.source_indices.iter().cloned().collect())?;
        if ledgers.values().flat_map(|ledger| &ledger.seals).any(|seal| seal.end > from) {
            return Ok(false);
        }
        let request = ScanRequest::new(Arc::new(context.layout().grouping().keys_only()));
        let (request, stop) = (request.times(Times::buckets_between(from..i64::MAX)), &self.run.signal);
        let raw = || runtime.source.scan(context, context.config().index_pattern(), request.clone(), stop);
        let rolled_up = || runtime.rollup_index.scan_rolled_up(context, request.clone(), stop);
        let found = rolled_up().and_then(|rolled_up| has_every_group(raw()?, rolled_up, stop));
        match found {
            // Nothing is taken back by a run that is to end.
            Err(error) if error.is_cancelled() && stop.is_stopped() => Ok(false),
            other => other.map_err(|error| self.failure(&error)),
        }
    }
}

/// Whether each group that is rolled up has as many documents, at least.
fn has_every_group(
    raw: Box<dyn PageStream>,
    rolled_up: Box<dyn PageStream>,
    stop: &StopSignal,
) -> Result<bool, EngineError> {
    let documents = |bucket: Option<Bucket<'_>>| bucket.map_or(0, |bucket| bucket.doc_count);
    let mut has_every = true;
    pair_up(raw, rolled_up, stop, |Pair { raw, rolled_up }| {
        has_every = documents(raw) >= documents(rolled_up);
        has_every
    })?;
    Ok(has_every)
}
