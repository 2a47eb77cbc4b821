//! `filter_path`: which members of an answer a caller wants to see.

use super::json::{Json, Members};
use crate::job::wildcard_match;

/// Comma-separated paths: `*` stands for any part of a name, `**` for any number of names, and a `-` in front takes
/// away.
pub(super) fn apply(filter: &str, answer: Json) -> Json {
    let paths = filter.split(',').map(str::trim).filter(|path| !path.is_empty());
    let (excluded, included): (Vec<_>, Vec<_>) = paths.partition(|path| path.starts_with('-'));
    let included: Vec<_> = included.iter().map(|path| names(path)).collect();
    let excluded: Vec<_> = excluded.iter().map(|path| names(&path[1..])).collect();
    let kept = if included.is_empty() { Some(answer) } else { keep(&views(&included), answer) };
    let left = kept.and_then(|kept| take_away(&views(&excluded), kept));
    left.unwrap_or_else(|| Json::Object(Members::new()))
}

type Path<'a> = &'a [&'a str];

/// Several `**` in a row mean no more than one, and would only multiply the ways to go on.
fn names(path: &str) -> Vec<&str> {
    let mut names: Vec<_> = path.split('.').collect();
    names.dedup_by(|name, before| *name == "**" && *before == "**");
    names
}

fn views<'a>(paths: &'a [Vec<&'a str>]) -> Vec<Path<'a>> {
    paths.iter().map(Vec::as_slice).collect()
}

/// What is left of the paths below the member `name`.
fn below<'a>(paths: &[Path<'a>], name: &str) -> Vec<Path<'a>> {
    let mut left = Vec::new();
    for path in paths {
        match path {
            ["**", rest @ ..] => {
                left.push(*path);
                left.extend(below(&[rest], name));
            }
            [first, rest @ ..] if wildcard_match(first, name) => left.push(rest),
            _ => {}
        }
    }
    left
}

/// Nothing is left of a path, or nothing but `**`: it means this very value.
fn is_reached(paths: &[Path<'_>]) -> bool {
    paths.iter().any(|path| matches!(path, [] | ["**"]))
}

fn keep(paths: &[Path<'_>], value: Json) -> Option<Json> {
    if is_reached(paths) {
        return Some(value);
    }
    within(paths, value, keep).filter(|kept| !is_empty(kept))
}

fn take_away(paths: &[Path<'_>], value: Json) -> Option<Json> {
    if is_reached(paths) {
        return None;
    }
    let was_empty = is_empty(&value);
    match value {
        value @ (Json::Object(_) | Json::Array(_)) => {
            within(paths, value, take_away).filter(|left| was_empty || !is_empty(left))
        }
        value @ Json::Scalar(_) => Some(value),
    }
}

/// The members of an object, each by the paths below it; arrays are looked through.
fn within(paths: &[Path<'_>], value: Json, filter: fn(&[Path<'_>], Json) -> Option<Json>) -> Option<Json> {
    match value {
        Json::Object(members) => {
            let members = members.into_iter();
            let kept = members.filter_map(|(name, value)| Some((name.clone(), filter(&below(paths, &name), value)?)));
            Some(Json::Object(kept.collect()))
        }
        Json::Array(values) => Some(Json::Array(values.into_iter().filter_map(|value| filter(paths, value)).collect())),
        Json::Scalar(_) => None,
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Object(members) => members.is_empty(),
        Json::Array(values) => values.is_empty(),
        Json::Scalar(_) => false,
    }
}
