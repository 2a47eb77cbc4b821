//! What the answer to a search has to be, worked out over the raw documents one by one: slowly, and by nothing that the
//! search itself uses but the grids of date buckets.

#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "numbers are small here")]

use std::collections::BTreeMap;
use std::ops::Bound;

use rollup_jobs::engine::{SourceDocument, SourceValue};
use rollup_jobs::filter::{BoolFilter, Filter, FilterRange, FilterValue};
use rollup_jobs::search::{
    Aggregation, BucketBounds, BucketOrder, DateHistogramAggregation, HistogramAggregation, NamedAggregations, OrderBy,
    SearchInterval, SearchMetric, SearchRequest, TermsAggregation,
};
use rollup_jobs::{DateHistogram, RollupJobConfig, Rounding};
use serde_json::{Map, Value, json};

/// A document with one of its dates.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    number: usize,
    document: &'a SourceDocument,
    date: i64,
}

type Pairs<'a> = Vec<Pair<'a>>;

/// The aggregations of the answer, as JSON, and how many documents it is about.
pub fn answer(documents: &[SourceDocument], request: &SearchRequest) -> (u64, Value) {
    let pairs = documents.iter().enumerate().flat_map(|(number, document)| {
        let dates = values(document, "timestamp").iter().filter_map(|value| match value {
            SourceValue::Date(date) => Some(*date),
            _ => None,
        });
        dates.map(move |date| Pair { number, document, date })
    });
    let pairs: Pairs<'_> = pairs.filter(|pair| means(&request.filter, pair)).collect();
    (count(&pairs), Value::Object(aggregate(&pairs, &request.aggregations)))
}

fn values<'a>(document: &'a SourceDocument, field: &str) -> &'a [SourceValue] {
    document.fields().find(|(name, _)| *name == field).map_or(&[], |(_, values)| values)
}

fn count(pairs: &Pairs<'_>) -> u64 {
    distinct(pairs).len() as u64
}

/// Each document once.
fn distinct<'a>(pairs: &Pairs<'a>) -> Vec<&'a SourceDocument> {
    pairs.iter().map(|pair| (pair.number, pair.document)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// A value as a number or a text.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Plain {
    Number(f64),
    Text(String),
}

fn plain(value: &SourceValue) -> Plain {
    match value {
        SourceValue::Date(value) | SourceValue::Integer(value) => Plain::Number(*value as f64),
        SourceValue::Double(value) => Plain::Number(*value),
        SourceValue::Keyword(text) => Plain::Text(text.to_string()),
        other => panic!("{other:?}"),
    }
}

fn wanted(value: &FilterValue) -> Plain {
    match value {
        FilterValue::Integer(value) => Plain::Number(*value as f64),
        FilterValue::Double(value) => Plain::Number(*value),
        FilterValue::Text(text) => Plain::Text(text.to_string()),
        other => panic!("{other:?}"),
    }
}

fn of_pair(pair: &Pair<'_>, field: &str) -> Vec<Plain> {
    if field == "timestamp" {
        return vec![Plain::Number(pair.date as f64)];
    }
    values(pair.document, field).iter().map(plain).collect()
}

fn means(filter: &Filter, pair: &Pair<'_>) -> bool {
    let any = |field: &str, holds: &dyn Fn(&Plain) -> bool| of_pair(pair, field).iter().any(holds);
    match filter {
        Filter::MatchAll => true,
        Filter::MatchNone => false,
        Filter::Term { field, value } => any(field, &|found| *found == wanted(value)),
        Filter::Terms { field, values } => any(field, &|found| values.iter().any(|value| *found == wanted(value))),
        Filter::Range { field, range } => any(field, &|found| within(range, found)),
        Filter::Exists { field } => any(field, &|_| true),
        Filter::Prefix { field, prefix } => {
            any(field, &|found| matches!(found, Plain::Text(text) if text.starts_with(prefix)))
        }
        Filter::Bool(BoolFilter { filter, must_not, should, minimum_should_match }) => {
            filter.iter().all(|filter| means(filter, pair))
                && !must_not.iter().any(|filter| means(filter, pair))
                && should.iter().filter(|filter| means(filter, pair)).count() >= *minimum_should_match
        }
    }
}

fn within(range: &FilterRange, found: &Plain) -> bool {
    let above = match &range.from {
        Bound::Unbounded => true,
        Bound::Included(from) => *found >= wanted(from),
        Bound::Excluded(from) => *found > wanted(from),
    };
    let below = match &range.to {
        Bound::Unbounded => true,
        Bound::Included(to) => *found <= wanted(to),
        Bound::Excluded(to) => *found < wanted(to),
    };
    above && below
}

fn aggregate(pairs: &Pairs<'_>, aggregations: &NamedAggregations) -> Map<String, Value> {
    aggregations.iter().map(|(name, aggregation)| (name.clone(), one(pairs, aggregation))).collect()
}

/// Some of the pairs, by a key that sorts, with what is printed of it.
struct Group<'a> {
    key: Plain,
    printed: Vec<(&'static str, Value)>,
    pairs: Pairs<'a>,
}

impl Group<'_> {
    fn printed(&self, inside: &NamedAggregations) -> Value {
        let mut bucket: Map<String, Value> =
            self.printed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        bucket.insert("doc_count".to_owned(), json!(count(&self.pairs)));
        bucket.extend(aggregate(&self.pairs, inside));
        Value::Object(bucket)
    }
}

pub fn grid(interval: &SearchInterval, zone: Option<&str>, offset: Option<&str>) -> Rounding {
    let histogram = match interval {
        SearchInterval::Calendar(text) => DateHistogram::calendar_interval("timestamp", text),
        SearchInterval::Fixed(text) | SearchInterval::Either(text) => DateHistogram::fixed_interval("timestamp", text),
    };
    let config = RollupJobConfig::builder("a").index_pattern("in").rollup_index("out").cron("0 0 * * * ?").page_size(1);
    let config = config.date_histogram(histogram.time_zone(zone.unwrap_or("UTC"))).build().unwrap();
    let hours: i64 = offset.map_or(0, |text| text.trim_end_matches('h').parse().unwrap());
    config.rounding().clone().offset(hours * 3_600_000)
}

fn one(pairs: &Pairs<'_>, aggregation: &Aggregation) -> Value {
    match aggregation {
        Aggregation::DateHistogram(asked) => date_histogram(pairs, asked),
        Aggregation::Histogram(asked) => histogram(pairs, asked),
        Aggregation::Terms(asked) => terms(pairs, asked),
        Aggregation::Filter(asked) => {
            let pairs = pairs.iter().filter(|pair| means(&asked.filter, pair)).copied().collect();
            Group { key: Plain::Number(0.0), printed: Vec::new(), pairs }.printed(&asked.aggregations)
        }
        Aggregation::Filters(asked) => {
            let buckets = asked.filters.iter().map(|(name, filter)| {
                let pairs = pairs.iter().filter(|pair| means(filter, pair)).copied().collect();
                let group = Group { key: Plain::Number(0.0), printed: Vec::new(), pairs };
                (name.clone().unwrap(), group.printed(&asked.aggregations))
            });
            json!({ "buckets": buckets.collect::<Map<String, Value>>() })
        }
        Aggregation::Range(asked) => {
            let buckets = asked.ranges.iter().map(|range| {
                let holds = |value: &Plain| match value {
                    Plain::Number(value) => {
                        range.from.is_none_or(|from| *value >= from) && range.to.is_none_or(|to| *value < to)
                    }
                    Plain::Text(_) => false,
                };
                let pairs =
                    pairs.iter().filter(|pair| of_pair(pair, &asked.field).iter().any(holds)).copied().collect();
                let shown = |end: Option<f64>| end.map_or_else(|| "*".to_owned(), |end| format!("{end:?}"));
                let mut printed = vec![("key", json!(format!("{}-{}", shown(range.from), shown(range.to))))];
                printed.extend(range.from.map(|from| ("from", json!(from))));
                printed.extend(range.to.map(|to| ("to", json!(to))));
                Group { key: Plain::Number(0.0), printed, pairs }.printed(&asked.aggregations)
            });
            json!({ "buckets": buckets.collect::<Vec<_>>() })
        }
        Aggregation::Metric(asked) => metric(asked.metric, &measured(pairs, &asked.field)),
        other => panic!("{other:?}"),
    }
}

fn date_histogram(pairs: &Pairs<'_>, asked: &DateHistogramAggregation) -> Value {
    let grid = grid(&asked.interval, asked.time_zone.as_deref(), asked.offset.as_deref());
    let mut groups: BTreeMap<i64, Pairs<'_>> = BTreeMap::new();
    for pair in pairs {
        groups.entry(grid.round_down(pair.date)).or_default().push(*pair);
    }
    let bounds = |bounds: &Option<BucketBounds>| {
        let read = |value: &Option<FilterValue>| match value.as_ref().map(wanted) {
            Some(Plain::Number(number)) => Some(grid.round_down(number as i64)),
            _ => None,
        };
        bounds.as_ref().map_or((None, None), |bounds| (read(&bounds.min), read(&bounds.max)))
    };
    let (extended, hard) = (bounds(&asked.extended_bounds), bounds(&asked.hard_bounds));
    groups.retain(|start, _| hard.0.is_none_or(|min| *start >= min) && hard.1.is_none_or(|max| *start < max));
    if asked.min_doc_count == 0 {
        let ends = groups.keys().copied().chain(extended.0).chain(extended.1);
        let ends: Vec<i64> = ends.collect();
        let is_bounded = !groups.is_empty() || extended.0.is_some() && extended.1.is_some();
        if let (true, Some(first), Some(last)) = (is_bounded, ends.iter().min(), ends.iter().max()) {
            // Of a bucket each hour has some minute, whatever the time zone.
            for minute in (*first..=*last).step_by(60_000 * 15) {
                let start = grid.round_down(minute);
                if (*first..=*last).contains(&start) {
                    groups.entry(start).or_default();
                }
            }
        }
    } else {
        groups.retain(|_, pairs| count(pairs) >= asked.min_doc_count);
    }
    let mut groups: Vec<Group<'_>> = groups
        .into_iter()
        .map(|(start, pairs)| Group { key: Plain::Number(start as f64), printed: vec![("key", json!(start))], pairs })
        .collect();
    sort(&mut groups, &asked.order, &asked.aggregations);
    json!({ "buckets": groups.iter().map(|group| group.printed(&asked.aggregations)).collect::<Vec<_>>() })
}

fn histogram(pairs: &Pairs<'_>, asked: &HistogramAggregation) -> Value {
    let mut groups: BTreeMap<i64, Pairs<'_>> = BTreeMap::new();
    for pair in pairs {
        for value in of_pair(pair, &asked.field) {
            let Plain::Number(value) = value else { panic!("{value:?}") };
            let pairs = groups.entry((value / asked.interval).floor() as i64).or_default();
            pairs.push(*pair);
        }
    }
    if asked.min_doc_count == 0
        && let (Some(first), Some(last)) = (groups.keys().next().copied(), groups.keys().last().copied())
    {
        for number in first..=last {
            groups.entry(number).or_default();
        }
    }
    groups.retain(|_, pairs| count(pairs) >= asked.min_doc_count);
    let mut groups: Vec<Group<'_>> = groups
        .into_iter()
        .map(|(number, pairs)| {
            let key = number as f64 * asked.interval;
            Group { key: Plain::Number(key), printed: vec![("key", json!(key))], pairs }
        })
        .collect();
    sort(&mut groups, &asked.order, &asked.aggregations);
    json!({ "buckets": groups.iter().map(|group| group.printed(&asked.aggregations)).collect::<Vec<_>>() })
}

fn terms(pairs: &Pairs<'_>, asked: &TermsAggregation) -> Value {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for pair in pairs {
        let mut found = of_pair(pair, &asked.field);
        if let (true, Some(missing)) = (found.is_empty(), &asked.missing) {
            found.push(wanted(missing));
        }
        for key in found {
            match groups.iter_mut().find(|group| group.key == key) {
                Some(group) => group.pairs.push(*pair),
                None => {
                    let printed = match &key {
                        Plain::Number(number) => json!(*number as i64),
                        Plain::Text(text) => json!(text),
                    };
                    groups.push(Group { key, printed: vec![("key", printed)], pairs: vec![*pair] });
                }
            }
        }
    }
    let is_in = |values: &[FilterValue], key: &Plain| values.iter().any(|value| wanted(value) == *key);
    groups.retain(|group| asked.include.as_ref().is_none_or(|include| is_in(include, &group.key)));
    groups.retain(|group| !is_in(&asked.exclude, &group.key));
    let all: u64 = groups.iter().map(|group| count(&group.pairs)).sum();
    groups.retain(|group| count(&group.pairs) >= asked.min_doc_count);
    let default = [OrderBy::Count.descending()];
    let order = if asked.order.is_empty() { &default[..] } else { &asked.order };
    sort(&mut groups, order, &asked.aggregations);
    groups.truncate(asked.size);
    let returned: u64 = groups.iter().map(|group| count(&group.pairs)).sum();
    json!({
        "doc_count_error_upper_bound": 0,
        "sum_other_doc_count": all - returned,
        "buckets": groups.iter().map(|group| group.printed(&asked.aggregations)).collect::<Vec<_>>(),
    })
}

fn measured(pairs: &Pairs<'_>, field: &str) -> Vec<f64> {
    let values = distinct(pairs).into_iter().flat_map(|document| values(document, field));
    values
        .map(|value| match plain(value) {
            Plain::Number(number) => number,
            other @ Plain::Text(_) => panic!("{other:?}"),
        })
        .collect()
}

fn metric(kind: SearchMetric, values: &[f64]) -> Value {
    let of = |kind: SearchMetric| single(kind, values);
    match kind {
        SearchMetric::Stats => json!({
            "count": values.len(),
            "min": of(SearchMetric::Min),
            "max": of(SearchMetric::Max),
            "avg": of(SearchMetric::Avg),
            "sum": of(SearchMetric::Sum),
        }),
        SearchMetric::ValueCount => json!({ "value": values.len() }),
        kind => json!({ "value": of(kind) }),
    }
}

fn single(kind: SearchMetric, values: &[f64]) -> Option<f64> {
    // Whole numbers: their sums are the same in any order.
    let sum: f64 = values.iter().sum();
    match kind {
        SearchMetric::Min => values.iter().copied().reduce(f64::min),
        SearchMetric::Max => values.iter().copied().reduce(f64::max),
        SearchMetric::Sum => Some(sum + 0.0),
        SearchMetric::Avg => (!values.is_empty()).then(|| sum / values.len() as f64),
        SearchMetric::ValueCount => Some(values.len() as f64),
        other => panic!("{other:?}"),
    }
}

fn sort(groups: &mut [Group<'_>], order: &[BucketOrder], inside: &NamedAggregations) {
    groups.sort_by(|a, b| {
        for BucketOrder { by, is_descending, .. } in order {
            let direct = |ordering: std::cmp::Ordering| if *is_descending { ordering.reverse() } else { ordering };
            let ordering = match by {
                OrderBy::Count => direct(count(&a.pairs).cmp(&count(&b.pairs))),
                OrderBy::Key => direct(a.key.partial_cmp(&b.key).unwrap()),
                OrderBy::Metric(name) => {
                    let (_, aggregation) = inside.iter().find(|(known, _)| known == name).unwrap();
                    let Aggregation::Metric(asked) = aggregation else { panic!("{aggregation:?}") };
                    let of = |group: &Group<'_>| single(asked.metric, &measured(&group.pairs, &asked.field));
                    match (of(a), of(b)) {
                        (Some(a), Some(b)) => direct(a.total_cmp(&b)),
                        (Some(_), None) => std::cmp::Ordering::Less,
                        (None, Some(_)) => std::cmp::Ordering::Greater,
                        (None, None) => std::cmp::Ordering::Equal,
                    }
                }
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        a.key.partial_cmp(&b.key).unwrap()
    });
}

/// What is not told by the oracle is left out: the keys of date buckets as texts.
pub fn without_texts(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != "key_as_string")
            .map(|(name, value)| (name, without_texts(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_texts).collect(),
        other => other,
    }
}
