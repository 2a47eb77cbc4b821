//! What to do about fields that are not there.

use crate::engine::FieldCapabilities;

/// How alike a name has to be to be taken for the one that is meant.
const ALIKE: f64 = 0.5;

/// Of what the engine knows the names that are most like this one.
pub(super) fn alike(field: &str, capabilities: &FieldCapabilities) -> Option<String> {
    let likeness = |known: &&String| strsim::normalized_damerau_levenshtein(field, known);
    let best = capabilities.known_fields.iter().map(|known| (likeness(&known), known));
    let best = best.filter(|(likeness, _)| *likeness > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, known)| format!("did you mean [{known}]?"))
}

/// Of a configuration none of whose fields are there.
pub(super) fn unknown_fields(fields: &[&str], capabilities: &FieldCapabilities) -> String {
    let hints: Vec<_> =
        fields.iter().filter_map(|field| Some(format!("[{field}]: {}", alike(field, capabilities)?))).collect();
    if hints.is_empty() { format!("none of the indices has [{}]", fields.join(", ")) } else { hints.join(", ") }
}
