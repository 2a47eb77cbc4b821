//! `GET _rollup/openapi.json`: what the router serves, for tools that read OpenAPI 3.1.
//!
//! The tests hold every answer they get against it.

use serde_json::Error;

use super::Answer;
use super::error_answer::{Cause, ErrorAnswer};
use super::json::{Json, Members};

/// What can be asked for.
const OPERATIONS: &str = include_str!("operations.json");

/// The paths of searches, and of what can be searched.
const SEARCH_OPERATIONS: &str = include_str!("search_operations.json");

/// What that is made of.
const PARAMETERS: &str = include_str!("parameters.json");
const RESPONSES: &str = include_str!("responses.json");
const SCHEMAS: &str = include_str!("schemas.json");
const LATE_DATA_SCHEMAS: &str = include_str!("late_data_schemas.json");
const SEARCH_SCHEMAS: &str = include_str!("search_schemas.json");

/// `path` is the one that the caller has asked for: what is in front of ours is where the host has mounted the router.
pub(super) fn serve(path: &str) -> Result<Answer, ErrorAnswer> {
    let mounted_at = path.split_once("/_rollup/").map_or("", |(prefix, _)| prefix);
    let url = if mounted_at.is_empty() { "/" } else { mounted_at };
    let description = description(url).map_err(|error| ErrorAnswer::internal(Cause::of(&error)))?;
    Answer::of(&description)
}

fn description(url: &str) -> Result<Members, Error> {
    let mut description: Members = serde_json::from_str(OPERATIONS)?;
    if let Some(Json::Object(paths)) = description.get_mut("paths") {
        paths.extend(serde_json::from_str::<Members>(SEARCH_OPERATIONS)?);
    }
    if let Some(Json::Object(info)) = description.get_mut("info") {
        info.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    }
    let server = Json::object([("url", url.into())]);
    description.insert("servers".to_owned(), Json::Array(vec![server]));
    let mut schemas: Members = serde_json::from_str(SCHEMAS)?;
    schemas.extend(serde_json::from_str::<Members>(LATE_DATA_SCHEMAS)?);
    schemas.extend(serde_json::from_str::<Members>(SEARCH_SCHEMAS)?);
    let (parameters, responses) = (Json::read(PARAMETERS)?, Json::read(RESPONSES)?);
    let components = [("parameters", parameters), ("responses", responses), ("schemas", Json::Object(schemas))];
    description.insert("components".to_owned(), Json::object(components));
    Ok(description)
}
