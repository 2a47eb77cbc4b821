//! A search from its request to its answer: which job serves, what is read where, and whether all of it is of one
//! moment.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Answering;
use super::asked::{Asked, Readers};
use super::choice::{Chosen, Question, choose};
use super::error::SearchFault;
use super::gone::{Gone, RoundedBounds};
use super::moments::Timed;
use super::one_by_one::{self, Rest};
use super::paths::Fields;
use super::plan::{SearchPlan, Served, bounds};
use super::request::{SearchRequest, SearchRequestError};
use super::response::Results;
use super::rows::{RawRows, RolledUpRows, Rows};
use super::said::Said;
use super::strict;
use super::tree::Tree;
use super::types;
use super::unmoved::{Standing, Unmoved};
use crate::engine::{self, JobContext, RollupIndex, Source, StopSignal};
use crate::job::{IndexPattern, Ledger, Progress};
use crate::store::StoreError;
use crate::sync::Arc;

type Faults<T> = Result<T, SearchFault>;

/// Where a search reads, and when it is.
pub(crate) struct Systems<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) rollup_index: &'a dyn RollupIndex,
    pub(crate) ledgers: &'a dyn Ledgers,
    pub(crate) now: i64,
    pub(crate) stop: StopSignal,
}

/// Who knows what was said of source indices.
pub(crate) trait Ledgers {
    /// Of each of these indices.
    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError>;

    /// Has the ledgers know what can be noticed of the indices that a job of this context reads by this pattern.
    /// Default: nobody here looks.
    fn look(&self, context: &JobContext, pattern: &IndexPattern, stop: &StopSignal) -> Result<(), SearchFault> {
        let _ = (context, pattern, stop);
        Ok(())
    }
}

/// A job that there is.
pub(crate) struct KnownJob {
    pub(crate) context: JobContext,
    pub(crate) progress: Arc<Progress>,
    /// Where its documents stood before it was asked for its progress.
    pub(crate) standing: Arc<dyn Standing>,
}

/// A search that can begin.
struct Prepared<'a> {
    tree: Tree,
    filter: Timed,
    rounded: Option<RoundedBounds>,
    rows: Rows<'a>,
    plan: SearchPlan,
    fields: Fields,
    wants_total: bool,
}

/// Answers a search.
pub(crate) fn search(
    systems: &Systems<'_>,
    request: &SearchRequest,
    jobs: &[KnownJob],
) -> Faults<(Option<u64>, Results, SearchPlan)> {
    let prepared = prepare(systems, request, jobs)?;
    let Prepared { tree, filter, rounded, rows, plan, fields, wants_total } = prepared;
    let mut answering = Answering { wants_total, ..Answering::new(rows, rounded, fields, request, systems.now) };
    let answered = answering.answer(&tree.root, &filter);
    let results = answered
        .map_err(|fault| types::explained(systems, tree.numeric_fields(), answering.rows.source().as_ref(), fault))?;
    answering.rows.check_unmoved()?;
    Ok((answering.total, results, plan))
}

/// Answers a search that is about the buckets of one aggregation, one after the other.
pub(crate) fn buckets<'a>(
    systems: &Systems<'a>,
    request: &SearchRequest,
    jobs: &[KnownJob],
) -> Faults<(SearchPlan, Rest<'a>)> {
    one_by_one::check(request)?;
    let Prepared { mut tree, filter, rounded, rows, plan, fields, .. } = prepare(systems, request, jobs)?;
    let source = rows.source();
    let answering = Answering::new(rows, rounded, fields, request, systems.now);
    let numeric = tree.numeric_fields();
    let branch = tree.root.branches.remove(0);
    let rest = Rest::of(answering, branch, filter);
    Ok((plan, rest.map_err(|fault| types::explained(systems, numeric, source.as_ref(), fault))?))
}

/// Says of which parts the answer would be made.
pub(crate) fn plan(systems: &Systems<'_>, request: &SearchRequest, jobs: &[KnownJob]) -> Faults<SearchPlan> {
    Ok(prepare(systems, request, jobs)?.plan)
}

fn prepare<'a>(systems: &Systems<'a>, request: &SearchRequest, jobs: &[KnownJob]) -> Faults<Prepared<'a>> {
    let tree = Tree::of(request, systems.now)?;
    let asked = Asked::of(request, jobs, systems)?;
    let mut readers = asked.readers(request, jobs, systems)?;
    if request.strict {
        strict::keep(request, &asked, &mut readers)?;
    }
    let any = readers.any(request, jobs)?;
    let own = any.context.layout().grouping().date_field();
    let date_field = tree.date_field.clone().unwrap_or_else(|| own.to_owned());
    let read = |filter| Timed::of(filter, &date_field, systems.now);
    let filters = tree.filters().into_iter().map(read).collect::<Result<Vec<_>, _>>();
    let filters = filters.map_err(|error| SearchRequestError::new("query", error.to_string()))?;
    let times = filters[0].times();
    let question = Question { tree: &tree, bounds: &bounds(&filters), within: times.hull(), now: systems.now };

    look(systems, &asked, &readers)?;
    let said = Said::read(systems, &asked, &readers)?;
    let mut plan = SearchPlan { why_not: readers.why_not.clone(), ..SearchPlan::default() };
    let mut chosen = choose(systems, &readers.same, &question, &said, &mut plan.why_not)?;
    let gone = Gone::of(&asked, &readers, chosen.as_ref(), &said);
    let rounded = gone.as_ref().and_then(|gone| gone.rounding(request.edges, chosen.as_ref()));
    let mut filter = filters[0].clone();
    if let (Some(rounded), Some(chosen)) = (&rounded, &mut chosen) {
        let filters: Vec<Timed> = filters.iter().map(|filter| rounded.of(filter)).collect();
        filter = filters[0].clone();
        let within = filter.times().hull();
        let question = Question { bounds: &bounds(&filters), within, ..question };
        chosen.served = Served::of(&chosen.candidate, &question).unwrap_or_else(|reason| {
            plan.why_not.push(reason);
            Served::nothing()
        });
    }
    let nothing = Served::nothing();
    let served = chosen.as_ref().map_or(&nothing, |chosen| &chosen.served);
    plan.parts = served.parts(&filter.times(), chosen.is_some());
    plan.job_id = chosen.as_ref().map(|chosen| chosen.candidate.context.id().to_owned());
    if let Some(gone) = gone {
        gone.check(&filter, chosen.as_ref(), &mut plan)?;
    }
    let context = chosen.as_ref().map_or(&any.context, |chosen| &chosen.candidate.context);
    let context = context.clone().with_run_as(request.run_as.clone());
    let raw = raw_rows(systems, &asked, &context, &filter, served)?;
    if raw.is_some() {
        look(systems, &asked, &readers)?;
        if Said::read(systems, &asked, &readers)? != said {
            return Err(SearchFault::Moved);
        }
    }
    let terms = match (&chosen, &asked.raw) {
        (Some(_), _) => types::kept(&tree, &context),
        (None, Some(pattern)) => types::asked(systems, &tree, &context, pattern)?,
        (None, None) => BTreeMap::new(),
    };
    let wants_total = chosen.as_ref().is_none_or(Chosen::counts_once);
    let rows = Rows {
        raw,
        rolled_up: chosen.map(|chosen| chosen.rows(systems, said)),
        threads: request.threads.max(1),
        now: systems.now,
        stop: systems.stop.clone(),
    };
    let fields = Fields { date: date_field, terms };
    Ok(Prepared { tree, filter, rounded, rows, plan, fields, wants_total })
}

/// Looks for changes in what may be read raw.
fn look(systems: &Systems<'_>, asked: &Asked, readers: &Readers<'_>) -> Faults<()> {
    let Some(pattern) = &asked.raw else { return Ok(()) };
    let mut ways = BTreeSet::new();
    for job in &readers.same {
        if ways.insert(job.context.way_of_looking()) {
            systems.ledgers.look(&job.context, pattern, &systems.stop)?;
        }
    }
    Ok(())
}

/// The raw documents to read, as they are at this moment.
fn raw_rows<'a>(
    systems: &Systems<'a>,
    asked: &Asked,
    context: &JobContext,
    filter: &Timed,
    served: &Served,
) -> Faults<Option<RawRows<'a>>> {
    let times = served.rolled_up.others();
    let Some(pattern) = asked.raw.clone().filter(|_| !filter.times().and(&times).is_empty()) else { return Ok(None) };
    let snapshot = engine::call(|| systems.source.snapshot(context, &pattern, &systems.stop))?;
    Ok(Some(RawRows { source: systems.source, context: context.clone(), pattern, snapshot, times }))
}

impl Chosen<'_> {
    /// Whether each document of those that are read rolled up counts once, however they are grouped.
    fn counts_once(&self) -> bool {
        let several = self.candidate.progress.several_values.as_ref();
        self.served.rolled_up.is_empty() || self.candidate.first.is_none() || several.is_some_and(BTreeSet::is_empty)
    }

    fn rows<'a>(self, systems: &Systems<'a>, said: Said) -> RolledUpRows<'a> {
        let Self { job, candidate, snapshot, is_one_commit, served } = self;
        let (context, buckets) = (candidate.context, served.rolled_up);
        // What is of the commit that its progress is of stays what it is.
        let is_sure = is_one_commit || buckets.is_empty();
        let unmoved = (!is_sure).then(|| {
            let standing = Arc::clone(&job.standing);
            Unmoved { standing, buckets: buckets.clone(), said, ledgers: systems.ledgers }
        });
        RolledUpRows { index: systems.rollup_index, context, snapshot, buckets, unmoved }
    }
}

impl<'j> Readers<'j> {
    /// One of them: engines are asked in the name of a job.
    fn any(&self, request: &SearchRequest, jobs: &[KnownJob]) -> Faults<&'j KnownJob> {
        let found = self.same.first().or(self.other.first()).or(self.hidden.first());
        found.copied().ok_or_else(|| {
            let configs = jobs.iter().map(|job| job.context.config());
            let may_know = configs.filter(|config| {
                let sees = |index: &str| request.access.may_read(index);
                sees(config.rollup_index()) && config.index_pattern().items().all(sees)
            });
            let known: BTreeSet<_> = may_know.map(|config| config.index_pattern().as_str()).collect();
            SearchFault::NoJob { known: some(&known) }
        })
    }
}

/// As many names as one reads, with commas between.
fn some(names: &BTreeSet<&str>) -> String {
    const MOST: usize = 10;
    let shown = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{shown}, and {} more", names.len() - MOST) } else { shown }
}
