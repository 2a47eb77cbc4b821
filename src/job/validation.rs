//! What makes a configuration valid: Elasticsearch's rules and messages, and what it should have checked as well.

use serde_json::Value;

use super::cron::CronSchedule;
use super::groups::{DateHistogram, Groups, RawGroups};
use super::interval::{DateInterval, time_zone};
use super::metrics::{MetricField, RawMetricField};
use super::names::{check_index_name, check_pattern_item};
use super::pattern::wildcard_match;
use super::problem::ConfigProblemKind::{
    Conflict, Cron, Interval, Metric as MetricKind, Missing, Name, PageSize, Pattern, Required, TimeValue as Time,
    TimeZone,
};
use super::problem::{ConfigProblem, Problems};
use super::rounding::Rounding;
use super::time_value::TimeValue;
use crate::measure::Metric;
use crate::sync::Arc;

/// The most buckets a page can have: the largest bucket limit of the search engines.
pub const MAX_PAGE_SIZE: u32 = 65_536;

pub(super) fn check_indices(pattern: Option<&str>, rollup_index: Option<&str>, problems: &mut Problems) {
    if let Some(pattern) = pattern {
        let items: Vec<_> = pattern.split(',').map(|item| item.trim_matches(' ')).collect();
        for item in &items {
            check_pattern_item(item, problems);
        }
        if items.iter().any(|item| item.is_empty()) {
            problems.add(Missing, "index_pattern", "Index pattern must be a non-null, non-empty string");
        } else if items.iter().any(|item| item.bytes().all(|b| b == b'*')) {
            // The missing parenthesis and the apostrophe are Elasticsearch's; clients match on the text.
            let message = "Index pattern must not match all indices (as it would match it's own rollup index";
            problems.add(Pattern, "index_pattern", message);
        } else if let Some(rollup_index) = rollup_index {
            let own = |item: &&&str| item.contains('*') && !item.starts_with('-') && wildcard_match(item, rollup_index);
            // What an exclusion takes out again is settled when the pattern is resolved, at put.
            let excluded =
                items.iter().any(|item| item.strip_prefix('-').is_some_and(|item| wildcard_match(item, rollup_index)));
            if !excluded && items.iter().any(|item| own(&item)) {
                problems.add(
                    Pattern,
                    "index_pattern",
                    "Index pattern would match rollup index name which is not allowed",
                );
            } else if items.contains(&rollup_index) {
                problems.add(Pattern, "rollup_index", "Rollup index may not be the same as the index pattern");
            }
        }
    }
    match rollup_index {
        Some("") => problems.add(Missing, "rollup_index", "Rollup index must be a non-null, non-empty string"),
        Some(name) if name.contains(['*', ',']) => {
            problems.add(Name, "rollup_index", format!("Rollup index must be one name, but was [{name}]"));
        }
        Some(name) => check_index_name(name, problems),
        None => {}
    }
}

pub(super) fn check_cron(cron: &str, problems: &mut Problems) -> Option<CronSchedule> {
    if cron.is_empty() {
        problems.add(Missing, "cron", "Cron schedule must be a non-null, non-empty string");
        return None;
    }
    cron.parse()
        .map_err(|error: super::cron::CronError| {
            let problem = ConfigProblem::new(Cron, "cron", error.to_string()).because(error.detail());
            problems.0.push(problem.hint_at(cron_hint(cron)));
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
            problems.add(
                PageSize,
                "page_size",
                format!("Page size must be at most [{MAX_PAGE_SIZE}] but was [{size}]"),
            );
            None
        }
        Some(size) if size > 0 => u32::try_from(size).ok(),
        _ => {
            problems.add(PageSize, "page_size", "Page size is mandatory and  must be a positive long");
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
            problems.add(Missing, format!("{path}.field"), "Field must be a non-null, non-empty string");
        } else if checked.iter().any(|other| other.field() == field) {
            problems.add(
                Conflict,
                format!("{path}.field"),
                format!("Field [{field}] is configured more than once in [metrics]"),
            );
        }
        let names = metrics.unwrap_or_default();
        if names.is_empty() {
            problems.add(Missing, format!("{path}.metrics"), "Metrics must be a non-null, non-empty array of strings");
        }
        let mut parsed = Vec::with_capacity(names.len());
        for name in names {
            match Metric::parse(&name) {
                None => {
                    let known = Metric::ALL.iter().map(|metric| metric.as_str()).collect::<Vec<_>>().join(", ");
                    let message = format!("Unsupported metric [{name}]. Supported metrics include: [{known}]");
                    problems.add(MetricKind, format!("{path}.metrics"), message);
                }
                Some(metric) if parsed.contains(&metric) => problems.add(
                    Conflict,
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
            problems.add(Interval, "groups.histogram.interval", "Interval must be a positive long");
            problems.hint(Some("the width of a bucket, a number above 0".to_owned()));
        }
        check_fields("groups.histogram.fields", &histogram.fields, problems);
        for field in histogram.fields.iter().filter(|field| metrics.iter().any(|m| m.field() == *field)) {
            let message = format!("Field [{field}] may not be in both [groups.histogram] and [metrics]");
            problems.add(Conflict, "groups.histogram.fields", message);
        }
    }
    if let Some(terms) = &raw.terms {
        check_fields("groups.terms.fields", &terms.fields, problems);
    }
    let date_histogram = match raw.date_histogram {
        None => {
            problems.add(Required, "groups.date_histogram", "Required [date_histogram]");
            return None;
        }
        Some(None) => {
            problems.add(Missing, "groups.date_histogram", "Date histogram must not be null");
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
        problems.add(Missing, path, "Fields must have at least one value");
    }
    for (at, field) in fields.iter().enumerate() {
        if field.is_empty() {
            problems.add(Missing, format!("{path}[{at}]"), "Field must be a non-null, non-empty string");
        } else if fields[..at].contains(field) {
            problems.add(
                Conflict,
                format!("{path}[{at}]"),
                format!("Field [{field}] is configured more than once in [{path}]"),
            );
        }
    }
}

/// What an interval may look like, if it is none.
fn interval_hint(given: &str) -> Option<String> {
    let given = given.trim();
    if given.is_empty() {
        return None;
    }
    Some(if given.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("units: ms, s, m, h, d, such as [{given}s]")
    } else {
        "units: ms, s, m, h, d; for weeks use calendar_interval [1w], for months [1M], quarters [1q] and years [1y]"
            .to_owned()
    })
}

/// How a cron expression of another dialect is written here.
fn cron_hint(given: &str) -> Option<String> {
    let fields: Vec<_> = given.split_whitespace().collect();
    let named = match given.trim() {
        "@yearly" | "@annually" => Some("0 0 0 1 1 ?"),
        "@monthly" => Some("0 0 0 1 * ?"),
        "@weekly" => Some("0 0 0 ? * SUN"),
        "@daily" | "@midnight" => Some("0 0 0 * * ?"),
        "@hourly" => Some("0 0 * * * ?"),
        _ => None,
    };
    if let Some(named) = named {
        return Some(format!("six or seven fields, seconds first: [{named}]"));
    }
    if let [minute, hour, day, month, weekday] = fields.as_slice() {
        let days = if *weekday == "*" || *weekday == "?" { (*day, "?") } else { ("?", *weekday) };
        let six = format!("0 {minute} {hour} {} {month} {}", days.0, days.1);
        let example = if six.parse::<CronSchedule>().is_ok() { six } else { "0 0 * * * ?".to_owned() };
        return Some(format!("six or seven fields, seconds first: [{example}]"));
    }
    (fields.len() < 6).then(|| "six or seven fields, seconds first: [0 0 * * * ?] is every hour".to_owned())
}

/// How long to wait for late documents. `field` is where it was given.
pub(super) fn check_delay(text: &str, field: &str, problems: &mut Problems) -> Option<TimeValue> {
    let delay = problems.keep(Time, field, TimeValue::parse(text, "delay"))?;
    if delay.as_millis() < 0 {
        // Elasticsearch takes -1, and then rolls buckets up that are not over.
        let text = format!(
            "failed to parse setting [delay] with value [{text}] as a time value: negative durations are not supported"
        );
        problems.add(Time, field, text);
    }
    Some(delay)
}

type CheckedDateHistogram = (DateHistogram, DateInterval, Rounding, Option<TimeValue>);

/// Checks the texts and puts them into the form that Elasticsearch reports: a legacy interval by what it is, the zone
/// spelled out.
fn check_date_histogram(mut raw: DateHistogram, problems: &mut Problems) -> Option<CheckedDateHistogram> {
    const PATH: &str = "groups.date_histogram";
    if raw.field.is_empty() {
        problems.add(Missing, format!("{PATH}.field"), "Field must be a non-null, non-empty string");
    }
    let zone = problems.keep(TimeZone, &format!("{PATH}.time_zone"), time_zone(raw.time_zone_id()));
    let delay = raw.delay.as_deref().and_then(|delay| check_delay(delay, &format!("{PATH}.delay"), problems));
    let given =
        [&raw.calendar_interval, &raw.fixed_interval, &raw.interval].into_iter().flatten().next().cloned().flatten();
    let (name, interval) = match (raw.calendar_interval.take(), raw.fixed_interval.take(), raw.interval.take()) {
        (Some(text), None, None) => ("calendar_interval", text.map(|text| DateInterval::calendar(&text))),
        (None, Some(text), None) => ("fixed_interval", text.map(|text| DateInterval::fixed(&text))),
        (None, None, Some(text)) => ("interval", text.map(|text| DateInterval::legacy(&text))),
        (None, None, None) => {
            problems.add(Missing, PATH, "An interval is required.  Use [fixed_interval] or [calendar_interval].");
            return None;
        }
        (Some(_), Some(_), None) => {
            problems.add(Conflict, PATH, "Cannot set both [fixed_interval] and [calendar_interval] at the same time");
            return None;
        }
        (_, _, Some(_)) => {
            problems.add(
                Conflict,
                PATH,
                "Cannot use [interval] with [fixed_interval] or [calendar_interval] configuration options.",
            );
            return None;
        }
    };
    let given = given.unwrap_or_default();
    let interval = interval.unwrap_or_else(|| Err("Interval must be non-null".to_owned()));
    let given = interval.as_ref().err().map(|_| given);
    let kept = problems.keep(Interval, &format!("{PATH}.{name}"), interval);
    if let Some(given) = given {
        problems.hint(interval_hint(&given));
    }
    let interval = kept?;
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
