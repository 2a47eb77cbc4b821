//! What engines notice by themselves goes into the ledgers: before each run, and before each search.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use super::{Job, Runtime};
use crate::engine::{
    self, CommittedProgress, EngineError, EngineErrorKind, JobContext, Look, Noticed, SourceChange, SourceMark,
    StopSignal,
};
use crate::job::{IndexPattern, LateDocuments, Ledger, RepairWhen};
use crate::ranges::{merged, touch};
use crate::store::{StoreError, change_ledger};
use crate::sync::{Arc, Mutex, Ordering};

/// How often marks are stored. What is noticed again after a crash, because a mark was older, is repaired again.
const STORED_EVERY: Duration = Duration::from_mins(5);
/// So many jobs are asked how far they have come in one look.
const ASKED_AT_ONCE: usize = 10;

/// What is remembered of source indices: by index and way of looking.
#[derive(Default)]
pub(super) struct Marks {
    known: Mutex<HashMap<MarkKey, SourceMark>>,
    /// Those that are not stored yet, since when.
    to_store: Mutex<HashMap<MarkKey, Duration>>,
}

type MarkKey = (String, String);

/// What a look has come to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// In which indices documents have come or changed, and where.
    pub(super) changed: Vec<(String, Vec<Range<i64>>)>,
}

/// A look that did not take place, or whose end could not be noted. The next one sees the same.
#[derive(Debug)]
pub(crate) enum LookError {
    Engine(EngineError),
    Store(StoreError),
}

impl From<EngineError> for LookError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<StoreError> for LookError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Runtime {
    /// Looks for what has changed in source indices, and notes it, durably. Of an index that there is not nothing has.
    pub(super) fn look(
        &self,
        context: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<Looked, LookError> {
        let mut looked = Looked::default();
        while !self.look_once(context, pattern, stop, &mut looked)? {}
        Ok(looked)
    }

    /// `false` if somebody else has looked at one of the indices meanwhile: what has changed since the mark before is
    /// not what has changed since theirs.
    fn look_once(
        &self,
        context: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
        looked: &mut Looked,
    ) -> Result<bool, LookError> {
        let (field, way) = (context.layout().grouping().date_field(), context.way_of_looking());
        let (given, failed) = (RefCell::new(HashMap::new()), RefCell::new(None));
        let mark = |index: &str| {
            let mark = self.mark(index, &way).unwrap_or_else(|error| {
                failed.borrow_mut().get_or_insert(error);
                None
            });
            given.borrow_mut().insert(index.to_owned(), mark.clone());
            mark
        };
        let before = |index: &str| self.ceiling(index);
        let look = Look::new(field, self.clock.now().as_millisecond(), &mark, &before);
        let noticed = match engine::call(|| self.source.look(context, pattern, &look, stop)) {
            Err(error) if error.kind() == EngineErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        if let Some(error) = failed.into_inner() {
            return Err(error.into());
        }
        let given = given.into_inner();
        let mut is_whole = true;
        for Noticed { index, changes, mark, .. } in noticed {
            let known = self.mark(&index, &way)?;
            let given = given.get(&index).and_then(Option::as_ref);
            if known.as_ref().map(SourceMark::identity) != given.map(SourceMark::identity) {
                is_whole = false;
                continue;
            }
            let (more, less) = self.sorted_out(&index, &changes);
            if known.is_none() {
                if self.note_new(&index, &way, &changes, &more)? {
                    looked.changed.push((index.clone(), more));
                }
            } else if !changes.is_empty() {
                self.store_call(|store| change_ledger(store, &index, |ledger| ledger.notice(&more, &less)))?;
                let readers = self.readers_of(&index, |context| context.layout().grouping().date_field() == field);
                self.count_late(&index, &readers, &changes)?;
                looked.changed.push((index.clone(), more));
            }
            let key = (index, way.clone());
            self.marks.to_store.lock().entry(key.clone()).or_insert_with(|| self.clock.monotonic());
            self.marks.known.lock().insert(key, mark);
        }
        Ok(is_whole)
    }

    /// The same, and has jobs that repair at once do so.
    pub(crate) fn notice(
        &self,
        context: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<(), LookError> {
        for (index, changed) in self.look(context, pattern, stop)?.changed {
            self.repair_soon(&index, &changed);
        }
        Ok(())
    }

    /// An index is seen for the first time. What it has is new to jobs that have read others so far, or are reading;
    /// those that have read it before this manager was opened count whether it has changed since. Says whether it is
    /// new to any.
    fn note_new(
        &self,
        index: &str,
        way: &str,
        changes: &[SourceChange],
        ranges: &[Range<i64>],
    ) -> Result<bool, StoreError> {
        let mut new_to = Vec::new();
        for job in self.readers_of(index, |context| context.way_of_looking() == way) {
            let progress = job.progress();
            let mut known = progress.known_source_indices().peekable();
            if known.peek().is_none() && !job.has_begun_to_read() {
                continue;
            }
            if known.any(|known| known == index) {
                job.count_before_next_run(true);
            } else {
                new_to.push(job);
            }
        }
        if new_to.is_empty() || ranges.is_empty() {
            return Ok(false);
        }
        let note = |ledger: &mut Ledger| {
            for (job, range) in new_to.iter().flat_map(|job| ranges.iter().map(move |range| (job, range))) {
                ledger.note_for_job(job.id(), range.clone());
            }
        };
        self.store_call(|store| change_ledger(store, index, note))?;
        self.count_late(index, &new_to, changes)?;
        Ok(true)
    }

    /// Counts documents that have come where jobs have rolled them up already.
    fn count_late(&self, index: &str, jobs: &[Arc<Job>], changes: &[SourceChange]) -> Result<(), StoreError> {
        let now = self.clock.now().as_millisecond();
        let mut seals = None;
        for job in jobs {
            let covered = job.progress().covered();
            let come = changes.iter().filter(|change| change.documents > 0 && covered.contains(&change.range.start));
            let mut late = LateDocuments::default();
            for change in come {
                let seals = match &mut seals {
                    Some(seals) => seals,
                    unread => unread.insert(self.store_call(|store| store.ledger(index))?.seals),
                };
                let late_by = now.saturating_sub(change.range.start).unsigned_abs();
                let is_refused = seals.iter().any(|seal| touch(seal, &change.range));
                late.add(change.documents.unsigned_abs(), Duration::from_millis(late_by), is_refused);
            }
            if !late.is_empty() {
                job.lifecycle.note_late(late);
                job.deliver_later();
            }
        }
        Ok(())
    }

    /// The jobs that may read an index, and are of some kind.
    fn readers_of(&self, index: &str, is_one: impl Fn(&JobContext) -> bool) -> Vec<Arc<Job>> {
        let mut jobs = self.all_jobs().unwrap_or_default();
        jobs.retain(|job| job.may_read(index) && is_one(&job.context()));
        jobs
    }

    /// Where changes are to be rolled up, and where there are fewer documents than before: in a whole date bucket of
    /// some job. What has moved within a bucket is not gone.
    fn sorted_out(&self, index: &str, changes: &[SourceChange]) -> (Vec<Range<i64>>, Vec<Range<i64>>) {
        let jobs = self.all_jobs().unwrap_or_default();
        let contexts: Vec<_> = jobs.iter().filter(|job| job.may_read(index)).map(|job| job.context()).collect();
        let sums: Vec<i64> = std::iter::once(0)
            .chain(changes.iter().scan(0_i64, |sum, change| {
                *sum = sum.saturating_add(change.documents);
                Some(*sum)
            }))
            .collect();
        let before = |instant: i64| sums[changes.partition_point(|change| change.range.start < instant)];
        let is_less = |change: &&SourceChange| {
            change.documents < 0
                && (contexts.is_empty()
                    || contexts.iter().any(|context| {
                        let buckets = context.config().rounding().buckets_of(&change.range);
                        before(buckets.end).saturating_sub(before(buckets.start)) < 0
                    }))
        };
        let (less, more): (Vec<_>, Vec<_>) = changes.iter().partition(is_less);
        let ranges = |changes: Vec<&SourceChange>| merged(changes.into_iter().map(|change| change.range.clone()));
        (ranges(more), ranges(less))
    }

    /// Whether everything that changes in an index is noticed for jobs like this one. What a job has to say by what it
    /// is noticed does not see everything.
    pub(crate) fn is_noticed(&self, index: &str, context: &JobContext) -> bool {
        let sees_all = context.config().late_data().notices_by().is_none();
        sees_all && self.mark(index, &context.way_of_looking()).is_ok_and(|mark| mark.is_some())
    }

    fn mark(&self, index: &str, way: &str) -> Result<Option<SourceMark>, StoreError> {
        let key = (index.to_owned(), way.to_owned());
        if let Some(known) = self.marks.known.lock().get(&key) {
            return Ok(Some(known.clone()));
        }
        let stored = self.store_call(|store| store.mark(&name_of(&key)))?;
        let mark = stored.and_then(|bytes| self.source.read_mark(&bytes));
        if let Some(mark) = &mark {
            return Ok(Some(self.marks.known.lock().entry(key).or_insert_with(|| mark.clone()).clone()));
        }
        Ok(None)
    }

    /// The instant before which changes of an index count: what lies behind it some run will read. Of a job of which
    /// nobody knows yet how far it has come, any may.
    fn ceiling(&self, index: &str) -> i64 {
        let Some(jobs) = self.all_jobs() else { return i64::MAX };
        let reading = jobs.iter().filter(|job| job.may_read(index));
        reading.map(|job| job.ceiling()).max().unwrap_or(i64::MIN)
    }

    /// Finds out of some jobs how far they have come that have not run since the manager was opened.
    pub(super) fn find_ceilings(&self) {
        if self.unknown_ceilings.load(Ordering::Acquire) == 0 {
            return;
        }
        let jobs = self.all_jobs().unwrap_or_default();
        for job in jobs.iter().filter(|job| job.ceiling() == i64::MAX).take(ASKED_AT_ONCE) {
            let context = job.context();
            let known = job.progress().reached(context.config());
            // Otherwise its own run will tell.
            if let Ok(committed) = engine::call(|| self.rollup_index.committed_progress(&context)) {
                let kept = match &committed {
                    CommittedProgress::Kept(Some(kept)) => kept.reached(context.config()),
                    CommittedProgress::Kept(None) | CommittedProgress::NotKept => None,
                };
                job.find_ceiling(known.max(kept).unwrap_or(i64::MIN));
            }
        }
    }

    /// Stores what is remembered, if it is time, or if there will be no other. That it fails is no harm.
    pub(crate) fn store_marks(&self, is_last: bool) {
        let now = self.clock.monotonic();
        let is_due = |since: &Duration| is_last || now.saturating_sub(*since) >= STORED_EVERY;
        if !self.marks.to_store.lock().values().any(is_due) {
            return;
        }
        let jobs = self.all_jobs().unwrap_or_default();
        let counting: Vec<_> = jobs.iter().filter(|job| job.is_to_count()).collect();
        // What is not counted yet has to be found again.
        let is_counted = |(index, _): &MarkKey| !counting.iter().any(|job| job.may_read(index));
        let due: Vec<MarkKey> = {
            let mut to_store = self.marks.to_store.lock();
            let due = to_store.iter().filter(|(key, since)| is_due(since) && is_counted(key));
            let due: Vec<MarkKey> = due.map(|(key, _)| key.clone()).collect();
            to_store.retain(|key, _| !due.contains(key));
            due
        };
        if due.is_empty() {
            return;
        }
        let marks = due.iter().filter_map(|key| Some((name_of(key), self.marks.known.lock().get(key)?.clone())));
        let marks: Vec<_> = marks.collect();
        let bytes = marks.into_iter().filter_map(|(name, mark)| Some((name, engine::call(|| mark.to_bytes()).ok()?)));
        let bytes: Vec<(String, Vec<u8>)> = bytes.collect();
        let _ = self.store_call(|store| store.put_marks(&bytes));
    }

    /// Has those jobs run that have rolled up what has changed, as far as they are started and do it at once.
    pub(crate) fn repair_soon(&self, index: &str, ranges: &[Range<i64>]) {
        let Some(jobs) = self.registry.upgrade().map(|registry| registry.read().jobs()) else { return };
        for job in jobs.iter().filter(|job| ranges.iter().any(|range| job.repairs_at_once(index, range))) {
            // A job that is stopped does it when it is started.
            let _refused = job.run_soon();
        }
    }
}

impl Job {
    /// Whether an index is, or may be, one that it reads.
    pub(crate) fn may_read(&self, index: &str) -> bool {
        self.progress().known_source_indices().any(|known| known == index)
            || self.context().config().index_pattern().may_mean(index)
    }

    /// Whether it may have rolled up documents of this index in this range, as far as is known here, and does it again
    /// as soon as they have changed.
    fn repairs_at_once(&self, index: &str, range: &Range<i64>) -> bool {
        let (progress, context) = (self.progress(), self.context());
        let config = context.config();
        // A run that is under way may have read it already.
        let reached = progress.reached(config).max(Some(self.ceiling()).filter(|ceiling| *ceiling != i64::MAX));
        let is_covered = progress.covered().start < range.end && reached.is_some_and(|until| range.start < until);
        is_covered && config.late_data().repair_when() == RepairWhen::AtOnce && self.may_read(index)
    }
}

fn name_of((index, way): &MarkKey) -> String {
    // No index has a slash in its name.
    format!("{index}/{way}")
}
