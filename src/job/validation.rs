//! What makes a configuration valid: Elasticsearch's rules and messages, and what it should have checked as well.

use std::fmt;

use serde_json::Value;

use super::config::MAX_PAGE_SIZE;
use super::cron::CronSchedule;
use super::groups::{DateHistogram, Groups, RawGroups};
use super::interval::{DateInterval, time_zone};
use super::metrics::{Metric, MetricField, RawMetricField};
use super::pattern::wildcard_match;
use super::rounding::Rounding;
use super::time_value::TimeValue;
use crate::sync::Arc;

/// A configuration is not valid. It holds everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration of rollup job [{id}]: {}", list(problems))]
pub struct ConfigError {
    pub(super) id: String,
    pub(super) problems: Vec<ConfigProblem>,
}

fn list(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl ConfigError {
    pub(crate) fn new(id: impl Into<String>, problems: Vec<ConfigProblem>) -> Self {
        Self { id: id.into(), problems }
    }

    /// Everything that is wrong, in Elasticsearch's order of checking; at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    field: String,
    message: String,
    detail: Option<String>,
    location: Option<(usize, usize)>,
}

impl ConfigProblem {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), detail: None, location: None }
    }

    pub(super) fn at(self, line: usize, column: usize) -> Self {
        Self { location: Some((line, column)), ..self }
    }

    /// Line and column in the JSON text, if it is not JSON of the right shape, so that nothing else was looked at.
    #[must_use]
    pub fn location(&self) -> Option<(usize, usize)> {
        self.location
    }

    /// The member it is about, such as `groups.date_histogram.delay`; empty if it is about the JSON text itself.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong: Elasticsearch's text where it has one.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// More about it, where Elasticsearch has it in a cause.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))
    }
}
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigProblem::new(field, message));
    }

    pub(super) fn keep<T, E: fmt::Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(field, error.to_string())).ok()
    }
}

pub(super) fn check_indices(pattern: Option<&str>, rollup_index: Option<&str>, problems: &mut Problems) {
    if let Some(pattern) = pattern {
        let items: Vec<_> = pattern.split(',').map(str::trim).collect();
        if items.iter().any(|item| item.is_empty()) {
            problems.add("index_pattern", "Index pattern must be a non-null, non-empty string");
        } else if items.iter().any(|item| item.bytes().all(|b| b == b'*')) {
            // The missing parenthesis and the apostrophe are Elasticsearch's; clients match on the text.
            let message = "Index pattern must not match all indices (as it would match it's own rollup index";
            problems.add("index_pattern", message);
        } else if let Some(rollup_index) = rollup_index {
            let own = |item: &&&str| item.contains('*') && !item.starts_with('-') && wildcard_match(item, rollup_index);
            // What an exclusion takes out again is settled when the pattern is resolved, at put.
            let excluded =
                items.iter().any(|item| item.strip_prefix('-').is_some_and(|item| wildcard_match(item, rollup_index)));
            if !excluded && items.iter().any(|item| own(&item)) {
                problems.add("index_pattern", "Index pattern would match rollup index name which is not allowed");
            } else if items.contains(&rollup_index) {
                problems.add("rollup_index", "Rollup index may not be the same as the index pattern");
            }
        }
    }
    match rollup_index {
        Some("") => problems.add("rollup_index", "Rollup index must be a non-null, non-empty string"),
        Some(name) if name.contains(['*', ',']) => {
            problems.add("rollup_index", format!("Rollup index must be one name, but was [{name}]"));
        }
        _ => {}
    }
}

pub(super) fn check_cron(cron: &str, problems: &mut Problems) -> Option<CronSchedule> {
    if cron.is_empty() {
        problems.add("cron", "Cron schedule must be a non-null, non-empty string");
        return None;
    }
    cron.parse()
        .map_err(|error: super::cron::CronError| {
            let detail = Some(error.detail().to_owned());
            problems.0.push(ConfigProblem { detail, ..ConfigProblem::new("cron", error.to_string()) });
        })
        .ok()
}

pub(super) fn check_page_size(size: &Value, problems: &mut Problems) -> Option<u32> {
    let number = match size {
        Value::String(text) => text.parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "Elasticsearch coerces a floating number by truncation")]
        other => other.as_i64().or_else(|| other.as_f64().map(|value| value as i64)),
    };
    match number {
        Some(size) if size > i64::from(MAX_PAGE_SIZE) => {
            problems.add("page_size", format!("Page size must be at most [{MAX_PAGE_SIZE}] but was [{size}]"));
            None
        }
        Some(size) if size > 0 => u32::try_from(size).ok(),
        _ => {
            problems.add("page_size", "Page size is mandatory and  must be a positive long");
            None
        }
    }
}

pub(super) fn check_metrics(raw: Vec<RawMetricField>, problems: &mut Problems) -> Vec<MetricField> {
    let mut checked: Vec<MetricField> = Vec::with_capacity(raw.len());
    for (at, RawMetricField { field, metrics }) in raw.into_iter().enumerate() {
        let path = format!("metrics[{at}]");
        let field = field.unwrap_or_default();
        if field.is_empty() {
            problems.add(format!("{path}.field"), "Field must be a non-null, non-empty string");
        } else if checked.iter().any(|other| other.field() == field) {
            problems.add(format!("{path}.field"), format!("Field [{field}] is configured more than once in [metrics]"));
        }
        let names = metrics.unwrap_or_default();
        if names.is_empty() {
            problems.add(format!("{path}.metrics"), "Metrics must be a non-null, non-empty array of strings");
        }
        let mut parsed = Vec::with_capacity(names.len());
        for name in names {
            match Metric::parse(&name) {
                None => problems.add(
                    format!("{path}.metrics"),
                    format!(
                        "Unsupported metric [{name}]. Supported metrics include: [min, avg, max, sum, value_count]"
                    ),
                ),
                Some(metric) if parsed.contains(&metric) => problems.add(
                    format!("{path}.metrics"),
                    format!("Metric [{name}] is configured more than once for field [{field}]"),
                ),
                Some(metric) => parsed.push(metric),
            }
        }
        checked.push(MetricField::new(field, parsed));
    }
    checked
}

pub(super) type CheckedGroups = (Groups, DateInterval, Rounding, Option<TimeValue>);

pub(super) fn check_groups(raw: RawGroups, metrics: &[MetricField], problems: &mut Problems) -> Option<CheckedGroups> {
    if let Some(histogram) = &raw.histogram {
        if !(histogram.interval.is_finite() && histogram.interval > 0.0) {
            problems.add("groups.histogram.interval", "Interval must be a positive long");
        }
        check_fields("groups.histogram.fields", &histogram.fields, problems);
        for field in histogram.fields.iter().filter(|field| metrics.iter().any(|m| m.field() == *field)) {
            let message = format!("Field [{field}] may not be in both [groups.histogram] and [metrics]");
            problems.add("groups.histogram.fields", message);
        }
    }
    if let Some(terms) = &raw.terms {
        check_fields("groups.terms.fields", &terms.fields, problems);
    }
    let date_histogram = match raw.date_histogram {
        None => {
            problems.add("groups.date_histogram", "Required [date_histogram]");
            return None;
        }
        Some(None) => {
            problems.add("groups.date_histogram", "Date histogram must not be null");
            return None;
        }
        Some(Some(date_histogram)) => date_histogram,
    };
    let (date_histogram, interval, rounding, delay) = check_date_histogram(date_histogram, problems)?;
    let groups = Groups { date_histogram, histogram: raw.histogram, terms: raw.terms };
    Some((groups, interval, rounding, delay))
}

fn check_fields(path: &str, fields: &[String], problems: &mut Problems) {
    if fields.is_empty() {
        problems.add(path, "Fields must have at least one value");
    }
    for (at, field) in fields.iter().enumerate() {
        if field.is_empty() {
            problems.add(format!("{path}[{at}]"), "Field must be a non-null, non-empty string");
        } else if fields[..at].contains(field) {
            problems.add(format!("{path}[{at}]"), format!("Field [{field}] is configured more than once in [{path}]"));
        }
    }
}

type CheckedDateHistogram = (DateHistogram, DateInterval, Rounding, Option<TimeValue>);

/// Checks the texts and puts them into the form that Elasticsearch reports: a legacy interval by what it is, the zone
/// spelled out.
fn check_date_histogram(mut raw: DateHistogram, problems: &mut Problems) -> Option<CheckedDateHistogram> {
    const PATH: &str = "groups.date_histogram";
    if raw.field.is_empty() {
        problems.add(format!("{PATH}.field"), "Field must be a non-null, non-empty string");
    }
    let zone = problems.keep(&format!("{PATH}.time_zone"), time_zone(raw.time_zone_id()));
    let delay = raw.delay.as_deref().map(|delay| TimeValue::parse(delay, "delay"));
    let delay = delay.and_then(|delay| problems.keep(&format!("{PATH}.delay"), delay));
    if delay.is_some_and(|delay| delay.as_millis() < 0) {
        let delay = raw.delay.as_deref().unwrap_or_default();
        // Elasticsearch takes -1, and then rolls buckets up that are not over.
        let text = format!(
            "failed to parse setting [delay] with value [{delay}] as a time value: negative durations are not supported"
        );
        problems.add(format!("{PATH}.delay"), text);
    }
    let (name, interval) = match (raw.calendar_interval.take(), raw.fixed_interval.take(), raw.interval.take()) {
        (Some(text), None, None) => ("calendar_interval", text.map(|text| DateInterval::calendar(&text))),
        (None, Some(text), None) => ("fixed_interval", text.map(|text| DateInterval::fixed(&text))),
        (None, None, Some(text)) => ("interval", text.map(|text| DateInterval::legacy(&text))),
        (None, None, None) => {
            problems.add(PATH, "An interval is required.  Use [fixed_interval] or [calendar_interval].");
            return None;
        }
        (Some(_), Some(_), None) => {
            problems.add(PATH, "Cannot set both [fixed_interval] and [calendar_interval] at the same time");
            return None;
        }
        (_, _, Some(_)) => {
            problems
                .add(PATH, "Cannot use [interval] with [fixed_interval] or [calendar_interval] configuration options.");
            return None;
        }
    };
    let interval = interval.unwrap_or_else(|| Err("Interval must be non-null".to_owned()));
    let interval = problems.keep(&format!("{PATH}.{name}"), interval)?;
    let text = Some(Some(interval.text().to_owned()));
    match interval {
        DateInterval::Calendar { .. } => raw.calendar_interval = text,
        DateInterval::Fixed { .. } => raw.fixed_interval = text,
    }
    raw.time_zone = Some(raw.time_zone_id().to_owned());
    let rounding = Rounding::new(interval.unit(), zone?);
    Some((raw, interval, rounding, delay))
}

pub(super) fn key_names(groups: &Groups) -> Arc<[Arc<str>]> {
    let date = std::iter::once(format!("{}.date_histogram", groups.date_histogram.field));
    let histogram = groups.histogram_fields().iter().map(|field| format!("{field}.histogram"));
    let terms = groups.terms_fields().iter().map(|field| format!("{field}.terms"));
    date.chain(histogram).chain(terms).map(Arc::from).collect()
}
