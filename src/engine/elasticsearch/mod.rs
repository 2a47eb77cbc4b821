//! `ElasticsearchEngine`: the engine where one machine is too small. Feature `elasticsearch`.
//!
//! Source indices and rollup indices are in an Elasticsearch or OpenSearch cluster, which does the aggregating, and
//! keeps what is rolled up as Elasticsearch itself would: the same documents with the same ids, in an index that
//! Elasticsearch's rollup search reads.
//!
//! It is tested against OpenSearch 3.8 and Elasticsearch 9.1, and has passed the same suites on Elasticsearch 8.19.
//! Elasticsearch 7.17 and OpenSearch 2 are spoken to as well, and are not tested regularly. Two things are known of
//! 7.17:
//!
//! * As a number it takes a date before 1970 only where that is a whole second. Buckets of a second or more begin at
//!   one, so they are kept; a run that meets a shorter one before 1970 ends with the server's refusal.
//! * Where a zone's clocks were set back by less than the interval (Asia/Tehran, 1978-11-10) it can begin a bucket of
//!   its own. A run that meets one ends with that reason.
//!
//! # What differs from the embedded engines
//!
//! * A scan reads from a point in time. Where the cluster refuses one, since too many are open, it reads what is
//!   there when each page is asked for: a document that is added behind the scan is then rolled up, one that is added
//!   before it is not.
//! * -0.0 and 0.0 are two terms, and two buckets of a histogram, as Elasticsearch's own rollups have them.
//! * OpenSearch and Elasticsearch 7 count a document that has several values in one bucket more than once: in sums,
//!   value counts and averages, and in the document count (there not always as often). Minima and maxima are right; the
//!   others are not those of the documents, as Elasticsearch 7's own rollups are not. Elasticsearch 9 and the embedded
//!   engines count it once.
//! * The number of a dynamically mapped field is a 32-bit `float`: it is rolled up as the cluster has stored it.
//! * An index that is closed is skipped, as in Elasticsearch, and the job's status names it. If the pattern names it,
//!   its alias or its data stream, or [`skip_closed`](ElasticsearchOptions::skip_closed) is off, the run ends with
//!   that reason.
//! * Date buckets that are replaced are not replaced in one step: until [`RollupWriter::commit`] has returned a plain
//!   search of the rollup index may find old documents beside new ones. If the process ends before that, they stay
//!   so until they are replaced again. A group that has vanished leaves a document behind whose `_count` is 0, for
//!   [a while](ElasticsearchOptions::tombstones_stay).
//! * What comes, changes or goes after it was rolled up is noticed only in the way that a job
//!   [says](crate::LateData::notice_by), with two more requests per run and search.
//! * The rollup index is written through a hidden alias, `rollup-jobs-write-<index>`, so that a deleted index is not
//!   made again by the next write.

mod buckets;
mod bulk;
mod indices;
mod meta;
mod noticing;
mod query;
mod question;
mod replacement;
mod rollup_index;
mod scan;
mod selection;
mod snapshot;
mod versions;
mod writer;

use std::fmt;
use std::time::Duration;

use super::{
    Batch, CommittedProgress, EngineError, FieldCapabilities, JobContext, Look, Noticed, PageStream, RolledUpSnapshot,
    RollupIndex, RollupWriter, ScanRequest, Snapshot, Source, SourceMark, StopSignal,
};
use crate::cluster::{Cause, Cluster, Failure, Request};
use crate::job::{IndexPattern, NoticeBy, Progress};
use crate::sync::Arc;
use noticing::Mark;
use replacement::Tombstones;
use rollup_index::{RollupIndices, Standing};
use scan::{HeldSource, PageSizes, Refreshed, Scan};
use snapshot::Snapshots;
use versions::Versions;
use writer::BulkWriter;

/// How the engine uses its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ElasticsearchOptions {
    refresh: bool,
    points_in_time: usize,
    keep_alive: Duration,
    bulk_bytes: usize,
    concurrent_bulks: usize,
    bulk_timeout: Duration,
    tombstones_stay: Duration,
    skip_closed: bool,
}

impl Default for ElasticsearchOptions {
    fn default() -> Self {
        Self {
            refresh: true,
            points_in_time: 20,
            keep_alive: Duration::from_mins(5),
            bulk_bytes: 5 << 20,
            concurrent_bulks: 2,
            bulk_timeout: Duration::from_secs(20),
            tombstones_stay: Duration::from_mins(10),
            skip_closed: true,
        }
    }
}

impl ElasticsearchOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a run refreshes its source indices before it reads. A document that is not refreshed is invisible, and
    /// would be left out for ever once its bucket is rolled up. It needs the privilege `maintenance` on them (without
    /// it the run ends with that reason): who cannot grant it switches this off and gives the jobs a `delay` longer
    /// than the indices' `refresh_interval`. Default: yes.
    pub fn refresh(mut self, refresh: bool) -> Self {
        self.refresh = refresh;
        self
    }

    /// How many points in time the engine holds open at once, at least one. A run that needs one more takes that of
    /// the run which has waited longest for its turn; that one opens its source again. Default: 20.
    pub fn points_in_time(mut self, most: usize) -> Self {
        self.points_in_time = most.max(1);
        self
    }

    /// How long the cluster keeps a point in time that nobody reads from: longer than a run waits for its next turn.
    /// Default: 5 minutes.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Whether a closed index that a wildcard of the pattern matches, or whose alias or data stream it matches, is
    /// left out, and named in the job's status; if not, the run ends with that reason. What is in it is never rolled
    /// up later, unless it is opened before its buckets are due. Default: yes, as in Elasticsearch.
    pub fn skip_closed(mut self, skip: bool) -> Self {
        self.skip_closed = skip;
        self
    }

    /// How large a `_bulk` request may be, in bytes before it is packed. Default: 5 MiB.
    pub fn bulk_bytes(mut self, bytes: usize) -> Self {
        self.bulk_bytes = bytes.max(1);
        self
    }

    /// How many `_bulk` requests of a job may be on their way at once, at least one: a page is divided among them.
    /// While the cluster writes one to the replicas it writes the next to the primaries. Together they are as many
    /// times [`bulk_bytes`](Self::bulk_bytes) large. Default: 2.
    pub fn concurrent_bulks(mut self, most: usize) -> Self {
        self.concurrent_bulks = most.max(1);
        self
    }

    /// How long a `_bulk` request may take, and one that is about the rollup index itself. A stop waits for those
    /// that are on their way, and for the look at the rollup index that comes after them: at most this long, a
    /// quarter of it and a second. A stop in a replacement of date buckets waits until all that has vanished there is
    /// dealt with, which is a request for every 2,000 documents. Default: 20 s.
    pub fn bulk_timeout(mut self, timeout: Duration) -> Self {
        self.bulk_timeout = timeout;
        self
    }

    /// How long the tombstone stays of a group that has vanished from date buckets that were replaced: longer than a
    /// bulk can be late, of this process or of one that has owned the job store before. Default: 10 minutes.
    pub fn tombstones_stay(mut self, stay: Duration) -> Self {
        self.tombstones_stay = stay;
        self
    }
}

/// An engine whose data is in a cluster.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use rollup_jobs::RollupJobManager;
/// use rollup_jobs::cluster::{Cluster, ClusterOptions};
/// use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
/// use rollup_jobs::store::MemoryStore;
///
/// let cluster = Cluster::new(ClusterOptions::new(["http://localhost:9200"]))?;
/// let engine = Arc::new(ElasticsearchEngine::new(cluster));
/// let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ElasticsearchEngine {
    shared: Arc<ElasticsearchState>,
}

/// What the engine, its streams and its writers have in common.
struct ElasticsearchState {
    cluster: Cluster,
    options: ElasticsearchOptions,
    snapshots: Snapshots,
    /// A search does not take a run's away.
    snapshots_of_searches: Snapshots,
    rollups: RollupIndices,
    versions: Arc<Versions>,
    tombstones: Tombstones,
    page_sizes: PageSizes,
}

impl ElasticsearchEngine {
    /// With the default options.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self::with_options(cluster, ElasticsearchOptions::default())
    }

    /// With these options.
    #[must_use]
    pub fn with_options(cluster: Cluster, options: ElasticsearchOptions) -> Self {
        let snapshots = Snapshots::of_runs(cluster.clone(), options.points_in_time);
        let snapshots_of_searches = Snapshots::of_searches(cluster.clone(), options.points_in_time);
        let versions = Arc::new(Versions::default());
        let rollups = RollupIndices::new(cluster.clone(), options.bulk_timeout, Arc::clone(&versions));
        Self {
            shared: Arc::new(ElasticsearchState {
                cluster,
                options,
                snapshots,
                snapshots_of_searches,
                rollups,
                versions,
                tombstones: Tombstones::new(),
                page_sizes: PageSizes::default(),
            }),
        }
    }
}

impl fmt::Debug for ElasticsearchEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchEngine").field("cluster", &self.shared.cluster).finish_non_exhaustive()
    }
}

impl Source for ElasticsearchEngine {
    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        // An unknown kind of cluster is refused before anything is made of it.
        let known = self.shared.cluster.product(&StopSignal::never());
        known
            .and_then(|_| indices::capabilities(&self.shared.cluster, job, pattern, fields))
            .map_err(|failure| failed(&format!("source indices [{pattern}]"), failure))
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        Ok(Box::new(Scan::of_source(&self.shared, job, pattern, request, stop)?))
    }

    /// A point in time, as long as there are not too many. Where there are, each scan is of its own moment.
    fn snapshot(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<Option<Snapshot>, EngineError> {
        let held = HeldSource::open(&self.shared, &self.shared.snapshots_of_searches, job, pattern, stop)?;
        Ok(Some(Snapshot::new(held)))
    }

    /// In the way that the job [says](crate::LateData::notice_by): two requests, and some more for what is seen for the
    /// first time.
    fn look(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        look: &Look<'_>,
        stop: &StopSignal,
    ) -> Result<Vec<Noticed>, EngineError> {
        let noticed = self.shared.look(job, pattern, look, stop);
        noticed.map_err(|failure| failed(&format!("look at source indices [{pattern}]"), failure))
    }

    fn notices_by(&self, _by: &NoticeBy) -> bool {
        true
    }

    fn read_mark(&self, bytes: &[u8]) -> Option<SourceMark> {
        Mark::read(bytes).map(SourceMark::new)
    }
}

impl RollupIndex for ElasticsearchEngine {
    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        self.shared.rollups.prepare(job, false)
    }

    /// Elasticsearch itself may have run the job, in this very index.
    fn adopt(&self, job: &JobContext, _progress: &Progress) -> Result<(), EngineError> {
        self.shared.rollups.prepare(job, true)
    }

    fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        self.shared.rollups.redefine(job)
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        Ok(Box::new(BulkWriter::new(Arc::clone(&self.shared), job, batch)))
    }

    fn scan_rolled_up(
        &self,
        job: &JobContext,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        Ok(Box::new(Scan::of_rolled_up(&self.shared, job, request, stop)?))
    }

    /// Where everything is rolled up documents are added no more, and need no point in time: only to be visible.
    fn snapshot_rolled_up(&self, job: &JobContext, stop: &StopSignal) -> Result<Option<RolledUpSnapshot>, EngineError> {
        let progress = self.committed_progress(job)?;
        if progress == CommittedProgress::NotKept {
            let index = job.config().rollup_index();
            let refreshed = self.shared.refresh(job, index, stop);
            refreshed.map_err(|failure| failed(&format!("rollup index [{index}]"), failure))?;
        }
        Ok(Some(RolledUpSnapshot::new(Snapshot::new(Refreshed), progress)))
    }

    /// It keeps none. But if the rollup index is not the one that was prepared, there is nothing of the job.
    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError> {
        Ok(match self.shared.rollups.check(job)? {
            Standing::Prepared => CommittedProgress::NotKept,
            Standing::Gone => CommittedProgress::Kept(None),
        })
    }

    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        let found = self.shared.rollups.indices_of(job_id);
        found.map_err(|failure| failed("rollup indices", failure))
    }

    /// Removes tombstones that have stayed long enough.
    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        if self.shared.tombstones.are_due(job, self.shared.options.tombstones_stay)
            && self.shared.rollups.remove_tombstones(job, stop)?
        {
            self.shared.tombstones.clear(job);
        }
        Ok(())
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        self.shared.rollups.remove(job)?;
        self.shared.tombstones.forget(job);
        Ok(())
    }
}

impl ElasticsearchState {
    /// Has what was written to these indices be visible, in the job's name.
    fn refresh(&self, job: &JobContext, indices: &str, stop: &StopSignal) -> Result<(), Failure> {
        self.cluster.refresh(of_job(job, Request::post([indices, "_refresh"])), stop)
    }
}

/// A failed request as the error of an engine call.
fn failed(what: &str, failure: Failure) -> EngineError {
    let text = format!("{what}: {failure}");
    let error = match failure.cause() {
        Cause::Cancelled => return EngineError::cancelled(),
        Cause::NotFound => EngineError::not_found(text),
        Cause::LostSnapshot => EngineError::moved(text),
        Cause::Refused | Cause::Forbidden | Cause::Conflict => EngineError::rejected(text),
        Cause::Exists | Cause::NoSnapshot | Cause::TooMuch | Cause::NoMemory | Cause::Unavailable => {
            EngineError::unavailable(text)
        }
    };
    error.after(failure.retry_after())
}

/// A request for a job, in the name of whom it was put.
fn of_job(job: &JobContext, request: Request) -> Request {
    request.run_as(job.run_as())
}
