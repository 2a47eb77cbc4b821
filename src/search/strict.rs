//! Elasticsearch's own rules: what its rollup search refuses, in its words, though it could be proved.

use super::aggregation::{Aggregation, DateHistogramAggregation, NamedAggregations, SearchInterval, SearchMetric};
use super::asked::{Asked, Readers};
use super::request::{SearchRequest, SearchRequestError};
use super::run::KnownJob;
use crate::filter::{BoolFilter, Filter};
use crate::job::{DateInterval, Histogram, RollupJobConfig, interval_grid};

type Result<T> = std::result::Result<T, SearchRequestError>;

/// Leaves those of the jobs that Elasticsearch would choose among.
///
/// # Errors
/// [`SearchRequestError`] where it would refuse the search.
pub(super) fn keep(request: &SearchRequest, asked: &Asked, readers: &mut Readers<'_>) -> Result<()> {
    if asked.rollup_indices.is_empty() {
        // To it, a search of nothing but source indices is no rollup search.
        return Ok(());
    }
    if asked.rollup_indices.len() > 1 {
        let names: Vec<&str> = asked.rollup_indices.iter().map(String::as_str).collect();
        let problem = format!(
            "RollupSearch currently only supports searching one rollup index at a time. Found the following rollup \
             indices: [{}]",
            names.join(", ")
        );
        return Err(SearchRequestError::of_elasticsearch("index", problem));
    }
    serving(&request.aggregations, "aggs", &mut readers.same)?;
    check_query(&request.filter, "query", &readers.same)
}

/// Walks the aggregations, and keeps the jobs that have each of them.
fn serving(aggregations: &NamedAggregations, place: &str, jobs: &mut Vec<&KnownJob>) -> Result<()> {
    for (name, aggregation) in aggregations {
        let place = format!("{place}.{name}");
        let (kind, field, inside) = match aggregation {
            Aggregation::DateHistogram(asked) => {
                jobs.retain(|job| has_dates(job.context.config(), asked));
                ("date_histogram", &asked.field, &asked.aggregations)
            }
            Aggregation::Histogram(asked) => {
                let is_multiple = |own: &Histogram| {
                    own.fields().contains(&asked.field)
                        && asked.interval >= own.interval()
                        && asked.interval % own.interval() == 0.0
                };
                jobs.retain(|job| job.context.config().groups().histogram().is_some_and(is_multiple));
                ("histogram", &asked.field, &asked.aggregations)
            }
            Aggregation::Terms(asked) => {
                jobs.retain(|job| job.context.config().groups().terms_fields().contains(&asked.field));
                ("terms", &asked.field, &asked.aggregations)
            }
            Aggregation::Metric(asked) if asked.metric != SearchMetric::Stats => {
                let kind = asked.metric.as_str();
                jobs.retain(|job| {
                    let mut kept = job.context.config().metrics().iter();
                    kept.any(|kept| {
                        kept.field() == asked.field && kept.metrics().iter().any(|own| own.as_str() == kind)
                    })
                });
                if jobs.is_empty() {
                    return Err(none_has(&place, kind, &format!("with name [{name}]")));
                }
                continue;
            }
            other => {
                let problem = format!(
                    "Unable to translate aggregation tree into Rollup.  Aggregation [{name}] is of type [{}] which is \
                     currently unsupported.",
                    class_name(other)
                );
                return Err(SearchRequestError::of_elasticsearch(place, problem));
            }
        };
        if jobs.is_empty() {
            return Err(none_has(&place, kind, &format!("on field [{field}]")));
        }
        serving(inside, &format!("{place}.aggs"), jobs)?;
    }
    Ok(())
}

fn none_has(place: &str, kind: &str, what: &str) -> SearchRequestError {
    let problem = format!(
        "There is not a rollup job that has a [{kind}] agg {what} which also satisfies all requirements of query."
    );
    SearchRequestError::of_elasticsearch(place, problem)
}

fn class_name(aggregation: &Aggregation) -> &'static str {
    match aggregation {
        Aggregation::DateHistogram(_) => "DateHistogramAggregationBuilder",
        Aggregation::Histogram(_) => "HistogramAggregationBuilder",
        Aggregation::Terms(_) => "TermsAggregationBuilder",
        Aggregation::Filter(_) => "FilterAggregationBuilder",
        Aggregation::Filters(_) => "FiltersAggregationBuilder",
        Aggregation::Range(_) => "RangeAggregationBuilder",
        Aggregation::DateRange(_) => "DateRangeAggregationBuilder",
        Aggregation::Metric(_) => "StatsAggregationBuilder",
    }
}

/// The same time zone; calendars with calendars, of the same unit or a longer one; lengths with lengths, a multiple.
fn has_dates(config: &RollupJobConfig, asked: &DateHistogramAggregation) -> bool {
    let own = config.groups().date_histogram();
    let read = |text: &str| [DateInterval::calendar(text), DateInterval::fixed(text)];
    let [calendar, fixed] = match &asked.interval {
        SearchInterval::Calendar(text) => [read(text)[0].clone().ok(), None],
        SearchInterval::Fixed(text) => [None, read(text)[1].clone().ok()],
        SearchInterval::Either(text) => read(text).map(std::result::Result::ok),
    };
    let zone = asked.time_zone.as_deref().unwrap_or("UTC");
    let is_same_zone = interval_grid(config.interval(), zone).is_ok_and(|grid| grid == *config.rounding());
    own.field() == asked.field
        && is_same_zone
        && match (config.interval(), calendar, fixed) {
            (DateInterval::Calendar { unit, .. }, Some(DateInterval::Calendar { unit: asked, .. }), _) => {
                asked >= *unit
            }
            (DateInterval::Fixed { millis, .. }, _, Some(DateInterval::Fixed { millis: asked, .. })) => {
                asked >= *millis && asked % millis == 0
            }
            _ => false,
        }
}

/// Only conditions of Elasticsearch's kinds, on fields that the jobs group by.
fn check_query(filter: &Filter, place: &str, jobs: &[&KnownJob]) -> Result<()> {
    let (kind, field) = match filter {
        Filter::MatchAll => return Ok(()),
        Filter::Bool(BoolFilter { filter, must_not, should, .. }) => {
            return filter.iter().chain(must_not).chain(should).try_for_each(|part| check_query(part, place, jobs));
        }
        Filter::Term { field, .. } => ("term", field),
        Filter::Terms { field, .. } => ("terms", field),
        Filter::Range { field, .. } => ("range", field),
        Filter::MatchNone => return unsupported(place, "match_none"),
        Filter::Exists { .. } => return unsupported(place, "exists"),
        Filter::Prefix { .. } => return unsupported(place, "prefix"),
    };
    let groups_by = |job: &&KnownJob| {
        let groups = job.context.config().groups();
        groups.date_histogram().field() == field
            || groups.histogram_fields().contains(field)
            || groups.terms_fields().contains(field)
    };
    if jobs.iter().any(groups_by) {
        return Ok(());
    }
    let problem =
        format!("Field [{field}] in [{kind}] query is not available in selected rollup indices, cannot query.");
    Err(SearchRequestError::of_elasticsearch(place, problem))
}

fn unsupported(place: &str, kind: &str) -> Result<()> {
    Err(SearchRequestError::of_elasticsearch(place, format!("Unsupported Query in search request: [{kind}]")))
}
