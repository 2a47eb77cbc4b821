//! What is searched: source indices, rollup indices or both; and the jobs that have to do with it.

use std::collections::{BTreeMap, BTreeSet};

use super::error::SearchFault;
use super::request::{Access, SearchRequest, SearchRequestError};
use super::run::{KnownJob, Systems};
use super::why_not::{Obstacle, WhyNot};
use crate::engine::{self, JobContext};
use crate::job::{IndexPattern, wildcard_match};

type Faults<T> = Result<T, SearchFault>;

/// What is searched.
pub(super) struct Asked {
    /// Source indices, if they are asked for.
    pub(super) raw: Option<IndexPattern>,
    /// Rollup indices that are named.
    pub(super) rollup_indices: BTreeSet<String>,
}

/// The jobs that read what is asked for, or write there.
pub(super) struct Readers<'j> {
    /// Those whose documents are just those that are asked for.
    pub(super) same: Vec<&'j KnownJob>,
    /// Those that read some of them, and others.
    pub(super) other: Vec<&'j KnownJob>,
    /// Those of both kinds that the caller may not know of.
    pub(super) hidden: Vec<&'j KnownJob>,
    /// Why those do not serve.
    pub(super) why_not: Vec<WhyNot>,
}

impl Asked {
    /// A text that jobs have as their pattern means source indices, and all names in it do. Any other names both, item
    /// by item. Of what a wildcard means, what the caller may not read is left out; a name has to be readable.
    pub(super) fn of(request: &SearchRequest, jobs: &[KnownJob], systems: &Systems<'_>) -> Faults<Self> {
        let (indices, access) = (&request.indices, &request.access);
        let is_pattern = |text: &str| jobs.iter().any(|job| job.context.config().index_pattern().as_str() == text);
        if is_pattern(indices.as_str()) {
            let raw = readable(indices, jobs, systems, access)?;
            return Ok(Self { raw, rollup_indices: BTreeSet::new() });
        }
        let known: BTreeSet<&str> = jobs.iter().map(|job| job.context.config().rollup_index()).collect();
        let (mut raw, mut rollup_indices) = (Vec::new(), BTreeSet::new());
        let all = |item| if item == "_all" { "*" } else { item };
        for item in indices.items().filter(|item| !item.is_empty()).map(all) {
            let is_named = |name: &&&str| **name == item || item.contains('*') && wildcard_match(item, name);
            let named: Vec<&str> = known.iter().filter(is_named).copied().collect();
            let is_source = named.is_empty()
                || item.contains('*')
                    && (is_pattern(item) || !resolve(systems, &jobs[0].context, &IndexPattern::new(item))?.is_empty());
            if is_source {
                raw.push(item);
            } else if named == [item] && !access.may_read(item) {
                return Err(SearchFault::Forbidden { index: item.to_owned() });
            } else {
                rollup_indices.extend(named.into_iter().map(str::to_owned));
            }
        }
        let raw = match raw.as_slice() {
            [] => None,
            items => readable(&IndexPattern::new(items.join(",")), jobs, systems, access)?,
        };
        Ok(Self { raw, rollup_indices })
    }

    /// Jobs that have the pattern that is asked for are those that are meant. If there are none, others may mean the
    /// same indices.
    pub(super) fn readers<'j>(
        &self,
        request: &SearchRequest,
        jobs: &'j [KnownJob],
        systems: &Systems<'_>,
    ) -> Faults<Readers<'j>> {
        let is_named = |job: &&KnownJob| {
            self.rollup_indices.is_empty() || self.rollup_indices.contains(job.context.config().rollup_index())
        };
        let named: Vec<&KnownJob> = jobs.iter().filter(is_named).collect();
        let mut readers = Readers { same: Vec::new(), other: Vec::new(), hidden: Vec::new(), why_not: Vec::new() };
        let has_pattern = |job: &&&KnownJob| self.raw.as_ref() == Some(job.context.config().index_pattern());
        let mut same: Vec<&KnownJob> = named.iter().filter(has_pattern).copied().collect();
        if self.raw.is_none() {
            same.clone_from(&named);
        }
        let others = if same.is_empty() { named } else { Vec::new() };
        for job in same {
            if is_visible(job, request, systems)? { readers.same.push(job) } else { readers.hidden.push(job) }
        }
        let Some(raw) = &self.raw else {
            if !request.strict {
                check_same_documents(&readers.same, systems)?;
            }
            return Ok(readers);
        };
        let mut resolved: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for job in others {
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
            let is_same = meant(pattern).is_some_and(|theirs| meant(raw).is_some_and(|ours| theirs == ours));
            if !is_same && theirs.is_disjoint(ours) {
                continue;
            }
            if !is_visible(job, request, systems)? {
                readers.hidden.push(job);
            } else if is_same {
                readers.same.push(job);
            } else {
                let pattern = pattern.as_str().to_owned();
                readers.why_not.push(WhyNot::new(job.context.id(), "index", Obstacle::Indices { pattern }));
                readers.other.push(job);
            }
        }
        Ok(readers)
    }
}

/// Rollup indices are searched through one of the jobs that write there: all of them have to read the same documents.
fn check_same_documents(jobs: &[&KnownJob], systems: &Systems<'_>) -> Faults<()> {
    let patterns: BTreeSet<&str> = jobs.iter().map(|job| job.context.config().index_pattern().as_str()).collect();
    if patterns.len() < 2 {
        return Ok(());
    }
    let mut meant = BTreeSet::new();
    for job in jobs {
        let mut indices = resolve(systems, &job.context, job.context.config().index_pattern())?;
        indices.extend(job.progress.source_indices.iter().cloned());
        meant.insert(indices);
    }
    if meant.len() < 2 {
        return Ok(());
    }
    let patterns = patterns.into_iter().collect::<Vec<_>>().join("], [");
    let problem =
        format!("has what was rolled up of different documents: name one of [{patterns}] as well, or instead");
    Err(SearchRequestError::new("index", problem).into())
}

/// What of a pattern the caller may read: `None` if that is nothing.
fn readable(
    pattern: &IndexPattern,
    jobs: &[KnownJob],
    systems: &Systems<'_>,
    access: &Access,
) -> Faults<Option<IndexPattern>> {
    let (false, Some(job)) = (access.is_all(), jobs.first()) else { return Ok(Some(pattern.clone())) };
    if let Some(named) = pattern.items().find(|item| !item.contains('*') && !access.may_read(item)) {
        return Err(SearchFault::Forbidden { index: named.to_owned() });
    }
    let meant = resolve(systems, &job.context, pattern)?;
    let may_read: Vec<&str> = meant.iter().map(String::as_str).filter(|index| access.may_read(index)).collect();
    Ok(match may_read.len() {
        all if all == meant.len() => Some(pattern.clone()),
        0 => None,
        _ => Some(IndexPattern::new(may_read.join(","))),
    })
}

/// Whether what a job has rolled up is for the caller to see.
fn is_visible(job: &KnownJob, request: &SearchRequest, systems: &Systems<'_>) -> Faults<bool> {
    let (access, config) = (&request.access, job.context.config());
    if access.is_all() {
        return Ok(true);
    }
    let mut sources = resolve(systems, &job.context, config.index_pattern())?;
    sources.extend(job.progress.source_indices.iter().cloned());
    let is_own = job.context.run_as() == request.run_as.as_ref();
    let sees = |index: &String| access.may_read(index) && (is_own || access.is_unrestricted(index));
    Ok(access.may_read(config.rollup_index()) && sources.iter().all(sees))
}

/// The source indices that a pattern means now.
pub(super) fn resolve(systems: &Systems<'_>, context: &JobContext, pattern: &IndexPattern) -> Faults<BTreeSet<String>> {
    Ok(engine::call(|| engine::indices_of(systems.source, context, pattern))?)
}
