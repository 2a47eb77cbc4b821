//! The tantivy engine's harness.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, Field, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{
    DateTime, DocId, Index, IndexWriter, SegmentReader, TantivyDocument, Term,
};
use rollup_jobs::engine::{Engine, FieldType, JobContext, SourceDocument, SourceValue};
use rollup_jobs::testing::EngineHarness;
use serde_json::{Map, Value};

/// The harness of [`TantivyEngine`], in memory or below a folder.
pub(crate) struct TantivyHarness {
    pub(crate) engine: Arc<TantivyEngine>,
    indices: Mutex<BTreeMap<String, Index>>,
    _folder: Option<tempfile::TempDir>,
}

impl TantivyHarness {
    pub(crate) fn in_ram() -> Self {
        Self { engine: Arc::new(TantivyEngine::in_ram()), indices: Mutex::default(), _folder: None }
    }

    pub(crate) fn on_disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = TantivyEngine::open(folder.path()).unwrap();
        Self { engine: Arc::new(engine), indices: Mutex::default(), _folder: Some(folder) }
    }

    pub(crate) fn tantivy(&self) -> TantivyEngine {
        (*self.engine).clone()
    }

    pub(crate) fn with(engine: TantivyEngine) -> Self {
        Self { engine: Arc::new(engine), indices: Mutex::default(), _folder: None }
    }
}

/// A schema of fast fields.
pub(crate) fn source_schema(fields: &[(&str, FieldType)]) -> Schema {
    let mut schema = Schema::builder();
    for (name, field_type) in fields {
        match field_type {
            FieldType::Date => {
                let options = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
                schema.add_date_field(name, options)
            }
            FieldType::Long => schema.add_i64_field(name, FAST),
            FieldType::Unsigned => schema.add_u64_field(name, FAST),
            FieldType::Double => schema.add_f64_field(name, FAST),
            FieldType::Boolean => schema.add_bool_field(name, FAST),
            FieldType::Keyword => schema.add_text_field(name, STRING | FAST),
            other => panic!("no tantivy field for [{other}]"),
        };
    }
    schema.build()
}

/// A source document as tantivy wants it.
pub(crate) fn tantivy_document(schema: &Schema, source: &SourceDocument) -> TantivyDocument {
    let mut document = TantivyDocument::default();
    for (name, values) in source.fields() {
        let Ok(field) = schema.get_field(name) else { continue };
        for value in values {
            add_value(&mut document, field, value);
        }
    }
    document
}

fn add_value(document: &mut TantivyDocument, field: Field, value: &SourceValue) {
    match value {
        SourceValue::Date(millis) => document.add_date(field, DateTime::from_timestamp_millis(*millis)),
        SourceValue::Integer(value) => document.add_i64(field, *value),
        SourceValue::Unsigned(value) => document.add_u64(field, *value),
        SourceValue::Double(value) => document.add_f64(field, *value),
        SourceValue::Keyword(text) => document.add_text(field, text),
        SourceValue::Boolean(value) => document.add_bool(field, *value),
        other => panic!("no tantivy value for {other:?}"),
    }
}

/// Adds documents in one commit, and so in at least one segment of their own.
pub(crate) fn add_to_index(index: &Index, documents: &[SourceDocument]) {
    let schema = index.schema();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    writer.set_merge_policy(Box::new(rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy));
    for document in documents {
        writer.add_document(tantivy_document(&schema, document)).unwrap();
    }
    writer.commit().unwrap();
}

/// A source index in memory whose documents have ids, and its host, which writes as it likes: no merge but its own.
pub(crate) struct Written {
    pub(crate) index: Index,
    writer: IndexWriter,
}

impl Written {
    /// With these fields, and `id`.
    pub(crate) fn new(fields: &[(&str, FieldType)]) -> Self {
        let index = Index::create_in_ram(source_schema(&[fields, &[("id", FieldType::Keyword)]].concat()));
        let writer = index.writer_with_num_threads(1, 15_000_000).unwrap();
        writer.set_merge_policy(Box::new(rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy));
        Self { index, writer }
    }

    pub(crate) fn commit(&mut self, documents: impl IntoIterator<Item = SourceDocument>) {
        for document in documents {
            self.writer.add_document(tantivy_document(&self.index.schema(), &document)).unwrap();
        }
        self.writer.commit().unwrap();
    }

    /// It is gone with the next commit.
    pub(crate) fn delete(&self, id: &str) {
        self.writer.delete_term(Term::from_field_text(self.index.schema().get_field("id").unwrap(), id));
    }

    /// Makes one segment of all.
    pub(crate) fn merge(&mut self) {
        let segments = self.index.searchable_segment_ids().unwrap();
        if segments.len() > 1 {
            self.writer.merge(&segments).wait().unwrap();
        }
    }
}

/// What readings have.
pub(crate) const FIELDS: [(&str, FieldType); 3] =
    [("timestamp", FieldType::Date), ("node", FieldType::Keyword), ("temperature", FieldType::Double)];

/// An index in memory with these readings.
pub(crate) fn sensor_index(readings: impl Iterator<Item = SourceDocument>) -> Index {
    let index = Index::create_in_ram(source_schema(&FIELDS));
    add_to_index(&index, &readings.collect::<Vec<_>>());
    index
}

impl EngineHarness for TantivyHarness {
    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    fn create_index(&self, name: &str, fields: &[(&str, FieldType)]) {
        let index = Index::create_in_ram(source_schema(fields));
        self.engine.register(name, &index).unwrap();
        self.indices.lock().unwrap().insert(name.to_owned(), index);
    }

    fn add(&self, name: &str, documents: &[SourceDocument]) {
        add_to_index(&self.indices.lock().unwrap()[name], documents);
    }

    fn rolled_up(&self, job: &JobContext) -> BTreeMap<String, Value> {
        let (rollup_index, id) = (job.config().rollup_index(), job.id());
        self.engine.rollup_index(rollup_index, id).unwrap().map(|index| read_rollup(&index)).unwrap_or_default()
    }
}

/// All documents of a rollup index, by id, from its fast fields. A document that is there twice is a failure.
pub(crate) fn read_rollup(index: &Index) -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    let reader = index.reader_builder().reload_policy(rollup_jobs::engine::tantivy::tantivy::ReloadPolicy::Manual);
    let reader: rollup_jobs::engine::tantivy::tantivy::IndexReader = reader.try_into().unwrap();
    for segment in reader.searcher().segment_readers() {
        let columns: Vec<Column> = index.schema().fields().map(|(_, entry)| Column::open(segment, entry)).collect();
        for id in segment.doc_ids_alive() {
            let mut members: Map<String, Value> =
                columns.iter().filter_map(|column| Some((column.name.clone(), (column.value)(id)?))).collect();
            let Some(Value::String(name)) = members.remove("_id") else { panic!("a document without an id") };
            assert!(documents.insert(name.clone(), Value::Object(members)).is_none(), "[{name}] is there twice");
        }
    }
    documents
}

struct Column {
    name: String,
    value: Box<dyn Fn(DocId) -> Option<Value>>,
}

impl Column {
    fn open(segment: &SegmentReader, entry: &rollup_jobs::engine::tantivy::tantivy::schema::FieldEntry) -> Self {
        use rollup_jobs::engine::tantivy::tantivy::schema::FieldType as Type;
        let (name, fast) = (entry.name().to_owned(), segment.fast_fields());
        let value: Box<dyn Fn(DocId) -> Option<Value>> = match entry.field_type() {
            Type::Str(_) => match fast.str(&name).unwrap() {
                None => Box::new(|_| None),
                Some(column) => Box::new(move |id| {
                    let ordinal = column.term_ords(id).next()?;
                    let mut text = String::new();
                    column.ord_to_str(ordinal, &mut text).unwrap();
                    Some(text.into())
                }),
            },
            Type::Date(_) => match fast.column_opt::<DateTime>(&name).unwrap() {
                None => Box::new(|_| None),
                Some(column) => Box::new(move |id| Some(column.first(id)?.into_timestamp_millis().into())),
            },
            Type::I64(_) => match fast.column_opt::<i64>(&name).unwrap() {
                None => Box::new(|_| None),
                Some(column) => Box::new(move |id| Some(column.first(id)?.into())),
            },
            Type::U64(_) => match fast.column_opt::<u64>(&name).unwrap() {
                None => Box::new(|_| None),
                Some(column) => Box::new(move |id| Some(column.first(id)?.into())),
            },
            Type::F64(_) => match fast.column_opt::<f64>(&name).unwrap() {
                None => Box::new(|_| None),
                Some(column) => Box::new(move |id| Some(column.first(id)?.into())),
            },
            other => panic!("a rollup index has no field of type {other:?}"),
        };
        Self { name, value }
    }
}
