//! Which job serves: the first that does, of those with the fewest documents.

use std::ops::Range;

use super::candidate::Candidate;
use super::error::SearchFault;
use super::plan::Served;
use super::run::{KnownJob, Systems};
use super::said::Said;
use super::spans::Spans;
use super::tree::Tree;
use super::why_not::WhyNot;
use crate::engine::{self, EngineErrorKind, RolledUpNow};
use crate::job::{KeyPart, Progress};
use crate::rollup::Grouping;
use crate::scan::{ScanRequest, Snapshot};

type Faults<T> = Result<T, SearchFault>;

/// What a job has to serve.
pub(super) struct Question<'a> {
    pub(super) tree: &'a Tree,
    /// All bounds of time anywhere in it.
    pub(super) bounds: &'a [i64],
    /// When its filter means anything.
    pub(super) within: Range<i64>,
    pub(super) now: i64,
}

/// The job that serves.
pub(super) struct Chosen<'j> {
    pub(super) job: &'j KnownJob,
    pub(super) candidate: Candidate,
    pub(super) snapshot: Option<Snapshot>,
    /// Whether documents and progress are of one commit.
    pub(super) is_one_commit: bool,
    pub(super) served: Served,
}

/// The job that serves, if one does; why those do not that come before it.
pub(super) fn choose<'j>(
    systems: &Systems<'_>,
    jobs: &[&'j KnownJob],
    question: &Question<'_>,
    said: &Said,
    why_not: &mut Vec<WhyNot>,
) -> Faults<Option<Chosen<'j>>> {
    let candidate = |job: &&'j KnownJob| {
        let (context, progress) = (job.context.clone(), Progress::clone(&job.progress));
        (*job, Candidate { context, progress, first: None, changed: Spans::default(), shrunk: Spans::default() })
    };
    let mut candidates: Vec<_> = jobs.iter().map(candidate).collect();
    candidates.sort_by_cached_key(|(_, candidate)| candidate.rank());
    let mut silent = None;
    for (job, candidate) in candidates {
        if let Err(reason) = candidate.check_kept(question.tree) {
            why_not.push(reason);
            continue;
        }
        let Some((mut candidate, snapshot, is_one_commit)) = held(systems, candidate)? else { continue };
        (candidate.changed, candidate.shrunk) = said.changed(&candidate.context, &candidate.progress);
        // What it has rolled up by now is known of this commit only.
        match candidate.check(question.tree).and_then(|()| Served::of(&candidate, question)) {
            Ok(served) => {
                let chosen = Chosen { job, candidate, snapshot, is_one_commit, served };
                if !chosen.served.rolled_up.is_empty() {
                    return Ok(Some(chosen));
                }
                // Another one may have something to say.
                silent.get_or_insert(chosen);
            }
            Err(reason) => why_not.push(reason),
        }
    }
    Ok(silent)
}

/// A candidate as of one commit, its documents, and whether the two are of it. `None` if its rollup index is gone, or
/// was restored from a copy, until a run has dealt with that.
fn held(systems: &Systems<'_>, mut candidate: Candidate) -> Faults<Option<(Candidate, Option<Snapshot>, bool)>> {
    let (index, context) = (systems.rollup_index, &candidate.context);
    let held = match engine::call(|| index.snapshot_rolled_up(context, &systems.stop)) {
        Err(error) if error.kind() == EngineErrorKind::NotFound => return Ok(None),
        held => held?,
    };
    let known = std::mem::take(&mut candidate.progress);
    let now = engine::call(|| RolledUpNow::of(index, context, held, known))?;
    let RolledUpNow { documents, progress, is_one_commit, is_restored } = now;
    if is_restored {
        return Ok(None);
    }
    candidate.progress = progress;
    candidate.first = first_bucket(systems, &candidate, documents.as_ref())?;
    Ok(Some((candidate, documents, is_one_commit)))
}

/// Where the first bucket is, or one before: what a former version has rolled up, or another system, is asked for it.
fn first_bucket(systems: &Systems<'_>, candidate: &Candidate, documents: Option<&Snapshot>) -> Faults<Option<i64>> {
    let Progress { position, first_bucket, .. } = &candidate.progress;
    if position.is_none() || first_bucket.is_some() {
        return Ok(*first_bucket);
    }
    let context = &candidate.context;
    let grouping = Grouping::new(context.layout().grouping().date_field()).date(context.config().rounding().clone());
    let request = ScanRequest::new(grouping).page_size(1).snapshot(documents.cloned());
    let (index, stop) = (systems.rollup_index, &systems.stop);
    let page = engine::call(|| index.scan_rolled_up(context, request, stop)?.next_page(stop))?;
    let key = page.get(0).and_then(|bucket| bucket.key.first());
    Ok(key.and_then(|part| if let KeyPart::Date(start) = part { Some(*start) } else { None }))
}
