//! Which indices a pattern means, and what fields they have.

use serde_json::Value;

use super::of_job;
use crate::cluster::{Cause, Cluster, Failure, Request};
use crate::engine::{FieldCapabilities, FieldType, JobContext, StopSignal};
use crate::job::{IndexPattern, wildcard_match};

/// What a pattern means at this moment.
pub(super) struct Resolved {
    /// All names, aliases and data streams included, sorted.
    pub(super) names: Vec<String>,
    /// Whether there is an index that is open.
    pub(super) has_open: bool,
    /// Those that are closed, and would be left out.
    pub(super) closed: Vec<String>,
}

/// The pattern without what only makes it readable.
pub(super) fn expression(pattern: &IndexPattern) -> String {
    pattern.items().collect::<Vec<_>>().join(",")
}

pub(super) fn resolve(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    stop: &StopSignal,
) -> Result<Resolved, Failure> {
    let request = Request::get(["_resolve", "index", &expression(pattern)]).query("expand_wildcards", "all");
    let answer = cluster.ask(of_job(job, request), stop)?.json()?;
    let entries = |kind: &str| answer[kind].as_array().cloned().unwrap_or_default();
    let has = |entry: &Value, attribute: &str| {
        entry["attributes"].as_array().is_some_and(|attributes| attributes.iter().any(|found| found == attribute))
    };
    let (indices, aliases, streams) = (entries("indices"), entries("aliases"), entries("data_streams"));
    let name_of = |entry: &Value| entry["name"].as_str().map(str::to_owned);
    // A search does not look into hidden indices, unless it is said so.
    let is_meant =
        |index: &&Value| !has(index, "hidden") || name_of(index).is_some_and(|name| asks_for_hidden(pattern, &name));
    let meant: Vec<_> = indices.iter().filter(is_meant).collect();
    let has_open = meant.iter().any(|index| has(index, "open")) || !aliases.is_empty() || !streams.is_empty();
    let closed = meant.iter().filter(|index| has(index, "closed")).filter_map(|index| name_of(index)).collect();
    let mut names: Vec<String> = [&indices, &aliases, &streams].into_iter().flatten().filter_map(name_of).collect();
    names.sort_unstable();
    names.dedup();
    // Servers differ in whether they say so themselves.
    let plain =
        pattern.items().enumerate().filter(|(at, item)| !(item.contains('*') || *at > 0 && item.starts_with('-')));
    for (_, name) in plain {
        if !names.iter().any(|known| known == name) {
            return Err(Failure::new(Cause::NotFound, format!("no such index [{name}]")));
        }
    }
    Ok(Resolved { names, has_open, closed })
}

/// Whether a pattern means an index although that is hidden: it names it, or matches it with a dot at the beginning.
fn asks_for_hidden(pattern: &IndexPattern, index: &str) -> bool {
    pattern.items().any(|item| item == index || item.starts_with('.') && wildcard_match(item, index))
}

/// The types of `fields` in the indices of a pattern.
pub(super) fn capabilities(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    fields: &[&str],
) -> Result<FieldCapabilities, Failure> {
    let never = StopSignal::never();
    let resolved = resolve(cluster, job, pattern, &never)?;
    let mut capabilities = FieldCapabilities::new(resolved.names);
    if !resolved.has_open {
        return Ok(capabilities);
    }
    let request = Request::get([&expression(pattern), "_field_caps"]).query("fields", fields.join(","));
    let request = request.query("include_unmapped", "true");
    let answer = cluster.ask(of_job(job, request), &never)?.json()?;
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let concrete = texts(&answer["indices"]);
    for field in fields {
        for (name, found) in answer["fields"][*field].as_object().into_iter().flatten() {
            if name == "unmapped" {
                continue;
            }
            // Indices are named where they do not all agree.
            let named = texts(&found["indices"]);
            let is_aggregatable = found["aggregatable"].as_bool().unwrap_or(false);
            for index in if named.is_empty() { &concrete } else { &named } {
                capabilities.add(field, index, field_type(name), is_aggregatable, 0);
            }
        }
    }
    Ok(capabilities)
}

fn field_type(name: &str) -> FieldType {
    match name {
        "date" => FieldType::Date,
        "date_nanos" => FieldType::DateNanos,
        "long" => FieldType::Long,
        "double" => FieldType::Double,
        "keyword" => FieldType::Keyword,
        "text" => FieldType::Text,
        "boolean" => FieldType::Boolean,
        "ip" => FieldType::Ip,
        other => FieldType::Other(other.to_owned()),
    }
}
