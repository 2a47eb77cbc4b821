//! A real cluster, spoken to by another client than the one that is tested.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use reqwest::Method;
use reqwest::blocking::Client;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::{FieldType, SourceDocument, SourceValue};
use serde_json::{Value, json};

/// Which cluster a test is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenSearch,
    Elasticsearch,
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) nodes: Vec<String>,
    http: Client,
    primaries: Mutex<HashMap<String, usize>>,
}

pub(crate) const BOTH: [Kind; 2] = [Kind::OpenSearch, Kind::Elasticsearch];

/// Where `tests/cluster/run` has started it.
pub(crate) fn nodes(kind: Kind) -> Vec<String> {
    let variable = match kind {
        Kind::OpenSearch => "ROLLUP_OPENSEARCH",
        Kind::Elasticsearch => "ROLLUP_ELASTICSEARCH",
    };
    let nodes = env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: tests/cluster/run does it"));
    nodes.split(',').map(str::to_owned).collect()
}

impl Server {
    /// The cluster that `tests/cluster/run` has started, without any index.
    pub(crate) fn empty(kind: Kind) -> Self {
        let nodes = nodes(kind);
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self { kind, nodes, http: Client::new(), primaries: Mutex::default() };
        // Whatever a test before has left.
        (1..=server.nodes.len()).for_each(|node| server.resume(node));
        server.wait_for_nodes();
        server.delete_all();
        server
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(ClusterOptions::new(&self.nodes)).unwrap()
    }

    fn delete_all(&self) {
        if self.kind == Kind::OpenSearch {
            self.ask(Method::DELETE, "_data_stream/*", None);
            self.ask(Method::DELETE, "_index_template/*", None);
        }
        let indices = self.get("_cat/indices?format=json&h=index&expand_wildcards=all");
        for index in indices.as_array().unwrap() {
            self.ask(Method::DELETE, index["index"].as_str().unwrap(), None);
        }
    }

    /// The status and the answer.
    pub(crate) fn try_ask(&self, method: Method, path: &str, body: Option<String>) -> (u16, Value) {
        let request = self.http.request(method, format!("{}/{path}", self.nodes[0]));
        let request = request.header("content-type", "application/json").body(body.unwrap_or_default());
        let response = request.send().unwrap();
        let status = response.status().as_u16();
        let text = response.text().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_ask(method.clone(), path, body.map(|body| body.to_string()));
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, Some(body))
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Value {
        self.ask(Method::PUT, path, Some(body))
    }

    /// How many scrolls and points in time are open.
    pub(crate) fn open_contexts(&self) -> u64 {
        let stats = self.get("_nodes/stats/indices/search");
        let nodes = stats["nodes"].as_object().unwrap().values();
        nodes.map(|node| node["indices"]["search"]["open_contexts"].as_u64().unwrap()).sum()
    }

    /// Where `tests/cluster/cluster` has put it.
    fn folder(&self) -> PathBuf {
        let folder = if self.kind == Kind::OpenSearch { "opensearch" } else { "elasticsearch" };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cluster").join(folder)
    }

    fn signal(&self, node: usize, signal: &str) {
        let Ok(pid) = fs::read_to_string(self.folder().join(format!("n{node}/pid"))) else { return };
        // It may be gone already.
        let _ = Command::new("kill").args([&format!("-{signal}"), pid.trim()]).stderr(Stdio::null()).status().unwrap();
    }

    /// The number of the node that has an index's one primary shard, as it was when this was first asked.
    pub(crate) fn node_of(&self, index: &str) -> usize {
        let mut known = self.primaries.lock().unwrap();
        let find = || {
            let shards = self.get(&format!("_cat/shards/{index}?format=json&h=node,prirep"));
            let primary = shards.as_array().unwrap().iter().find(|shard| shard["prirep"] == "p").cloned().unwrap();
            primary["node"].as_str().unwrap().trim_start_matches('n').parse().unwrap()
        };
        *known.entry(index.to_owned()).or_insert_with(find)
    }

    pub(crate) fn kill(&self, node: usize) {
        self.signal(node, "KILL");
    }

    pub(crate) fn pause(&self, node: usize) {
        self.signal(node, "STOP");
    }

    pub(crate) fn resume(&self, node: usize) {
        self.signal(node, "CONT");
    }

    /// Starts a node that was killed, and does not wait for it.
    pub(crate) fn start(&self, node: usize) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/cluster");
        let mut start = Command::new(script);
        start.arg("node").arg(self.folder()).arg(node.to_string());
        assert!(start.status().unwrap().success());
    }

    fn wait_for_nodes(&self) {
        self.get(&format!("_cluster/health?wait_for_nodes={}&timeout=60s", self.nodes.len()));
    }

    /// All nodes are there, and all shards.
    pub(crate) fn wait_until_whole(&self) {
        self.wait_for_nodes();
        self.get("_cluster/health?wait_for_status=green&timeout=60s");
    }

    pub(crate) fn create_index(&self, index: &str, fields: &[(&str, FieldType)]) {
        self.put(index, json!({}));
        self.map(index, fields);
    }

    /// Closes an index. One whose copies are on their way the cluster may leave open, and say so with a 200.
    pub(crate) fn close(&self, index: &str) {
        let settled = "wait_for_no_initializing_shards=true&wait_for_events=languid&timeout=60s";
        self.get(&format!("_cluster/health/{index}?{settled}"));
        let answer = self.ask(Method::POST, &format!("{index}/_close"), None);
        assert!(answer["acknowledged"] == true && answer["indices"][index]["closed"] == true, "{answer}");
    }

    /// Gives an index these fields.
    pub(crate) fn map(&self, index: &str, fields: &[(&str, FieldType)]) {
        let properties = fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind.as_str() })));
        let mut properties: serde_json::Map<String, Value> = properties.collect();
        for property in properties.values_mut().filter(|property| property["type"] == "date") {
            property["format"] = json!("epoch_millis");
        }
        self.put(&format!("{index}/_mapping"), json!({ "properties": properties }));
    }

    /// Adds documents, to be seen at once.
    pub(crate) fn add(&self, index: &str, documents: &[SourceDocument]) {
        for some in documents.chunks(5_000) {
            let mut lines = String::new();
            for document in some {
                lines.push_str("{\"index\":{}}\n");
                lines.push_str(&source(document).to_string());
                lines.push('\n');
            }
            let (status, answer) = self.try_ask(Method::POST, &format!("{index}/_bulk"), Some(lines));
            assert!(status == 200 && answer["errors"] == false, "{status} {answer}");
        }
        self.ask(Method::POST, &format!("{index}/_refresh"), None);
    }
}

/// A document as the cluster gets it.
fn source(document: &SourceDocument) -> Value {
    let value = |value: &SourceValue| match value {
        SourceValue::Date(value) | SourceValue::Integer(value) => json!(value),
        SourceValue::Unsigned(value) => json!(value),
        SourceValue::Double(value) => json!(value),
        SourceValue::Boolean(value) => json!(value),
        SourceValue::Keyword(text) => json!(text),
        other => panic!("no JSON for {other:?}"),
    };
    let fields = document.fields().map(|(name, values)| (name.to_owned(), values.iter().map(value).collect::<Value>()));
    Value::Object(fields.collect())
}
