//! Verifying: what a job has rolled up, held against its raw documents at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Job, LookError, Runtime};
use crate::engine::{self, EngineErrorKind, JobContext, RolledUpNow, StopSignal};
use crate::job::{Ledger, Progress, not_comparable};
use crate::ranges::{all_without, both, merged};
use crate::scan::{ScanRequest, Snapshot, Times};
use crate::sync::Arc;
use crate::verify::{Tally, Verification, pair_up, recount_grouping};

/// So many groups are read at once.
const PAGE_SIZE: usize = 10_000;

/// Why what a job has rolled up is not verified.
pub(crate) enum VerifyFault {
    Look(LookError),
    /// Something has changed meanwhile.
    Moved,
}

impl<E: Into<LookError>> From<E> for VerifyFault {
    fn from(error: E) -> Self {
        Self::Look(error.into())
    }
}

/// What a job has rolled up, to be held against its raw documents.
pub(crate) struct Verifying<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) job: &'a Job,
    pub(crate) context: &'a JobContext,
    pub(crate) stop: &'a StopSignal,
}

/// What has come of it.
#[derive(Default)]
pub(crate) struct Verified {
    pub(crate) found: Verification,
    /// A run has to repair what is not right, or to save what is.
    pub(crate) has_to_run: bool,
}

impl Verifying<'_> {
    /// Recounts the date buckets with an instant in a range, and notes what is not right, if it is to be repaired.
    pub(crate) fn verify(&self, asked: &Range<i64>, is_to_repair: bool) -> Result<Verified, VerifyFault> {
        let (runtime, context) = (self.runtime, self.context);
        let replacements = self.job.count_of_replacements();
        let known = self.job.progress();
        self.look()?;
        let (index, known) = (&*runtime.rollup_index, Progress::clone(&known));
        let held = match engine::call(|| index.snapshot_rolled_up(context, self.stop)) {
            // Nothing was to be written there yet.
            Err(error) if error.kind() == EngineErrorKind::NotFound && known.position.is_none() => {
                return Ok(Verified::default());
            }
            held => held?,
        };
        let RolledUpNow { documents, progress, is_one_commit, .. } =
            engine::call(|| RolledUpNow::of(index, context, held, known))?;
        let names = self.source_indices(&progress)?;
        let ledgers = runtime.ledgers_of(names.all.clone())?;
        let (wanted, not_verified) = self.wanted(asked, &progress, &names.there, &ledgers);
        let pattern = context.config().index_pattern();
        let raw = engine::call(|| runtime.source.snapshot(context, pattern, self.stop))?;
        self.look()?;
        if runtime.ledgers_of(names.all)? != ledgers {
            return Err(VerifyFault::Moved);
        }
        let inherited = progress.inherited();
        let mut tally = Tally::new(context.layout(), context.config().rounding()).inherited(&inherited);
        if !wanted.is_empty() {
            let times = Times::buckets(wanted.iter().cloned());
            let request = |grouping, snapshot: Option<Snapshot>| {
                ScanRequest::new(grouping).page_size(PAGE_SIZE).times(times.clone()).snapshot(snapshot)
            };
            let recounted = request(Arc::new(recount_grouping(context.layout())), raw);
            let kept = request(Arc::clone(context.layout().grouping()), documents);
            let raw = engine::call(|| runtime.source.scan(context, pattern, recounted, self.stop))?;
            let rolled_up = engine::call(|| runtime.rollup_index.scan_rolled_up(context, kept, self.stop))?;
            engine::call(|| {
                pair_up(raw, rolled_up, self.stop, |pair| {
                    tally.add(pair, false);
                    true
                })
            })?;
            if !is_one_commit && self.job.has_replaced(replacements, &wanted) {
                return Err(VerifyFault::Moved);
            }
        }
        let Tally { mut found, more, less, .. } = tally;
        // It is no less than what was rolled up: it can be rolled up again.
        let own = all_without(both(&wanted, &inherited), &less);
        found.not_right = merged(more.into_iter().chain(less));
        found.not_verified = not_verified;
        self.job.lifecycle.note_verified(found.ended(runtime.clock.now()), &own);
        let is_to_repair = is_to_repair && !found.is_right();
        if is_to_repair {
            runtime.ask_again(context.id(), &progress, &found.not_right)?;
        }
        Ok(Verified { has_to_run: is_to_repair || !own.is_empty(), found })
    }

    fn look(&self) -> Result<(), VerifyFault> {
        let pattern = self.context.config().index_pattern();
        Ok(self.runtime.notice(self.context, pattern, self.stop)?)
    }

    fn source_indices(&self, progress: &Progress) -> Result<SourceNames, VerifyFault> {
        let pattern = self.context.config().index_pattern();
        let there = engine::call(|| engine::indices_of(&*self.runtime.source, self.context, pattern))?;
        let all = progress.known_source_indices().map(str::to_owned).chain(there.iter().cloned()).collect();
        Ok(SourceNames { there, all })
    }

    /// The date buckets to look at, and those that cannot be.
    fn wanted(
        &self,
        asked: &Range<i64>,
        progress: &Progress,
        there: &BTreeSet<String>,
        ledgers: &BTreeMap<String, Ledger>,
    ) -> (Vec<Range<i64>>, Vec<Range<i64>>) {
        let config = self.context.config();
        let covered = progress.covered();
        let asked = config.rounding().buckets_of(asked);
        let asked = asked.start.max(covered.start)..asked.end.min(covered.end);
        let asked = if asked.is_empty() { Vec::new() } else { vec![asked] };
        let known = progress.known_source_dates();
        let missing = known.iter().filter(|(name, _)| !there.contains(*name)).map(|(_, dates)| dates.clone());
        let left_out = both(&not_comparable(config, progress, ledgers, missing), &asked);
        let wanted = all_without(asked, &left_out);
        (wanted, left_out)
    }
}

/// Source indices, by name.
struct SourceNames {
    there: BTreeSet<String>,
    /// Those too that were there when documents of theirs were rolled up.
    all: BTreeSet<String>,
}
