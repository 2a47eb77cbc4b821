//! A turn's writer: documents go to the cluster by `_bulk`, by id, and what became of each is looked at.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::replacement::Replacement;
use super::rollup_index::{Standing, alias, of_index};
use super::{ElasticsearchState, bulk, of_job};
use crate::clock::{Deadline, SystemClock};
use crate::cluster::{Cause, Failure, Pending};
use crate::engine::{
    Batch, CommitReport, EngineError, JobContext, RejectedItem, RollupWriter, StopSignal, WriteReport,
};
use crate::job::Progress;
use crate::rollup::{FieldValue, RolledUpDocuments};
use crate::scan::Times;
use crate::sync::Arc;

/// How much longer than the cluster itself is waited for its answer to a bulk.
const GRACE: Duration = Duration::from_secs(1);
/// So few documents are not divided among requests.
const WORTH_A_BULK: usize = 10;

pub(super) struct BulkWriter {
    shared: Arc<ElasticsearchState>,
    job: JobContext,
    alias: String,
    /// The date buckets whose documents these replace.
    replaced: Option<Times>,
    version: u64,
    written: u64,
    /// How large a bulk may be: less than the options say once one was too large.
    bytes: usize,
    clock: SystemClock,
    /// Until when the bulks of the last page, and the look at the rollup index after them, should be over.
    deadline: Deadline,
}

/// A bulk that is on its way.
struct Bulk {
    documents: usize,
    bytes: usize,
    pending: Pending,
}

/// The bulks that are on their way, the first documents first. Each is waited for, whatever became of the others: the
/// cluster may write it as long as it has not answered, and should not while somebody has begun again there.
#[derive(Default)]
struct Underway(VecDeque<Bulk>);

impl BulkWriter {
    pub(super) fn new(shared: Arc<ElasticsearchState>, job: &JobContext, batch: &Batch) -> Self {
        let (bytes, clock) = (shared.options.bulk_bytes, SystemClock::new());
        let deadline = Deadline::after(&clock, shared.options.bulk_timeout);
        let (version, replaced) = (shared.versions.next(job), batch.replaced().cloned());
        Self { shared, job: job.clone(), alias: alias(job), replaced, version, written: 0, bytes, clock, deadline }
    }

    /// Sends documents, from the first on, as many as one request may have.
    fn send(&self, documents: RolledUpDocuments<'_>) -> Bulk {
        let ElasticsearchState { cluster, options, .. } = &*self.shared;
        let (body, documents) = self.body(documents);
        let bytes = body.len();
        let request = bulk::request(&self.alias, options.bulk_timeout).timeout(options.bulk_timeout + GRACE).body(body);
        Bulk { documents, bytes, pending: cluster.send(of_job(&self.job, request)) }
    }

    /// How many documents a request has, so that as many requests as may be on their way share a page.
    fn share(&self, documents: usize) -> usize {
        documents.div_ceil(self.shared.options.concurrent_bulks).max(WORTH_A_BULK)
    }

    /// The lines of a request: one document at least.
    fn body(&self, documents: RolledUpDocuments<'_>) -> (Vec<u8>, usize) {
        let (mut body, mut count) = (Vec::new(), 0);
        let fields = documents.layout().fields();
        for (id, bucket) in documents.ids().zip(documents.buckets()) {
            let before = body.len();
            write_json(&mut body, &bulk::action("index", &id, self.version));
            body.extend_from_slice(b"\n{");
            let values = fields.iter().filter_map(|field| Some((field, field.source.value(&bucket)?)));
            for (at, (field, value)) in values.enumerate() {
                if at > 0 {
                    body.push(b',');
                }
                write_json(&mut body, &field.name);
                body.push(b':');
                write_value(&mut body, &value);
            }
            body.extend_from_slice(b"}\n");
            if body.len() > self.bytes && count > 0 {
                body.truncate(before);
                break;
            }
            count += 1;
        }
        (body, count)
    }

    /// What became of each document.
    fn items(&self, answer: &Value, documents: usize) -> Result<Vec<RejectedItem>, Failure> {
        let mut rejected = Vec::new();
        for (index, item) in bulk::written(answer, documents)?.enumerate() {
            let Some(failure) = bulk::failure_of(item) else { continue };
            match failure.cause() {
                // The alias is gone: so is, perhaps, the index.
                Cause::NotFound => return Err(failure),
                Cause::Conflict => {
                    let text = format!("another owner of the job store writes this job's documents: {failure}");
                    rejected.push(RejectedItem { index, error: EngineError::rejected(text) });
                }
                _ => rejected.push(RejectedItem { index, error: of_index(&self.job, failure) }),
            }
        }
        Ok(rejected)
    }

    /// Where the index is not found, it is looked for: the alias alone may be gone, and is there again then.
    fn failed(&self, failure: Failure) -> EngineError {
        if failure.cause() != Cause::NotFound {
            return of_index(&self.job, failure);
        }
        match self.shared.rollups.check(&self.job) {
            Ok(Standing::Gone) => of_index(&self.job, failure),
            Ok(Standing::Prepared) => EngineError::unavailable(format!("alias [{}] was gone: {failure}", self.alias)),
            Err(error) => error,
        }
    }
}

impl RollupWriter for BulkWriter {
    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        self.deadline = Deadline::after(&self.clock, self.shared.options.bulk_timeout);
        let (share, most) = (self.share(documents.len()), self.shared.options.concurrent_bulks);
        let (mut sent, mut taken, mut rejected) = (0, 0, Vec::new());
        let mut underway = Underway::default();
        loop {
            while sent < documents.len() && underway.0.len() < most && rejected.is_empty() && !stop.is_stopped() {
                let bulk = self.send(documents.slice(sent..documents.len().min(sent + share)));
                sent += bulk.documents;
                underway.0.push_back(bulk);
            }
            let Some(bulk) = underway.0.pop_front() else { return Ok(WriteReport::with_rejected(taken, rejected)) };
            let answer = bulk.pending.answer(&StopSignal::never()).and_then(crate::cluster::Answer::json);
            match answer.and_then(|answer| self.items(&answer, bulk.documents)) {
                Ok(items) => {
                    self.written += (bulk.documents - items.len()) as u64;
                    rejected.extend(items.into_iter().map(|item| RejectedItem { index: item.index + taken, ..item }));
                    taken += bulk.documents;
                }
                Err(failure) if failure.cause() == Cause::TooMuch && bulk.documents > 1 => {
                    underway.wait_for_all();
                    (self.bytes, sent) = ((bulk.bytes / 2).max(1), taken);
                }
                Err(failure) => {
                    underway.wait_for_all();
                    let is_gone = failure.cause() == Cause::NotFound;
                    let error = self.failed(failure);
                    if is_gone || taken == 0 {
                        return Err(error);
                    }
                    // What the bulks before have written is worth a commit.
                    rejected.push(RejectedItem { index: taken, error });
                    return Ok(WriteReport::with_rejected(taken + 1, rejected));
                }
            }
        }
    }

    /// What was taken is durable already. But an index that was deleted, and made again by somebody else, has only a
    /// part of it; and what it replaces is still there.
    fn commit(self: Box<Self>, _progress: &Progress) -> Result<CommitReport, EngineError> {
        let timeout = self.shared.options.bulk_timeout;
        // A stop that has waited for the bulks waits for this too.
        let left = self.deadline.remaining(&self.clock).unwrap_or(timeout).max(timeout / 4);
        if self.shared.rollups.check_within(&self.job, left)? == Standing::Gone {
            let text = format!(
                "rollup index [{}] is not the one that was prepared (any more)",
                self.job.config().rollup_index()
            );
            return Err(EngineError::not_found(text));
        }
        if let Some(times) = &self.replaced {
            let Self { shared, job, version, written, .. } = &*self;
            let replacement = Replacement { shared, job, times, version: *version, written: *written };
            replacement.bury_what_vanished().map_err(|failure| self.failed(failure))?;
        }
        Ok(CommitReport::new(self.shared.tombstones.are_due(&self.job, self.shared.options.tombstones_stay)))
    }
}

impl Underway {
    fn wait_for_all(&mut self) {
        for bulk in self.0.drain(..) {
            let _ = bulk.pending.answer(&StopSignal::never());
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.wait_for_all();
    }
}

fn write_json(body: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let written = serde_json::to_writer(body, value);
    written.unwrap_or_else(|error| panic!("a value cannot be printed as JSON: {error}"));
}

fn write_value(body: &mut Vec<u8>, value: &FieldValue) {
    match value {
        FieldValue::Null => body.extend_from_slice(b"null"),
        FieldValue::Date(value) | FieldValue::Integer(value) => write_json(body, value),
        FieldValue::Unsigned(value) => write_json(body, value),
        FieldValue::Double(value) => write_json(body, value),
        FieldValue::Text(text) => write_json(body, &**text),
    }
}
