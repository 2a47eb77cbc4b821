//! Page after page: search, convert, write.

use std::ops::Range;

use super::{Pages, Turn, TurnError};
use crate::engine::{Batch, EngineError, left_out};
use crate::job::{KeyPart, Phase, Position};
use crate::rollup::{BLOCK, Page, RolledUpDocuments, RolledUpPage, roll_up_until};
use crate::scan::Times;

/// A page, and what is to be known of its stream.
struct Fetched {
    page: Page,
    /// Over which stretch of time it was opened, if that was for this page.
    opened: Option<Range<i64>>,
    /// For people.
    notices: Vec<String>,
}

impl Turn<'_> {
    pub(super) fn pages(&mut self) -> Result<Pages, TurnError> {
        let pages = self.page_by_page();
        if self.run.signal.is_stopped() {
            // What is fetched ahead is not wanted any more.
            self.run.park();
        }
        pages
    }

    fn page_by_page(&mut self) -> Result<Pages, TurnError> {
        let clock = &self.job.runtime.clock;
        let time_up = clock.monotonic().saturating_add(self.job.runtime.settings.turn_time);
        loop {
            let Some(buckets) = self.search()? else { return Ok(Pages::Interrupted) };
            if buckets.is_empty() {
                return Ok(Pages::Exhausted);
            }
            // Known before the page is written: what is fetched ahead is asked for in this turn, or in one that
            // nobody is before.
            let is_last = clock.monotonic() >= time_up;
            let goes_on = !is_last || !self.job.runtime.pool.is_busy();
            if let Some(stream) = self.run.stream.as_mut().filter(|_| goes_on) {
                stream.fetch_ahead();
            }
            let after = self.progress.position.as_ref().map(Position::key);
            let page = self.convert(buckets, after.as_deref(), &Times::buckets_before(self.run.boundary))?;
            let is_other = self.run.stream.as_ref().is_some_and(|stream| !stream.is_one_snapshot());
            if std::mem::take(&mut self.run.is_snapshot_new) || is_other {
                self.note_bucket_of_two_snapshots(&page)?;
            }
            let is_whole = page.documents().len() == page.buckets().len() && self.write(&page)?;
            if !is_whole || self.run.signal.is_stopped() || is_last {
                self.discarded.page = Some(page);
                return Ok(Pages::Interrupted);
            }
        }
    }

    /// The next page, or `None` if a stop made it unwanted.
    fn search(&mut self) -> Result<Option<Page>, TurnError> {
        self.enter(Phase::Searching);
        let began = self.job.runtime.clock.monotonic();
        match self.next_page() {
            Err(error) if error.is_cancelled() && self.run.signal.is_stopped() => Ok(None),
            Err(error) => {
                self.progress.stats.search_failures += 1;
                self.run.stream = None;
                Err(TurnError { keep: true, ..self.failure(&error) })
            }
            Ok(_) if self.run.signal.is_stopped() => Ok(None),
            Ok(_) if self.job.runtime.owner.has_lapsed() => {
                // Somebody else may write now. The stream is ahead of what is written.
                self.run.stream = None;
                Ok(None)
            }
            Ok(Fetched { page: buckets, opened, notices }) => {
                self.see_stream(opened, notices).inspect_err(|_| self.run.stream = None)?;
                self.progress.see_several_values(self.run.stream.as_ref().and_then(|stream| stream.several_values()));
                let stats = &mut self.progress.stats;
                stats.search_time += self.job.runtime.clock.monotonic().saturating_sub(began);
                stats.search_total += 1;
                stats.pages_processed += 1;
                stats.documents_skipped =
                    self.run.left_out + self.run.stream.as_ref().map_or(0, |stream| stream.documents_skipped());
                Ok(Some(buckets))
            }
        }
    }

    /// Takes note of what is to be known of a stream. Only with the first page some engines know what they read.
    fn see_stream(&mut self, opened: Option<Range<i64>>, mut notices: Vec<String>) -> Result<(), TurnError> {
        if let Some(stretch) = opened {
            if let Some(found) = self.run.stream.as_ref().and_then(|stream| stream.source_indices()) {
                self.look_at_new(&found)?;
                notices.extend(self.see_sources(found, &stretch));
            }
            self.take_up_notes(&stretch);
        }
        self.note_all(&notices);
        Ok(())
    }

    fn note_all(&self, notices: &[String]) {
        if !notices.is_empty() {
            self.note(notices.join("; "));
        }
    }

    fn next_page(&mut self) -> Result<Fetched, EngineError> {
        if self.run.stream.as_ref().is_some_and(|stream| !stream.is_whole()) {
            self.run.stream = None;
        }
        let (mut notices, mut opened) = (Vec::new(), None);
        let stream = match &mut self.run.stream {
            Some(stream) => stream,
            empty => {
                let after = self.progress.position.as_ref().map(Position::key);
                let context = &self.run.context;
                // What lies before either is rolled up: inside of that nothing is added, only replaced.
                let from = self.progress.rolled_up_until.max(self.progress.rolled_up_from).unwrap_or(i64::MIN);
                let stretch = from..self.run.boundary;
                let times = Times::buckets_between(stretch.clone());
                let request = context.scan_request().times(times).after(after);
                let pattern = context.config().index_pattern();
                let stream = self.job.runtime.source.scan(context, pattern, request, &self.run.signal)?;
                opened = Some(stretch);
                self.run.is_snapshot_new = true;
                if std::mem::replace(&mut self.run.has_streamed, true) {
                    notices.push("the source was opened again in the middle of the run".to_owned());
                }
                empty.insert(stream)
            }
        };
        stream.lend_threads(1 + self.job.runtime.pool.idle());
        let page = stream.next_page(&self.run.signal);
        self.job.lifecycle.note_page_size(stream.reduced_page_size());
        notices.extend(stream.take_notice());
        let page = page.inspect_err(|_| self.note_all(&notices))?;
        Ok(Fetched { page, opened, notices })
    }

    /// The documents of a page: fewer than buckets if a stop made them unwanted.
    pub(super) fn convert(
        &mut self,
        buckets: Page,
        after: Option<&[KeyPart]>,
        times: &Times,
    ) -> Result<RolledUpPage, TurnError> {
        let began = self.job.runtime.clock.monotonic();
        let converted = self.check_order(&buckets, after, times).and_then(|()| {
            let converted = roll_up_until(buckets, self.run.context.layout(), &self.run.signal);
            converted.map_err(|error| error.to_string())
        });
        let page = converted.map_err(|text| {
            self.progress.stats.search_failures += 1;
            self.run.stream = None;
            self.give_up_slice();
            TurnError { transient: false, retry_after: None, keep: true, chain: vec![text], phase: Phase::Searching }
        })?;
        let stats = &mut self.progress.stats;
        stats.processing_time += self.job.runtime.clock.monotonic().saturating_sub(began);
        stats.processing_total += 1;
        Ok(page)
    }

    /// An engine that does not keep to the order, or to the range, would lose or repeat buckets.
    fn check_order(&self, buckets: &Page, after: Option<&[KeyPart]>, times: &Times) -> Result<(), String> {
        let mut previous = after;
        if buckets.width().is_none() {
            // Whoever converts the page says what does not fit.
            return Ok(());
        }
        for (at, bucket) in buckets.iter().enumerate() {
            if at.is_multiple_of(BLOCK) && self.run.signal.is_stopped() {
                // No document will be made of any.
                return Ok(());
            }
            if previous.is_some_and(|previous| bucket.key <= previous) {
                return Err(format!("the engine delivered a bucket out of order: {:?}", bucket.key));
            }
            if !matches!(bucket.key.first(), Some(KeyPart::Date(start)) if times.contain(*start, *start)) {
                return Err(format!("the engine delivered a bucket that it was not asked for: {:?}", bucket.key));
            }
            previous = Some(bucket.key);
        }
        Ok(())
    }

    /// Writes a page. `false` if a stop made the engine end early.
    fn write(&mut self, page: &RolledUpPage) -> Result<bool, TurnError> {
        self.enter(Phase::Writing);
        self.progress.stats.index_total += 1;
        let mut rest = page.documents();
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(self.mark()?.min(rest.len()));
            if !self.write_part(part)? {
                return Ok(false);
            }
            rest = behind;
        }
        self.mark()?;
        Ok(true)
    }

    /// Tells the writer what belongs to the documents that it has. Says how many more to write at most.
    fn mark(&mut self) -> Result<usize, TurnError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => match self.job.runtime.rollup_index.begin(&self.run.context, &Batch::Append) {
                Ok(writer) => self.writer.insert(writer),
                Err(error) => return Err(self.failed_write(&error)),
            },
        };
        Ok(writer.mark(&self.progress).max(1))
    }

    fn failed_write(&mut self, error: &EngineError) -> TurnError {
        self.progress.stats.index_failures += 1;
        // The stream is ahead of what was written; and whoever had the writer may have committed meanwhile.
        self.run.stream = None;
        self.reopen(error)
    }

    /// Writes a part of a page. `false` if a stop made the engine end early.
    fn write_part(&mut self, documents: RolledUpDocuments<'_>) -> Result<bool, TurnError> {
        let began = self.job.runtime.clock.monotonic();
        let Some(writer) = &mut self.writer else { return Ok(false) };
        let report = writer.write(documents, &self.run.signal).map_err(|error| self.failed_write(&error))?;
        let taken = report.taken.min(documents.len());
        let accepted = report.rejected.iter().map(|item| item.index).min().unwrap_or(taken).min(taken);
        let stats = &mut self.progress.stats;
        stats.index_time += self.job.runtime.clock.monotonic().saturating_sub(began);
        stats.rollups_indexed += accepted as u64;
        stats.documents_processed += documents.buckets().take(accepted).map(|bucket| bucket.doc_count).sum::<u64>();
        stats.index_failures += report.rejected.len() as u64;
        if let Some(out) = &report.left_out {
            stats.rollups_indexed = stats.rollups_indexed.saturating_sub(out.rolled_up);
            stats.documents_processed = stats.documents_processed.saturating_sub(out.documents);
            stats.documents_skipped += out.documents;
            self.run.left_out += out.documents;
            self.note(left_out(out.documents, &out.reason));
        }
        let last = accepted.checked_sub(1).map(|last| documents.slice(last..accepted));
        if let (Some(first), Some(last)) = (documents.buckets().next(), last.and_then(|last| last.buckets().next())) {
            self.progress.write(first.key, last.key, self.run.context.config());
        }
        if accepted < documents.len() {
            // The stream is ahead of what was written.
            self.run.park();
            self.discarded.stream = self.run.stream.take();
        }
        let worst = report.rejected.iter().max_by_key(|item| !item.error.is_transient());
        match worst {
            Some(item) => Err(TurnError { keep: true, ..self.failure(&item.error) }),
            None => Ok(accepted == documents.len()),
        }
    }
}
