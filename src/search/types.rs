//! What fields hold: a job knows it of those that it groups by, and source indices are asked where none serves. When an
//! engine refuses a search because of a field, they are asked once more, to say which place of the request is wrong.

use std::collections::BTreeMap;

use super::error::SearchFault;
use super::request::SearchRequestError;
use super::run::Systems;
use super::tree::Tree;
use crate::engine::{self, EngineErrorKind, FieldCapabilities, JobContext};
use crate::job::{IndexPattern, TermsType};
use crate::rollup::KeyKind;

/// What the fields hold that are grouped by their values, as a job knows it.
pub(super) fn kept(tree: &Tree, job: &JobContext) -> BTreeMap<String, TermsType> {
    let wanted = tree.terms_fields();
    let kept = job.layout().grouping().keys().iter().filter_map(|key| match key.kind {
        KeyKind::Terms(kind) => Some((key.field.clone(), kind)),
        KeyKind::Histogram { .. } => None,
    });
    kept.filter(|(field, _)| wanted.contains_key(field.as_str())).collect()
}

/// The same as source indices know it.
pub(super) fn asked(
    systems: &Systems<'_>,
    tree: &Tree,
    job: &JobContext,
    pattern: &IndexPattern,
) -> Result<BTreeMap<String, TermsType>, SearchFault> {
    let wanted = tree.terms_fields();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let fields: Vec<&str> = wanted.keys().copied().collect();
    let found = engine::call(|| systems.source.field_capabilities(job, pattern, &fields))?;
    let kinds = wanted.into_iter().map(|(field, place)| match terms_type(field, &found) {
        Ok(kind) => Ok((field.to_owned(), kind)),
        Err(problem) => Err(SearchRequestError::new(place, problem).into()),
    });
    kinds.collect()
}

fn terms_type(field: &str, found: &FieldCapabilities) -> Result<TermsType, String> {
    let known = found.fields.get(field).map_or(&[][..], Vec::as_slice);
    let Some(first) = known.first() else {
        let alike = found.alike(field).map_or_else(String::new, |alike| format!(": {alike}"));
        return Err(format!("there is no field [{field}] to group by{alike}"));
    };
    if known.iter().any(|other| other.field_type.terms_type() != first.field_type.terms_type()) {
        let of = |known: &engine::FieldCapability| format!("[{}] in [{}]", known.field_type, known.indices.join(", "));
        let kinds: Vec<_> = known.iter().map(of).collect();
        return Err(format!("[{field}] is {}: search these indices apart", kinds.join(" and ")));
    }
    if first.field_type.is_date() {
        return Err(is_date(field));
    }
    first.field_type.terms_type().ok_or_else(|| match found.remedies.get(field) {
        Some(remedy) => format!("[{field}] is [{}]: {remedy}", first.field_type),
        None => format!("[{field}] is [{}], which is not grouped by", first.field_type),
    })
}

/// Why a date has no terms.
pub(super) fn is_date(field: &str) -> String {
    format!("[{field}] is a date: [date_histogram] groups by it")
}

/// What is wrong with a request that an engine has refused, if it is that a field does not hold `numeric` values: these
/// have to, each at a place.
pub(super) fn explained(
    systems: &Systems<'_>,
    numeric: BTreeMap<String, String>,
    source: Option<&(JobContext, IndexPattern)>,
    fault: SearchFault,
) -> SearchFault {
    let (SearchFault::Engine(error), Some((job, pattern))) = (&fault, source) else { return fault };
    if error.kind() != EngineErrorKind::Rejected {
        return fault;
    }
    let fields: Vec<&str> = numeric.keys().map(String::as_str).collect();
    let Ok(found) = engine::call(|| systems.source.field_capabilities(job, pattern, &fields)) else { return fault };
    let wrong = numeric.into_iter().find_map(|(field, place)| {
        let other = found.fields.get(&field)?.iter().find(|known| !known.field_type.is_numeric())?;
        let indices = other.indices.join(", ");
        let problem = format!("needs numbers, but [{field}] is [{}] in [{indices}]", other.field_type);
        Some(SearchRequestError::new(place, problem))
    });
    wrong.map_or(fault, SearchFault::Request)
}
