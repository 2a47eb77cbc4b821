use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::{Value, json};

use crate::job::RunAs;

/// Bodies that are shorter are sent as they are.
const WORTH_PACKING: usize = 1_024;

/// What the cluster is asked.
pub(crate) struct Request {
    pub(super) method: Method,
    /// The parts of the path, as they are before they are encoded.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Body>,
    pub(super) is_repeatable: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) run_as: Option<RunAs>,
}

#[derive(Clone)]
pub(super) struct Body {
    pub(super) bytes: bytes::Bytes,
    pub(super) is_packed: bool,
}

impl Request {
    fn new<'a>(method: Method, path: impl IntoIterator<Item = &'a str>, is_repeatable: bool) -> Self {
        let path = path.into_iter().map(str::to_owned).collect();
        Self { method, path, query: Vec::new(), body: None, is_repeatable, timeout: None, run_as: None }
    }

    pub(crate) fn get<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// It does the same if it is done twice: where a node breaks off, another one is asked.
    pub(crate) fn post<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::POST, path, true)
    }

    /// The same.
    pub(crate) fn put<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::PUT, path, true)
    }

    /// The same.
    pub(crate) fn delete<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Method::DELETE, path, true)
    }

    /// Done twice it would do more, or say something else: no other node is asked unless it was surely not done.
    pub(crate) fn once(mut self) -> Self {
        self.is_repeatable = false;
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string().into_bytes())
    }

    /// JSON, or lines of it.
    pub(crate) fn body(mut self, bytes: Vec<u8>) -> Self {
        self.body = Some(Body::of(bytes));
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// In the name of whom, if the options say how to tell.
    pub(crate) fn run_as(mut self, run_as: Option<&RunAs>) -> Self {
        self.run_as = run_as.cloned();
        self
    }
}

/// Gives an index an alias to write by, which no wildcard matches.
pub(crate) fn add_write_alias(index: &str, alias: &str) -> Request {
    let add = json!({ "add": { "index": index, "alias": alias, "is_hidden": true, "is_write_index": true } });
    Request::post(["_aliases"]).json(&json!({ "actions": [add] }))
}

/// A duration as the cluster reads it.
pub(crate) fn time_value(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

impl Body {
    fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() >= WORTH_PACKING {
            let mut packed = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
            if let Ok(packed) = packed.write_all(&bytes).and_then(|()| packed.finish()) {
                return Self { bytes: packed.into(), is_packed: true };
            }
        }
        Self { bytes: bytes.into(), is_packed: false }
    }
}
