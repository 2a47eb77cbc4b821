//! Which indices a pattern means, and what fields they have.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::of_job;
use crate::cluster::{Cause, Cluster, Failure, Request};
use crate::engine::{FieldCapabilities, FieldType, JobContext, StopSignal};
use crate::job::{IndexPattern, wildcard_match};

/// What a pattern means at this moment.
#[derive(Clone)]
pub(super) struct Resolved {
    /// All names, aliases and data streams included, sorted.
    pub(super) names: Vec<String>,
    /// The indices that are open, sorted.
    pub(super) open: Vec<String>,
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

/// The longest list of names in a URL, as they are encoded there: a server takes no more than 4 KiB of it.
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
    let Resolution { indices, aliases, data_streams } = resolve_names(cluster, job, &expression(pattern), stop)?;
    let mut groups = [aliases, data_streams].concat();
    let names = indices.iter().map(|index| &index.name).chain(groups.iter().map(|group| &group.name));
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_unstable();
    names.dedup();
    // Servers differ in whether they say so themselves.
    for item in items(pattern) {
        if let Item::Named(name) = item
            && !names.iter().any(|known| known == name)
        {
            return Err(Failure::new(Cause::NotFound, format!("no such index [{name}]")));
        }
    }
    for group in &mut groups {
        group.leave_out_what_is_taken_out_of(pattern);
    }
    let members = members(cluster, job, &groups, stop)?;
    let (closed, open): (Vec<_>, Vec<_>) = indices.into_iter().chain(members).partition(Index::is_closed);
    let [open, closed] = [open, closed].map(|indices| {
        let mut names: Vec<String> = indices.into_iter().map(|index| index.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    });
    let is_named = |index: &String| {
        names_it(pattern, index)
            || groups.iter().any(|group| names_it(pattern, &group.name) && group.members.contains(index))
    };
    let names_closed = closed.iter().any(is_named);
    Ok(Resolved { names, open, closed, names_closed })
}

/// What the cluster makes of names and wildcards.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Resolution {
    indices: Vec<Index>,
    aliases: Vec<Group>,
    data_streams: Vec<Group>,
}

#[derive(Deserialize)]
struct Index {
    name: String,
    #[serde(default)]
    attributes: Vec<String>,
}

/// An alias or a data stream.
#[derive(Clone, Deserialize)]
struct Group {
    name: String,
    #[serde(alias = "indices", alias = "backing_indices")]
    members: Vec<String>,
}

impl Index {
    fn is_closed(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute == "closed")
    }
}

impl Group {
    /// One that is named stays a name, whose members nothing takes out.
    fn leave_out_what_is_taken_out_of(&mut self, pattern: &IndexPattern) {
        let Self { name, members } = self;
        if names_it(pattern, name) {
            return;
        }
        members.retain(|member| {
            let brings = |item| match item {
                Item::Wildcard(item) => wildcard_match(item, name).then_some(true),
                Item::TakenOut(item) => wildcard_match(item, member).then_some(false),
                Item::Named(_) => None,
            };
            items(pattern).filter_map(brings).last() != Some(false)
        });
    }
}

/// An item of a pattern.
#[derive(PartialEq)]
enum Item<'a> {
    Named(&'a str),
    Wildcard(&'a str),
    /// Takes out what the items before it have brought.
    TakenOut(&'a str),
}

fn items(pattern: &IndexPattern) -> impl Iterator<Item = Item<'_>> {
    pattern.items().enumerate().map(|(at, item)| match item.strip_prefix('-') {
        Some(taken_out) if at > 0 => Item::TakenOut(taken_out),
        _ if item.contains('*') => Item::Wildcard(item),
        _ => Item::Named(item),
    })
}

fn names_it(pattern: &IndexPattern, name: &str) -> bool {
    items(pattern).any(|item| item == Item::Named(name))
}

/// The members of aliases and data streams, as the cluster describes indices. To whom it may not describe them they
/// are open.
fn members(cluster: &Cluster, job: &JobContext, groups: &[Group], stop: &StopSignal) -> Result<Vec<Index>, Failure> {
    let mut names: Vec<_> = groups.iter().flat_map(|group| group.members.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let mut members = Vec::new();
    for list in at_once(&names) {
        match resolve_names(cluster, job, &list.join(","), stop) {
            Ok(found) => members.extend(found.indices),
            // A user may have an alias, and none of its indices.
            Err(failure) if failure.cause() == Cause::Forbidden => {
                members.extend(list.into_iter().map(|name| Index { name: name.to_owned(), attributes: Vec::new() }));
            }
            Err(failure) if failure.cause() == Cause::NotFound => {
                return Err(Failure::new(Cause::Unavailable, format!("while it was looked at: {failure}")));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(members)
}

/// In a URL, with a comma.
fn encoded_length(name: &str) -> usize {
    let encoded = |byte: u8| if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) { 1 } else { 3 };
    name.bytes().map(encoded).sum::<usize>() + 3
}

/// What is hidden a wildcard means here if it means it in a search, and closed indices too, which it does not mean
/// there.
fn resolve_names(cluster: &Cluster, job: &JobContext, names: &str, stop: &StopSignal) -> Result<Resolution, Failure> {
    let request = Request::get(["_resolve", "index", names]).query("expand_wildcards", "open,closed");
    Ok(cluster.ask(of_job(job, request), stop)?.parse::<Resolution>()?.into_inner())
}

/// What tells each index that a pattern means from another one of its name, as far as the job may know that.
pub(super) fn identities(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    stop: &StopSignal,
) -> Result<HashMap<String, String>, Failure> {
    let request = Request::get([&expression(pattern), "_settings"]).query("filter_path", "*.settings.index.uuid");
    let request = request.query("expand_wildcards", "open,closed").query("ignore_unavailable", "true");
    let found = match cluster.ask(of_job(job, request), stop) {
        // Of what is not there the scan says it better.
        Err(failure) if matches!(failure.cause(), Cause::Forbidden | Cause::NotFound) => return Ok(HashMap::new()),
        other => other?.json()?,
    };
    let identity = |(name, found): (&String, &Value)| {
        let identity = found["settings"]["index"]["uuid"].as_str()?;
        Some((name.clone(), identity.to_owned()))
    };
    Ok(found.as_object().into_iter().flatten().filter_map(identity).collect())
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
    capabilities_in(cluster, job, pattern, fields, &resolved)
}

/// The same where it is known what the pattern means.
fn capabilities_in(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    fields: &[&str],
    resolved: &Resolved,
) -> Result<FieldCapabilities, Failure> {
    let mut capabilities = FieldCapabilities::new(resolved.names.clone());
    if !resolved.open.is_empty() {
        for some in at_once(fields) {
            add_capabilities(cluster, job, pattern, &some, &mut capabilities)?;
        }
    }
    Ok(capabilities)
}

/// Indices in which the fields that a scan looks at have the same types.
pub(super) struct Alike {
    pub(super) indices: Vec<String>,
    /// The type of each field that is there.
    pub(super) types: BTreeMap<String, FieldType>,
}

/// The types of `fields` in the open indices of a pattern.
pub(super) fn types(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    fields: &[&str],
    resolved: &Resolved,
) -> Result<Vec<Alike>, Failure> {
    let capabilities = capabilities_in(cluster, job, pattern, fields, resolved)?;
    let mut by_index: BTreeMap<&str, BTreeMap<String, FieldType>> =
        resolved.open.iter().map(|index| (index.as_str(), BTreeMap::new())).collect();
    for (field, capability) in capabilities.fields.iter().flat_map(|(field, of)| of.iter().map(move |one| (field, one)))
    {
        for index in &capability.indices {
            if let Some(types) = by_index.get_mut(index.as_str()) {
                types.insert(field.clone(), capability.field_type.clone());
            }
        }
    }
    let mut alike: Vec<Alike> = Vec::new();
    for (index, types) in by_index {
        match alike.iter_mut().find(|alike| alike.types == types) {
            Some(alike) => alike.indices.push(index.to_owned()),
            None => alike.push(Alike { indices: vec![index.to_owned()], types }),
        }
    }
    Ok(alike)
}

/// As many names at a time as a URL can have.
fn at_once<'a>(names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let (mut lists, mut length) = (Vec::<Vec<_>>::new(), 0);
    for name in names {
        match lists.last_mut() {
            Some(list) if length + encoded_length(name) <= NAMES_AT_ONCE => list.push(*name),
            _ => {
                lists.push(vec![*name]);
                length = 0;
            }
        }
        length += encoded_length(name);
    }
    lists
}

fn add_capabilities(
    cluster: &Cluster,
    job: &JobContext,
    pattern: &IndexPattern,
    fields: &[&str],
    capabilities: &mut FieldCapabilities,
) -> Result<(), Failure> {
    let request = Request::get([&expression(pattern), "_field_caps"]).query("fields", fields.join(","));
    let request = request.query("include_unmapped", "true");
    let answer = cluster.ask(of_job(job, request), &StopSignal::never())?.json()?;
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
    Ok(())
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
