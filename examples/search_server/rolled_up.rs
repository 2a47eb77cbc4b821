//! Ordinary searches that what was rolled up may answer: how a host's own search path uses the crate.

use rollup_jobs::RollupJobManager;
use rollup_jobs::search::{PrintOptions, SearchRequest, Tier};
use serde_json::Value;

/// The answer, if it is one of aggregations alone, and something rolled up is in it. The plan comes first: it reads no
/// document, and says whether it is of use. The member `rollup` says of which parts the answer is made.
///
/// Everybody who may search here may search everything; a host with users says here what the caller may see
/// (`SearchRequest::access`).
pub(crate) fn search(manager: &RollupJobManager, pattern: &str, body: &Value) -> Option<Value> {
    // Only Elasticsearch's rollup search may leave the size out.
    body.get("size").filter(|size| **size == 0)?;
    let request = SearchRequest::from_json(pattern, body).ok()?;
    let plan = manager.plan(&request).ok()?;
    plan.parts.iter().find(|part| part.tier == Tier::RolledUp)?;
    let response = manager.search(&request).ok()?;
    serde_json::to_value(response.printed(PrintOptions::new().explain(true))).ok()
}
