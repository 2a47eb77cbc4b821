//! Schemas: what a source index has, and what a rollup index is made of.

use ::tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, FieldType as TantivyType, NumericOptions, Schema, TextOptions,
    is_valid_field_name,
};

use super::scan::RowColumns;
use crate::engine::{EngineError, FieldCapabilities, FieldType};
use crate::filter::FilterField;
use crate::rollup::{DocumentLayout, ValueKind};

/// The document's id, as Elasticsearch names it.
pub(super) const ID: &str = "_id";

/// Notes what `field` is in the source index `name`.
pub(super) fn add_capability(capabilities: &mut FieldCapabilities, name: &str, schema: &Schema, field: &str) {
    let Ok(found) = schema.get_field(field) else { return };
    let entry = schema.get_field_entry(found);
    let (field_type, resolution) = match entry.field_type() {
        TantivyType::Date(options) => (FieldType::Date, resolution_millis(options)),
        other => (field_type(other, entry.is_fast()), 0),
    };
    capabilities.add(field, name, field_type, entry.is_fast(), resolution);
    if !entry.is_fast() {
        let remedy = "add FAST to its options in the tantivy schema, and index the documents again";
        capabilities.remedies.insert(field.to_owned(), remedy.to_owned());
    }
}

/// A `date` field counts in seconds unless told otherwise.
fn resolution_millis(options: &DateOptions) -> i64 {
    if options.get_precision() == DateTimePrecision::Seconds { 1_000 } else { 0 }
}

fn field_type(tantivy: &TantivyType, fast: bool) -> FieldType {
    match tantivy {
        TantivyType::Date(_) => FieldType::Date,
        TantivyType::I64(_) => FieldType::Long,
        TantivyType::U64(_) => FieldType::Unsigned,
        TantivyType::F64(_) => FieldType::Double,
        TantivyType::Bool(_) => FieldType::Boolean,
        TantivyType::IpAddr(_) => FieldType::Ip,
        // What a fast field holds is the whole text.
        TantivyType::Str(_) if fast => FieldType::Keyword,
        TantivyType::Str(_) => FieldType::Text,
        other => FieldType::Other(format!("{:?}", other.value_type()).to_lowercase()),
    }
}

/// Whether the columns that a scan reads are what it takes them for: a field may have become something else since a job
/// was put. One that the index does not have at all has no values.
pub(super) fn check_columns(described: &str, schema: &Schema, columns: &RowColumns) -> Result<(), EngineError> {
    for (field, use_as) in columns.uses() {
        let Ok(found) = schema.get_field(field) else { continue };
        let entry = schema.get_field_entry(found);
        let field_type = field_type(entry.field_type(), entry.is_fast());
        if !entry.is_fast() {
            return Err(EngineError::rejected(format!("field [{field}] of {described} is not a fast field")));
        }
        if !use_as.fits(&field_type) {
            return Err(EngineError::rejected(format!(
                "field [{field}] of {described} is [{field_type}], where {use_as} is needed"
            )));
        }
    }
    Ok(())
}

/// What a field of an index holds, for a filter; nothing if there is no such field.
pub(super) fn filter_field(described: &str, schema: &Schema, field: &str) -> Result<Option<FilterField>, EngineError> {
    let Ok(found) = schema.get_field(field) else { return Ok(None) };
    let entry = schema.get_field_entry(found);
    let field_type = field_type(entry.field_type(), entry.is_fast());
    let holds = field_type.filter_field().filter(|_| entry.is_fast());
    let problem = || {
        let problem = if entry.is_fast() { "and a filter cannot look at it" } else { "and not a fast field" };
        EngineError::rejected(format!("[filter] field [{field}] of {described} is [{field_type}], {problem}"))
    };
    holds.ok_or_else(problem).map(Some)
}

/// The schema of a job's rolled-up documents: everything is a fast field, and nothing is indexed or stored besides.
/// Term and range queries find what they look for in fast fields, too.
pub(super) fn rollup_schema(layout: &DocumentLayout) -> Result<Schema, EngineError> {
    let mut schema = Schema::builder();
    schema.add_text_field(ID, TextOptions::from(FAST));
    for field in layout.fields() {
        if !is_valid_field_name(&field.name) || field.name == ID {
            return Err(EngineError::rejected(format!("[{}] cannot be the name of a tantivy field", field.name)));
        }
        match field.kind {
            ValueKind::Date => {
                let options = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
                schema.add_date_field(&field.name, options)
            }
            ValueKind::Integer => schema.add_i64_field(&field.name, NumericOptions::from(FAST)),
            ValueKind::Unsigned => schema.add_u64_field(&field.name, NumericOptions::from(FAST)),
            ValueKind::Double => schema.add_f64_field(&field.name, NumericOptions::from(FAST)),
            ValueKind::Keyword => schema.add_text_field(&field.name, TextOptions::from(FAST)),
        };
    }
    Ok(schema.build())
}
