//! The indices: a tantivy index and its mappings each, in a folder of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rollup_jobs::IndexPattern;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, INDEXED, NumericOptions, STORED, STRING, Schema, is_valid_field_name,
};
use rollup_jobs::engine::tantivy::tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher};
use serde_json::{Value, json};

use crate::answer::{Answer, Problem};

/// The fields that every index has besides those of its mappings: the document's id, and its text as it came.
pub(crate) const ID: &str = "_id";
pub(crate) const SOURCE: &str = "_source";

/// An index that documents can be added to.
pub(crate) struct SourceIndex {
    pub(crate) name: String,
    pub(crate) index: Index,
    pub(crate) reader: IndexReader,
    pub(crate) writer: Mutex<IndexWriter>,
    pub(crate) mappings: Value,
}

impl SourceIndex {
    fn open(name: &str, folder: &Path) -> Answer<Self> {
        let mappings = serde_json::from_slice(&fs::read(folder.join("mappings.json"))?)?;
        let index = Index::open_in_dir(folder)?;
        Ok(Self {
            name: name.to_owned(),
            reader: index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?,
            writer: Mutex::new(index.writer_with_num_threads(1, 32 << 20)?),
            index,
            mappings,
        })
    }
}

pub(crate) struct Indices {
    sources: PathBuf,
    rollups: PathBuf,
    engine: TantivyEngine,
    open: RwLock<BTreeMap<String, Arc<SourceIndex>>>,
}

impl Indices {
    /// Opens what is in the folder, and registers it with the engine.
    pub(crate) fn open(data: &Path, engine: TantivyEngine) -> Answer<Self> {
        let (sources, rollups) = (data.join("indices"), data.join("rollups"));
        let indices = Self { sources, rollups, engine, open: RwLock::default() };
        fs::create_dir_all(&indices.sources)?;
        for entry in fs::read_dir(&indices.sources)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // One that was half created or half deleted when the process ended is no index.
            if name.starts_with('.') {
                fs::remove_dir_all(entry.path())?;
            } else {
                indices.add(&mut indices.open.write(), &name)?;
            }
        }
        Ok(indices)
    }

    /// Creates an index with these mappings.
    pub(crate) fn create(&self, name: &str, body: &Value) -> Answer<()> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if !name.bytes().all(allowed) || name.starts_with(['_', '-', '.']) || name.len() > 200 {
            let reason =
                format!("Invalid index name [{name}], must be of a-z, 0-9, _, - and ., and begin with a-z or 0-9");
            return Err(Problem { kind: "invalid_index_name_exception", ..Problem::bad(reason) });
        }
        let mappings = body.get("mappings").cloned().unwrap_or_else(|| json!({}));
        let schema = schema(&mappings)?;
        let mut open = self.open.write();
        if open.contains_key(name) || self.rollups.join(name).is_dir() {
            let reason = format!("index [{name}] already exists");
            return Err(Problem { kind: "resource_already_exists_exception", ..Problem::bad(reason) });
        }
        // It is there when it is whole.
        let half = self.sources.join(format!(".{name}"));
        fs::create_dir_all(&half)?;
        fs::write(half.join("mappings.json"), mappings.to_string())?;
        Index::create_in_dir(&half, schema)?;
        fs::rename(&half, self.sources.join(name))?;
        self.add(&mut open, name)
    }

    /// The engine has to know it, for jobs to read it.
    fn add(&self, open: &mut BTreeMap<String, Arc<SourceIndex>>, name: &str) -> Answer<()> {
        let index = SourceIndex::open(name, &self.sources.join(name))?;
        self.engine.register(name, &index.index)?;
        open.insert(name.to_owned(), Arc::new(index));
        Ok(())
    }

    pub(crate) fn delete(&self, pattern: &str) -> Answer<()> {
        let mut open = self.open.write();
        for name in chosen(pattern, open.keys())? {
            let _ = self.engine.unregister(&name);
            open.remove(&name);
            let half = self.sources.join(format!(".{name}"));
            fs::rename(self.sources.join(&name), &half)?;
            fs::remove_dir_all(&half)?;
        }
        Ok(())
    }

    pub(crate) fn source(&self, name: &str) -> Answer<Arc<SourceIndex>> {
        self.open.read().get(name).cloned().ok_or_else(|| Problem::no_such_index(name))
    }

    pub(crate) fn sources(&self, pattern: &str) -> Answer<Vec<Arc<SourceIndex>>> {
        let open = self.open.read();
        Ok(chosen(pattern, open.keys())?.iter().map(|name| Arc::clone(&open[name])).collect())
    }

    /// What a search looks into: source indices, and rollup indices, in which each job has a folder.
    pub(crate) fn searchers(&self, pattern: &str) -> Answer<Vec<(String, Searcher)>> {
        let open = self.open.read();
        let folders = fs::read_dir(&self.rollups)?.flatten();
        let rollups: Vec<_> = folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
        let mut searchers = Vec::new();
        for name in chosen(pattern, open.keys().chain(&rollups))? {
            let Some(source) = open.get(&name) else {
                for job in fs::read_dir(self.rollups.join(&name))?.flatten() {
                    searchers.push((name.clone(), Index::open_in_dir(job.path())?.reader()?.searcher()));
                }
                continue;
            };
            searchers.push((name, source.reader.searcher()));
        }
        Ok(searchers)
    }
}

fn chosen<'a>(pattern: &str, known: impl Iterator<Item = &'a String> + Clone) -> Answer<Vec<String>> {
    let pattern = IndexPattern::new(if pattern == "_all" { "*" } else { pattern });
    let names = pattern.resolve(known.map(String::as_str)).map_err(|name| Problem::no_such_index(&name))?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// What is not mapped is kept with the document, and cannot be searched for.
fn schema(mappings: &Value) -> Answer<Schema> {
    let refused = |reason| Problem { kind: "mapper_parsing_exception", ..Problem::bad(reason) };
    let mut schema = Schema::builder();
    schema.add_text_field(ID, STRING | FAST | STORED);
    schema.add_text_field(SOURCE, STORED);
    let numeric = || NumericOptions::from(FAST | INDEXED).set_coerce();
    let date = DateOptions::from(FAST | INDEXED).set_precision(DateTimePrecision::Milliseconds);
    for (name, field) in mappings.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if !is_valid_field_name(name) || name.starts_with('_') {
            return Err(refused(format!("[{name}] cannot be the name of a field")));
        }
        match field["type"].as_str() {
            Some("date") => schema.add_date_field(name, date.clone()),
            Some("keyword") => schema.add_text_field(name, STRING | FAST),
            Some("byte" | "short" | "integer" | "long") => schema.add_i64_field(name, numeric()),
            Some("unsigned_long") => schema.add_u64_field(name, numeric()),
            Some("half_float" | "float" | "double") => schema.add_f64_field(name, numeric()),
            Some("boolean") => schema.add_bool_field(name, numeric()),
            other => return Err(refused(format!("No handler for type {other:?} declared on field [{name}]"))),
        };
    }
    Ok(schema.build())
}
