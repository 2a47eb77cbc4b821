//! A turn's writer: it gathers documents, and threads of its own write them into segments meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use ::tantivy::{Segment, TantivyError};

use super::JobIndex;
use super::commit::Committer;
use super::directory::GiveUp;
use super::segment::{Documents, EmptyFiles};
use crate::engine::{Batch, CommitReport, EngineError, GivenUp, JobContext, RollupWriter, StopSignal, WriteReport};
use crate::job::{KeyPart, Progress};
use crate::rollup::{Bucket, RolledUpDocuments};
use crate::sync::{Arc, Monitor};

/// The first millisecond that a date has in tantivy, where it is a number of nanoseconds.
const FIRST_DATE: i64 = -(i64::MAX / 1_000_000);
/// The same for people.
const TOO_EARLY: &str = "before the first date that tantivy has, 1677-09-21T00:12:43Z";

/// How many documents are taken between two looks at the stop signal.
const BLOCK: usize = 1_024;
/// Which part of its memory a writer writes down although somebody waits for a stop: with the memory that it has by
/// default about two thousand documents, in a few milliseconds.
const AT_A_STOP: usize = 256;

/// Which part of its memory a writer gathers for its first segment.
const AT_FIRST: usize = 16;

/// What a writer may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine::tantivy) struct WriterOptions {
    /// How many threads write segments.
    pub(in crate::engine::tantivy) threads: usize,
    /// How much memory documents may take that are gathered or being written.
    pub(in crate::engine::tantivy) memory: usize,
}

/// Documents and progress are committed in one step, so nothing is ever there twice.
///
/// What was gathered becomes a segment as soon as it is a good part of the writer's memory, or when everything is to be
/// committed. A stop makes it give up what is not a segment yet, but for a little.
pub(in crate::engine::tantivy) struct TantivyWriter {
    index: Arc<JobIndex>,
    /// None once it has committed.
    committer: Option<Committer>,
    job: JobContext,
    options: WriterOptions,
    empty: Arc<EmptyFiles>,
    gathered: Gathered,
    /// The segment that these will be, begun while nobody waits.
    begun: Option<Segment>,
    handed_over: Vec<HandedOver>,
    bytes_handed_over: usize,
    segments: Arc<Monitor<Segments>>,
    /// What was written before a stop made it give up the rest.
    kept: Vec<Segment>,
    /// The writing of segments.
    work: GiveUp,
    /// Whether there are files that no commit speaks of.
    has_written: bool,
}

/// Documents that are not a segment yet.
struct Gathered {
    documents: Documents,
    /// How many of them are what was marked while they were still few, and that mark.
    early: Option<(usize, Progress)>,
    /// What was marked at their end.
    end: Option<Progress>,
}

/// The segment that a thread writes documents into.
struct HandedOver {
    segment: Segment,
    thread: JoinHandle<()>,
}

/// What has become of the documents that were handed over.
#[derive(Default)]
struct Segments {
    being_written: usize,
    written: Vec<Written>,
    /// What was emptied: room for the next documents.
    spare: Vec<Documents>,
}

struct Written {
    /// By the order in which they were handed over.
    number: usize,
    segment: Result<Segment, TantivyError>,
    /// Without documents once they are a segment.
    gathered: Gathered,
}

impl Gathered {
    fn unmarked(documents: Documents) -> Self {
        Self { documents, early: None, end: None }
    }
}

impl TantivyWriter {
    pub(in crate::engine::tantivy) fn begin(
        index: Arc<JobIndex>,
        job: &JobContext,
        options: WriterOptions,
        batch: &Batch,
    ) -> Result<Self, EngineError> {
        index.check_schema(job)?;
        let failed = |error| index.failed(error);
        let committer = Some(index.committer(batch.replaced()).map_err(failed)?);
        let empty = index.empty_files().map_err(failed)?;
        Ok(Self {
            index,
            committer,
            job: job.clone(),
            options,
            empty,
            gathered: Gathered::unmarked(Documents::new(job.layout())),
            begun: None,
            handed_over: Vec::new(),
            bytes_handed_over: 0,
            segments: Arc::new(Monitor::new(Segments::default())),
            kept: Vec::new(),
            work: GiveUp::default(),
            has_written: false,
        })
    }

    /// Whether enough is gathered for a segment. As long as threads have nothing to do that is less, so that they begin
    /// early, though not so little that there would be many segments.
    fn is_full(&self) -> bool {
        let largest = self.options.memory / (self.options.threads + 1);
        let is_idle = self.segments.lock().being_written < self.options.threads;
        let enough = if is_idle {
            (self.bytes_handed_over / 2).clamp((self.options.memory / AT_FIRST).min(largest), largest)
        } else {
            largest
        };
        !self.gathered.documents.is_empty() && self.gathered.documents.bytes() >= enough
    }

    /// Whether so little is gathered that it is written down in any case.
    fn is_little(&self) -> bool {
        self.gathered.documents.bytes() <= self.options.memory / AT_A_STOP
    }

    /// The segment that what is gathered is to become.
    fn segment(&mut self) -> Result<Segment, EngineError> {
        if let Some(begun) = self.begun.take() {
            return Ok(begun);
        }
        self.has_written = true;
        self.index.begin_segment(&self.empty).map_err(|error| self.index.failed(error))
    }

    /// Waits until no more than so many segments are being written. `false` if a stop came before.
    fn wait(&self, most: usize, stop: &StopSignal) -> Result<bool, EngineError> {
        let _woken = stop.wakes(&self.segments);
        let mut segments = self.segments.lock();
        while segments.being_written > most {
            if stop.is_stopped() {
                return Ok(false);
            }
            self.segments.wait(&mut segments);
        }
        segments.take_error().map_or(Ok(true), |error| Err(self.index.failed(error)))
    }

    /// Hands what is gathered over to a thread.
    fn hand_over(&mut self) -> Result<(), EngineError> {
        let segment = self.segment()?;
        self.bytes_handed_over += self.gathered.documents.bytes();
        let room = {
            let mut segments = self.segments.lock();
            segments.being_written += 1;
            segments.spare.pop()
        };
        let next = Gathered::unmarked(room.unwrap_or_else(|| Documents::new(self.job.layout())));
        let gathered = std::mem::replace(&mut self.gathered, next);
        let number = self.handed_over.len();
        let (segments, work, into) = (Arc::clone(&self.segments), self.work.clone(), segment.clone());
        let spawned = thread::Builder::new().name(format!("rollup-writer-{number}")).spawn(move || {
            let write = || gathered.documents.write(into, &work);
            let panicked = |_| Err(TantivyError::ErrorInThread("a segment could not be written".to_owned()));
            let segment = catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(panicked);
            segments.lock().end(Written { number, segment, gathered });
            segments.notify_all();
        });
        match spawned {
            Ok(thread) => {
                self.handed_over.push(HandedOver { segment, thread });
                Ok(())
            }
            Err(error) => {
                self.segments.lock().being_written -= 1;
                Err(EngineError::unavailable(error))
            }
        }
    }

    /// Waits for all threads, and gets what they have written, in the order in which it was handed over.
    fn join(&mut self) -> Vec<Written> {
        for HandedOver { thread, .. } in self.handed_over.drain(..) {
            // What it has to say is among the segments; it does not panic.
            let _ = thread.join();
        }
        let mut written = std::mem::take(&mut self.segments.lock().written);
        written.sort_unstable_by_key(|written| written.number);
        written
    }

    /// Gives up what is not a segment yet, but for a little of it: a job comes on however often it is stopped.
    fn give_up(&mut self) -> Option<GivenUp> {
        self.work.give_up();
        let mut unused: Vec<_> = self.handed_over.iter().map(|HandedOver { segment, .. }| segment.clone()).collect();
        let (segments, handed_over): (Vec<_>, Vec<_>) =
            self.join().into_iter().map(|Written { segment, gathered, .. }| (segment, gathered)).unzip();
        self.kept = segments.into_iter().map_while(Result::ok).collect();
        if self.kept.len() == handed_over.len() && self.is_little() {
            return None;
        }
        let first_left = handed_over.get(self.kept.len()).unwrap_or(&self.gathered);
        let (few, back_to) = match &first_left.early {
            Some((documents, progress)) => (first_left.documents.first(*documents), Some(progress.clone())),
            None => {
                let marked = handed_over[..self.kept.len()].iter().rposition(|gathered| gathered.end.is_some());
                self.kept.truncate(marked.map_or(0, |last| last + 1));
                (Documents::new(self.job.layout()), marked.and_then(|last| handed_over[last].end.clone()))
            }
        };
        unused.drain(..self.kept.len());
        unused.extend(if few.is_empty() { self.begun.take() } else { None });
        self.has_written = self.begun.is_some() || !self.kept.is_empty();
        let rest = std::mem::replace(&mut self.gathered, Gathered::unmarked(few));
        let unused = Unused { empty: Arc::clone(&self.empty), segments: unused };
        Some(GivenUp::back_to(back_to).dropping((handed_over, rest, unused)))
    }
}

/// Segments that no commit will speak of: their files go with this. To remove large ones takes milliseconds.
struct Unused {
    empty: Arc<EmptyFiles>,
    segments: Vec<Segment>,
}

impl Drop for Unused {
    fn drop(&mut self) {
        self.segments.iter().for_each(|segment| self.empty.remove_with(segment));
    }
}

impl Segments {
    fn end(&mut self, mut written: Written) {
        self.being_written -= 1;
        if written.segment.is_ok() {
            self.spare.push(written.gathered.documents.take_empty());
        }
        self.written.push(written);
    }

    fn take_error(&mut self) -> Option<TantivyError> {
        let at = self.written.iter().position(|written| written.segment.is_err())?;
        self.written.swap_remove(at).segment.err()
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
            if self.is_full() {
                if !self.wait(self.options.threads - 1, stop)? {
                    break;
                }
                self.hand_over()?;
            }
            self.begun = Some(self.segment()?);
            let end = (taken + BLOCK).min(documents.len());
            self.gathered.documents.extend(documents.slice(taken..end));
            self.gathered.end = None;
            taken = end;
        }
        let stands_for = too_early().map(|bucket| bucket.doc_count).sum();
        Ok(WriteReport::accepted(taken).leaving_out(left_out as u64, stands_for, TOO_EARLY))
    }

    fn mark(&mut self, progress: &Progress) -> usize {
        if !self.gathered.documents.is_empty() {
            if self.is_little() {
                self.gathered.early = Some((self.gathered.documents.len(), progress.clone()));
            }
            // It may be handed over next.
            self.gathered.end = Some(progress.clone());
        }
        BLOCK
    }

    fn settle(&mut self, stop: &StopSignal) -> Result<Option<GivenUp>, EngineError> {
        if stop.is_stopped() {
            return Ok(self.give_up());
        }
        if !self.is_little() {
            self.hand_over()?;
        }
        Ok(if self.wait(0, stop)? { None } else { self.give_up() })
    }

    fn commit(mut self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        let mut rest = None;
        if !self.gathered.documents.is_empty() {
            let segment = self.segment()?;
            rest = Some(self.gathered.documents.write(segment, &GiveUp::default()));
        }
        let written = self.join().into_iter().map(|written| written.segment);
        let written = std::mem::take(&mut self.kept).into_iter().map(Ok).chain(written).chain(rest);
        let segments = written.collect::<Result<Vec<_>, _>>().map_err(|error| self.index.failed(error))?;
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
        self.work.give_up();
        self.join().clear();
        if self.has_written {
            // It has the lock.
            drop(self.committer.take());
            // What is left is removed with the next merge.
            let _ = self.index.lock().and_then(|alone| self.index.collect_garbage(&alone));
        }
    }
}
