//! A scan: page after page of a composite aggregation, the next one on its way while the one before is written.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::buckets::{Buckets, SearchAnswer};
use super::indices::{Resolved, expression, identities, resolve, types};
use super::question::Question;
use super::rollup_index::of_index;
use super::snapshot::{Snapshot, Snapshots};
use super::{ElasticsearchState, failed};
use crate::cluster::{Answer, Cause, Failure, Pending};
use crate::engine::{EngineError, JobContext, PageStream, ScanRequest, SourceIndex, StopSignal, left_out};
use crate::job::{GroupKey, IndexPattern, MAX_PAGE_SIZE, OUT_OF_RANGE};
use crate::rollup::Page;
use crate::scan::Times;
use crate::sync::{Arc, Mutex};

/// After so many pages that went well a page may be larger again.
const GROWS_AFTER: u32 = 8;

pub(super) struct Scan {
    shared: Arc<ElasticsearchState>,
    job: JobContext,
    question: Question,
    /// Which indices, for people.
    described: String,
    /// The search for the next page, if it is on its way. It is given up before what it reads from is closed.
    ahead: Option<PendingPage>,
    snapshot: Snapshot,
    /// After which key the next page begins.
    after: Option<GroupKey>,
    /// How many buckets a page has, and how many pages of that size went well.
    size: usize,
    went_well: u32,
    notice: Option<String>,
    /// Documents in date buckets that cannot be kept.
    too_far: u64,
    source_indices: Option<Vec<SourceIndex>>,
    /// Documents without a date, once they were counted.
    skipped: Option<u64>,
    /// The grouped fields that have several values, once they were counted too.
    several_values: Option<BTreeSet<String>>,
    is_done: bool,
}

/// A page of so many buckets that is on its way.
struct PendingPage {
    search: Pending,
    size: usize,
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
    fn of(&self, name: &str, configured: usize) -> usize {
        self.0.lock().get(name).map_or(configured, |reduced| reduced.size.min(configured))
    }

    fn note(&self, name: &str, size: usize, configured: usize) {
        let mut sizes = self.0.lock();
        if size < configured {
            sizes.insert(name.to_owned(), Reduced { size, is_suspect: false });
        } else {
            sizes.remove(name);
        }
    }

    /// A node was short of memory. Says whether it was so the last time too.
    fn suspect(&self, name: &str, size: usize) -> bool {
        let suspect = Reduced { size, is_suspect: true };
        self.0.lock().insert(name.to_owned(), suspect).is_some_and(|before| before.is_suspect)
    }
}

/// What a pattern means, and what is read there.
#[derive(Clone)]
pub(super) struct HeldSource {
    resolved: Resolved,
    snapshot: Snapshot,
}

/// That what was written is visible: rolled-up documents are read as they are.
pub(super) struct Refreshed;

impl HeldSource {
    pub(super) fn open(
        shared: &ElasticsearchState,
        snapshots: &Snapshots,
        job: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<Self, EngineError> {
        let open = || {
            let resolved = resolve(&shared.cluster, job, pattern, stop)?;
            resolved.allows(shared.options.skip_closed)?;
            let snapshot = if resolved.open.is_empty() {
                Snapshot::Nothing
            } else {
                open_snapshot(shared, snapshots, job, &expression(pattern), shared.options.refresh, stop)?
            };
            Ok(Self { resolved, snapshot })
        };
        open().map_err(|failure| failed(&format!("source indices [{pattern}]"), failure))
    }
}

impl Scan {
    /// Of source documents.
    pub(super) fn of_source(
        shared: &Arc<ElasticsearchState>,
        job: &JobContext,
        pattern: &IndexPattern,
        mut request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Self, EngineError> {
        request.check()?;
        let described = format!("source indices [{pattern}]");
        let held = request.snapshot.take();
        let held = held.as_ref().and_then(crate::scan::Snapshot::get::<HeldSource>).cloned();
        // A search does not say how many documents have no date.
        let skipped = held.is_some().then_some(0);
        // Before it is opened: of one that takes another's name meanwhile, the next run finds that out. A search does
        // not ask.
        let mut identities = match &held {
            Some(_) => HashMap::new(),
            None => identities(&shared.cluster, job, pattern, stop).map_err(|failure| failed(&described, failure))?,
        };
        let held = held.map_or_else(|| HeldSource::open(shared, &shared.snapshots, job, pattern, stop), Ok)?;
        let HeldSource { resolved, snapshot } = held;
        let looked_at = looked_at(&request);
        let types = types(&shared.cluster, job, pattern, &looked_at, &resolved);
        let types = types.map_err(|failure| failed(&described, failure))?;
        let question = Question::of_source(request, &described, &types)?;
        let notice = (!resolved.closed.is_empty())
            .then(|| format!("closed indices are left out: {}", resolved.closed.join(", ")));
        let closed = resolved.closed.into_iter().map(|name| SourceIndex::new(name).dates(0..0));
        let all = resolved.open.into_iter().map(SourceIndex::new).chain(closed);
        let identified = all.map(|index| {
            let identity = identities.remove(&index.name);
            index.identity(identity)
        });
        let source_indices = Some(identified.collect());
        Ok(Self { notice, source_indices, skipped, ..Self::of(shared, job, question, described, snapshot) })
    }

    /// Of what a job has rolled up.
    pub(super) fn of_rolled_up(
        shared: &Arc<ElasticsearchState>,
        job: &JobContext,
        mut request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Self, EngineError> {
        let index = job.config().rollup_index();
        let held = request.snapshot.take();
        let snapshot = if held.as_ref().and_then(crate::scan::Snapshot::get::<Refreshed>).is_some() {
            Snapshot::Live(index.to_owned())
        } else {
            let opened = open_snapshot(shared, &shared.snapshots, job, index, true, stop);
            opened.map_err(|failure| of_index(job, failure))?
        };
        let question = Question::of_rolled_up(request, job.layout())?;
        let described = format!("rollup index [{index}]");
        // No rolled-up document is without a date, and none has several values.
        let (skipped, several_values) = (Some(0), Some(BTreeSet::new()));
        Ok(Self { skipped, several_values, ..Self::of(shared, job, question, described, snapshot) })
    }

    fn of(
        shared: &Arc<ElasticsearchState>,
        job: &JobContext,
        question: Question,
        described: String,
        snapshot: Snapshot,
    ) -> Self {
        let mut scan = Self {
            shared: Arc::clone(shared),
            job: job.clone(),
            snapshot,
            after: question.request.after.clone(),
            ahead: None,
            size: 0,
            went_well: 0,
            notice: None,
            source_indices: None,
            too_far: 0,
            skipped: None,
            several_values: None,
            is_done: false,
            question,
            described,
        };
        scan.size = shared.page_sizes.of(scan.name(), scan.most());
        scan
    }

    /// What the sizes of its pages are remembered by.
    fn name(&self) -> &str {
        if self.question.count.is_some() { &self.described } else { self.job.id() }
    }

    /// The most buckets that a page may have.
    fn most(&self) -> usize {
        self.question.request.page_size.min(MAX_PAGE_SIZE as usize)
    }

    /// Sends a search.
    fn send(&self, body: Value) -> Result<Pending, Failure> {
        let ElasticsearchState { cluster, snapshots, options, .. } = &*self.shared;
        let request = self.snapshot.search(snapshots, &self.job, body, options.keep_alive);
        let taken = || Failure::new(Cause::LostSnapshot, "another run has taken the point in time");
        Ok(cluster.send(request.ok_or_else(taken)?))
    }

    fn send_for_page(&self) -> Result<PendingPage, Failure> {
        let search = self.send(self.question.page(self.after.as_ref(), self.size))?;
        Ok(PendingPage { search, size: self.size })
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

    fn count(&mut self, stop: &StopSignal) -> Result<(), Failure> {
        if self.skipped.is_none() {
            let answer = self.send(self.question.without_date())?.answer(stop);
            self.skipped = Some(self.read(answer, |found| Ok(found.hits()))?);
        }
        if self.several_values.is_none() {
            let indices = self.source_indices.as_ref().map_or(0, Vec::len);
            let answer = self.send(self.question.values(indices))?.answer(stop);
            let read = |found: &SearchAnswer<'_>| Ok((found.several_values(&self.question)?, found.dates()?));
            let (several_values, mut dates) = self.read(answer, read)?;
            self.several_values = Some(several_values);
            for index in self.source_indices.iter_mut().flatten() {
                index.dates = dates.remove(&index.name).unwrap_or(0..0);
            }
        }
        Ok(())
    }

    /// Whether a date bucket may have only a part of what is in it, where documents have several dates: nobody can tell
    /// which of them is in the part.
    fn cuts_documents(&self) -> bool {
        let ScanRequest { times, grouping, .. } = &self.question.request;
        let cuts = grouping.grid().is_some() && !times.are_of_buckets() && *times != Times::all();
        cuts && self.several_values.as_ref().is_some_and(|several| several.contains(grouping.date_field()))
    }

    /// The next page that has buckets, or none at the end.
    fn next(&mut self, stop: &StopSignal) -> Result<Page, Failure> {
        let mut page = Page::of(&self.question.request.grouping);
        if matches!(self.snapshot, Snapshot::Nothing) {
            return Ok(page);
        }
        self.count(stop)?;
        while page.is_empty() && !self.is_done && !self.cuts_documents() {
            let PendingPage { search, size } = self.ahead.take().map_or_else(|| self.send_for_page(), Ok)?;
            let after = self.after.as_ref();
            match self.read(search.answer(stop), |found| found.buckets(&self.question, after, size)) {
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
                    if failure.cause() == Cause::NoMemory && self.shared.page_sizes.suspect(self.name(), self.size) {
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
            self.shared.page_sizes.note(self.name(), self.size, self.most());
        }
        if self.went_well >= GROWS_AFTER {
            self.resize(self.size * 2);
        }
    }

    fn resize(&mut self, size: usize) {
        (self.size, self.went_well) = (size.clamp(1, self.most()), 0);
        self.shared.page_sizes.note(self.name(), self.size, self.most());
    }
}

impl PageStream for Scan {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        let page = self.next(stop).map_err(|failure| {
            // An index that is gone since the source was opened: what the pattern means now is found out when it is
            // opened again.
            let is_gone = failure.cause() == Cause::NotFound;
            let failure = if is_gone { Failure::new(Cause::LostSnapshot, failure.to_string()) } else { failure };
            failed(&format!("search of {}", self.described), failure)
        })?;
        if self.cuts_documents() {
            let text = "documents with several dates: a cluster cannot tell which of them is in a part of a date bucket; ask \
                        for whole buckets";
            return Err(EngineError::unsupported(text));
        }
        Ok(page)
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

    fn is_one_snapshot(&self) -> bool {
        !matches!(self.snapshot, Snapshot::Live(_))
    }

    fn source_indices(&self) -> Option<Vec<SourceIndex>> {
        self.source_indices.clone()
    }

    fn several_values(&self) -> Option<BTreeSet<String>> {
        match &self.snapshot {
            Snapshot::Nothing => Some(BTreeSet::new()),
            _ => self.several_values.clone(),
        }
    }

    fn documents_skipped(&self) -> u64 {
        self.skipped.unwrap_or(0) + self.too_far
    }

    fn reduced_page_size(&self) -> Option<usize> {
        (self.size < self.most()).then_some(self.size)
    }

    fn take_notice(&mut self) -> Option<String> {
        let too_far = (self.is_done && self.too_far > 0).then(|| left_out(self.too_far, OUT_OF_RANGE));
        let notices: Vec<_> = self.notice.take().into_iter().chain(too_far).collect();
        (!notices.is_empty()).then(|| notices.join("; "))
    }
}

/// The fields whose types matter to a request: those that a filter compares, and a date of before 1970.
fn looked_at(request: &ScanRequest) -> Vec<&str> {
    let mut fields = request.filter.fields();
    let ends = request.times.ranges().iter().flat_map(|range| [range.start, range.end]);
    if ends.into_iter().any(|end| end < 0 && end > i64::MIN) {
        fields.push(request.grouping.date_field());
    }
    fields
}

/// Opens what a scan reads from.
fn open_snapshot(
    shared: &ElasticsearchState,
    snapshots: &Snapshots,
    job: &JobContext,
    indices: &str,
    refresh: bool,
    stop: &StopSignal,
) -> Result<Snapshot, Failure> {
    if refresh {
        shared.refresh(job, indices, stop)?;
    }
    snapshots.open(job, indices, shared.options.keep_alive, stop)
}
