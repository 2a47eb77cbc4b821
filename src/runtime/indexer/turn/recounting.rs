//! Counting what is rolled up: where nothing is remembered of a source index, since it may have changed meanwhile; and
//! where another system has rolled up, before it is done again.

use std::ops::Range;

use super::{Turn, TurnError};
use crate::job::{Dirty, Ledger, Phase, not_comparable};
use crate::ranges::{all_without, both};
use crate::scan::{ScanRequest, Times};
use crate::store::change_ledger;
use crate::sync::Arc;
use crate::verify::{Tally, pair_up};

/// Date buckets with groups that have more raw documents than were rolled up, and with groups that have fewer.
struct Counted {
    more: Vec<Range<i64>>,
    less: Vec<Range<i64>>,
}

impl Turn<'_> {
    /// Counts the documents of each group that is rolled up, if that has to be, and notes where there are more now, or
    /// fewer. A stop leaves it to the next run.
    pub(super) fn recount(&mut self) -> Result<(), TurnError> {
        let known = self.progress.known_source_indices().next().map(str::to_owned);
        let Some(index) = known.filter(|_| self.job.is_to_count()) else { return Ok(()) };
        let (config, progress) = (self.run.context.config(), &self.progress);
        let left_out = not_comparable(config, progress, &self.run.ledgers, progress.inherited().iter().cloned());
        let wanted = all_without(vec![progress.covered()], &left_out);
        let Some(Counted { more, less }) = self.count(wanted)? else { return Ok(()) };
        if !more.is_empty() || !less.is_empty() {
            let note = |ledger: &mut Ledger| ledger.recounted(self.run.context.id(), &more, &less);
            let noted = self.job.runtime.store_call(|store| change_ledger(store, &index, note));
            noted.map_err(|error| TurnError::of_store(&error, Phase::Saving))?;
            self.run.ledgers = self.ledgers()?;
        }
        self.job.count_before_next_run(false);
        Ok(())
    }

    /// Where documents have changed that another system has rolled up, counts whether there are as many as it had. What
    /// was counted stays so until more is said of these indices.
    pub(super) fn recount_inherited(&mut self) -> Result<(), TurnError> {
        let config = self.run.context.config();
        let said = self.run.ledgers.iter().map(|(index, ledger)| (index.as_str(), ledger));
        let Dirty { inherited: changed, .. } = Dirty::of(config, &self.progress, said);
        let said = self.run.ledgers.values().map(|ledger| ledger.last_number).sum();
        if changed.is_empty() || self.job.lifecycle.has_counted(&changed, said) {
            return Ok(());
        }
        let Some(Counted { less, .. }) = self.count(changed.clone())? else { return Ok(()) };
        let left = both(&changed, &less);
        self.own(&all_without(changed, &less));
        if !left.is_empty() {
            let text =
                "documents have changed where another system has rolled up more than there are: that stays as it is";
            self.note(text.to_owned());
        }
        self.job.lifecycle.note_counted(left, said);
        Ok(())
    }

    /// What another system has rolled up here is as good as the job's own, whatever becomes of this run.
    pub(super) fn own(&mut self, buckets: &[Range<i64>]) {
        self.progress.own(buckets);
        self.run.committed.own(buckets);
    }

    /// `None` if a stop came.
    fn count(&mut self, wanted: Vec<Range<i64>>) -> Result<Option<Counted>, TurnError> {
        self.enter(Phase::Verifying);
        let (runtime, context, stop) = (&self.job.runtime, &self.run.context, &self.run.signal);
        let config = context.config();
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
            Err(error) if error.is_cancelled() && stop.is_stopped() => Ok(None),
            Err(error) => Err(self.failure(&error)),
            Ok(()) => Ok(Some(Counted { more: tally.more, less: tally.less })),
        }
    }
}
