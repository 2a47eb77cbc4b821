//! Requests that write or delete many documents by id.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Request, time_value};

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
