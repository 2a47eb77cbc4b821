//! A turn's writer: it gathers documents, and threads of its own write them into segments meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use ::tantivy::{Segment, TantivyError};

use super::JobIndex;
use super::commit::Committer;
use super::segment::{Documents, EmptyFiles};
use crate::engine::{Batch, CommitReport, EngineError, JobContext, RollupWriter, StopSignal, WriteReport};
use crate::job::{KeyPart, Progress};
use crate::rollup::{Bucket, RolledUpDocuments};
use crate::sync::{Arc, Monitor};

/// The first millisecond that a date has in tantivy, where it is a number of nanoseconds.
const FIRST_DATE: i64 = -(i64::MAX / 1_000_000);
/// The same for people.
const TOO_EARLY: &str = "before the first date that tantivy has, 1677-09-21T00:12:43Z";

/// How many documents are taken between two looks at the stop signal.
const BLOCK: usize = 1_024;

/// What a writer may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::tantivy) struct WriterOptions {
    /// How many threads write segments.
    pub(in crate::engine::tantivy) threads: usize,
    /// How much memory documents may take that are gathered or being written.
    pub(in crate::engine::tantivy) memory: usize,
}

/// Documents and progress are committed in one step, so nothing is ever there twice.
pub(in crate::engine::tantivy) struct TantivyWriter {
    index: Arc<JobIndex>,
    /// None once it has committed.
    committer: Option<Committer>,
    job: JobContext,
    options: WriterOptions,
    empty: Arc<EmptyFiles>,
    gathered: Documents,
    segments: Arc<Monitor<Segments>>,
    threads: Vec<JoinHandle<()>>,
    /// Whether there are files that no commit speaks of.
    has_written: bool,
}

/// What has become of the documents that were handed over.
#[derive(Default)]
struct Segments {
    being_written: usize,
    /// By the order in which they were handed over.
    written: Vec<(usize, Result<Segment, TantivyError>)>,
}

impl TantivyWriter {
    pub(in crate::engine::tantivy) fn begin(
        index: Arc<JobIndex>,
        job: &JobContext,
        options: WriterOptions,
        batch: &Batch,
    ) -> Result<Self, EngineError> {
        index.check_schema(job)?;
        let (committer, empty) = (Some(index.committer(batch.replaced())?), index.empty_files()?);
        let (gathered, segments) = (Documents::new(job.layout()), Arc::new(Monitor::new(Segments::default())));
        Ok(Self {
            index,
            committer,
            job: job.clone(),
            options,
            empty,
            gathered,
            segments,
            threads: Vec::new(),
            has_written: false,
        })
    }

    /// Whether enough is gathered for a segment.
    fn is_full(&self) -> bool {
        !self.gathered.is_empty() && self.gathered.bytes() >= self.options.memory / (self.options.threads + 1)
    }

    /// Hands what is gathered over to a thread, as soon as one may be begun. `false` if a stop came before.
    fn hand_over(&mut self, stop: &StopSignal) -> Result<bool, EngineError> {
        let _woken = stop.wakes(&self.segments);
        let mut segments = self.segments.lock();
        while segments.being_written >= self.options.threads {
            if stop.is_stopped() {
                return Ok(false);
            }
            self.segments.wait(&mut segments);
        }
        if let Some(error) = segments.take_error() {
            return Err(self.index.failed(error));
        }
        segments.being_written += 1;
        drop(segments);
        self.has_written = true;
        let documents = std::mem::replace(&mut self.gathered, Documents::new(self.job.layout()));
        let (segments, segment, empty) =
            (Arc::clone(&self.segments), self.index.new_segment(&self.empty), Arc::clone(&self.empty));
        let number = self.threads.len();
        let spawned = thread::Builder::new().name(format!("rollup-writer-{number}")).spawn(move || {
            let written = catch_unwind(AssertUnwindSafe(|| documents.write(segment, &empty)));
            let panicked = |_| Err(TantivyError::ErrorInThread("a segment could not be written".to_owned()));
            segments.lock().end(number, written.unwrap_or_else(panicked));
            segments.notify_all();
        });
        match spawned {
            Ok(thread) => {
                self.threads.push(thread);
                Ok(true)
            }
            Err(error) => {
                self.segments.lock().being_written -= 1;
                Err(EngineError::unavailable(error))
            }
        }
    }

    /// Waits for all threads.
    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // What it has to say is among the segments; it does not panic.
            let _ = thread.join();
        }
    }
}

impl Segments {
    fn end(&mut self, number: usize, written: Result<Segment, TantivyError>) {
        self.being_written -= 1;
        self.written.push((number, written));
    }

    fn take_error(&mut self) -> Option<TantivyError> {
        let at = self.written.iter().position(|(_, written)| written.is_err())?;
        self.written.swap_remove(at).1.err()
    }
}

impl RollupWriter for TantivyWriter {
    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        // They come in the order of their dates.
        let is_too_early =
            |bucket: &Bucket<'_>| matches!(bucket.key.first(), Some(KeyPart::Date(start)) if *start < FIRST_DATE);
        let too_early = || documents.buckets().take_while(is_too_early);
        let left_out = too_early().count();
        let mut taken = left_out;
        while taken < documents.len() && !stop.is_stopped() {
            if self.is_full() && !self.hand_over(stop)? {
                break;
            }
            let end = (taken + BLOCK).min(documents.len());
            self.gathered.extend(documents.slice(taken..end));
            taken = end;
        }
        let stands_for = too_early().map(|bucket| bucket.doc_count).sum();
        Ok(WriteReport::accepted(taken).leaving_out(left_out as u64, stands_for, TOO_EARLY))
    }

    fn commit(mut self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        self.has_written |= !self.gathered.is_empty();
        let rest =
            (!self.gathered.is_empty()).then(|| self.gathered.write(self.index.new_segment(&self.empty), &self.empty));
        self.join();
        let mut written = std::mem::take(&mut self.segments.lock().written);
        written.sort_unstable_by_key(|(number, _)| *number);
        let segments = written.into_iter().map(|(_, written)| written).chain(rest).collect::<Result<Vec<_>, _>>();
        let segments = segments.map_err(|error| self.index.failed(error))?;
        let Some(committer) = self.committer.take() else { return Ok(CommitReport::default()) };
        let wants_merge = self.index.commit(committer, segments, &self.job, Some(progress));
        let wants_merge = wants_merge.map_err(|error| self.index.failed(error))?;
        self.has_written = false;
        Ok(CommitReport::new(wants_merge))
    }
}

impl Drop for TantivyWriter {
    /// A writer that is given up leaves no thread behind, and no segment.
    fn drop(&mut self) {
        self.join();
        if self.has_written {
            drop(self.committer.take());
            self.segments.lock().written.clear();
            self.index.collect_garbage();
        }
    }
}
