//! The role of what is written: rollup indices.

use std::fmt;

use super::context::JobContext;
use super::error::{EngineError, EngineErrorKind};
use super::source::PageStream;
use crate::job::Progress;
use crate::rollup::RolledUpDocuments;
use crate::scan::{ScanRequest, Snapshot, Times};
use crate::stop_signal::StopSignal;

/// A search engine that keeps rolled-up documents in rollup indices.
///
/// Every call may block and is made from an indexer thread or from the thread that called the manager, never under a
/// lock. Every call gets the [`JobContext`] it is made for.
pub trait RollupIndex: Send + Sync + fmt::Debug {
    /// Creates or checks the rollup index of `job` and records the job's definition in it. Idempotent: the same job may
    /// be prepared again as long as there is no data. Whether it is the same does not depend on its settings (when it
    /// runs, how large its pages are, how long it waits): [`JobContext::is_same_job`] says it.
    ///
    /// # Errors
    /// [`EngineError::already_exists`] if the index knows the job with another definition or with data;
    /// [`EngineError::rejected`] if the index cannot be a rollup index.
    fn prepare(&self, job: &JobContext) -> Result<(), EngineError>;

    /// Records the job's definition again: its settings have changed, and nothing that documents depend on. Documents
    /// and progress stay as they are. Default: nothing to do.
    ///
    /// It is called at the beginning of a run, when nothing else writes to the rollup index; again, until it succeeds.
    ///
    /// # Errors
    /// Any [`EngineError`]; it is reported and does not end the run.
    fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        let _ = job;
        Ok(())
    }

    /// Begins a batch of rolled-up documents.
    ///
    /// # Errors
    /// Any [`EngineError`]; [`EngineError::unsupported`] if documents cannot be replaced here. If the rollup index is
    /// gone ([`EngineError::not_found`]), it is prepared again and the job rolled up from the start.
    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError>;

    /// Opens a stream of pages over what the job has rolled up, as of one commit: the groups that the request asks for,
    /// each rolled-up document standing for the rows that it was made of
    /// ([`RolledUpFields`](crate::scan::RolledUpFields) says how). It finds no rows without a date, and has no source
    /// indices.
    ///
    /// # Errors
    /// Any [`EngineError`]. [`EngineError::rejected`] if the job's documents do not have what is asked for;
    /// [`EngineError::not_found`] if the rollup index is gone.
    fn scan_rolled_up(
        &self,
        job: &JobContext,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError>;

    /// What the job has rolled up by one commit, and how far it had come by it, for several
    /// [scans](Self::scan_rolled_up) that are [of it](ScanRequest::snapshot). Default: the engine keeps no moment, and
    /// each scan sees its own.
    ///
    /// # Errors
    /// Any [`EngineError`]; [`EngineError::not_found`] if the rollup index is gone, [`EngineError::cancelled`] if
    /// `stop` was raised before it was there.
    fn snapshot_rolled_up(&self, job: &JobContext, stop: &StopSignal) -> Result<Option<RolledUpSnapshot>, EngineError> {
        let _ = (job, stop);
        Ok(None)
    }

    /// How far the job has come, as far as the engine knows.
    ///
    /// # Errors
    /// Any [`EngineError`].
    fn committed_progress(&self, job: &JobContext) -> Result<CommittedProgress, EngineError>;

    /// Tidies the job's part of the rollup index up, in a turn of its own, after a commit that asked for it. It changes
    /// nothing that a scan finds, and ends early when `stop` is raised: nobody waits for the rest. Default: nothing to
    /// do.
    ///
    /// # Errors
    /// Any [`EngineError`]; it is reported and does not end the run.
    fn merge(&self, job: &JobContext, stop: &StopSignal) -> Result<(), EngineError> {
        let _ = (job, stop);
        Ok(())
    }

    /// Like [`prepare`](Self::prepare), for a job that goes on where another system has left it: at `progress`, which
    /// has a position. Where the engine keeps progress it keeps this from now on. Idempotent too.
    ///
    /// Default: it prepares, and commits no document with the progress. An engine that the other system may share
    /// overrides it: the documents up to the position are there already.
    ///
    /// # Errors
    /// Any [`EngineError`], as there.
    fn adopt(&self, job: &JobContext, progress: &Progress) -> Result<(), EngineError> {
        match self.prepare(job) {
            Err(error) if error.kind() == EngineErrorKind::AlreadyExists => {
                let kept = self.committed_progress(job)?;
                let is_adopted =
                    matches!(&kept, CommittedProgress::Kept(Some(kept)) if kept.position == progress.position);
                return if is_adopted { Ok(()) } else { Err(error) };
            }
            other => other?,
        }
        self.begin(job, &Batch::Append)?.commit(progress).map(drop)
    }

    /// The rollup indices that have documents, or the definition, of a job of this id, whether or not there is such a
    /// job: what a deleted one has left. Default: the engine cannot tell, and answers with none.
    ///
    /// # Errors
    /// Any [`EngineError`].
    fn rollup_indices_of(&self, job_id: &str) -> Result<Vec<String>, EngineError> {
        let _ = job_id;
        Ok(Vec::new())
    }

    /// Removes the job's rolled-up documents and its definition from the rollup index. Nothing there is no error.
    ///
    /// It may be called for what a deleted job has left: of its configuration id and rollup index are its own then,
    /// and nothing else.
    ///
    /// # Errors
    /// Any [`EngineError`]. Some documents may be gone then; the call can be repeated.
    fn remove(&self, job: &JobContext) -> Result<(), EngineError>;
}

/// What a job has rolled up by one commit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RolledUpSnapshot {
    /// The documents.
    pub documents: Snapshot,
    /// How far the job had come.
    pub progress: CommittedProgress,
}

impl RolledUpSnapshot {
    /// These documents, and the progress that was committed with them.
    #[must_use]
    pub fn new(documents: Snapshot, progress: CommittedProgress) -> Self {
        Self { documents, progress }
    }
}

/// What a job has rolled up, and how far it had come, as far as the two can be told of one moment.
pub(crate) struct RolledUpNow {
    pub(crate) documents: Option<Snapshot>,
    pub(crate) progress: Progress,
    /// Whether they are of one commit.
    pub(crate) is_one_commit: bool,
    /// Whether the rollup index was restored from a copy: what has changed since that was made is not known.
    pub(crate) is_restored: bool,
}

impl RolledUpNow {
    /// Of a snapshot, if the engine has one, and of what is known of the job elsewhere.
    pub(crate) fn of(
        index: &dyn RollupIndex,
        job: &JobContext,
        held: Option<RolledUpSnapshot>,
        known: Progress,
    ) -> Result<Self, EngineError> {
        let (documents, committed) = match held {
            Some(held) => (Some(held.documents), held.progress),
            None => (None, index.committed_progress(job)?),
        };
        let is_one_commit = documents.is_some() && committed != CommittedProgress::NotKept;
        let is_restored =
            matches!(&committed, CommittedProgress::Kept(Some(committed)) if known.is_behind_itself(committed));
        let progress = match committed {
            CommittedProgress::Kept(committed) => known.or_committed(committed),
            CommittedProgress::NotKept => known,
        };
        Ok(Self { documents, progress, is_one_commit, is_restored })
    }
}

/// What becomes of the documents that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// They stay: those of the batch are others.
    Append,
    /// Of the date buckets that begin in these times, the documents of the batch are all that there are once it is
    /// committed; it has no others. Until then those that were there stay, where documents and progress are committed
    /// in one step. An engine that keeps no progress may have both for a while, and if it ends halfway until the same
    /// is replaced again.
    Replace(Times),
}

impl Batch {
    /// The date buckets whose documents go.
    #[must_use]
    pub fn replaced(&self) -> Option<&Times> {
        match self {
            Self::Append => None,
            Self::Replace(buckets) => Some(buckets),
        }
    }
}

/// Takes the rolled-up documents of one turn.
///
/// One that is dropped without [`commit`](Self::commit) discards what it was given, if the engine can; what it cannot
/// discard is overwritten by id when the turn is redone.
pub trait RollupWriter: Send {
    /// Takes documents in the given order. An engine that commits documents and progress in one step adds them; any
    /// other replaces those with the same id.
    ///
    /// An engine that adds must stop at the first item it rejects: what it accepted behind one would be there twice
    /// after the redo.
    ///
    /// # Errors
    /// Any [`EngineError`] if the call as a whole failed: none of its documents counts as written.
    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError>;

    /// What was written so far may be committed with this progress, should a stop leave no time for the rest: see
    /// [`settle`](Self::settle). It is called at the beginning, and after each call of [`write`](Self::write) that has
    /// taken everything. Says how many documents to write at most until the next mark. Default: whole pages.
    fn mark(&mut self, progress: &Progress) -> usize {
        let _ = progress;
        usize::MAX
    }

    /// Does what takes long of a commit: writes down what is still in memory, and awaits what is still being written.
    /// If `stop` is raised, before or meanwhile, it may give up what would keep somebody waiting who waits for the
    /// stop: everything behind one of the [marks](Self::mark). A later run does that again. What is left is committed
    /// then, if anything is. Default: nothing to do.
    ///
    /// # Errors
    /// Any [`EngineError`]; the writer is dropped without a commit then.
    fn settle(&mut self, stop: &StopSignal) -> Result<Option<GivenUp>, EngineError> {
        let _ = stop;
        Ok(None)
    }

    /// Makes everything that was written and not given up durable, with `progress` in the same step if the engine keeps
    /// progress. It is always awaited.
    ///
    /// # Errors
    /// Any [`EngineError`]; whether the commit took place is unknown then, and the next try asks for the progress.
    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError>;
}

/// What became of the documents of one [`RollupWriter::write`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct WriteReport {
    /// How many documents, from the first on, were dealt with: all of them, or fewer if the call ended early because of
    /// a stop.
    pub taken: usize,
    /// Those among them that were rejected.
    pub rejected: Vec<RejectedItem>,
    /// Those among them that count as accepted, and are not kept.
    pub left_out: Option<LeftOut>,
}

/// Rolled-up documents that the rollup index has no place for, whatever is done: so that the job does not stop there
/// for good they are left out, and the job's status says so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// How many they are.
    pub rolled_up: u64,
    /// How many source documents they stand for.
    pub documents: u64,
    /// Why, for people: where their date buckets begin, such as `before the first date that the index has`.
    pub reason: String,
}

impl WriteReport {
    /// The first `count` documents were accepted.
    #[must_use]
    pub fn accepted(count: usize) -> Self {
        Self { taken: count, ..Self::default() }
    }

    /// The first `taken` documents were dealt with, and `rejected` are those that were not accepted.
    #[must_use]
    pub fn with_rejected(taken: usize, rejected: Vec<RejectedItem>) -> Self {
        Self { taken, rejected, left_out: None }
    }

    /// Of those that were taken these are not kept: so many rolled-up documents, which stand for so many source
    /// documents.
    #[must_use]
    pub fn leaving_out(mut self, rolled_up: u64, documents: u64, reason: impl Into<String>) -> Self {
        self.left_out = (rolled_up > 0).then(|| LeftOut { rolled_up, documents, reason: reason.into() });
        self
    }
}

/// A document that the engine did not accept.
#[derive(Debug)]
#[non_exhaustive]
pub struct RejectedItem {
    /// Its place among the documents that were written.
    pub index: usize,
    /// Why. A transient one is tried again, any other ends the run.
    pub error: EngineError,
}

impl RejectedItem {
    /// The document at this place among those that were written.
    #[must_use]
    pub fn new(index: usize, error: EngineError) -> Self {
        Self { index, error }
    }
}

/// What a writer has given up because of a stop, which a later run does again.
#[must_use]
pub struct GivenUp {
    pub(crate) back_to: Option<Progress>,
    pub(crate) rest: Box<dyn Send>,
}

impl GivenUp {
    /// Everything behind what was marked with this progress; `None` if all is given up that the writer was given.
    pub fn back_to(progress: Option<Progress>) -> Self {
        Self { back_to: progress, rest: Box::new(()) }
    }

    /// The progress of what is left; `None` if that is nothing.
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        self.back_to.as_ref()
    }

    /// Has this dropped when nobody waits any more: freeing much memory takes milliseconds.
    pub fn dropping(self, rest: impl Send + 'static) -> Self {
        Self { rest: Box::new(rest), ..self }
    }
}

impl fmt::Debug for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenUp").field("back_to", &self.back_to).finish_non_exhaustive()
    }
}

/// What a commit has to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitReport {
    /// Whether [`RollupIndex::merge`] should be given a turn.
    pub wants_merge: bool,
}

impl CommitReport {
    /// Durable, and `wants_merge` as said.
    #[must_use]
    pub fn new(wants_merge: bool) -> Self {
        Self { wants_merge }
    }
}

/// An engine's answer to [`RollupIndex::committed_progress`].
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Debug, Clone, PartialEq)]
pub enum CommittedProgress {
    /// This engine keeps none: the job store's counts.
    NotKept,
    /// This is what was committed with the documents, and it always wins over the job store's. `None` means that there
    /// are no documents: the job was never run, or its rollup index was deleted, and it is rolled up from the start.
    Kept(Option<Progress>),
}
