//! What has changed in source indices, as far as the cluster can say it in the way that a job asks: by the time at
//! which documents were indexed, or by counting those of the last days.
//!
//! A look counts the documents of a window, by index and stretch of time, and compares that with what the last look has
//! counted of the same window. A mark has what the next look needs.

mod counting;
mod mark;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ElasticsearchState;
use super::indices::{expression, resolve};
use super::selection::within;
use crate::cluster::Failure;
use crate::engine::stretches::MINUTE;
use crate::engine::{JobContext, Look, Noticed, SourceChange, SourceMark, StopSignal};
use crate::job::{IndexPattern, NoticeBy};
use counting::Counter;
pub(super) use mark::Mark;
use mark::Stretches;

/// So many indices have a window of their own in one search.
const INDICES_AT_ONCE: usize = 500;

impl ElasticsearchState {
    /// Nothing is asked of the cluster for a job that does not say how.
    pub(super) fn look(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        look: &Look<'_>,
        stop: &StopSignal,
    ) -> Result<Vec<Noticed>, Failure> {
        let Some(by) = job.config().late_data().notices_by() else { return Ok(Vec::new()) };
        let resolved = resolve(&self.cluster, job, pattern, stop)?;
        resolved.allows(self.options.skip_closed)?;
        let window = Window::new(by, look);
        let watched: Vec<Watched> = resolved.open.into_iter().map(|name| Watched::new(name, &window, look)).collect();
        let counter = Counter { cluster: &self.cluster, job, indices: expression(pattern), window, stop };
        let mut noticed = Vec::new();
        for watched in watched.chunks(INDICES_AT_ONCE) {
            noticed.extend(counter.look_at(watched)?);
        }
        Ok(noticed)
    }
}

/// Which documents a look counts.
struct Window<'a> {
    date_field: &'a str,
    now: i64,
    by: &'a NoticeBy,
}

/// An index that is looked at.
struct Watched {
    name: String,
    mark: Option<SourceMark>,
    /// Where its window begins: with what was indexed then, or with documents of that time.
    from: i64,
    /// Changes count before this instant.
    before: i64,
}

impl<'a> Window<'a> {
    fn new(by: &'a NoticeBy, look: &Look<'a>) -> Self {
        Self { date_field: look.date_field, now: look.now, by }
    }

    /// The field that says whether a document is in it.
    fn field(&self) -> &str {
        self.by.field().unwrap_or(self.date_field)
    }

    /// Where it begins for an index.
    fn beginning(&self, known: Option<&Mark>, before: i64) -> i64 {
        match self.by {
            NoticeBy::IngestTime { .. } => known.map_or_else(|| self.next(), |mark| mark.from),
            NoticeBy::LookBack(time) => {
                let end = if before == i64::MIN { self.now } else { before.min(self.now) };
                end.saturating_sub(time.as_millis())
            }
        }
    }

    /// What the next look does not have to see again was indexed before this instant.
    fn next(&self) -> i64 {
        match self.by {
            NoticeBy::IngestTime { delay, .. } => self.now.saturating_sub(delay.as_millis()),
            NoticeBy::LookBack(_) => i64::MIN,
        }
    }
}

impl Watched {
    fn new(name: String, window: &Window<'_>, look: &Look<'_>) -> Self {
        let (mark, before) = (look.mark(&name), look.before(&name));
        let from = window.beginning(mark.as_ref().and_then(SourceMark::get), before);
        Self { name, mark, from, before }
    }
}

impl Counter<'_> {
    /// What has changed in some indices.
    fn look_at(&self, watched: &[Watched]) -> Result<Vec<Noticed>, Failure> {
        let finest = self.finest();
        let counted = self.count(&self.windows(watched), finest)?;
        // What is new is counted after its mark is made: what comes between the two is seen twice, and not never.
        let new = watched.iter().filter(|index| index.mark.is_none() && index.before > i64::MIN);
        let mut new = self.count_new(&new.collect::<Vec<_>>())?;
        let noticed = watched.iter().filter_map(|index| {
            let (all, kept) = counted.of(&index.name);
            let changes = match index.mark.as_ref().and_then(SourceMark::get::<Mark>) {
                Some(known) if known.kept == all && known.kept == kept => return None,
                Some(known) => {
                    // Of the stretch in which a window of dates begins it has only a part.
                    let is_by_date = matches!(self.window.by, NoticeBy::LookBack(_));
                    let from = if is_by_date { known.from.max(index.from) } else { i64::MIN };
                    known.kept.changes(&all, from..index.before)
                }
                None => new.remove(index.name.as_str()).unwrap_or_default(),
            };
            // A clock that went back does not bring a window back.
            let mark = Mark { from: index.from.max(self.window.next()), kept };
            Some(Noticed::new(&index.name, changes, SourceMark::new(mark)))
        });
        Ok(noticed.collect())
    }

    /// The shortest stretches to count in. What a job with buckets of seconds has rolled up may end within a minute.
    fn finest(&self) -> i64 {
        let interval = self.job.config().rounding().fixed_millis();
        if interval.is_none_or(|interval| interval % MINUTE == 0) { MINUTE } else { 1_000 }
    }

    /// The documents of the windows.
    fn windows(&self, watched: &[Watched]) -> Value {
        let mut by_beginning: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        for index in watched {
            by_beginning.entry(index.from).or_default().push(&index.name);
        }
        let windows = by_beginning.into_iter().map(|(from, names)| {
            let documents = within(self.window.field(), std::iter::once(from..i64::MAX), 0);
            json!({ "bool": { "filter": [{ "terms": { "_index": names } }, documents] } })
        });
        json!({ "bool": { "should": windows.collect::<Vec<_>>(), "minimum_should_match": 1 } })
    }

    /// Where indices have documents that are seen for the first time, in the time that counts.
    fn count_new<'w>(&self, new: &[&'w Watched]) -> Result<BTreeMap<&'w str, Vec<SourceChange>>, Failure> {
        let names: BTreeSet<&str> = new.iter().map(|index| index.name.as_str()).collect();
        let Some(before) = new.iter().map(|index| index.before).max() else { return Ok(BTreeMap::new()) };
        let times = within(self.window.date_field, std::iter::once(i64::MIN..before), i64::MIN);
        let documents = json!({ "bool": { "filter": [{ "terms": { "_index": names } }, times] } });
        let counted = self.count(&documents, self.width_for(&documents, names.len())?)?;
        let changes = |index: &&'w Watched| {
            let (all, _) = counted.of(&index.name);
            (index.name.as_str(), Stretches::none(all.width).changes(&all, i64::MIN..index.before))
        };
        Ok(new.iter().map(changes).collect())
    }
}
