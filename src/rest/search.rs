//! `GET|POST {index}/_rollup_search`, and `POST _rollup/plan`, which says how it would be answered.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::Value;

use super::action::Action;
use super::authorizer::{Authorizer, Caller};
use super::error_answer::{Cause, ErrorAnswer, more};
use super::json::Json;
use super::parameters::Parameters;
use super::{Answer, Face};
use crate::engine::EngineErrorKind;
use crate::search::{
    Access, Edges, NO_HITS, PrintOptions, SearchCancel, SearchError, SearchRequest, SearchRequestError, SearchRights,
    WhyNot,
};

/// Beside those of every route.
pub(super) const PARAMETERS: [&str; 6] =
    ["typed_keys", "rest_total_hits_as_int", "explain", "edges", "max_buckets", "strict"];

/// Those of a plan.
pub(super) const PLAN_PARAMETERS: [&str; 2] = ["index", "edges"];

/// The rights of whoever has sent a request.
struct OfRequest {
    authorizer: Arc<dyn Authorizer>,
    request: Parts,
}

impl SearchRights for OfRequest {
    fn may_read(&self, index: &str) -> bool {
        self.authorizer.may_read(&self.request, index)
    }

    fn is_unrestricted(&self, index: &str) -> bool {
        self.authorizer.is_unrestricted(&self.request, index)
    }
}

/// Ends the search of a request that went away.
#[derive(Default)]
pub(super) struct CancelOnDrop(pub(super) SearchCancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

pub(super) async fn serve(
    face: &Face,
    indices: &str,
    (request, caller): (&Parts, Caller),
    parameters: &Parameters,
    body: &[u8],
) -> Result<Answer, ErrorAnswer> {
    let options = PrintOptions::new()
        .typed_keys(parameters.switch("typed_keys")?)
        .total_as_int(parameters.switch("rest_total_hits_as_int")?)
        .explain(parameters.switch("explain")?);
    let cancel = CancelOnDrop::default();
    let search = asked(face, indices, (request, caller), parameters, body)?.cancelled_by(&cancel.0);
    let answered = face.searches.call({
        let manager = Arc::clone(&face.manager);
        move || manager.search(&search).map(|response| serde_json::to_string(&response.printed(options)))
    });
    let printed = answered.await?.map_err(|error| failure(&error))?;
    let body = printed.map_err(|error| ErrorAnswer::unprintable(&error))?;
    Ok(Answer { body, warnings: Vec::new() })
}

pub(super) async fn plan(
    face: &Face,
    (request, caller): (&Parts, Caller),
    parameters: &Parameters,
    body: &[u8],
) -> Result<Answer, ErrorAnswer> {
    let Some(indices) = parameters.text("index").filter(|indices| !indices.is_empty()) else {
        return Err(ErrorAnswer::bad_request("requires the parameter [index]: what would be searched"));
    };
    let search = asked(face, indices, (request, caller), parameters, body)?;
    let manager = Arc::clone(&face.manager);
    let planned = face.searches.call(move || manager.plan(&search)).await?;
    Answer::of(&planned.map_err(|error| failure(&error))?.to_json())
}

fn asked(
    face: &Face,
    indices: &str,
    (request, caller): (&Parts, Caller),
    parameters: &Parameters,
    body: &[u8],
) -> Result<SearchRequest, ErrorAnswer> {
    let body: Value = match body {
        [] => Value::Object(serde_json::Map::new()),
        body => serde_json::from_slice(body).map_err(|error| {
            let reason = format!("the search body is no JSON, or nested too deep: {error}");
            ErrorAnswer::new(StatusCode::BAD_REQUEST, Cause::parse(reason))
        })?,
    };
    let indices = if indices.is_empty() { "_all" } else { indices };
    let mut search = SearchRequest::from_json(indices, &body).map_err(|error| invalid(&error))?;
    search.strict = match parameters.text("strict") {
        None => face.options.strict,
        Some("elasticsearch") => true,
        Some(other) => {
            let reason = format!("Failed to parse value [{other}] of [strict] as only [elasticsearch] is allowed.");
            return Err(ErrorAnswer::bad_request(reason));
        }
    };
    if search.strict && body.get("size").is_none() {
        return Err(ErrorAnswer::bad_request(NO_HITS));
    }
    search.edges = match parameters.text("edges") {
        None if search.strict => Edges::Start,
        Some("start") => Edges::Start,
        None | Some("exact") => Edges::Exact,
        Some("inner") => Edges::Inner,
        Some("outer") => Edges::Outer,
        Some(other) => {
            let reason = format!(
                "Failed to parse value [{other}] of [edges] as only [exact], [inner], [outer] or [start] are allowed."
            );
            return Err(ErrorAnswer::bad_request(reason));
        }
    };
    search.max_buckets = max_buckets(parameters, face.options.max_buckets)?;
    search.run_as = caller.run_as;
    let rights = OfRequest { authorizer: Arc::clone(&face.authorizer), request: request.clone() };
    Ok(search.access(Access::of(Arc::new(rights))))
}

/// As many as the caller asks for, if the host lets it.
fn max_buckets(parameters: &Parameters, most: usize) -> Result<usize, ErrorAnswer> {
    let Some(asked) = parameters.text("max_buckets") else { return Ok(most) };
    match asked.parse() {
        Ok(asked) if asked <= most => Ok(asked),
        Ok(_) => Err(ErrorAnswer::bad_request(format!("[max_buckets] can be {most} at most here, but was [{asked}]"))),
        Err(_) => {
            let reason = format!("Failed to parse int parameter [max_buckets] with value [{asked}]");
            Err(ErrorAnswer::bad_request(reason))
        }
    }
}

fn invalid(error: &SearchRequestError) -> ErrorAnswer {
    let reason = if error.is_elasticsearchs() { error.problem().to_owned() } else { error.to_string() };
    ErrorAnswer::with_more(StatusCode::BAD_REQUEST, Cause::illegal_argument(reason), more("place", error.place()))
}

fn failure(error: &SearchError) -> ErrorAnswer {
    let bad = |kind, reason: String| ErrorAnswer::new(StatusCode::BAD_REQUEST, Cause::new(kind, reason));
    match error {
        SearchError::Request { source, .. } => invalid(source),
        SearchError::NoJob { .. } => ErrorAnswer::not_found(error.to_string()),
        SearchError::Forbidden { index, .. } => {
            let reason = format!(
                "action [{}] is unauthorized on indices [{index}], this action is granted by the index privileges \
                 [read,all]",
                Action::Search
            );
            ErrorAnswer::new(StatusCode::FORBIDDEN, Cause::new("security_exception", reason))
        }
        SearchError::NotServed { why_not, .. } => {
            let reasons = why_not.iter().map(|WhyNot { job_id, place, obstacle, .. }| {
                let members = [
                    ("job_id", Json::from(job_id.as_str())),
                    ("place", place.as_str().into()),
                    ("reason", obstacle.to_string().into()),
                ];
                Json::object(members)
            });
            let more = more("why_not", Json::Array(reasons.collect()));
            ErrorAnswer::with_more(StatusCode::BAD_REQUEST, Cause::illegal_argument(error.to_string()), more)
        }
        SearchError::TooManyBuckets { .. } => bad("too_many_buckets_exception", error.to_string()),
        SearchError::Infinite { .. } => bad("arithmetic_exception", error.to_string()),
        SearchError::Cancelled { .. } => {
            ErrorAnswer::internal(Cause::new("task_cancelled_exception", error.to_string()))
        }
        SearchError::Timeout { .. } => ErrorAnswer::internal(Cause::new("timeout_exception", error.to_string())),
        SearchError::Engine { source, .. } => match source.kind() {
            EngineErrorKind::NotFound => {
                let reason = std::error::Error::source(source).map_or_else(|| source.to_string(), ToString::to_string);
                ErrorAnswer::new(StatusCode::NOT_FOUND, Cause::new("index_not_found_exception", reason))
            }
            EngineErrorKind::Unavailable | EngineErrorKind::Moved => ErrorAnswer::unavailable(error),
            EngineErrorKind::Rejected | EngineErrorKind::Unsupported => {
                ErrorAnswer::new(StatusCode::BAD_REQUEST, Cause::of(error))
            }
            EngineErrorKind::AlreadyExists | EngineErrorKind::Cancelled => ErrorAnswer::internal(Cause::of(error)),
        },
        SearchError::Store { .. } | SearchError::Moved { .. } => ErrorAnswer::unavailable(error),
    }
}
