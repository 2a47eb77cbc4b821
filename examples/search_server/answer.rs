//! Answers as Elasticsearch gives them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(crate) type Answer<T = Value> = Result<T, Problem>;

/// Why a request is not answered with what it asked for.
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

impl Problem {
    /// The caller's mistake.
    pub(crate) fn bad(reason: impl ToString) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "illegal_argument_exception", reason: reason.to_string() }
    }

    pub(crate) fn no_such_index(name: &str) -> Self {
        let reason = format!("no such index [{name}]");
        Self { status: StatusCode::NOT_FOUND, kind: "index_not_found_exception", reason }
    }

    pub(crate) fn cause(&self) -> Value {
        json!({ "type": self.kind, "reason": self.reason })
    }
}

/// What nobody has said to be the caller's mistake is the machine's, or ours.
impl<E: std::error::Error> From<E> for Problem {
    fn from(error: E) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "exception", reason: error.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut error = self.cause();
        error["root_cause"] = json!([self.cause()]);
        (self.status, Json(json!({ "error": error, "status": self.status.as_u16() }))).into_response()
    }
}
