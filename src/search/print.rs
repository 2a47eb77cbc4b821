//! An answer as Elasticsearch's JSON.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::plan::{PlanPart, SearchPlan, Tier};
use super::response::{Bucket, BucketKey, BucketStyle, Buckets, Found, MetricFound, Results, SearchResponse, Stats};
use super::why_not::WhyNot;
use crate::filter::DateFormat;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrintOptions {
    /// Names say of which kind their aggregations are: `date_histogram#per_day`.
    pub typed_keys: bool,
    /// The total is a number, and no object with one.
    pub total_as_int: bool,
    /// Of which parts the answer is made, and why, in a member `rollup`.
    pub explain: bool,
}

impl PrintOptions {
    /// As Elasticsearch prints by default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names say of which kind their aggregations are.
    #[must_use]
    pub fn typed_keys(mut self, typed_keys: bool) -> Self {
        self.typed_keys = typed_keys;
        self
    }

    /// The total is a number.
    #[must_use]
    pub fn total_as_int(mut self, total_as_int: bool) -> Self {
        self.total_as_int = total_as_int;
        self
    }

    /// Also of which parts the answer is made, and why.
    #[must_use]
    pub fn explain(mut self, explain: bool) -> Self {
        self.explain = explain;
        self
    }
}

impl SearchResponse {
    /// Elasticsearch's JSON, with defaults.
    ///
    /// There are no hits: their total is how many documents the search is about, at least 0 where nobody knows. Shards
    /// are the tiers that were read.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self.printed(PrintOptions::new()))
            .unwrap_or_else(|error| unreachable!("an answer has texts and finite numbers: {error}"))
    }

    /// Elasticsearch's JSON, to be written wherever `serde` writes.
    #[must_use]
    pub fn printed(&self, options: PrintOptions) -> impl Serialize + '_ {
        Printed { response: self, options }
    }
}

struct Printed<'a> {
    response: &'a SearchResponse,
    options: PrintOptions,
}

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SearchResponse { took, total, results, plan } = self.response;
        let mut tiers: Vec<Tier> = plan.parts.iter().map(|part| part.tier).collect();
        tiers.sort_unstable_by_key(|tier| *tier == Tier::Raw);
        tiers.dedup();
        let total = match (total, self.options.total_as_int) {
            (Some(total), true) => json!(total),
            (Some(total), false) => json!({ "value": total, "relation": "eq" }),
            // What Elasticsearch says of hits that it has not counted.
            (None, true) => json!(-1),
            (None, false) => json!({ "value": 0, "relation": "gte" }),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("took", &u64::try_from(took.as_millis()).unwrap_or(u64::MAX))?;
        map.serialize_entry("timed_out", &false)?;
        map.serialize_entry("terminated_early", &false)?;
        let shards = tiers.len();
        map.serialize_entry("_shards", &json!({ "total": shards, "successful": shards, "skipped": 0, "failed": 0 }))?;
        map.serialize_entry("hits", &json!({ "total": total, "max_score": 0.0, "hits": [] }))?;
        if !results.found.is_empty() {
            let typed = self.options.typed_keys;
            map.serialize_entry("aggregations", &Members { results, typed })?;
        }
        if self.options.explain {
            map.serialize_entry("rollup", &plan.to_json())?;
        }
        map.end()
    }
}

/// Answers by their names.
struct Members<'a> {
    results: &'a Results,
    typed: bool,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.results.found.len()))?;
        write_results(&mut map, self.results, self.typed)?;
        map.end()
    }
}

fn write_results<M: SerializeMap>(map: &mut M, results: &Results, typed: bool) -> Result<(), M::Error> {
    for (name, found) in results.names.iter().zip(&results.found) {
        if typed {
            map.serialize_key(&format!("{}#{name}", found.kind()))?;
        } else {
            map.serialize_key(&**name)?;
        }
        match found {
            Found::Buckets(buckets) => map.serialize_value(&PrintedBuckets { buckets, typed })?,
            Found::Single(bucket) => map.serialize_value(&PrintedBucket { bucket, style: None, typed })?,
            Found::Metric(MetricFound::Single("value_count", value)) => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
                let count = value.map_or(0, |count| count as u64);
                map.serialize_value(&json!({ "value": count }))?;
            }
            Found::Metric(MetricFound::Single(_, value)) => map.serialize_value(&json!({ "value": value }))?,
            Found::Metric(MetricFound::Stats(Stats { count, min, max, avg, sum })) => {
                map.serialize_value(&json!({ "count": count, "min": min, "max": max, "avg": avg, "sum": sum }))?;
            }
        }
    }
    Ok(())
}

impl Found {
    /// The kind of its aggregation, as Elasticsearch's typed keys have it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Buckets(Buckets { style, .. }) => match style {
                BucketStyle::DateHistogram { .. } => "date_histogram",
                BucketStyle::Histogram { .. } => "histogram",
                BucketStyle::Terms { kind, .. } => kind,
                BucketStyle::Filters { .. } => "filters",
                BucketStyle::Range { .. } => "range",
                BucketStyle::DateRange { .. } => "date_range",
            },
            Self::Single(_) => "filter",
            Self::Metric(MetricFound::Single(kind, _)) => kind,
            Self::Metric(MetricFound::Stats(_)) => "stats",
        }
    }
}

struct PrintedBuckets<'a> {
    buckets: &'a Buckets,
    typed: bool,
}

impl Serialize for PrintedBuckets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Buckets { style, buckets } = self.buckets;
        let mut map = serializer.serialize_map(None)?;
        if let BucketStyle::Terms { other, .. } = style {
            map.serialize_entry("doc_count_error_upper_bound", &0)?;
            map.serialize_entry("sum_other_doc_count", other)?;
        }
        let printed = || buckets.iter().map(|bucket| PrintedBucket { bucket, style: Some(style), typed: self.typed });
        if style.is_keyed() {
            map.serialize_entry("buckets", &Keyed(printed().collect()))?;
        } else {
            map.serialize_entry("buckets", &printed().collect::<Vec<_>>())?;
        }
        map.end()
    }
}

impl BucketStyle {
    fn is_keyed(&self) -> bool {
        match self {
            Self::DateHistogram { keyed, .. }
            | Self::Histogram { keyed }
            | Self::Filters { keyed }
            | Self::Range { keyed }
            | Self::DateRange { keyed, .. } => *keyed,
            Self::Terms { .. } => false,
        }
    }

    fn format(&self) -> Option<&DateFormat> {
        match self {
            Self::DateHistogram { format, .. } | Self::DateRange { format, .. } => Some(format),
            Self::Histogram { .. } | Self::Terms { .. } | Self::Filters { .. } | Self::Range { .. } => None,
        }
    }
}

struct Keyed<'a>(Vec<PrintedBucket<'a>>);

impl Serialize for Keyed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|bucket| (bucket.name(), bucket)))
    }
}

struct PrintedBucket<'a> {
    bucket: &'a Bucket,
    /// `None` for the one bucket of a filter.
    style: Option<&'a BucketStyle>,
    typed: bool,
}

impl PrintedBucket<'_> {
    /// Its key where buckets are members of an object.
    fn name(&self) -> String {
        match &self.bucket.key {
            BucketKey::Date(start) => self
                .style
                .and_then(BucketStyle::format)
                .map_or_else(|| start.to_string(), |format| format.print(*start)),
            BucketKey::Number(number) => format!("{number:?}"),
            BucketKey::Integer(number) => number.to_string(),
            BucketKey::Unsigned(number) => number.to_string(),
            BucketKey::Place(at) => at.to_string(),
            BucketKey::Text(name)
            | BucketKey::Name(name)
            | BucketKey::Range(name, ..)
            | BucketKey::DateRange(name, ..) => name.to_string(),
        }
    }
}

impl Serialize for PrintedBucket<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { bucket: Bucket { key, doc_count, results }, style, typed } = self;
        let mut map = serializer.serialize_map(None)?;
        let format = style.and_then(BucketStyle::format);
        let is_named = style.is_some_and(BucketStyle::is_keyed);
        match key {
            BucketKey::Date(start) => {
                if let Some(format) = format {
                    map.serialize_entry("key_as_string", &format.print(*start))?;
                }
                map.serialize_entry("key", start)?;
            }
            BucketKey::Number(number) => map.serialize_entry("key", number)?,
            BucketKey::Integer(number) => map.serialize_entry("key", number)?,
            BucketKey::Unsigned(number) => map.serialize_entry("key", number)?,
            BucketKey::Text(text) => map.serialize_entry("key", &**text)?,
            BucketKey::Name(_) | BucketKey::Place(_) => {}
            BucketKey::Range(name, from, to) => {
                if !is_named {
                    map.serialize_entry("key", &**name)?;
                }
                for (end, value) in [("from", from), ("to", to)] {
                    if let Some(value) = value {
                        map.serialize_entry(end, value)?;
                    }
                }
            }
            BucketKey::DateRange(name, from, to) => {
                if !is_named {
                    map.serialize_entry("key", &**name)?;
                }
                for (end, value) in [("from", from), ("to", to)] {
                    if let Some(value) = value {
                        #[expect(clippy::cast_precision_loss, reason = "as Elasticsearch prints it")]
                        map.serialize_entry(end, &(*value as f64))?;
                        if let Some(format) = format {
                            map.serialize_entry(&format!("{end}_as_string"), &format.print(*value))?;
                        }
                    }
                }
            }
        }
        map.serialize_entry("doc_count", doc_count)?;
        write_results(&mut map, results, *typed)?;
        map.end()
    }
}

impl SearchPlan {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let part = |PlanPart { from, until, tier, reason }: &PlanPart| {
            let shown = |end: &Option<i64>| end.map(|end| DateFormat::default().print(end));
            json!({ "from": shown(from), "until": shown(until), "tier": tier.as_str(), "reason": reason.as_str() })
        };
        let why_not = |WhyNot { job_id, place, obstacle }: &WhyNot| {
            let reason = obstacle.to_string();
            json!({ "job_id": job_id, "place": place, "reason": reason })
        };
        json!({
            "job_id": self.job_id,
            "parts": self.parts.iter().map(part).collect::<Vec<_>>(),
            "why_not": self.why_not.iter().map(why_not).collect::<Vec<_>>(),
        })
    }
}
