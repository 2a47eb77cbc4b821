//! `GET _rollup/openapi.json`: what the router serves, for tools that read OpenAPI 3.1.
//!
//! The tests hold every answer they get against it.

use serde_json::{Error, Value};

use super::error_answer::{Cause, ErrorAnswer};

/// What can be asked for.
const OPERATIONS: &str = include_str!("operations.json");

/// What that is made of: parameters, responses, schemas.
const COMPONENTS: &str = include_str!("components.json");

/// `path` is the one that the caller has asked for: what is in front of ours is where the host has mounted the router.
pub(super) fn serve(path: &str) -> Result<Value, ErrorAnswer> {
    let mut description = description().map_err(|error| ErrorAnswer::internal(Cause::of(&error)))?;
    let mounted_at = path.split_once("/_rollup/").map_or("", |(prefix, _)| prefix);
    description["servers"][0]["url"] = if mounted_at.is_empty() { "/" } else { mounted_at }.into();
    Ok(description)
}

fn description() -> Result<Value, Error> {
    let mut description: Value = serde_json::from_str(OPERATIONS)?;
    description["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    description["components"] = serde_json::from_str(COMPONENTS)?;
    Ok(description)
}
