//! Names: what an index, a pattern and a job can be called, on every engine.

use super::problem::ConfigProblemKind::{Name, Pattern};
use super::problem::Problems;
use crate::guard::plain;

/// The longest name of an index, in bytes, as in Elasticsearch.
const MAX_INDEX_LENGTH: usize = 255;
/// The longest id of a job, in bytes: behind it ids of documents have 23 more, of 512.
const MAX_ID_LENGTH: usize = 489;
/// What no index can have in its name.
const FORBIDDEN: &str = " \"*\\<|,>/?";

/// Elasticsearch's rules for the name of an index.
pub(super) fn check_index_name(name: &str, problems: &mut Problems) {
    let broken = if name.chars().any(char::is_control) {
        Some("must not contain control characters".to_owned())
    } else if name.contains(|c| FORBIDDEN.contains(c)) {
        let list: Vec<_> = FORBIDDEN.chars().map(String::from).collect();
        Some(format!("must not contain the following characters [{}]", list.join(", ")))
    } else if let Some(found) = ['#', ':'].into_iter().find(|found| name.contains(*found)) {
        Some(format!("must not contain '{found}'"))
    } else if name.starts_with(['_', '-', '+']) {
        Some("must not start with '_', '-', or '+'".to_owned())
    } else if name.len() > MAX_INDEX_LENGTH {
        Some(format!("index name is too long, ({} > {MAX_INDEX_LENGTH})", name.len()))
    } else if matches!(name, "." | "..") {
        Some("must not be '.' or '..'".to_owned())
    } else if name.to_lowercase() != name {
        Some("must be lowercase".to_owned())
    } else {
        None
    };
    if let Some(broken) = broken {
        problems.add(Name, "rollup_index", format!("Invalid index name [{}], {broken}", shown(name)));
    }
}

/// What an item of a pattern must not be: a URL that it is put into would mean something else.
pub(super) fn check_pattern_item(item: &str, problems: &mut Problems) {
    let name = item.strip_prefix('-').unwrap_or(item);
    if item.chars().any(char::is_control) {
        let message = format!("Index pattern must not contain control characters, but was [{}]", shown(item));
        problems.add(Pattern, "index_pattern", message);
    } else if matches!(name, "." | "..") {
        problems.add(Pattern, "index_pattern", format!("Index pattern must not be '.' or '..', but was [{item}]"));
    }
}

/// What a job's id must not be.
pub(super) fn check_id(id: &str, problems: &mut Problems) {
    if id.chars().any(char::is_control) {
        problems.add(Name, "id", format!("Id must not contain control characters, but was [{}]", shown(id)));
    } else if matches!(id, "." | "..") {
        problems.add(Name, "id", format!("Id must not be '.' or '..', but was [{id}]"));
    } else if id.len() > MAX_ID_LENGTH {
        problems.add(Name, "id", format!("Id is too long, ({} > {MAX_ID_LENGTH})", id.len()));
    }
}

/// A name in a message.
fn shown(name: &str) -> String {
    plain(name, 300, char::REPLACEMENT_CHARACTER)
}
