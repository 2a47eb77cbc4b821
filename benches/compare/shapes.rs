//! Which data there are, and which questions are asked of them: `shapes.json`, which the other engines read too.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// What the documents of a set are made of. Its generator is in `data.rs`.
#[derive(Debug, Deserialize)]
pub(crate) struct DataSet {
    pub(crate) terms: Vec<String>,
    /// A field of whole numbers.
    pub(crate) integer: Option<String>,
    pub(crate) metrics: Vec<String>,
    /// How many values a document may have in a metric.
    #[serde(default = "one")]
    pub(crate) values: usize,
    /// None is as a writer leaves them.
    pub(crate) segments: Option<usize>,
    /// Whether some documents are deleted after all were added.
    #[serde(default)]
    pub(crate) deletes: bool,
}

fn one() -> usize {
    1
}

/// How documents are grouped.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    pub(crate) data: String,
    pub(crate) fixed: Option<String>,
    pub(crate) calendar: Option<String>,
    pub(crate) time_zone: Option<String>,
    pub(crate) terms: Vec<String>,
    pub(crate) histogram: Option<String>,
}

#[derive(Deserialize)]
struct Shapes {
    data: HashMap<String, DataSet>,
    questions: HashMap<String, Question>,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| serde_json::from_str(include_str!("shapes.json")).unwrap());

pub(crate) fn data_set(name: &str) -> &'static DataSet {
    &SHAPES.data[name]
}

pub(crate) fn question(name: &str) -> &'static Question {
    &SHAPES.questions[name]
}
