//! The REST face, as a client sees it: what comes back for what is sent.

mod abandoned_search;
mod changes;
mod configs;
mod forms;
mod fuzz;
mod jobs;
mod late_data;
mod openapi;
mod overtaking;
mod privileges;
mod requests;
mod search;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Router, http};
use rollup_jobs::RollupJobManager;
use rollup_jobs::rest::{AllowAll, router};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A client of a router in this process.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    router: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    #[track_caller]
    pub fn is(&self, status: u16, body: &Value) {
        assert_eq!((self.status.as_u16(), self.json()), (status, body.clone()));
    }

    /// An error in Elasticsearch's standard form, with nothing else in it.
    #[track_caller]
    pub fn is_error(&self, status: u16, kind: &str, reason: &str) {
        self.is(status, &error(status, kind, reason));
    }
}

pub fn error(status: u16, kind: &str, reason: &str) -> Value {
    json!({
        "error": { "root_cause": [{ "type": kind, "reason": reason }], "type": kind, "reason": reason },
        "status": status
    })
}

impl Client {
    pub fn of(manager: &Arc<RollupJobManager>) -> Self {
        Self::with(router(Arc::clone(manager), AllowAll))
    }

    pub fn with(router: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        Self { runtime, router }
    }

    /// Where waiting takes no time: when nothing else is to be done, the clock moves to where something is.
    pub fn in_no_time(router: Router) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        Self { runtime, router }
    }

    pub fn send(&self, line: &str) -> Answer {
        self.request(line, &[], "")
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(&format!("PUT {path}"), &[("content-type", "application/json")], &body.to_string())
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(&format!("POST {path}"), &[("content-type", "application/json")], &body.to_string())
    }

    /// `line` is a method and a path, as on a request's first line.
    pub fn request(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, uri) = line.split_once(' ').unwrap();
        let builder = Request::builder().method(method).uri(uri);
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        self.answer(builder.body(Body::from(body.to_owned())).unwrap())
    }

    /// What comes back, which is what the OpenAPI description tells to expect.
    pub fn answer(&self, request: http::Request<Body>) -> Answer {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let answer = self.unchecked(request);
        openapi::check(&method, &uri, &answer);
        answer
    }

    fn unchecked(&self, request: http::Request<Body>) -> Answer {
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
        })
    }
}
