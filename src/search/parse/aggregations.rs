//! The aggregations of a search body, each with the members that it has.

use serde_json::Value;

use super::object::{Object, Result, query, scalar, wrong};
use crate::filter::FilterValue;
use crate::search::aggregation::{
    Aggregation, BucketBounds, BucketOrder, DateHistogramAggregation, DateRangeAggregation, DateStretch,
    FilterAggregation, FiltersAggregation, HistogramAggregation, MetricAggregation, NamedAggregations, NumberRange,
    OrderBy, RangeAggregation, SearchInterval, SearchMetric, TermsAggregation,
};
use crate::search::request::SearchRequestError;

/// The aggregations that there are, for messages.
const KINDS: &str =
    "date_histogram, histogram, terms, filter, filters, range, date_range, min, max, sum, avg, value_count, stats";

/// Characters that mean something in Elasticsearch's regular expressions.
const OF_REGULAR_EXPRESSIONS: &[char] =
    &['.', '?', '+', '*', '|', '{', '}', '[', ']', '(', ')', '"', '\\', '#', '@', '&', '<', '>', '~'];

pub(super) fn read(aggregations: &Value, place: &str) -> Result<NamedAggregations> {
    let aggregations = Object::of(aggregations, place)?;
    let named = aggregations.iter().map(|(name, value)| Ok((name.clone(), one(name, value, &aggregations.at(name))?)));
    named.collect()
}

fn one(name: &str, value: &Value, place: &str) -> Result<Aggregation> {
    let members = Object::of(value, place)?;
    let (mut kind, mut inside) = (None, None);
    for (member, value) in members.iter() {
        match member.as_str() {
            "aggs" | "aggregations" if inside.is_none() => inside = Some(value),
            "aggs" | "aggregations" => return wrong(place, "has [aggs] and [aggregations]: one is enough"),
            "meta" => return wrong(&members.at("meta"), "is not supported: it would not come back"),
            _ => {
                if let Some((first, _)) = kind.replace((member.as_str(), value)) {
                    return wrong(place, format!("has two kinds, [{first}] and [{member}]"));
                }
            }
        }
    }
    let Some((kind, body)) = kind else { return wrong(place, format!("has no kind; there are {KINDS}")) };
    let inside = inside.map_or(Ok(Vec::new()), |inside| read(inside, &members.at("aggs")))?;
    let place = members.at(kind);
    if let Some(metric) = SearchMetric::ALL.into_iter().find(|metric| metric.as_str() == kind) {
        if !inside.is_empty() {
            return wrong(&place, format!("[{kind}] is a metric, which has no aggregations inside"));
        }
        let body = Object::of(body, &place)?;
        body.only(&["field"])?;
        return Ok(MetricAggregation::new(metric, body.required_text("field")?).into());
    }
    match kind {
        "date_histogram" => date_histogram(Object::of(body, &place)?, inside).map(Into::into),
        "histogram" => histogram(Object::of(body, &place)?, inside).map(Into::into),
        "terms" => terms(Object::of(body, &place)?, inside).map(Into::into),
        "filter" => {
            let mut filter = FilterAggregation::new(query(body, &place)?);
            filter.aggregations = inside;
            Ok(filter.into())
        }
        "filters" => filters(Object::of(body, &place)?, inside).map(Into::into),
        "range" => range(Object::of(body, &place)?, inside).map(Into::into),
        "date_range" => date_range(Object::of(body, &place)?, inside).map(Into::into),
        other => Err(SearchRequestError::of_elasticsearch(
            place,
            format!(
                "Unable to translate aggregation tree into Rollup.  Aggregation [{name}] is of type [{}] which is \
                 currently unsupported.  Supported are {KINDS}",
                class_name(other)
            ),
        )),
    }
}

/// What Elasticsearch calls the builder of a kind.
fn class_name(kind: &str) -> String {
    let words = kind.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    });
    format!("{}AggregationBuilder", words.collect::<String>())
}

fn date_histogram(body: Object<'_>, inside: NamedAggregations) -> Result<DateHistogramAggregation> {
    body.only(&[
        "field",
        "calendar_interval",
        "fixed_interval",
        "interval",
        "time_zone",
        "offset",
        "format",
        "keyed",
        "min_doc_count",
        "extended_bounds",
        "hard_bounds",
        "order",
    ])?;
    let legacy = match body.get("interval") {
        // A number is one of milliseconds.
        Some(Value::Number(millis)) => Some(SearchInterval::Fixed(format!("{millis}ms"))),
        _ => body.owned_text("interval")?.map(SearchInterval::Either),
    };
    let calendar = body.owned_text("calendar_interval")?.map(SearchInterval::Calendar);
    let fixed = body.owned_text("fixed_interval")?.map(SearchInterval::Fixed);
    let mut given = [calendar, fixed, legacy].into_iter().flatten();
    let Some(interval) = given.next() else {
        return wrong(body.place, "requires [calendar_interval] or [fixed_interval]");
    };
    if given.next().is_some() {
        return wrong(body.place, "has several intervals: one of [calendar_interval] and [fixed_interval] is enough");
    }
    let mut asked = DateHistogramAggregation::new(body.required_text("field")?, interval);
    asked.time_zone = body.owned_text("time_zone")?;
    asked.offset = match body.get("offset") {
        Some(Value::Number(millis)) => Some(format!("{millis}ms")),
        _ => body.owned_text("offset")?,
    };
    asked.format = body.owned_text("format")?;
    asked.keyed = body.switch("keyed")?;
    asked.min_doc_count = body.count("min_doc_count")?.unwrap_or(0);
    asked.extended_bounds = bounds(body, "extended_bounds")?;
    asked.hard_bounds = bounds(body, "hard_bounds")?;
    asked.order = order(body)?;
    asked.aggregations = inside;
    Ok(asked)
}

fn histogram(body: Object<'_>, inside: NamedAggregations) -> Result<HistogramAggregation> {
    body.only(&["field", "interval", "offset", "keyed", "min_doc_count", "extended_bounds", "hard_bounds", "order"])?;
    if body.number("offset")?.is_some_and(|offset| offset != 0.0) {
        return wrong(&body.at("offset"), "is not supported: ranges begin at multiples of their interval");
    }
    let Some(interval) = body.number("interval")? else { return wrong(body.place, "requires [interval]") };
    let mut asked = HistogramAggregation::new(body.required_text("field")?, interval);
    asked.keyed = body.switch("keyed")?;
    asked.min_doc_count = body.count("min_doc_count")?.unwrap_or(0);
    asked.extended_bounds = bounds(body, "extended_bounds")?;
    asked.hard_bounds = bounds(body, "hard_bounds")?;
    asked.order = order(body)?;
    asked.aggregations = inside;
    Ok(asked)
}

fn terms(body: Object<'_>, inside: NamedAggregations) -> Result<TermsAggregation> {
    // How Elasticsearch goes about it changes nothing in an exact answer.
    let ways = ["shard_size", "shard_min_doc_count", "execution_hint", "collect_mode", "value_type"];
    let known = ["field", "size", "order", "min_doc_count", "include", "exclude", "missing"];
    body.only(&[&known[..], &ways, &["show_term_doc_count_error"]].concat())?;
    let mut asked = TermsAggregation::new(body.required_text("field")?);
    if let Some(size) = body.count("size")? {
        asked.size = usize::try_from(size).unwrap_or(usize::MAX);
    }
    asked.order = order(body)?;
    if let Some(min_doc_count) = body.count("min_doc_count")? {
        asked.min_doc_count = min_doc_count;
    }
    asked.include = values(body, "include")?;
    asked.exclude = values(body, "exclude")?.unwrap_or_default();
    asked.missing = body.scalar("missing")?;
    asked.aggregations = inside;
    Ok(asked)
}

/// Terms, one by one or as an array.
fn values(body: Object<'_>, name: &str) -> Result<Option<Vec<FilterValue>>> {
    let place = body.at(name);
    match body.get(name) {
        None => Ok(None),
        Some(Value::Array(values)) => values.iter().map(|value| scalar(value, &place)).collect::<Result<_>>().map(Some),
        Some(Value::String(text)) if !text.contains(OF_REGULAR_EXPRESSIONS) => {
            Ok(Some(vec![FilterValue::from(text.as_str())]))
        }
        Some(Value::String(_)) => wrong(&place, "regular expressions are not supported: list the terms in an array"),
        Some(_) => wrong(&place, "partitions are not supported: list the terms in an array"),
    }
}

fn filters(body: Object<'_>, inside: NamedAggregations) -> Result<FiltersAggregation> {
    body.only(&["filters", "other_bucket", "other_bucket_key", "keyed"])?;
    let place = body.at("filters");
    let mut asked = match body.get("filters") {
        Some(Value::Object(named)) => {
            let named = named.iter().map(|(name, value)| Ok((name.clone(), query(value, &format!("{place}.{name}"))?)));
            FiltersAggregation::named(named.collect::<Result<Vec<_>>>()?)
        }
        Some(Value::Array(anonymous)) => {
            let read = |(at, value)| query(value, &format!("{place}[{at}]"));
            FiltersAggregation::anonymous(anonymous.iter().enumerate().map(read).collect::<Result<Vec<_>>>()?)
        }
        _ => return wrong(&place, "requires an object or an array of queries"),
    };
    asked.other = body.owned_text("other_bucket_key")?;
    if asked.other.is_none() && body.switch("other_bucket")? {
        asked.other = Some("_other_".to_owned());
    }
    asked.aggregations = inside;
    Ok(asked)
}

fn range(body: Object<'_>, inside: NamedAggregations) -> Result<RangeAggregation> {
    body.only(&["field", "ranges", "keyed"])?;
    let mut asked = RangeAggregation::new(body.required_text("field")?);
    asked.ranges = ranges(body, |range| {
        range.only(&["key", "from", "to"])?;
        Ok(NumberRange { key: range.owned_text("key")?, from: range.number("from")?, to: range.number("to")? })
    })?;
    asked.keyed = body.switch("keyed")?;
    asked.aggregations = inside;
    Ok(asked)
}

fn date_range(body: Object<'_>, inside: NamedAggregations) -> Result<DateRangeAggregation> {
    body.only(&["field", "ranges", "format", "time_zone", "keyed"])?;
    let mut asked = DateRangeAggregation::new(body.required_text("field")?);
    asked.ranges = ranges(body, |range| {
        range.only(&["key", "from", "to"])?;
        Ok(DateStretch { key: range.owned_text("key")?, from: range.scalar("from")?, to: range.scalar("to")? })
    })?;
    asked.format = body.owned_text("format")?;
    asked.time_zone = body.owned_text("time_zone")?;
    asked.keyed = body.switch("keyed")?;
    asked.aggregations = inside;
    Ok(asked)
}

fn ranges<T>(body: Object<'_>, read: impl Fn(Object<'_>) -> Result<T>) -> Result<Vec<T>> {
    let place = body.at("ranges");
    let Some(Value::Array(ranges)) = body.get("ranges") else { return wrong(&place, "requires an array of ranges") };
    let each = ranges.iter().enumerate().map(|(at, range)| read(Object::of(range, &format!("{place}[{at}]"))?));
    each.collect()
}

fn bounds(body: Object<'_>, name: &str) -> Result<Option<BucketBounds>> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let place = body.at(name);
    let bounds = Object::of(value, &place)?;
    bounds.only(&["min", "max"])?;
    Ok(Some(BucketBounds { min: bounds.scalar("min")?, max: bounds.scalar("max")? }))
}

/// One order, or several in an array.
fn order(body: Object<'_>) -> Result<Vec<BucketOrder>> {
    let place = body.at("order");
    let one = |value: &Value| -> Result<BucketOrder> {
        let order = Object::of(value, &place)?;
        let mut members = order.iter();
        let (Some((by, direction)), None) = (members.next(), members.next()) else {
            return wrong(&place, "requires one member, such as { \"_count\": \"desc\" }; several go into an array");
        };
        let by = match by.as_str() {
            "_count" => OrderBy::Count,
            "_key" | "_term" | "_time" => OrderBy::Key,
            metric => OrderBy::Metric(metric.to_owned()),
        };
        match direction.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("asc") => Ok(by.ascending()),
            Some("desc") => Ok(by.descending()),
            _ => wrong(&place, "requires [asc] or [desc]"),
        }
    };
    match body.get("order") {
        None => Ok(Vec::new()),
        Some(Value::Array(orders)) => orders.iter().map(one).collect(),
        Some(order) => Ok(vec![one(order)?]),
    }
}
