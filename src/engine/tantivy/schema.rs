//! Schemas: what a source index has, and what a rollup index is made of.

use ::tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, FieldType as TantivyType, NumericOptions, Schema, TextOptions,
    is_valid_field_name,
};

use crate::engine::{EngineError, FieldCapabilities, FieldType};
use crate::job::TermsType;
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

/// Whether a field of a source index can be used as it was when the job was put.
pub(super) fn check_source(
    name: &str,
    schema: &Schema,
    field: &str,
    fits: impl Fn(&FieldType) -> bool,
    wanted: &str,
) -> Result<bool, EngineError> {
    let Ok(found) = schema.get_field(field) else { return Ok(false) };
    let entry = schema.get_field_entry(found);
    let field_type = field_type(entry.field_type(), entry.is_fast());
    if !entry.is_fast() {
        return Err(EngineError::rejected(format!("field [{field}] of index [{name}] is not a fast field")));
    }
    if !fits(&field_type) {
        return Err(EngineError::rejected(format!(
            "field [{field}] of index [{name}] is [{field_type}], the job needs {wanted}"
        )));
    }
    Ok(true)
}

pub(super) fn fits_terms(terms: TermsType, field_type: &FieldType) -> bool {
    match terms {
        TermsType::Keyword => field_type.is_textual(),
        TermsType::Integer => *field_type == FieldType::Long,
        TermsType::Unsigned => *field_type == FieldType::Unsigned,
        TermsType::Floating => field_type.is_floating(),
    }
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
