//! A real cluster, spoken to by another client than the one that is tested.

use std::env;

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
}

impl Server {
    /// The cluster that `tests/cluster/run` has started, without any index.
    pub(crate) fn empty(kind: Kind) -> Self {
        let variable = match kind {
            Kind::OpenSearch => "ROLLUP_OPENSEARCH",
            Kind::Elasticsearch => "ROLLUP_ELASTICSEARCH",
        };
        let nodes = env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: tests/cluster/run does it"));
        let nodes = nodes.split(',').map(str::to_owned).collect();
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self { kind, nodes, http: Client::new() };
        server.delete_all();
        server
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(ClusterOptions::new(&self.nodes)).unwrap()
    }

    fn delete_all(&self) {
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

    pub(crate) fn create_index(&self, index: &str, fields: &[(&str, FieldType)]) {
        let properties = fields.iter().map(|(name, kind)| ((*name).to_owned(), json!({ "type": kind.as_str() })));
        let mut properties: serde_json::Map<String, Value> = properties.collect();
        for property in properties.values_mut().filter(|property| property["type"] == "date") {
            property["format"] = json!("epoch_millis");
        }
        self.put(index, json!({ "mappings": { "properties": properties } }));
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
