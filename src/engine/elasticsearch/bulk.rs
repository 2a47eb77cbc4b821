//! Requests that write or delete many documents by id.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cause, Failure, Request, item_status, time_value};

/// A `_bulk` without its lines, which the cluster itself gives up after `timeout`. It makes no index: not even
/// deleting by version does.
pub(super) fn request(alias: &str, timeout: Duration) -> Request {
    Request::post([alias, "_bulk"])
        .query("require_alias", "true")
        .query("timeout", time_value(timeout))
        .query("filter_path", "errors,items.*.status,items.*.error")
}

/// The line that says what is done to the document of this id. Its version makes the same id free for what is written
/// with a later one, and for nothing that an earlier one still writes.
pub(super) fn action(name: &str, id: &str, version: u64) -> Value {
    json!({ name: { "_id": id, "version": version, "version_type": "external_gte" } })
}

/// What the cluster says of each of so many documents that were to be written.
pub(super) fn written(answer: &Value, documents: usize) -> Result<impl Iterator<Item = &Value>, Failure> {
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.len() != documents {
        let text = format!("the answer to a bulk of {documents} documents has {} items", items.len());
        return Err(Failure::new(Cause::Unavailable, text));
    }
    Ok(items.iter().map(|item| &item["index"]))
}

/// Why an item failed; nothing if it did not.
pub(super) fn failure_of(item: &Value) -> Option<Failure> {
    let status = item_status(item);
    (!(200..300).contains(&status)).then(|| Failure::of_error(status, &item["error"]))
}
