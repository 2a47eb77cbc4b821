//! Where nothing is remembered of a source index, what was rolled up of it is counted: it may have changed meanwhile.

use super::{Turn, TurnError};
use crate::job::{Ledger, Phase, not_comparable};
use crate::ranges::all_without;
use crate::scan::{ScanRequest, Times};
use crate::store::change_ledger;
use crate::sync::Arc;
use crate::verify::{Tally, pair_up};

impl Turn<'_> {
    /// Counts the documents of each group that is rolled up, if that has to be, and notes where there are more now, or
    /// fewer. A stop leaves it to the next run.
    pub(super) fn recount(&mut self) -> Result<(), TurnError> {
        let known = self.progress.known_source_indices().next().map(str::to_owned);
        let Some(index) = known.filter(|_| self.job.is_to_count()) else { return Ok(()) };
        self.enter(Phase::Verifying);
        let (runtime, context, stop) = (&self.job.runtime, &self.run.context, &self.run.signal);
        let config = context.config();
        let left_out = not_comparable(config, &self.progress, &self.run.ledgers, std::iter::empty());
        let wanted = all_without(vec![self.progress.covered()], &left_out);
        let request = ScanRequest::new(Arc::new(context.layout().grouping().keys_only())).times(Times::buckets(wanted));
        let raw = runtime.source.scan(context, config.index_pattern(), request.clone(), stop);
        let mut tally = Tally::new(context.layout(), config.rounding());
        let counted = raw.and_then(|raw| {
            let rolled_up = runtime.rollup_index.scan_rolled_up(context, request, stop)?;
            pair_up(raw, rolled_up, stop, |pair| {
                tally.add(pair, true);
                true
            })
        });
        match counted {
            Err(error) if error.is_cancelled() && stop.is_stopped() => return Ok(()),
            other => other.map_err(|error| self.failure(&error))?,
        }
        let Tally { more, less, .. } = tally;
        if !more.is_empty() || !less.is_empty() {
            let note = |ledger: &mut Ledger| ledger.recounted(context.id(), &more, &less);
            let noted = runtime.store_call(|store| change_ledger(store, &index, note));
            noted.map_err(|error| TurnError::of_store(&error, Phase::Saving))?;
            self.run.ledgers = self.ledgers()?;
        }
        self.job.count_before_next_run(false);
        Ok(())
    }
}
