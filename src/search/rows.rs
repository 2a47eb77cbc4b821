//! The rows that a search reads, raw and rolled up, as one stream of groups.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::error::SearchFault;
use super::moments::Moment;
use super::request::SearchRequestError;
use super::spans::Spans;
use super::unmoved::Unmoved;
use crate::engine::{self, EngineError, JobContext, PageStream, RollupIndex, Source, StopSignal};
use crate::job::{IndexPattern, KeyPart};
use crate::measure::MetricValues;
use crate::rollup::{Bucket, Grouping, Page};
use crate::scan::{ScanRequest, Snapshot};
use crate::sync::Arc;

/// Groups of a page that is read.
const PAGE_SIZE: usize = 8_192;

/// Where a search reads: each instant in one of the two.
pub(super) struct Rows<'a> {
    pub(super) raw: Option<RawRows<'a>>,
    pub(super) rolled_up: Option<RolledUpRows<'a>>,
    pub(super) threads: usize,
    pub(super) now: i64,
    pub(super) stop: StopSignal,
}

pub(super) struct RawRows<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) context: JobContext,
    pub(super) pattern: IndexPattern,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) times: Spans,
}

pub(super) struct RolledUpRows<'a> {
    pub(super) index: &'a dyn RollupIndex,
    pub(super) context: JobContext,
    pub(super) snapshot: Option<Snapshot>,
    /// Date buckets, by where they begin.
    pub(super) buckets: Spans,
    /// What has to hold still, if documents and buckets are not of one commit.
    pub(super) unmoved: Option<Unmoved<'a>>,
}

impl Rows<'_> {
    /// The source indices, if raw documents are read.
    pub(super) fn source(&self) -> Option<(JobContext, IndexPattern)> {
        self.raw.as_ref().map(|raw| (raw.context.clone(), raw.pattern.clone()))
    }

    /// Whether all that was read rolled up until now is of one moment.
    pub(super) fn check_unmoved(&self) -> Result<(), SearchFault> {
        let unmoved = self.rolled_up.as_ref().and_then(|rows| rows.unmoved.as_ref());
        unmoved.map_or(Ok(()), Unmoved::check)
    }

    /// The groups of what these moments mean, in key order.
    pub(super) fn groups(&self, grouping: &Arc<Grouping>, moments: &[Moment]) -> Result<Groups, SearchFault> {
        let (mut streams, mut raw_streams) = (Vec::new(), 0);
        for Moment { filter, times } in moments {
            let request = || {
                let request = ScanRequest::new(Arc::clone(grouping)).filter(filter.clone(), self.now);
                request.page_size(PAGE_SIZE)
            };
            if let Some(rows) = &self.rolled_up {
                let buckets = times.and(&rows.buckets);
                if !buckets.is_empty() {
                    // A rolled-up document is at the beginning of its bucket.
                    let request = request().times(buckets.as_times()).snapshot(rows.snapshot.clone());
                    let open = || rows.index.scan_rolled_up(&rows.context, request, &self.stop);
                    streams.push(self.stream(open)?);
                }
            }
            if let Some(rows) = &self.raw {
                let instants = times.and(&rows.times);
                if !instants.is_empty() {
                    let request = request().times(instants.as_times()).snapshot(rows.snapshot.clone());
                    let open = || rows.source.scan(&rows.context, &rows.pattern, request, &self.stop);
                    streams.push(self.stream(open)?);
                    raw_streams += 1;
                }
            }
        }
        let metrics = vec![MetricValues::default(); grouping.measured().len()];
        let date_field = grouping.date_field().to_owned();
        let is_cut = (raw_streams > 1).then_some(date_field);
        Ok(Groups { streams, metrics, stop: self.stop.clone(), several_values: Some(BTreeSet::new()), is_cut })
    }

    fn stream(&self, open: impl FnOnce() -> Result<Box<dyn PageStream>, EngineError>) -> Result<Stream, SearchFault> {
        let pages = engine::call(open)?;
        let mut stream = Stream { pages: Some(pages), threads: self.threads, page: Page::default(), at: 0 };
        stream.settle(&self.stop, &mut None)?;
        Ok(stream)
    }
}

/// Groups in key order, each once.
pub(super) struct Groups {
    streams: Vec<Stream>,
    /// Of the group that is put together.
    metrics: Vec<MetricValues>,
    stop: StopSignal,
    /// The grouped fields of which raw documents have several values; `None` if nobody knows.
    several_values: Option<BTreeSet<String>>,
    /// The date field, if raw documents are read by several filters at several times: one with several dates would
    /// count several times.
    is_cut: Option<String>,
}

struct Stream {
    /// Until its end.
    pages: Option<Box<dyn PageStream>>,
    threads: usize,
    page: Page,
    at: usize,
}

impl Stream {
    /// Goes on to a page with a group in it, unless there is none any more.
    fn settle(&mut self, stop: &StopSignal, several: &mut Option<BTreeSet<String>>) -> Result<(), SearchFault> {
        while self.at >= self.page.len()
            && let Some(pages) = &mut self.pages
        {
            let threads = self.threads;
            let page = engine::call(|| {
                pages.lend_threads(threads);
                pages.next_page(stop)
            })?;
            if page.is_empty() {
                let seen = pages.several_values();
                *several = several.take().zip(seen).map(|(known, seen)| known.into_iter().chain(seen).collect());
                self.pages = None;
            }
            (self.page, self.at) = (page, 0);
        }
        Ok(())
    }

    fn group(&self) -> Option<Bucket<'_>> {
        self.page.get(self.at)
    }
}

/// What takes groups: the key, the number of documents, the values of each measured field.
pub(super) type Visit<'a> = dyn FnMut(&[KeyPart], u64, &[MetricValues]) -> Result<(), SearchFault> + 'a;

/// Raw documents are read by several filters at several times, and some may have several dates.
fn cut(dates: &str) -> SearchRequestError {
    let problem = format!(
        "means different documents at different times, and {dates}: of these nobody could say how often they count. \
         Ask for one stretch of time"
    );
    SearchRequestError::new("query", problem)
}

impl Groups {
    /// Whether it is certain before the end that no document counts twice.
    pub(super) fn check_uncut(&self) -> Result<(), SearchRequestError> {
        let may_have = |field: &String| Err(cut(&format!("some may have several dates in [{field}]")));
        self.is_cut.as_ref().map_or(Ok(()), may_have)
    }

    /// Hands out each group. Says of which grouped fields some document had several values, if that is known.
    pub(super) fn for_each(mut self, visit: &mut Visit<'_>) -> Result<Option<BTreeSet<String>>, SearchFault> {
        self.next(usize::MAX, visit)?;
        let has_several = |field: &&String| self.several_values.as_ref().is_some_and(|known| known.contains(*field));
        match self.is_cut.as_ref().filter(has_several) {
            Some(field) => Err(cut(&format!("some have several dates in [{field}]")).into()),
            None => Ok(self.several_values),
        }
    }

    /// Hands out the next groups, so many unless there are fewer, and says how many.
    pub(super) fn next(&mut self, most: usize, visit: &mut Visit<'_>) -> Result<usize, SearchFault> {
        let (mut least, mut given): (Vec<usize>, _) = (Vec::new(), 0);
        while given < most && !self.streams.is_empty() {
            if let [only] = self.streams.as_mut_slice() {
                let end = only.page.len().min(only.at.saturating_add(most - given));
                for bucket in only.page.range(only.at..end) {
                    visit(bucket.key, bucket.doc_count, bucket.metrics)?;
                }
                given += end - only.at;
                only.at = end;
            } else {
                self.merge_next(&mut least, visit)?;
                given += 1;
            }
            for stream in &mut self.streams {
                stream.settle(&self.stop, &mut self.several_values)?;
            }
            self.streams.retain(|stream| stream.group().is_some());
        }
        Ok(given)
    }

    /// Hands out the group with the least key, of whichever streams have it.
    fn merge_next(&mut self, least: &mut Vec<usize>, visit: &mut Visit<'_>) -> Result<(), SearchFault> {
        least.clear();
        for (at, stream) in self.streams.iter().enumerate() {
            let Some(group) = stream.group() else { continue };
            let known = least.first().and_then(|first| self.streams[*first].group());
            match known.map_or(Ordering::Less, |known| group.key.cmp(known.key)) {
                Ordering::Less => {
                    least.clear();
                    least.push(at);
                }
                Ordering::Equal => least.push(at),
                Ordering::Greater => {}
            }
        }
        let groups = || least.iter().filter_map(|at| self.streams[*at].group());
        match least.as_slice() {
            [] => {}
            [_] => groups().try_for_each(|group| visit(group.key, group.doc_count, group.metrics))?,
            [first, ..] => {
                let doc_count = groups().map(|group| group.doc_count).sum();
                self.metrics.fill(MetricValues::default());
                for group in least.iter().filter_map(|at| self.streams[*at].group()) {
                    MetricValues::merge_each(&mut self.metrics, group.metrics);
                }
                if let Some(group) = self.streams[*first].group() {
                    visit(group.key, doc_count, &self.metrics)?;
                }
            }
        }
        for at in least.iter() {
            self.streams[*at].at += 1;
        }
        Ok(())
    }
}
