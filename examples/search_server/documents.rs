//! Adding documents, one and many.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use rollup_jobs::engine::tantivy::tantivy::schema::{FieldEntry, OwnedValue, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, TantivyDocument};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Problem};
use crate::indices::{ID, Indices, SOURCE, SourceIndex};

/// Adds a document under a new id. A commit puts it on disk, where rollup jobs see it.
pub(crate) fn add(index: &SourceIndex, source: &str) -> Answer {
    let random = || RandomState::new().hash_one(()); // each has a key of its own
    let id = format!("{:016x}{:016x}", random(), random());
    index.writer.lock().add_document(document(&index.index.schema(), &id, source)?)?;
    Ok(json!({ "_index": index.name, "_id": id, "result": "created", "status": 201 }))
}

/// Adds documents, each after a line that says where. Nothing is done if such a line makes no sense; a document that
/// does not keeps no other from being added.
///
/// Searches see them at once if they are `refreshed`.
pub(crate) fn bulk(indices: &Indices, default_index: Option<&str>, refreshed: bool, body: &str) -> Answer {
    let mut documents = Vec::new();
    let mut lines = (1..).zip(body.lines()).filter(|(_, line)| !line.trim().is_empty());
    while let Some((number, line)) = lines.next() {
        let malformed = |why: &str| Problem::bad(format!("Malformed action/metadata line [{number}], {why}"));
        let action: Map<String, Value> = serde_json::from_str(line).map_err(|error| malformed(&error.to_string()))?;
        let action = action.iter().next().filter(|(name, _)| matches!(&***name, "index" | "create"));
        let (name, meta) = action.ok_or_else(|| malformed("expected one of [index] and [create]"))?;
        if meta.get("_id").is_some() {
            return Err(malformed("documents get an id of their own here"));
        }
        let index = meta.get("_index").and_then(Value::as_str).or(default_index);
        let index = index.ok_or_else(|| malformed("an index is missing"))?.to_owned();
        let (_, source) = lines.next().ok_or_else(|| malformed("the document is missing"))?;
        documents.push((name.clone(), index, source));
    }
    let (mut items, mut errors, mut touched) = (Vec::new(), false, BTreeMap::new());
    for (verb, name, source) in documents {
        let outcome = indices.source(&name).and_then(|index| {
            let item = add(&index, source);
            touched.insert(name.clone(), index);
            item
        });
        errors |= outcome.is_err();
        let failed = |problem: Problem| json!({ "_index": name, "_id": null, "error": problem.cause(), "status": problem.status.as_u16() });
        items.push(json!({ (verb): outcome.unwrap_or_else(failed) }));
    }
    for index in touched.values() {
        index.writer.lock().commit()?;
        if refreshed {
            index.reader.reload()?;
        }
    }
    Ok(json!({ "took": 0, "errors": errors, "items": items }))
}

fn document(schema: &Schema, id: &str, source: &str) -> Answer<TantivyDocument> {
    let members: Map<String, Value> = serde_json::from_str(source).map_err(Problem::bad)?;
    let mut document = TantivyDocument::default();
    document.add_text(schema.get_field(ID)?, id);
    document.add_text(schema.get_field(SOURCE)?, source);
    for (name, given) in &members {
        let Ok(field) = schema.get_field(name) else { continue };
        let all = given.as_array().map_or(std::slice::from_ref(given), Vec::as_slice);
        for given in all.iter().filter(|given| !given.is_null()) {
            document.add_field_value(field, &value(schema.get_field_entry(field), given)?);
        }
    }
    Ok(document)
}

/// The value as the field has it. A date is RFC 3339, or milliseconds since 1970, which tantivy does not take from
/// JSON.
pub(crate) fn value(field: &FieldEntry, given: &Value) -> Answer<OwnedValue> {
    let failed = |why: String| {
        let reason = format!("failed to parse field [{}]: {why}", field.name());
        Problem { kind: "document_parsing_exception", ..Problem::bad(reason) }
    };
    let Some(millis) = given.as_i64().filter(|_| field.field_type().is_date()) else {
        return field.field_type().value_from_json(given.clone()).map_err(|error| failed(error.to_string()));
    };
    // Tantivy counts nanoseconds.
    let nanos = millis.checked_mul(1_000_000);
    let nanos = nanos.ok_or_else(|| failed(format!("[{millis}] is beyond the years 1678 to 2262")))?;
    Ok(OwnedValue::Date(DateTime::from_timestamp_nanos(nanos)))
}
