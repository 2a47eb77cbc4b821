//! Which indices a pattern means, and what fields they have.

use serde_json::{Value, json};

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
    /// Whether one of them is named: by its own name, or that of its alias or data stream. A search would be refused.
    pub(super) names_closed: bool,
}

impl Resolved {
    /// Fails if an index is closed that may not be left out.
    pub(super) fn allows(&self, skip_closed: bool) -> Result<(), Failure> {
        if self.closed.is_empty() || skip_closed && !self.names_closed {
            return Ok(());
        }
        let text = format!("closed: [{}]; open them, or leave them out of the pattern", self.closed.join(", "));
        Err(Failure::new(Cause::Refused, text))
    }
}

/// The longest list of names in a URL, which a server takes no more than 4 KiB of.
const NAMES_AT_ONCE: usize = 2_048;

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
    let answer = resolve_names(cluster, job, &expression(pattern), stop)?;
    let entries = |kind: &str| answer[kind].as_array().cloned().unwrap_or_default();
    let (indices, aliases, streams) = (entries("indices"), entries("aliases"), entries("data_streams"));
    let mut names: Vec<String> = [&indices, &aliases, &streams].into_iter().flatten().filter_map(name_of).collect();
    names.sort_unstable();
    names.dedup();
    // Servers differ in whether they say so themselves.
    let plain = pattern.items().enumerate().filter(|(at, item)| !(item.contains('*') || is_exclusion(*at, item)));
    for (_, name) in plain {
        if !names.iter().any(|known| known == name) {
            return Err(Failure::new(Cause::NotFound, format!("no such index [{name}]")));
        }
    }
    // A search does not look into hidden indices, unless it is said so.
    let is_meant =
        |index: &&Value| !has(index, "hidden") || name_of(index).is_some_and(|name| asks_for_hidden(pattern, &name));
    let meant: Vec<_> = indices.iter().filter(is_meant).collect();
    let groups: Vec<Group> = aliases.iter().chain(&streams).filter_map(Group::of).collect();
    let members = members(cluster, job, pattern, &groups, stop)?;
    let is_named = |name: &str| pattern.items().any(|item| item == name);
    let mut resolved = Resolved { names, has_open: false, closed: Vec::new(), names_closed: false };
    for index in meant.into_iter().chain(&members) {
        if !has(index, "closed") {
            resolved.has_open = true;
        } else if let Some(name) = name_of(index) {
            let has_it = |group: &Group| is_named(&group.name) && group.members.contains(&name);
            resolved.names_closed |= is_named(&name) || groups.iter().any(has_it);
            resolved.closed.push(name);
        }
    }
    resolved.closed.sort_unstable();
    resolved.closed.dedup();
    Ok(resolved)
}

/// An alias or a data stream.
struct Group {
    name: String,
    members: Vec<String>,
}

impl Group {
    fn of(entry: &Value) -> Option<Self> {
        let members = [&entry["indices"], &entry["backing_indices"]].into_iter().flat_map(texts).collect();
        Some(Self { name: name_of(entry)?, members })
    }
}

/// The members of aliases and data streams that the pattern does not take out again, as the cluster describes indices. To whom it does not
/// describe them they are open.
fn members(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    groups: &[Group],
    stop: &StopSignal,
) -> Result<Vec<Value>, Failure> {
    let is_taken_out = |name: &str| {
        let mut items = pattern.items().enumerate();
        items.any(|(at, item)| is_exclusion(at, item) && wildcard_match(&item[1..], name))
    };
    let mut names: Vec<_> = groups.iter().flat_map(|group| &group.members).filter(|name| !is_taken_out(name)).collect();
    names.sort_unstable();
    names.dedup();
    let mut members = Vec::new();
    let mut names = names.into_iter().peekable();
    while let Some(first) = names.next() {
        let mut list = first.clone();
        while let Some(name) = names.next_if(|name| list.len() + name.len() < NAMES_AT_ONCE) {
            list.push(',');
            list.push_str(name);
        }
        match resolve_names(cluster, job, &list, stop) {
            Ok(answer) => members.extend(answer["indices"].as_array().cloned().unwrap_or_default()),
            // A user may have an alias, and none of its indices.
            Err(failure) if failure.cause() == Cause::Refused => {
                members.extend(list.split(',').map(|name| json!({ "name": name, "attributes": ["open"] })));
            }
            Err(failure) if failure.cause() == Cause::NotFound => {
                return Err(Failure::new(Cause::Unavailable, format!("while it was looked at: {failure}")));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(members)
}

fn resolve_names(cluster: &Cluster, job: &JobContext, names: &str, stop: &StopSignal) -> Result<Value, Failure> {
    let request = Request::get(["_resolve", "index", names]).query("expand_wildcards", "all");
    cluster.ask(of_job(job, request), stop)?.json()
}

fn name_of(entry: &Value) -> Option<String> {
    entry["name"].as_str().map(str::to_owned)
}

fn has(index: &Value, attribute: &str) -> bool {
    index["attributes"].as_array().is_some_and(|attributes| attributes.iter().any(|found| found == attribute))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn is_exclusion(at: usize, item: &str) -> bool {
    at > 0 && item.starts_with('-')
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
    resolved.allows(true)?;
    let mut capabilities = FieldCapabilities::new(resolved.names);
    if !resolved.has_open {
        return Ok(capabilities);
    }
    let request = Request::get([&expression(pattern), "_field_caps"]).query("fields", fields.join(","));
    let request = request.query("include_unmapped", "true");
    let answer = cluster.ask(of_job(job, request), &never)?.json()?;
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
