//! A scan: page after page of a composite aggregation, the next one on its way while the one before is written.

use std::collections::HashMap;

use serde_json::Value;

use super::buckets::{Buckets, SearchAnswer};
use super::indices::{expression, resolve};
use super::snapshot::Snapshot;
use super::{ElasticsearchState, failed, of_job, query};
use crate::cluster::{Answer, Cause, Failure, Pending, Request};
use crate::engine::{EngineError, JobContext, PageStream, StopSignal, left_out};
use crate::job::{GroupKey, IndexPattern, OUT_OF_RANGE};
use crate::rollup::Page;
use crate::sync::{Arc, Mutex};

/// After so many pages that went well a page may be larger again.
const GROWS_AFTER: u32 = 8;

pub(super) struct Scan {
    shared: Arc<ElasticsearchState>,
    job: JobContext,
    /// The search for the next page, if it is on its way. It is given up before what it reads from is closed.
    ahead: Option<Pending>,
    snapshot: Snapshot,
    before: i64,
    /// After which key the next page begins.
    after: Option<GroupKey>,
    /// How many buckets a page has, and how many pages of that size went well.
    size: usize,
    went_well: u32,
    notice: Option<String>,
    /// Documents in date buckets that cannot be kept.
    too_far: u64,
    source_indices: Vec<String>,
    /// Documents without a date, once they were counted.
    skipped: Option<u64>,
    is_done: bool,
}

/// Of jobs whose pages were too large for the cluster how large they were last: a scan that is opened again does not
/// learn it again.
#[derive(Default)]
pub(super) struct PageSizes(Mutex<HashMap<String, Reduced>>);

struct Reduced {
    size: usize,
    /// The last page found a node short of memory. That may pass by itself, and then the size is not to blame.
    is_suspect: bool,
}

impl PageSizes {
    fn of(&self, job: &JobContext) -> usize {
        let configured = job.config().page_size();
        self.0.lock().get(job.id()).map_or(configured, |reduced| reduced.size.min(configured))
    }

    fn note(&self, job: &JobContext, size: usize) {
        let mut sizes = self.0.lock();
        if size < job.config().page_size() {
            sizes.insert(job.id().to_owned(), Reduced { size, is_suspect: false });
        } else {
            sizes.remove(job.id());
        }
    }

    /// A node was short of memory. Says whether it was so the last time too.
    fn suspect(&self, job: &JobContext, size: usize) -> bool {
        let suspect = Reduced { size, is_suspect: true };
        self.0.lock().insert(job.id().to_owned(), suspect).is_some_and(|before| before.is_suspect)
    }
}

impl Scan {
    pub(super) fn open(
        shared: &Arc<ElasticsearchState>,
        job: &JobContext,
        pattern: &IndexPattern,
        before: i64,
        after: Option<GroupKey>,
        stop: &StopSignal,
    ) -> Result<Self, Failure> {
        let (cluster, options) = (&shared.cluster, &shared.options);
        let resolved = resolve(cluster, job, pattern, stop)?;
        resolved.allows(options.skip_closed)?;
        let snapshot = if resolved.open.is_empty() {
            Snapshot::Nothing
        } else {
            let indices = expression(pattern);
            if options.refresh {
                cluster.refresh(of_job(job, Request::post([indices.as_str(), "_refresh"])), stop)?;
            }
            shared.snapshots.open(job, &indices, options.keep_alive, stop)?
        };
        Ok(Self {
            shared: Arc::clone(shared),
            job: job.clone(),
            snapshot,
            before,
            after,
            ahead: None,
            size: shared.page_sizes.of(job),
            went_well: 0,
            notice: (!resolved.closed.is_empty())
                .then(|| format!("closed indices are left out: {}", resolved.closed.join(", "))),
            source_indices: [resolved.open, resolved.closed].concat(),
            too_far: 0,
            skipped: None,
            is_done: false,
        })
    }

    /// Sends a search.
    fn send(&self, body: Value) -> Result<Pending, Failure> {
        let ElasticsearchState { cluster, snapshots, options, .. } = &*self.shared;
        let request = self.snapshot.search(snapshots, &self.job, body, options.keep_alive);
        let taken = || Failure::new(Cause::LostSnapshot, "another run has taken the point in time");
        Ok(cluster.send(request.ok_or_else(taken)?))
    }

    fn send_for_page(&self) -> Result<Pending, Failure> {
        self.send(query::page(&self.job, self.after.as_ref(), self.before, self.size))
    }

    /// Takes from a whole answer what is wanted of it.
    fn read<T>(
        &self,
        answer: Result<Answer, Failure>,
        take: impl FnOnce(&SearchAnswer<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let read = answer.as_ref().map_err(Clone::clone).and_then(|answer| answer.read::<SearchAnswer<'_>>()?.whole());
        self.snapshot.was_read(read.as_ref().ok().and_then(|read| read.pit_id.clone()));
        take(&read?)
    }

    fn count_skipped(&mut self, stop: &StopSignal) -> Result<(), Failure> {
        if self.skipped.is_none() {
            let answer = self.send(query::without_date(&self.job))?.answer(stop);
            self.skipped = Some(self.read(answer, |found| Ok(found.hits()))?);
        }
        Ok(())
    }

    /// The next page that has buckets, or none at the end.
    fn next(&mut self, stop: &StopSignal) -> Result<Page, Failure> {
        let mut page = Page::new(self.job.layout());
        if matches!(self.snapshot, Snapshot::Nothing) {
            return Ok(page);
        }
        self.count_skipped(stop)?;
        while page.is_empty() && !self.is_done {
            let search = self.ahead.take().map_or_else(|| self.send_for_page(), Ok)?;
            let after = self.after.as_ref();
            match self.read(search.answer(stop), |found| found.buckets(&self.job, after, self.before)) {
                Ok(Buckets { page: found, after, too_far }) => {
                    if let (Some(last), Some(before)) = (&after, &self.after)
                        && last <= before
                    {
                        let text =
                            "the cluster answers a page again that it has answered: it does not go on after a key";
                        return Err(Failure::new(Cause::Refused, text));
                    }
                    self.too_far += too_far;
                    self.grow();
                    self.is_done = after.is_none();
                    self.after = after.or_else(|| self.after.take());
                    page = found;
                }
                Err(failure) if failure.cause() == Cause::TooMuch && self.size > 1 => self.resize(self.size / 2),
                Err(failure) => {
                    if failure.cause() == Cause::NoMemory && self.shared.page_sizes.suspect(&self.job, self.size) {
                        self.resize(self.size / 2);
                    }
                    return Err(failure);
                }
            }
        }
        Ok(page)
    }

    /// What was too large once may fit later.
    fn grow(&mut self) {
        self.went_well += 1;
        if self.went_well == 1 {
            self.shared.page_sizes.note(&self.job, self.size);
        }
        if self.went_well >= GROWS_AFTER {
            self.resize(self.size * 2);
        }
    }

    fn resize(&mut self, size: usize) {
        (self.size, self.went_well) = (size.clamp(1, self.job.config().page_size()), 0);
        self.shared.page_sizes.note(&self.job, self.size);
    }
}

impl PageStream for Scan {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let pattern = self.job.config().index_pattern().clone();
        self.next(stop).map_err(|failure| {
            // An index that is gone since the source was opened: what the pattern means now is found out when it is
            // opened again.
            let is_gone = failure.cause() == Cause::NotFound;
            let failure = if is_gone { Failure::new(Cause::LostSnapshot, failure.to_string()) } else { failure };
            failed(&format!("search of [{pattern}]"), failure)
        })
    }

    fn fetch_ahead(&mut self) {
        if !self.is_done && self.ahead.is_none() {
            // What fails now fails again when the page is asked for.
            self.ahead = self.send_for_page().ok();
        }
    }

    fn park(&mut self) {
        if self.ahead.take().is_some() {
            self.snapshot.was_read(None);
        }
    }

    fn is_whole(&self) -> bool {
        self.snapshot.is_whole()
    }

    fn source_indices(&self) -> Option<Vec<String>> {
        Some(self.source_indices.clone())
    }

    fn documents_skipped(&self) -> u64 {
        self.skipped.unwrap_or(0) + self.too_far
    }

    fn reduced_page_size(&self) -> Option<usize> {
        (self.size < self.job.config().page_size()).then_some(self.size)
    }

    fn take_notice(&mut self) -> Option<String> {
        let too_far = (self.is_done && self.too_far > 0).then(|| left_out(self.too_far, OUT_OF_RANGE));
        let notices: Vec<_> = self.notice.take().into_iter().chain(too_far).collect();
        (!notices.is_empty()).then(|| notices.join("; "))
    }
}
