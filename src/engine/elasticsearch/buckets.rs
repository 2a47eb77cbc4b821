//! From the answer to a search to buckets.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::query::{COMPOSITE, DOCUMENTS, INDICES, ROWS, VALUES, name};
use super::question::{MeasuredFields, Part, PartKind, Question};
use crate::cluster::{Cause, Failure, Shards};
use crate::job::{GroupKey, KeyPart, Rounding, TermsType};
use crate::measure::{Measure, Measures, MetricValues, whole_count};
use crate::rollup::Page;

/// What a search answers, as far as it is looked at. Parsed, all its buckets would take many times the memory of
/// their text, which nothing accounts for: they stay text until the page is made of them.
#[derive(Deserialize)]
pub(super) struct SearchAnswer<'a> {
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    pub(super) pit_id: Option<String>,
    #[serde(default)]
    hits: Hits,
    #[serde(borrow)]
    aggregations: Option<HashMap<String, &'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hits {
    total: Total,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Composite<'a> {
    #[serde(borrow)]
    buckets: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct IndexDates {
    buckets: Vec<IndexDate>,
}

#[derive(Deserialize)]
struct IndexDate {
    key: String,
    first: Number,
    last: Number,
}

/// The least or the greatest of some dates.
#[derive(Deserialize)]
pub(super) struct Number {
    value: Option<f64>,
}

impl Number {
    /// `None` if there is no date.
    #[expect(clippy::cast_possible_truncation, reason = "dates are whole numbers of milliseconds")]
    pub(super) fn date(&self) -> Option<i64> {
        self.value.map(|value| value.floor() as i64)
    }
}

/// What a page of the cluster's became.
pub(super) struct Buckets {
    pub(super) page: Page,
    /// Where the next page begins, if there is one.
    pub(super) after: Option<GroupKey>,
    /// Documents in date buckets that cannot be kept.
    pub(super) too_far: u64,
}

impl SearchAnswer<'_> {
    /// An answer that says less than everything is none.
    pub(super) fn whole(self) -> Result<Self, Failure> {
        if self.timed_out {
            return Err(Failure::new(Cause::Unavailable, "the search timed out on the server"));
        }
        self.shards.all_answered()?;
        Ok(self)
    }

    /// An aggregation, if there was an index to aggregate over.
    pub(super) fn aggregation<'s, T: Deserialize<'s>>(&'s self, name: &str) -> Result<Option<T>, Failure> {
        let Some(found) = self.aggregations.as_ref().and_then(|found| found.get(name)) else { return Ok(None) };
        serde_json::from_str(found.get()).map(Some).map_err(|error| unexpected(name, error))
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.total.value
    }

    /// The grouped fields that have more values than documents.
    pub(super) fn several_values(&self, question: &Question) -> Result<BTreeSet<String>, Failure> {
        let number = |name: String, member: &str| {
            let found = self.aggregations.as_ref().and_then(|found| found.get(&name)).map(|found| found.get());
            let found: Value =
                serde_json::from_str(found.unwrap_or("null")).map_err(|error| unexpected(&name, error))?;
            found[member].as_f64().map(whole_count).ok_or_else(|| unexpected(&name, found))
        };
        let mut several = BTreeSet::new();
        for (at, field) in question.request.grouping.fields().enumerate() {
            if number(format!("{VALUES}{at}"), "value")? > number(format!("{DOCUMENTS}{at}"), "doc_count")? {
                several.insert(field.to_owned());
            }
        }
        Ok(several)
    }

    /// Where the documents of each index are that are read.
    pub(super) fn dates(&self) -> Result<HashMap<String, Range<i64>>, Failure> {
        let Some(found) = self.aggregation::<IndexDates>(INDICES)? else { return Ok(HashMap::new()) };
        let dates = |index: IndexDate| match (index.first.date(), index.last.date()) {
            (Some(first), Some(last)) => (index.key, first..last.saturating_add(1)),
            _ => (index.key, 0..0),
        };
        Ok(found.buckets.into_iter().map(dates).collect())
    }

    /// The groups after `after` that are wanted, of so many buckets that were asked for: if there are fewer, these are
    /// the last.
    pub(super) fn buckets(
        &self,
        question: &Question,
        after: Option<&GroupKey>,
        asked: usize,
    ) -> Result<Buckets, Failure> {
        let mut buckets = Buckets { page: Page::of(&question.request.grouping), after: None, too_far: 0 };
        let nothing = || Failure::new(Cause::Unavailable, "the answer to a search has no buckets");
        if question.parts.is_empty() {
            self.only_group(question, after, &mut buckets)?;
            return Ok(buckets);
        }
        let composite = self.aggregations.as_ref().and_then(|found| found.get(COMPOSITE)).ok_or_else(nothing)?;
        let composite: Composite<'_> =
            serde_json::from_str(composite.get()).map_err(|error| unexpected("aggregation", error))?;
        for bucket in &composite.buckets {
            let bucket: Value = serde_json::from_str(bucket.get()).map_err(|error| unexpected("bucket", error))?;
            let key = key(question, &bucket["key"])?;
            // Documents with several dates bring buckets along that nobody asked for.
            match place(question, &key) {
                Place::Behind => {
                    buckets.after = None;
                    return Ok(buckets);
                }
                Place::TooFar if after.is_none_or(|after| key > *after) => {
                    buckets.too_far += doc_count(&bucket)?;
                }
                Place::Wanted if after.is_none_or(|after| key > *after) => {
                    let rows = rows(question, &bucket, doc_count(&bucket)?)?;
                    buckets.page.push(key.iter().cloned(), rows, measures(question, &bucket)?);
                }
                Place::Wanted | Place::TooFar | Place::Beside => {}
            }
            buckets.after = Some(key);
        }
        if composite.buckets.len() < asked {
            buckets.after = None;
        }
        Ok(buckets)
    }

    /// The group of all documents.
    fn only_group(&self, question: &Question, after: Option<&GroupKey>, into: &mut Buckets) -> Result<(), Failure> {
        let found = self.aggregations.iter().flatten();
        let found = found.map(|(name, found)| Ok((name.clone(), serde_json::from_str(found.get())?)));
        let found: serde_json::Result<serde_json::Map<String, Value>> = found.collect();
        let found = Value::Object(found.map_err(|error| unexpected("aggregation", error))?);
        let rows = rows(question, &found, self.hits())?;
        if rows > 0 && after.is_none() {
            into.page.push([], rows, measures(question, &found)?);
        }
        Ok(())
    }
}

fn unexpected(what: &str, found: impl Display) -> Failure {
    Failure::new(Cause::Refused, format!("the cluster answered a [{what}] that it cannot have: {found}"))
}

fn doc_count(bucket: &Value) -> Result<u64, Failure> {
    bucket["doc_count"].as_u64().ok_or_else(|| unexpected("doc_count", bucket))
}

/// How many rows so many documents stand for.
fn rows(question: &Question, bucket: &Value, documents: u64) -> Result<u64, Failure> {
    match &question.count {
        None => Ok(documents),
        Some(_) => bucket[ROWS]["value"].as_f64().map(whole_count).ok_or_else(|| unexpected(ROWS, bucket)),
    }
}

fn key(question: &Question, found: &Value) -> Result<GroupKey, Failure> {
    let part = |part: &Part| match (&part.kind, &found[&part.name]) {
        (PartKind::Date(grid), value) => date(grid, value).ok_or_else(|| {
            let text = format!(
                "the cluster begins a date bucket at [{value}], where by these rules of time zones none begins"
            );
            Failure::new(Cause::Refused, text)
        }),
        (_, Value::Null) => Ok(KeyPart::Null),
        (PartKind::Histogram { interval }, value) => {
            let key = value.as_f64().and_then(|key| KeyPart::of_histogram_key(key, *interval));
            key.ok_or_else(|| unexpected(&part.name, value))
        }
        (PartKind::Terms(kind), value) => term(*kind, value).ok_or_else(|| unexpected(&part.name, value)),
    };
    question.parts.iter().map(part).collect()
}

fn date(grid: &Rounding, value: &Value) -> Option<KeyPart> {
    let start = value.as_i64()?;
    (grid.round_down(start) == start || !grid.has(start)).then_some(KeyPart::Date(start))
}

/// Where a group is, seen from the times that are asked for.
enum Place {
    Wanted,
    /// Nobody can tell the date of its bucket.
    TooFar,
    Beside,
    /// Behind all of them.
    Behind,
}

fn place(question: &Question, key: &GroupKey) -> Place {
    let (times, grid) = (&question.request.times, question.request.grouping.grid());
    let (Some(grid), Some(KeyPart::Date(start))) = (grid, key.first()) else { return Place::Wanted };
    let bucket = grid.bucket(*start);
    if times.ranges().last().is_none_or(|last| bucket.start >= last.end) {
        return Place::Behind;
    }
    if bucket.start != *start {
        return Place::TooFar;
    }
    let at = times.ranges().partition_point(|range| range.end <= bucket.start);
    let is_wanted = if times.are_of_buckets() {
        times.contain(bucket.start, bucket.start)
    } else {
        times.ranges().get(at).is_some_and(|range| range.start < bucket.end)
    };
    if is_wanted { Place::Wanted } else { Place::Beside }
}

fn term(kind: TermsType, value: &Value) -> Option<KeyPart> {
    match kind {
        TermsType::Keyword => value.as_str().map(|text| KeyPart::Text(text.into())),
        TermsType::Integer | TermsType::Unsigned => {
            value.as_i64().map(KeyPart::Integer).or_else(|| value.as_u64().map(KeyPart::Unsigned))
        }
        // As it is: the cluster tells -0.0 from 0.0.
        TermsType::Floating => value.as_f64().map(KeyPart::Double),
    }
}

fn measures(question: &Question, bucket: &Value) -> Result<Vec<MetricValues>, Failure> {
    question.measured.iter().enumerate().map(|(at, measured)| of_field(at, measured, bucket)).collect()
}

fn of_field(at: usize, fields: &MeasuredFields, bucket: &Value) -> Result<MetricValues, Failure> {
    let mut values = MetricValues::default();
    let number = |found: &Value, nothing: f64| match found {
        Value::Null => Ok(nothing),
        found => found.as_f64().ok_or_else(|| unexpected("number", found)),
    };
    let mut put = |measure, found: &Value| -> Result<(), Failure> {
        match measure {
            Measure::Count => values.count = number(found, 0.0).map(whole_count)?,
            Measure::Sum => values.sum = number(found, 0.0)?,
            Measure::Min => values.min = number(found, f64::INFINITY)?,
            Measure::Max => values.max = number(found, f64::NEG_INFINITY)?,
        }
        Ok(())
    };
    if let MeasuredFields::Values(_, Measures::ALL) = fields {
        let stats = &bucket[at.to_string()];
        if stats["count"].is_null() {
            return Err(unexpected("stats", stats));
        }
        for (measure, name) in
            [(Measure::Count, "count"), (Measure::Sum, "sum"), (Measure::Min, "min"), (Measure::Max, "max")]
        {
            put(measure, &stats[name])?;
        }
    } else {
        fields.each().into_iter().try_for_each(|(measure, ..)| put(measure, &bucket[name(at, measure)]["value"]))?;
    }
    Ok(values)
}
