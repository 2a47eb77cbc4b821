//! Ordinary searches that what was rolled up may answer: how a host's own search path uses the crate.

use rollup_jobs::RollupJobManager;
use rollup_jobs::engine::tantivy::tantivy::columnar::Cardinality;
use rollup_jobs::search::{PrintOptions, SearchRequest, Tier};
use serde_json::Value;

use crate::indices::Indices;

/// The answer, if it is one of aggregations alone, and something rolled up is in it. The plan comes first: it reads no
/// document, and says whether it is of use. The member `rollup` says of which parts the answer is made.
///
/// Everybody who may search here may search everything; a host with users says here what the caller may see
/// (`SearchRequest::access`).
pub(crate) fn search(manager: &RollupJobManager, indices: &Indices, pattern: &str, body: &Value) -> Option<Value> {
    // Only Elasticsearch's rollup search may leave the size out.
    body.get("size").filter(|size| **size == 0)?;
    let request = SearchRequest::from_json(pattern, body).ok()?;
    let plan = manager.plan(&request).ok()?;
    plan.parts.iter().find(|part| part.tier == Tier::RolledUp)?;
    all_have_a_date(indices, pattern)?.then_some(())?;
    let response = manager.search(&request).ok()?;
    serde_json::to_value(response.printed(PrintOptions::new().explain(true))).ok()
}

/// Whether every document has exactly one value of every date field. A rollup knows of no others, and an ordinary
/// search counts them.
fn all_have_a_date(indices: &Indices, pattern: &str) -> Option<bool> {
    for (_, searcher) in indices.searchers(pattern).ok()? {
        for (_, field) in searcher.schema().fields().filter(|(_, field)| field.field_type().is_date()) {
            for segment in searcher.segment_readers() {
                let dates = segment.fast_fields().date(field.name()).ok()?;
                if dates.get_cardinality() != Cardinality::Full {
                    return Some(false);
                }
            }
        }
    }
    Some(true)
}
