//! What a failed request means: told by the types of the errors in the answer, and only where they tell nothing by
//! the status.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::guard::plain;

/// What to do about a failure. In this order: of several errors in an answer the first of these is what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It will be refused however often it is tried.
    Refused,
    /// Whoever asks may not.
    Forbidden,
    /// There is no such index, or document.
    NotFound,
    /// There is one already.
    Exists,
    /// Somebody else was there first.
    Conflict,
    /// The point in time is gone: a new one has to be opened.
    LostSnapshot,
    /// No point in time is to be had: too many are open.
    NoSnapshot,
    /// It was too much at once.
    TooMuch,
    /// A node is short of memory: less at once, and not at once, may do.
    NoMemory,
    /// It may work again later.
    Unavailable,
    /// Given up by whoever asked.
    Cancelled,
}

/// Types of errors that mean the same whatever the status is.
const TYPES: &[(&str, Cause)] = &[
    ("too_many_buckets_exception", Cause::TooMuch),
    ("circuit_breaking_exception", Cause::NoMemory),
    ("search_context_missing_exception", Cause::LostSnapshot),
    ("index_not_found_exception", Cause::NotFound),
    ("resource_already_exists_exception", Cause::Exists),
    ("version_conflict_engine_exception", Cause::Conflict),
    // What passes by itself.
    ("rejected_execution_exception", Cause::Unavailable),
    ("es_rejected_execution_exception", Cause::Unavailable),
    ("unavailable_shards_exception", Cause::Unavailable),
    ("no_shard_available_action_exception", Cause::Unavailable),
    ("shard_not_found_exception", Cause::Unavailable),
    ("illegal_index_shard_state_exception", Cause::Unavailable),
    ("index_shard_closed_exception", Cause::Unavailable),
    ("node_not_connected_exception", Cause::Unavailable),
    ("node_disconnected_exception", Cause::Unavailable),
    ("node_closed_exception", Cause::Unavailable),
    ("connect_transport_exception", Cause::Unavailable),
    ("receive_timeout_transport_exception", Cause::Unavailable),
    ("process_cluster_event_timeout_exception", Cause::Unavailable),
    ("master_not_discovered_exception", Cause::Unavailable),
    ("cluster_manager_not_discovered_exception", Cause::Unavailable),
    ("not_master_exception", Cause::Unavailable),
    ("task_cancelled_exception", Cause::Unavailable),
    ("timeout_exception", Cause::Unavailable),
    ("already_closed_exception", Cause::Unavailable),
    // What does not.
    ("aggregation_execution_exception", Cause::Refused),
    ("array_index_out_of_bounds_exception", Cause::Refused),
    ("class_cast_exception", Cause::Refused),
    ("document_parsing_exception", Cause::Refused),
    ("illegal_argument_exception", Cause::Refused),
    ("index_closed_exception", Cause::Refused),
    ("invalid_index_name_exception", Cause::Refused),
    ("mapper_parsing_exception", Cause::Refused),
    ("max_bytes_length_exceeded_exception", Cause::Refused),
    ("null_pointer_exception", Cause::Refused),
    ("number_format_exception", Cause::Refused),
    ("parse_exception", Cause::Refused),
    ("parsing_exception", Cause::Refused),
    ("query_shard_exception", Cause::Refused),
    ("security_exception", Cause::Forbidden),
    ("strict_dynamic_mapping_exception", Cause::Refused),
    ("unsupported_operation_exception", Cause::Refused),
    ("x_content_parse_exception", Cause::Refused),
];

/// Types that mean something else where the reason has such a text.
const REASONS: &[(&str, &str, Cause)] = &[
    // OpenSearch, of a point in time that was held by a node which is gone.
    ("illegal_state_exception", "no node found for id", Cause::LostSnapshot),
    ("rejected_execution_exception", "Trying to create too many", Cause::NoSnapshot),
    ("illegal_argument_exception", "Trying to create too many", Cause::NoSnapshot),
];

fn by_type(name: &str, reason: &str) -> Option<Cause> {
    let special = REASONS.iter().find(|(known, text, _)| *known == name && reason.contains(text));
    let special = special.map(|(_, _, cause)| *cause);
    special.or_else(|| TYPES.iter().find(|(known, _)| *known == name).map(|(_, cause)| *cause))
}

fn by_status(status: u16) -> Cause {
    match status {
        // What is not found is told by its type; a proxy that has lost its way says the same.
        404 => Cause::Unavailable,
        409 => Cause::Conflict,
        408 | 429 => Cause::Unavailable,
        413 => Cause::TooMuch,
        501 => Cause::Refused,
        400..=499 => Cause::Refused,
        // 3xx: redirects are not followed.
        300..=399 => Cause::Refused,
        _ => Cause::Unavailable,
    }
}

/// The longest text of a failure, in characters.
const MAX_TEXT_LENGTH: usize = 4 << 10;

/// A request that did not do what it was to do.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    cause: Cause,
    text: String,
    retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(cause: Cause, text: impl Into<String>) -> Self {
        // It may come from a server.
        Self { cause, text: plain(&text.into(), MAX_TEXT_LENGTH, ' '), retry_after: None }
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(Cause::Cancelled, "given up because of a stop")
    }

    /// What an answer with this status means, from its body if that is what the cluster says of errors.
    pub(crate) fn of_answer(status: u16, body: &Value) -> Self {
        let error = if body["error"].is_null() { body } else { &body["error"] };
        Self::of_error(status, error)
    }

    /// What the error of an item or a shard means.
    pub(crate) fn of_error(status: u16, error: &Value) -> Self {
        let mut found = Vec::new();
        collect(error, &mut found);
        let told = found.iter().filter_map(|(name, reason)| Some((by_type(name, reason)?, (name, reason))));
        let told = told.min_by_key(|(cause, _)| *cause);
        let cause = told.map_or_else(|| by_status(status), |(cause, _)| cause);
        let deepest = found.last().copied();
        let text = match (told.map(|(_, said)| (*said.0, *said.1)), deepest, error) {
            // Elasticsearch says what it could not do, and at the end of a chain of causes why.
            (Some(told), Some(deepest), _) if told != deepest && !deepest.1.is_empty() => {
                format!("{status} {}: {}; caused by {}: {}", told.0, told.1, deepest.0, deepest.1)
            }
            (Some((name, reason)), ..) | (None, Some((name, reason)), _) => format!("{status} {name}: {reason}"),
            (None, None, Value::String(text)) => format!("{status} {text}"),
            (None, None, _) => format!("{status}, without a reason"),
        };
        Self::new(cause, text)
    }

    /// Not before so long.
    pub(crate) fn after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// What became of an item of a bulk.
pub(crate) fn item_status(item: &Value) -> u16 {
    item["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The types and reasons in an error: its own, those of the root and of shards, and what caused each.
fn collect<'a>(error: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    if let Some(name) = error["type"].as_str() {
        found.push((name, error["reason"].as_str().unwrap_or_default()));
    }
    for part in ["root_cause", "failed_shards", "failures"] {
        for error in error[part].as_array().into_iter().flatten() {
            collect(error, found);
        }
    }
    for part in ["reason", "caused_by"] {
        if error[part].is_object() {
            collect(&error[part], found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, json: &str) -> Cause {
        Failure::of_answer(status, &serde_json::from_str(json).unwrap()).cause()
    }

    /// As answers of real servers were seen; the comment says of which.
    #[test]
    fn seen_answers() {
        for (status, cause, json) in [
            // OpenSearch 3.8, Elasticsearch 9.1
            (
                503,
                Cause::TooMuch,
                r#"{"error":{"root_cause":[],"type":"search_phase_execution_exception","reason":"","phase":"fetch","grouped":true,
                "failed_shards":[],"caused_by":{"type":"too_many_buckets_exception","reason":"Trying to create too many buckets."}}}"#,
            ),
            (
                400,
                Cause::TooMuch,
                r#"{"error":{"root_cause":[{"type":"too_many_buckets_exception","reason":"Trying to create too many buckets."}],
                "type":"search_phase_execution_exception","reason":"all shards failed"}}"#,
            ),
            (
                429,
                Cause::NoMemory,
                r#"{"error":{"root_cause":[],"type":"search_phase_execution_exception","reason":"all shards failed","failed_shards":
                [{"shard":0,"index":"i","reason":{"type":"circuit_breaking_exception","reason":"Data too large","durability":"TRANSIENT"}}]}}"#,
            ),
            // A point in time that was closed; whose node was killed (OpenSearch).
            (
                404,
                Cause::LostSnapshot,
                r#"{"error":{"root_cause":[{"type":"search_context_missing_exception","reason":"No search context found for id [1]"}],
                "type":"search_phase_execution_exception","reason":"all shards failed"}}"#,
            ),
            (
                500,
                Cause::LostSnapshot,
                r#"{"error":{"root_cause":[{"type":"illegal_state_exception","reason":"no node found for id: x"}],
                "type":"illegal_state_exception","reason":"no node found for id: x"}}"#,
            ),
            (
                429,
                Cause::NoSnapshot,
                r#"{"error":{"root_cause":[{"type":"rejected_execution_exception","reason":"Trying to create too many Point In Time contexts."}],
                "type":"search_phase_execution_exception","reason":"all shards failed"}}"#,
            ),
            (
                500,
                Cause::Refused,
                r#"{"error":{"root_cause":[],"type":"search_phase_execution_exception","reason":"","caused_by":
                {"type":"class_cast_exception","reason":"class Double cannot be cast to class Long"}}}"#,
            ),
            // One shard is busy, another one will never do it.
            (
                503,
                Cause::Refused,
                r#"{"error":{"type":"search_phase_execution_exception","reason":"","failed_shards":[
                {"reason":{"type":"es_rejected_execution_exception","reason":"queue is full"}},
                {"reason":{"type":"class_cast_exception","reason":"no"}}]}}"#,
            ),
            (
                404,
                Cause::NotFound,
                r#"{"error":{"type":"index_not_found_exception","reason":"no such index [x]"},"status":404}"#,
            ),
            // By the status alone, for the type is the same.
            (
                403,
                Cause::Refused,
                r#"{"error":{"type":"cluster_block_exception","reason":"index read-only / allow delete (api)"}}"#,
            ),
            (
                429,
                Cause::Unavailable,
                r#"{"error":{"type":"cluster_block_exception","reason":"disk usage exceeded flood-stage"}}"#,
            ),
            (
                503,
                Cause::Unavailable,
                r#"{"error":{"type":"cluster_block_exception","reason":"SERVICE_UNAVAILABLE/2/no master"}}"#,
            ),
            (405, Cause::Refused, r#"{"error":"Incorrect HTTP method for uri [/x] and method [PUT]","status":405}"#),
            // Of a proxy.
            (404, Cause::Unavailable, "null"),
            (502, Cause::Unavailable, "null"),
            (401, Cause::Refused, "null"),
            (302, Cause::Refused, "null"),
        ] {
            assert_eq!(told(status, json), cause, "{status} {json}");
        }
    }

    #[test]
    fn every_type_of_the_table_counts_at_any_status() {
        for (name, cause) in TYPES {
            for status in [400, 404, 429, 500, 503] {
                let root =
                    format!(r#"{{"error":{{"root_cause":[{{"type":"{name}","reason":"r"}}],"type":"exception"}}}}"#);
                let caused =
                    format!(r#"{{"error":{{"type":"exception","caused_by":{{"type":"{name}","reason":"r"}}}}}}"#);
                let shard = format!(r#"{{"error":{{"type":"e","failed_shards":[{{"reason":{{"type":"{name}"}}}}]}}}}"#);
                for json in [root, caused, shard] {
                    assert_eq!(told(status, &json), *cause, "{status} {json}");
                }
            }
        }
    }

    #[test]
    fn the_text_has_the_reason() {
        let json = r#"{"error":{"root_cause":[{"type":"index_not_found_exception","reason":"no such index [x]"}],"type":"e","reason":"f"}}"#;
        let failure = Failure::of_answer(404, &serde_json::from_str(json).unwrap());
        assert_eq!(failure.to_string(), "404 index_not_found_exception: no such index [x]");
    }
}
