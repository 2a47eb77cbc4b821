//! From the answer to a search to buckets.

use std::collections::HashMap;
use std::fmt::Display;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::query::COMPOSITE;
use crate::cluster::{Cause, Failure, Shards};
use crate::engine::JobContext;
use crate::job::{GroupKey, Histogram, KeyPart, TermsType};
use crate::rollup::{MetricValues, Page};

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
    aggregations: Option<HashMap<String, Composite<'a>>>,
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

    pub(super) fn hits(&self) -> u64 {
        self.hits.total.value
    }

    /// The buckets after `after` that begin before `before`.
    pub(super) fn buckets(&self, job: &JobContext, after: Option<&GroupKey>, before: i64) -> Result<Buckets, Failure> {
        let mut page = Page::new(job.layout());
        let nothing = || Failure::new(Cause::Unavailable, "the answer to a search has no buckets");
        let (mut last, mut too_far) = (None, 0);
        let composite = self.aggregations.as_ref().and_then(|found| found.get(COMPOSITE)).ok_or_else(nothing)?;
        for bucket in &composite.buckets {
            let bucket: Value = serde_json::from_str(bucket.get()).map_err(|error| unexpected("bucket", error))?;
            let key = key(job, &bucket["key"])?;
            // Documents with several dates bring buckets along that nobody asked for.
            if matches!(key.first(), Some(KeyPart::Date(start)) if *start >= before) {
                return Ok(Buckets { page, after: None, too_far });
            }
            if after.is_none_or(|after| key > *after) {
                let doc_count = bucket["doc_count"].as_u64().ok_or_else(|| unexpected("doc_count", &bucket))?;
                if is_too_far(job, &key) {
                    too_far += doc_count;
                    last = Some(key);
                    continue;
                }
                let metrics = (0..job.config().metrics().len()).map(|at| metric(&bucket[at.to_string()]));
                page.push(key.iter().cloned(), doc_count, metrics.collect::<Result<Vec<_>, _>>()?);
            }
            last = Some(key);
        }
        Ok(Buckets { page, after: last, too_far })
    }
}

fn unexpected(what: &str, found: impl Display) -> Failure {
    Failure::new(Cause::Refused, format!("the cluster answered a [{what}] that it cannot have: {found}"))
}

fn key(job: &JobContext, found: &Value) -> Result<GroupKey, Failure> {
    let (config, groups) = (job.config(), job.config().groups());
    let interval = groups.histogram().map_or(1.0, Histogram::interval);
    let histograms = groups.histogram_fields().len();
    let parts = config.key_names().iter().enumerate();
    let parts = parts.map(|(at, name)| match (at, &found[&**name]) {
        (0, value) => date(job, value).ok_or_else(|| {
            let text = format!(
                "the cluster begins a date bucket at [{value}], where by these rules of time zones none begins"
            );
            Failure::new(Cause::Refused, text)
        }),
        (_, Value::Null) => Ok(KeyPart::Null),
        (at, value) if at <= histograms => {
            let key = value.as_f64().and_then(|key| KeyPart::of_histogram_key(key, interval));
            key.ok_or_else(|| unexpected(name, value))
        }
        (at, value) => term(job.terms_types().get(at - 1 - histograms), value).ok_or_else(|| unexpected(name, value)),
    });
    parts.collect()
}

fn date(job: &JobContext, value: &Value) -> Option<KeyPart> {
    let (start, rounding) = (value.as_i64()?, job.config().rounding());
    (rounding.round_down(start) == start || !rounding.has(start)).then_some(KeyPart::Date(start))
}

/// Whether a bucket begins where nobody can tell the date.
fn is_too_far(job: &JobContext, key: &GroupKey) -> bool {
    let rounding = job.config().rounding();
    matches!(key.first(), Some(KeyPart::Date(start)) if rounding.round_down(*start) != *start)
}

fn term(kind: Option<&TermsType>, value: &Value) -> Option<KeyPart> {
    match kind.unwrap_or(&TermsType::Keyword) {
        TermsType::Keyword => value.as_str().map(|text| KeyPart::Text(text.into())),
        TermsType::Integer | TermsType::Unsigned => {
            value.as_i64().map(KeyPart::Integer).or_else(|| value.as_u64().map(KeyPart::Unsigned))
        }
        // As it is: the cluster tells -0.0 from 0.0.
        TermsType::Floating => value.as_f64().map(KeyPart::Double),
    }
}

fn metric(stats: &Value) -> Result<MetricValues, Failure> {
    let number = |name: &str, nothing: f64| match &stats[name] {
        Value::Null => Ok(nothing),
        found => found.as_f64().ok_or_else(|| unexpected(name, stats)),
    };
    Ok(MetricValues {
        count: stats["count"].as_u64().ok_or_else(|| unexpected("stats", stats))?,
        sum: number("sum", 0.0)?,
        compensation: 0.0,
        min: number("min", f64::INFINITY)?,
        max: number("max", f64::NEG_INFINITY)?,
    })
}
