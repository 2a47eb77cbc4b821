//! What goes wrong, as Elasticsearch says it: a status, a type, a reason, and what it was caused by.

use std::error::Error;

use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue};

use super::json::{Json, Members};
use crate::store::StoreError;
use crate::{ConfigError, JobState};

const PARSE: &str = "x_content_parse_exception";

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Box<Json>,
    pub(super) header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// An exception of Elasticsearch.
#[derive(Debug)]
pub(super) struct Cause {
    kind: &'static str,
    reason: String,
    caused_by: Option<Box<Cause>>,
}

impl Cause {
    pub(super) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), caused_by: None }
    }

    pub(super) fn illegal_argument(reason: impl Into<String>) -> Self {
        Self::new("illegal_argument_exception", reason)
    }

    pub(super) fn parse(reason: impl Into<String>) -> Self {
        Self::new(PARSE, reason)
    }

    pub(super) fn caused_by(self, cause: Self) -> Self {
        Self { caused_by: Some(Box::new(cause)), ..self }
    }

    /// An error of ours, with all its causes.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let cause = Self::new("exception", error.to_string());
        match error.source() {
            Some(source) => cause.caused_by(Self::of(source)),
            None => cause,
        }
    }

    /// The innermost of nested parse errors, which is the one that Elasticsearch takes for the root.
    fn root(&self) -> &Self {
        match &self.caused_by {
            Some(inner) if self.kind == PARSE && inner.kind == PARSE => inner.root(),
            _ => self,
        }
    }

    fn members(&self) -> Members {
        let mut members = self.own_members();
        if let Some(cause) = &self.caused_by {
            members.insert("caused_by".to_owned(), Json::Object(cause.members()));
        }
        members
    }

    fn own_members(&self) -> Members {
        [("type".to_owned(), self.kind.into()), ("reason".to_owned(), self.reason.as_str().into())].into()
    }
}

/// A body that has to be there, as text.
pub(super) fn text(body: &[u8]) -> Result<&str, ErrorAnswer> {
    if body.is_empty() {
        let cause = Cause::new("parse_exception", "request body is required");
        return Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, cause));
    }
    std::str::from_utf8(body).map_err(|error| {
        ErrorAnswer::new(StatusCode::BAD_REQUEST, Cause::parse(format!("the body is not UTF-8: {error}")))
    })
}

/// All problems of a configuration, in the open.
pub(super) fn problems(error: &ConfigError) -> Members {
    let problems = error.problems().iter().map(|problem| {
        let mut members = Members::from([
            ("field".to_owned(), problem.field().into()),
            ("message".to_owned(), problem.message().into()),
        ]);
        members.extend(problem.detail().map(|detail| ("detail".to_owned(), detail.into())));
        members.extend(problem.hint().map(|hint| ("hint".to_owned(), hint.into())));
        Json::Object(members)
    });
    more("problems", Json::Array(problems.collect()))
}

/// One member that Elasticsearch does not have.
pub(super) fn more(name: &str, value: impl Into<Json>) -> Members {
    [(name.to_owned(), value.into())].into()
}

/// A state as Elasticsearch's messages spell it.
pub(super) fn upper_case(state: JobState) -> String {
    state.as_str().to_uppercase()
}

impl ErrorAnswer {
    pub(super) fn new(status: StatusCode, cause: Cause) -> Self {
        Self::with_more(status, cause, Members::new())
    }

    /// `more` is what Elasticsearch does not say.
    pub(super) fn with_more(status: StatusCode, cause: Cause, more: Members) -> Self {
        let mut error =
            Members::from([("root_cause".to_owned(), Json::Array(vec![Json::Object(cause.root().own_members())]))]);
        error.extend(cause.members());
        error.extend(more);
        Self::with_error(status, Json::Object(error))
    }

    fn with_error(status: StatusCode, error: Json) -> Self {
        Self::with_body(status, Json::object([("error", error), ("status", status.as_u16().into())]))
    }

    pub(super) fn with_body(status: StatusCode, body: Json) -> Self {
        Self { status, body: Box::new(body), header: None }
    }

    /// The short form, for requests that no handler has seen.
    pub(super) fn short(status: StatusCode, text: impl Into<String>) -> Self {
        Self::with_error(status, text.into().into())
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Cause::illegal_argument(reason))
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Cause::new("resource_not_found_exception", reason))
    }

    pub(super) fn job_not_found(job_id: &str) -> Self {
        Self::not_found(format!("Task for Rollup Job [{job_id}] not found"))
    }

    /// The store refused to save that the job is in this state.
    pub(super) fn not_saved(job_id: &str, state: JobState, error: &StoreError) -> Self {
        let reason = format!("Error while updating state for rollup job [{job_id}] to [{}].", upper_case(state));
        Self::internal(Cause::new("exception", reason).caused_by(Cause::of(error)))
    }

    /// The host's fault, or the machine's: the documented 500.
    pub(super) fn internal(cause: Cause) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, cause)
    }

    /// This process does not own the jobs, or not any more: another one may answer.
    pub(super) fn unavailable(error: &(dyn Error + 'static)) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Cause::of(error))
    }

    /// What is to be printed is no JSON.
    pub(super) fn unprintable(error: &serde_json::Error) -> Self {
        Self::internal(Cause::of(error))
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.header = HeaderValue::from_str(value).ok().map(|value| Box::new((name, value)));
        self
    }
}
