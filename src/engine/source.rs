//! The role of what is read: source indices.

use std::collections::BTreeSet;
use std::fmt;

use super::capabilities::FieldCapabilities;
use super::context::JobContext;
use super::error::{EngineError, EngineErrorKind};
use super::look::{Look, Noticed, SourceMark};
use crate::job::{IndexPattern, NoticeBy, SourceIndex};
use crate::rollup::Page;
use crate::scan::{ScanRequest, Snapshot};
use crate::stop_signal::StopSignal;

/// The source indices that a pattern means now: none if there is no index of a name in it.
pub(crate) fn indices_of(
    source: &dyn Source,
    job: &JobContext,
    pattern: &IndexPattern,
) -> Result<BTreeSet<String>, EngineError> {
    match source.field_capabilities(job, pattern, &[]) {
        Ok(found) => Ok(found.indices.into_iter().collect()),
        Err(error) if error.kind() == EngineErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// A search engine that holds source indices.
///
/// Every call may block and is made from an indexer thread or from the thread that called the manager, never under a
/// lock. Every call gets the [`JobContext`] it is made for.
pub trait Source: Send + Sync + fmt::Debug {
    /// The types of `fields` over all indices that `pattern` means, and which indices these are. An index that is known
    /// by several names (aliases) is listed under each. A field that no index has is left out.
    ///
    /// The layout of `job` is not settled yet: what this call answers settles it.
    ///
    /// # Errors
    /// [`EngineError::not_found`] for a plain name that does not exist; a wildcard may match nothing.
    fn field_capabilities(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError>;

    /// Opens a stream of pages over what the indices that `pattern` means hold at this moment: the groups that the
    /// request asks for. Whose identity it is made with is the [job's](JobContext::run_as).
    ///
    /// # Errors
    /// Any [`EngineError`]. [`EngineError::unsupported`] for a request that this engine cannot answer. Opening should
    /// be quick: the work belongs into [`PageStream::next_page`].
    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError>;

    /// What the indices that `pattern` means hold at this moment, for several [scans](Self::scan) that are
    /// [of it](ScanRequest::snapshot). Default: the engine keeps no moment, and each scan sees its own.
    ///
    /// # Errors
    /// Any [`EngineError`]; [`EngineError::cancelled`] if `stop` was raised before it was there.
    fn snapshot(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<Option<Snapshot>, EngineError> {
        let _ = (job, pattern, stop);
        Ok(None)
    }

    /// Looks for what has changed in the indices that `pattern` means since each was looked at last. Those are told of
    /// whose mark is another one now; nothing is forgotten if the answer is lost, since the next look gets the former
    /// mark. Default: the engine notices nothing.
    ///
    /// It is called before each run and each search, so that it should take next to no time where nothing has changed.
    ///
    /// # Errors
    /// Any [`EngineError`]; [`EngineError::cancelled`] if `stop` was raised before it was done.
    fn look(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        look: &Look<'_>,
        stop: &StopSignal,
    ) -> Result<Vec<Noticed>, EngineError> {
        let _ = (job, pattern, look, stop);
        Ok(Vec::new())
    }

    /// Whether it can [look](Self::look) by what a job [says](crate::LateData::notice_by). A job that says it is
    /// refused where it cannot. Default: it cannot.
    fn notices_by(&self, by: &NoticeBy) -> bool {
        let _ = by;
        false
    }

    /// Reads a mark that was stored. `None`: it is not one of this engine's, and counts as lost. Default: it knows
    /// none.
    fn read_mark(&self, bytes: &[u8]) -> Option<SourceMark> {
        let _ = bytes;
        None
    }
}

/// The buckets of one scan in ascending key order. It belongs to a run, is parked between its turns, and sees one
/// consistent snapshot of the source.
pub trait PageStream: Send {
    /// The next buckets, at most as many as the request says; an empty page means the end.
    ///
    /// # Errors
    /// [`EngineError::cancelled`] if `stop` was raised before the page was ready. After any error the stream is
    /// dropped, and a run that goes on opens a new one.
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError>;

    /// Lends the stream threads for its next page: the caller's own, and as many as are idle in the manager's pool. A
    /// stream that uses more than one begins them itself, and ends them before the page is there, but for what it does
    /// [ahead](Self::fetch_ahead). Default: they are not used.
    fn lend_threads(&mut self, threads: usize) {
        let _ = threads;
    }

    /// The run will soon ask for one more page, after it has written the one that it has: a stream that waits for
    /// somebody else's work may have it begun now, or begin its own on a thread that it was lent. What goes on ahead
    /// ends when the stream is [parked](Self::park), as it is when a stop comes, and when it is dropped. Default:
    /// nothing.
    fn fetch_ahead(&mut self) {}

    /// The run has to wait, for other runs or for a pause: the stream gives up what it has fetched ahead. Default:
    /// nothing.
    fn park(&mut self) {}

    /// Whether the stream still has what it reads from. One that was parked and has not is dropped, and the run opens
    /// another.
    fn is_whole(&self) -> bool {
        true
    }

    /// Whether all pages are of one and the same moment. Where they are not, a date bucket that goes on in another page
    /// is noted as one that may have changed meanwhile. Default: yes.
    fn is_one_snapshot(&self) -> bool {
        true
    }

    /// The indices that the job's pattern means, by their own names, those among them that are left out (and told of
    /// in a notice) as well. A run that finds fewer than the one before says so, and a job whose pattern means none
    /// any more is yellow. It is asked once the first page is there. Default: the engine does not say.
    fn source_indices(&self) -> Option<Vec<SourceIndex>> {
        None
    }

    /// The grouped fields, the date too, of which some document that it has read so far had several values: such a
    /// document counts in several groups. `None`: it cannot say. Default: it cannot.
    fn several_values(&self) -> Option<BTreeSet<String>> {
        None
    }

    /// How many source documents were left out, as far as the stream has seen: they had no date, or one whose bucket
    /// cannot be kept.
    fn documents_skipped(&self) -> u64 {
        0
    }

    /// The most buckets that its pages have at present, if that is fewer than configured: more were too much at once.
    /// For the job's status.
    fn reduced_page_size(&self) -> Option<usize> {
        None
    }

    /// Something out of the ordinary that is no error, once: such as a part of the source that is left out. For the
    /// job's status.
    fn take_notice(&mut self) -> Option<String> {
        None
    }
}

/// For people: documents that a scan has left out.
pub(crate) fn left_out(documents: u64, because: &str) -> String {
    if documents == 1 {
        format!("one document is left out: its date bucket begins {because}")
    } else {
        format!("{documents} documents are left out: their date buckets begin {because}")
    }
}
