//! From a request to what is asked for: everything is checked, with its place.

use std::collections::BTreeSet;

use super::aggregation::{
    Aggregation, BucketBounds, BucketOrder, DateHistogramAggregation, DateRangeAggregation, FiltersAggregation,
    HistogramAggregation, MetricAggregation, NumberRange, OrderBy, RangeAggregation, SearchInterval, SearchMetric,
    TermsAggregation,
};
use super::request::{SearchRequest, SearchRequestError};
use super::response::{BucketKey, BucketStyle};
use super::tree::{
    Branch, BranchKind, DateBranch, HistogramBranch, Level, MetricNode, Sequence, Sort, SortBy, TermsBranch, Tree,
};
use crate::filter::{DateFormat, DateReader, Filter, FilterRange, FilterValue};
use crate::job::{DateInterval, TimeValue, interval_grid};
use crate::measure::Measures;
use crate::sync::Arc;

/// The least width of a histogram's buckets: with less, large values would be so many widths away from zero that no
/// double has the number, and would be in no bucket.
const MIN_INTERVAL: f64 = 1e-100;

type Result<T> = std::result::Result<T, SearchRequestError>;

/// The longest that date buckets may be moved by, in milliseconds.
const MAX_OFFSET: i64 = 366 * 86_400_000;

impl Tree {
    /// Checks a request; `now` is what that means in it.
    pub(super) fn of(request: &SearchRequest, now: i64) -> Result<Self> {
        let mut compiler = Compiler { depth: 0, date_field: None, now };
        let root = compiler.level(&request.aggregations, "aggs")?;
        Ok(Self { filter: request.filter.clone(), root, date_field: compiler.date_field, now })
    }
}

/// So deep aggregations may be inside of each other.
const MAX_DEPTH: usize = 32;

struct Compiler {
    depth: usize,
    date_field: Option<String>,
    now: i64,
}

fn wrong<T>(place: &str, problem: impl Into<String>) -> Result<T> {
    Err(SearchRequestError::new(place, problem))
}

impl Compiler {
    fn level(&mut self, aggregations: &[(String, Aggregation)], place: &str) -> Result<Level> {
        let (mut metrics, mut measured, mut branches) = (Vec::new(), Vec::<(String, Measures)>::new(), Vec::new());
        let (mut names, mut metric_places, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (name, aggregation) in aggregations {
            let place = format!("{place}.{name}");
            if name.is_empty() || name.contains(['[', ']', '>']) {
                return wrong(&place, "an aggregation's name must not be empty or contain [, ] or >");
            }
            if !seen.insert(name) {
                return wrong(&place, format!("two sibling aggregations cannot have the same name: [{name}]"));
            }
            let name: Arc<str> = name.as_str().into();
            names.push(Arc::clone(&name));
            if let Aggregation::Metric(MetricAggregation { metric, field }) = aggregation {
                let place = format!("{place}.{}", metric.as_str());
                has_field(field, &place)?;
                let at = measured.iter().position(|(known, _)| known == field).unwrap_or_else(|| {
                    measured.push((field.clone(), Measures::NONE));
                    measured.len() - 1
                });
                measured[at].1 = measured[at].1 | metric.measures();
                metric_places.push(Some(metrics.len()));
                metrics.push(MetricNode { name, place, metric: *metric, measured: at });
            } else {
                metric_places.push(None);
                branches.push((place, aggregation));
            }
        }
        let branches = branches.into_iter().map(|(place, aggregation)| self.branch(place, aggregation));
        let branches = branches.collect::<Result<_>>()?;
        Ok(Level { metrics, measured, branches, names: names.into(), metric_places })
    }

    fn branch(&mut self, place: String, aggregation: &Aggregation) -> Result<Branch> {
        let (kind_name, inside) = inside(aggregation);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return wrong(&place, format!("is nested deeper than {MAX_DEPTH} aggregations"));
        }
        let level = self.level(inside, &format!("{place}.aggs"))?;
        self.depth -= 1;
        let place = format!("{place}.{kind_name}");
        let kind = match aggregation {
            Aggregation::DateHistogram(asked) => self.date_histogram(asked, &level, &place)?,
            Aggregation::Histogram(asked) => histogram(asked, &level, &place)?,
            Aggregation::Terms(asked) => terms(asked, &level, &place)?,
            Aggregation::Filter(asked) => {
                let conditions = vec![(BucketKey::Place(0), asked.filter.clone())];
                BranchKind::Conditions { conditions, style: None }
            }
            Aggregation::Filters(asked) => filters(asked, &place)?,
            Aggregation::Range(asked) => range(asked, &place)?,
            Aggregation::DateRange(asked) => self.date_range(asked, &place)?,
            Aggregation::Metric(_) => return wrong(&place, "a metric has no buckets"),
        };
        Ok(Branch { place, kind, level })
    }

    /// All dates of a search are of one field.
    fn has_date_field(&mut self, field: &str, place: &str) -> Result<()> {
        has_field(field, place)?;
        match &self.date_field {
            Some(known) if known != field => {
                wrong(place, format!("a search has its dates in one field, but was asked for [{known}] and [{field}]"))
            }
            _ => {
                self.date_field = Some(field.to_owned());
                Ok(())
            }
        }
    }

    fn date_histogram(&mut self, asked: &DateHistogramAggregation, level: &Level, place: &str) -> Result<BranchKind> {
        self.has_date_field(&asked.field, place)?;
        let at = |member: &str, problem: String| SearchRequestError::new(format!("{place}.{member}"), problem);
        let (member, interval) = match &asked.interval {
            SearchInterval::Calendar(text) => ("calendar_interval", DateInterval::calendar(text)),
            SearchInterval::Fixed(text) => ("fixed_interval", fixed_interval(text)),
            SearchInterval::Either(text) => ("interval", DateInterval::legacy(text)),
        };
        let interval = interval.map_err(|problem| at(member, problem))?;
        let zone = asked.time_zone.as_deref().unwrap_or("UTC");
        let grid = interval_grid(&interval, zone).map_err(|problem| at("time_zone", problem))?;
        let offset = asked.offset.as_deref().map_or(Ok(0), read_offset).map_err(|problem| at("offset", problem))?;
        let grid = grid.offset(offset);
        let format = DateFormat::new(asked.format.as_deref(), Some(zone)).map_err(|problem| at("format", problem))?;
        let reader = DateReader::new(asked.format.as_deref(), Some(zone), self.now);
        let reader = reader.map_err(|problem| at("format", problem))?;
        let bounds = |bounds: &Option<BucketBounds>, member: &str| -> Result<(Option<i64>, Option<i64>)> {
            let Some(bounds) = bounds else { return Ok((None, None)) };
            let read = |value: &Option<FilterValue>| {
                value.as_ref().map(|value| read_date(value, &reader).map_err(|problem| at(member, problem))).transpose()
            };
            let round = |instant: Option<i64>| instant.map(|instant| grid.round_down(instant));
            Ok((round(read(&bounds.min)?), round(read(&bounds.max)?)))
        };
        let (extended, hard) =
            (bounds(&asked.extended_bounds, "extended_bounds")?, bounds(&asked.hard_bounds, "hard_bounds")?);
        check_bounds(extended, hard, asked.min_doc_count, place)?;
        let style = BucketStyle::DateHistogram { format: Arc::new(format), keyed: asked.keyed };
        let order = sorts(&asked.order, level, place)?;
        let sequence = Sequence { min_doc_count: asked.min_doc_count, extended, hard, order, style };
        Ok(BranchKind::Date(DateBranch { grid, sequence }))
    }

    fn date_range(&mut self, asked: &DateRangeAggregation, place: &str) -> Result<BranchKind> {
        self.has_date_field(&asked.field, place)?;
        let (format, zone) = (asked.format.as_deref(), asked.time_zone.as_deref());
        let at = |member: &str, problem: String| SearchRequestError::new(format!("{place}.{member}"), problem);
        let printed = DateFormat::new(format, zone).map_err(|problem| at("format", problem))?;
        let reader = DateReader::new(format, zone, self.now).map_err(|problem| at("format", problem))?;
        if asked.ranges.is_empty() {
            return wrong(place, "requires [ranges] with at least one range");
        }
        let stretches = asked.ranges.iter().enumerate().map(|(number, stretch)| {
            let read = |value: &Option<FilterValue>| {
                let read = value.as_ref().map(|value| read_date(value, &reader)).transpose();
                read.map_err(|problem| at(&format!("ranges[{number}]"), problem))
            };
            Ok((read(&stretch.from)?, read(&stretch.to)?, &stretch.key))
        });
        let mut stretches = stretches.collect::<Result<Vec<_>>>()?;
        // As Elasticsearch has them, whatever their order was.
        stretches.sort_by_key(|(from, to, _)| (from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX)));
        let conditions = stretches.into_iter().map(|(from, to, key)| {
            let (name, range) = named_range(key.as_deref(), from, to, |end| printed.print(end));
            (BucketKey::DateRange(name, from, to), Filter::range(&asked.field, range))
        });
        let conditions = conditions.collect();
        let style = BucketStyle::DateRange { format: Arc::new(printed), keyed: asked.keyed };
        Ok(BranchKind::Conditions { conditions, style: Some(style) })
    }
}

/// What kind of aggregation it is, and what is inside of its buckets.
pub(super) fn inside(aggregation: &Aggregation) -> (&'static str, &[(String, Aggregation)]) {
    match aggregation {
        Aggregation::DateHistogram(asked) => ("date_histogram", &asked.aggregations),
        Aggregation::Histogram(asked) => ("histogram", &asked.aggregations),
        Aggregation::Terms(asked) => ("terms", &asked.aggregations),
        Aggregation::Filter(asked) => ("filter", &asked.aggregations),
        Aggregation::Filters(asked) => ("filters", &asked.aggregations),
        Aggregation::Range(asked) => ("range", &asked.aggregations),
        Aggregation::DateRange(asked) => ("date_range", &asked.aggregations),
        Aggregation::Metric(asked) => (asked.metric.as_str(), &[]),
    }
}

fn has_field(field: &str, place: &str) -> Result<()> {
    if field.is_empty() { wrong(place, "requires [field]") } else { Ok(()) }
}

fn histogram(asked: &HistogramAggregation, level: &Level, place: &str) -> Result<BranchKind> {
    has_field(&asked.field, place)?;
    let (at, interval) = (format!("{place}.interval"), asked.interval);
    if !(interval.is_finite() && interval > 0.0) {
        return wrong(&at, format!("has to be above zero, but was [{interval}]"));
    }
    if interval < MIN_INTERVAL {
        return wrong(&at, format!("has to be {MIN_INTERVAL:e} at least, but was [{interval:e}]"));
    }
    let bounds = |bounds: &Option<BucketBounds>, member: &str| -> Result<(Option<f64>, Option<f64>)> {
        let Some(bounds) = bounds else { return Ok((None, None)) };
        let read = |value: &Option<FilterValue>| match value {
            None => Ok(None),
            Some(value) => number(value).map_or_else(
                || wrong(&format!("{place}.{member}"), format!("expected a number, but was {}", value.to_json())),
                |number| Ok(Some(number)),
            ),
        };
        Ok((read(&bounds.min)?, read(&bounds.max)?))
    };
    let (extended, hard) =
        (bounds(&asked.extended_bounds, "extended_bounds")?, bounds(&asked.hard_bounds, "hard_bounds")?);
    check_bounds(extended, hard, asked.min_doc_count, place)?;
    let order = sorts(&asked.order, level, place)?;
    let style = BucketStyle::Histogram { keyed: asked.keyed };
    let sequence = Sequence { min_doc_count: asked.min_doc_count, extended, hard, order, style };
    Ok(BranchKind::Histogram(HistogramBranch { field: asked.field.clone(), interval: asked.interval, sequence }))
}

fn terms(asked: &TermsAggregation, level: &Level, place: &str) -> Result<BranchKind> {
    has_field(&asked.field, place)?;
    if asked.min_doc_count == 0 {
        return wrong(
            &format!("{place}.min_doc_count"),
            "0 is not supported: what is rolled up does not know of terms that no document has",
        );
    }
    if asked.size == 0 {
        return wrong(&format!("{place}.size"), "must be above zero");
    }
    let default = [OrderBy::Count.descending()];
    let order = if asked.order.is_empty() { &default[..] } else { &asked.order };
    Ok(BranchKind::Terms(TermsBranch {
        field: asked.field.clone(),
        size: asked.size,
        min_doc_count: asked.min_doc_count,
        order: sorts(order, level, place)?,
        include: asked.include.clone(),
        exclude: asked.exclude.clone(),
        missing: asked.missing.clone(),
    }))
}

fn filters(asked: &FiltersAggregation, place: &str) -> Result<BranchKind> {
    if asked.filters.is_empty() {
        return wrong(place, "requires [filters] with at least one filter");
    }
    let mut conditions: Vec<_> = asked
        .filters
        .iter()
        .enumerate()
        .map(|(number, (name, filter))| {
            let key = name.as_ref().map_or(BucketKey::Place(number), |name| BucketKey::Name(name.as_str().into()));
            (key, filter.clone())
        })
        .collect();
    let keyed = asked.filters.iter().all(|(name, _)| name.is_some());
    if let Some(other) = &asked.other {
        let none = Filter::none_of(asked.filters.iter().map(|(_, filter)| filter.clone()));
        let key = if keyed { BucketKey::Name(other.as_str().into()) } else { BucketKey::Place(conditions.len()) };
        conditions.push((key, none));
    }
    Ok(BranchKind::Conditions { conditions, style: Some(BucketStyle::Filters { keyed }) })
}

fn range(asked: &RangeAggregation, place: &str) -> Result<BranchKind> {
    has_field(&asked.field, place)?;
    if asked.ranges.is_empty() {
        return wrong(place, "requires [ranges] with at least one range");
    }
    // As Elasticsearch has them, whatever their order was.
    let mut ranges: Vec<&NumberRange> = asked.ranges.iter().collect();
    let ends = |range: &NumberRange| [range.from.unwrap_or(f64::NEG_INFINITY), range.to.unwrap_or(f64::INFINITY)];
    ranges.sort_by(|one, other| {
        let (one, other) = (ends(one), ends(other));
        one[0].total_cmp(&other[0]).then(one[1].total_cmp(&other[1]))
    });
    let conditions = ranges.into_iter().map(|range| {
        let (name, filter) = named_range(range.key.as_deref(), range.from, range.to, |end| format!("{end:?}"));
        (BucketKey::Range(name, range.from, range.to), Filter::range(&asked.field, filter))
    });
    Ok(BranchKind::Conditions {
        conditions: conditions.collect(),
        style: Some(BucketStyle::Range { keyed: asked.keyed }),
    })
}

/// What a range is called, by its key or its ends, and what is in it.
fn named_range<T: Copy + Into<FilterValue>>(
    key: Option<&str>,
    from: Option<T>,
    to: Option<T>,
    shown: impl Fn(T) -> String,
) -> (Arc<str>, FilterRange) {
    let end = |end: Option<T>| end.map_or_else(|| "*".to_owned(), &shown);
    let name = key.map_or_else(|| format!("{}-{}", end(from), end(to)).into(), Arc::from);
    let range = from.into_iter().fold(FilterRange::new(), FilterRange::at_least);
    (name, to.into_iter().fold(range, FilterRange::below))
}

fn sorts(order: &[BucketOrder], level: &Level, place: &str) -> Result<Vec<Sort>> {
    let place = &format!("{place}.order");
    let sort = |order: &BucketOrder| {
        let by = match &order.by {
            OrderBy::Count => SortBy::Count,
            OrderBy::Key => SortBy::Key,
            OrderBy::Metric(path) => metric_at(path, level, place)?,
        };
        Ok(Sort { by, is_descending: order.is_descending })
    };
    order.iter().map(sort).collect()
}

/// The metric that an order names.
fn metric_at(path: &str, level: &Level, place: &str) -> Result<SortBy> {
    let (name, part) = path.rsplit_once('.').unwrap_or((path, ""));
    let named = |name: &str| level.metrics.iter().find(|metric| *metric.name == *name);
    let (found, part) = match named(path) {
        Some(found) => (Some(found), ""),
        None => (named(name), part),
    };
    let Some(found) = found else {
        return wrong(
            place,
            format!("[{path}] is no metric right inside of the aggregation: add one, or order by _count or _key"),
        );
    };
    let metric = match (found.metric, part) {
        (SearchMetric::Stats, "min") => SearchMetric::Min,
        (SearchMetric::Stats, "max") => SearchMetric::Max,
        (SearchMetric::Stats, "sum") => SearchMetric::Sum,
        (SearchMetric::Stats, "avg") => SearchMetric::Avg,
        (SearchMetric::Stats, "count") => SearchMetric::ValueCount,
        (SearchMetric::Stats, _) => {
            return wrong(place, format!("[{path}] has several values: say which, such as [{name}.max]"));
        }
        (metric, "" | "value") => metric,
        (_, part) => return wrong(place, format!("[{name}] has one value and no [{part}]")),
    };
    Ok(SortBy::Metric(metric, found.measured))
}

fn check_bounds<T: PartialOrd + Copy>(
    extended: (Option<T>, Option<T>),
    hard: (Option<T>, Option<T>),
    min_doc_count: u64,
    place: &str,
) -> Result<()> {
    let is_turned = |(min, max): (Option<T>, Option<T>)| min.zip(max).is_some_and(|(min, max)| min > max);
    for (bounds, member) in [(extended, "extended_bounds"), (hard, "hard_bounds")] {
        if is_turned(bounds) {
            return wrong(&format!("{place}.{member}"), "[min] must not be above [max]");
        }
    }
    let is_outside = extended.0.zip(hard.0).is_some_and(|(extended, hard)| extended < hard)
        || extended.1.zip(hard.1).is_some_and(|(extended, hard)| extended > hard);
    if is_outside {
        return wrong(&format!("{place}.extended_bounds"), "extended bounds have to be inside hard bounds");
    }
    let has_extended = extended.0.is_some() || extended.1.is_some();
    if has_extended && min_doc_count > 0 {
        return wrong(&format!("{place}.extended_bounds"), "adds empty buckets, which needs a [min_doc_count] of 0");
    }
    Ok(())
}

fn fixed_interval(text: &str) -> std::result::Result<DateInterval, String> {
    DateInterval::fixed(text).map_err(|problem| match DateInterval::calendar(text) {
        Ok(_) => format!("{problem}; it is of the calendar: ask for it as [calendar_interval]"),
        Err(_) => problem,
    })
}

/// Elasticsearch's `offset`: a time value with a sign.
fn read_offset(text: &str) -> std::result::Result<i64, String> {
    let (sign, value) = match text.strip_prefix('-') {
        Some(value) => (-1, value),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = TimeValue::parse(value, "offset").map_err(|error| error.to_string())?;
    let millis = value.as_millis();
    if !(0..=MAX_OFFSET).contains(&millis) {
        return Err(format!("can be 366 days at most, but was [{text}]"));
    }
    Ok(sign * millis)
}

fn read_date(value: &FilterValue, reader: &DateReader<'_>) -> std::result::Result<i64, String> {
    match value {
        FilterValue::Text(text) => reader.read(text, false),
        FilterValue::Integer(millis) if !reader.has_format() => Ok(*millis),
        FilterValue::Integer(number) => reader.read(&number.to_string(), false),
        FilterValue::Double(number) => {
            #[expect(clippy::cast_possible_truncation, reason = "what is beyond is no date")]
            let millis = number.floor() as i64;
            Ok(millis)
        }
        FilterValue::Unsigned(_) | FilterValue::Boolean(_) => Err(format!("{} is no date", value.to_json())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bounds of doubles are doubles")]
fn number(value: &FilterValue) -> Option<f64> {
    match value {
        FilterValue::Integer(number) => Some(*number as f64),
        FilterValue::Unsigned(number) => Some(*number as f64),
        FilterValue::Double(number) => Some(*number),
        FilterValue::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        FilterValue::Boolean(_) => None,
    }
}
