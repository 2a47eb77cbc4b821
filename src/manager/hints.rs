//! What to do about fields that are not there.

use crate::engine::FieldCapabilities;

/// Of a configuration none of whose fields are there.
pub(super) fn unknown_fields(fields: &[&str], capabilities: &FieldCapabilities) -> String {
    let hints: Vec<_> =
        fields.iter().filter_map(|field| Some(format!("[{field}]: {}", capabilities.alike(field)?))).collect();
    if hints.is_empty() { format!("none of the indices has [{}]", fields.join(", ")) } else { hints.join(", ") }
}
