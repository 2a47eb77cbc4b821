//! What is searched: source indices, rollup indices or both; and the jobs that have to do with it.

use std::collections::{BTreeMap, BTreeSet};

use super::error::SearchFault;
use super::run::{KnownJob, Systems};
use super::why_not::{Obstacle, WhyNot};
use crate::engine::{self, EngineErrorKind, JobContext};
use crate::job::{IndexPattern, wildcard_match};

type Faults<T> = Result<T, SearchFault>;

/// What is searched.
pub(super) struct Asked {
    /// Source indices, if they are asked for.
    pub(super) raw: Option<IndexPattern>,
    /// Rollup indices that are named.
    rollup_indices: BTreeSet<String>,
}

/// The jobs that read what is asked for, or write there.
pub(super) struct Readers<'j> {
    /// Those whose documents are just those that are asked for.
    pub(super) same: Vec<&'j KnownJob>,
    /// Those that read some of them, and others.
    pub(super) other: Vec<&'j KnownJob>,
    /// Why those do not serve.
    pub(super) why_not: Vec<WhyNot>,
}

impl Asked {
    /// A text that jobs have as their pattern means source indices, and all names in it do. Any other names both, item
    /// by item.
    pub(super) fn of(indices: &IndexPattern, jobs: &[KnownJob], systems: &Systems<'_>) -> Faults<Self> {
        let is_pattern = |text: &str| jobs.iter().any(|job| job.context.config().index_pattern().as_str() == text);
        if is_pattern(indices.as_str()) {
            return Ok(Self { raw: Some(indices.clone()), rollup_indices: BTreeSet::new() });
        }
        let known: BTreeSet<&str> = jobs.iter().map(|job| job.context.config().rollup_index()).collect();
        let (mut raw, mut rollup_indices) = (Vec::new(), BTreeSet::new());
        for item in indices.items().filter(|item| !item.is_empty()) {
            let is_named = |name: &&&str| **name == item || item.contains('*') && wildcard_match(item, name);
            let named: Vec<&str> = known.iter().filter(is_named).copied().collect();
            let is_source = named.is_empty()
                || item.contains('*')
                    && (is_pattern(item) || !resolve(systems, &jobs[0].context, &IndexPattern::new(item))?.is_empty());
            if is_source {
                raw.push(item);
            } else {
                rollup_indices.extend(named.into_iter().map(str::to_owned));
            }
        }
        let raw = (!raw.is_empty()).then(|| IndexPattern::new(raw.join(",")));
        Ok(Self { raw, rollup_indices })
    }

    /// Jobs that have the pattern that is asked for are those that are meant. If there are none, others may mean the
    /// same indices.
    pub(super) fn readers<'j>(&self, jobs: &'j [KnownJob], systems: &Systems<'_>) -> Faults<Readers<'j>> {
        let is_named = |job: &&KnownJob| {
            self.rollup_indices.is_empty() || self.rollup_indices.contains(job.context.config().rollup_index())
        };
        let named: Vec<&KnownJob> = jobs.iter().filter(is_named).collect();
        let mut readers = Readers { same: Vec::new(), other: Vec::new(), why_not: Vec::new() };
        let Some(raw) = &self.raw else { return Ok(Readers { same: named, ..readers }) };
        let has_pattern = |job: &&&KnownJob| job.context.config().index_pattern() == raw;
        readers.same = named.iter().filter(has_pattern).copied().collect();
        if !readers.same.is_empty() {
            return Ok(readers);
        }
        let mut resolved: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for job in named {
            let pattern = job.context.config().index_pattern();
            for pattern in [pattern, raw] {
                if !resolved.contains_key(pattern.as_str()) {
                    resolved.insert(pattern.as_str(), resolve(systems, &job.context, pattern)?);
                }
            }
            let (theirs, ours) = (&resolved[pattern.as_str()], &resolved[raw.as_str()]);
            // Those that are rolled up and gone since are meant as well.
            let gone = job.progress.source_indices.iter();
            let all: BTreeSet<&str> = theirs.iter().chain(ours).chain(gone).map(String::as_str).collect();
            let meant = |pattern: &IndexPattern| pattern.resolve(all.iter().copied()).ok();
            let shares_some = !theirs.is_disjoint(ours);
            if meant(pattern).is_some_and(|theirs| meant(raw).is_some_and(|ours| theirs == ours)) {
                readers.same.push(job);
            } else if shares_some {
                let pattern = pattern.as_str().to_owned();
                readers.why_not.push(WhyNot::new(job.context.id(), "index", Obstacle::Indices { pattern }));
                readers.other.push(job);
            }
        }
        Ok(readers)
    }
}

/// The source indices that a pattern means now.
pub(super) fn resolve(systems: &Systems<'_>, context: &JobContext, pattern: &IndexPattern) -> Faults<BTreeSet<String>> {
    match engine::call(|| systems.source.field_capabilities(context, pattern, &[])) {
        Ok(found) => Ok(found.indices.into_iter().collect()),
        Err(error) if error.kind() == EngineErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}
