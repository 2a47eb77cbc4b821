use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::{Engine, FieldType, JobContext, MemoryEngine, SourceDocument};

/// What the conformance suite needs to know of an engine to be checked, besides the engine itself.
pub trait EngineHarness {
    /// The engine, empty at first.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Creates an empty source index with these fields. Dates are kept to the millisecond. A field of a type that the
    /// engine does not have is left out, here and by [`as_held`](Self::as_held).
    fn create_index(&self, index: &str, fields: &[(&str, FieldType)]);

    /// Adds documents to a source index, visible when the call returns.
    fn add(&self, index: &str, documents: &[SourceDocument]);

    /// What of a document the engine can hold as the reference does: the suite leaves the rest out. Default:
    /// everything.
    fn as_held(&self, document: SourceDocument) -> SourceDocument {
        document
    }

    /// The rolled-up documents of a job as committed, by id, as Elasticsearch's JSON. Members that are null, and
    /// those that are the same in all documents, may be left out.
    fn rolled_up(&self, job: &JobContext) -> BTreeMap<String, Value>;

    /// The `change`-th change of what the engine stores, counted from now, and all after it do not take place, as if
    /// the process had ended there: the engine gets an error. Says whether the harness can do that, as it should if
    /// the engine keeps progress: so the suite finds out whether it is stored with its documents in one step.
    /// Default: it cannot.
    fn end_at(&self, change: u64) -> bool {
        let _ = change;
        false
    }

    /// After [`end_at`](Self::end_at): [`engine`](Self::engine) is from now on a new one, over what was stored, in
    /// which nothing fails. Default: nothing to do.
    fn restart(&self) {}
}

/// The harness of [`MemoryEngine`].
#[derive(Debug, Clone)]
pub struct MemoryHarness(Arc<MemoryEngine>);

impl MemoryHarness {
    /// Around this engine.
    #[must_use]
    pub fn new(engine: MemoryEngine) -> Self {
        Self(Arc::new(engine))
    }
}

impl EngineHarness for MemoryHarness {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.0) as Arc<dyn Engine>
    }

    fn create_index(&self, index: &str, _fields: &[(&str, FieldType)]) {
        self.0.extend(index, []);
    }

    fn add(&self, index: &str, documents: &[SourceDocument]) {
        self.0.extend(index, documents.iter().cloned());
    }

    fn rolled_up(&self, job: &JobContext) -> BTreeMap<String, Value> {
        let mut documents = documents_of(&self.0, job.config().rollup_index());
        documents.retain(|_, document| document["_rollup.id"] == job.id());
        documents
    }
}

/// The rolled-up documents in an index of a [`MemoryEngine`], by id, as Elasticsearch's JSON.
#[must_use]
pub fn documents_of(engine: &MemoryEngine, rollup_index: &str) -> BTreeMap<String, Value> {
    engine.rolled_up(rollup_index).iter().map(|document| (document.id().to_owned(), document.to_json())).collect()
}
