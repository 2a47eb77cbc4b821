//! Elasticsearch's REST face: the rollup job APIs, for a host to add to its own axum server.
//!
//! [`router`] serves put, start, stop, delete and get of rollup jobs as Elasticsearch 8 does, so that its clients
//! work as they are. Paths, methods, parameters, statuses and bodies are Elasticsearch's; what its answers lack is
//! beside them:
//!
//! * stop says in what `state` the job is when it answers;
//! * get has `health`, `last_errors`, `rolled_up_until`, `several_values` and `next_run`;
//! * a configuration that is not valid is answered with all its `problems`, and a stop that timed out with a `detail`;
//! * `POST _rollup/job/{id}/_update` changes `cron`, `page_size` and `delay`;
//! * `POST _rollup/job/{id}/_trigger` begins a run; a job that is not started is a 409;
//! * late data has paths of its own: `POST {index}/_rollup/_note_change`, `POST _rollup/job/{id}/_refresh`,
//!   `GET _rollup/job/{id}/_late_data`, `POST _rollup/job/{id}/_verify`; and before raw documents are dropped,
//!   `GET {index}/_rollup/_safe_to_drop`, `POST {index}/_rollup/_seal` and `_raw_dropped`;
//! * stop takes `allow_no_match`, and then ids, wildcards and `_all` separated by commas, as Elasticsearch's other
//!   stop APIs do; it answers for each of the `jobs`. Without it an id is an id, as there;
//! * delete takes `wait_for_completion` and `timeout`, which stop the job first, and `delete_data`;
//! * a manager that is shut down, or whose jobs another process owns, answers 503, so that clients try elsewhere.
//!
//! Calls that reach the engine or the store are made on the runtime's blocking threads, a few at once. Waiting for a
//! stop holds no thread.
//!
//! ```
//! # use std::sync::Arc;
//! # use rollup_jobs::engine::MemoryEngine;
//! # use rollup_jobs::store::MemoryStore;
//! # use rollup_jobs::RollupJobManager;
//! use rollup_jobs::rest::{self, AllowAll};
//!
//! # let manager = RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::new(MemoryStore::new())).open()?;
//! // Everybody may do everything: this has to be written out.
//! let app = axum::Router::new().merge(rest::router(Arc::new(manager), AllowAll));
//! # let _: axum::Router = app;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod authorizer;
mod blocking;
mod caps;
mod change;
mod delete;
mod error_answer;
mod filter_path;
mod get;
mod json;
mod late_data;
mod media;
mod openapi;
mod parameters;
mod percent;
mod place;
mod put;
mod refresh;
mod route;
mod seal;
mod search;
mod start;
mod stop;
mod trigger;
mod update;
mod zones;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{ALLOW, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;

pub use action::{Action, Privilege, UnknownPrivilege};
pub use authorizer::{AllowAll, AuthenticatedUser, Authorizer, Caller, PrivilegeAuthorizer, Refusal};

use authorizer::RefusalKind;
use blocking::Gate;
use error_answer::{Cause, ErrorAnswer, more};
use json::Json;
use parameters::Parameters;
use route::Route;

use crate::search::MAX_BUCKETS;
use crate::{JobStatus, RollupJobManager};

/// How many calls reach engine and store at once.
const CALLS_AT_ONCE: usize = 8;

/// How many stops reach the store at once: they are never behind a put or a delete that hangs in an engine.
const STOPS_AT_ONCE: usize = 8;

/// How many lists of all jobs are written at once.
const LISTS_AT_ONCE: usize = 2;

/// How many searches are answered at once: no other call waits for them.
const SEARCHES_AT_ONCE: usize = 8;

/// How a [router](router_with) behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RouterOptions {
    body_limit: usize,
    openapi: bool,
    strict: bool,
    max_buckets: usize,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self { body_limit: 1 << 20, openapi: false, strict: false, max_buckets: MAX_BUCKETS }
    }
}

impl RouterOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes a body may have. Default: 1 MiB. More is answered with 413.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Whether all searches are answered by Elasticsearch's rules where these are narrower, as those are that ask for
    /// it with `strict=elasticsearch`: for hosts whose clients count on its refusals. Default: no.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The most buckets of an answer, which its caller can lower with `max_buckets`, and cannot raise. Default: 65,536,
    /// as of Elasticsearch's `search.max_buckets`.
    pub fn max_buckets(mut self, max_buckets: usize) -> Self {
        self.max_buckets = max_buckets;
        self
    }

    /// Whether to serve an OpenAPI 3.1 description of the routes at `/_rollup/openapi.json`, to those who may
    /// [`Action::Describe`]. Default: no.
    pub fn openapi(mut self, openapi: bool) -> Self {
        self.openapi = openapi;
        self
    }
}

/// Elasticsearch's rollup job APIs, below `/_rollup`. See the [module](self), and [`router_with`] for options.
pub fn router(manager: Arc<RollupJobManager>, authorizer: impl Authorizer) -> Router {
    router_with(manager, authorizer, RouterOptions::new())
}

/// Elasticsearch's rollup job APIs, below `/_rollup`, for a host to merge into its own router or to nest under any
/// prefix.
///
/// It needs a tokio runtime with its time driver. The authorizer is asked first of all.
pub fn router_with(manager: Arc<RollupJobManager>, authorizer: impl Authorizer, options: RouterOptions) -> Router {
    let face = Face {
        manager,
        authorizer: Arc::new(authorizer),
        calls: Gate::new(CALLS_AT_ONCE),
        stops: Gate::new(STOPS_AT_ONCE),
        lists: Gate::new(LISTS_AT_ONCE),
        searches: Gate::new(SEARCHES_AT_ONCE),
        options,
    };
    let serve = any(serve);
    Router::new()
        .route("/_rollup", serve.clone())
        .route("/_rollup/", serve.clone())
        .route("/_rollup/{*path}", serve.clone())
        .route("/_rollup_search", serve.clone())
        .route("/{index}/_rollup_search", serve.clone())
        .route("/{index}/_rollup/data", serve.clone())
        .route("/{index}/_rollup/_note_change", serve.clone())
        .route("/{index}/_rollup/_safe_to_drop", serve.clone())
        .route("/{index}/_rollup/_seal", serve.clone())
        .route("/{index}/_rollup/_raw_dropped", serve)
        .with_state(Arc::new(face))
}

struct Face {
    manager: Arc<RollupJobManager>,
    authorizer: Arc<dyn Authorizer>,
    calls: Gate,
    stops: Gate,
    /// A list of many jobs keeps a thread busy, though it waits for nothing; and it is wanted most when calls hang.
    lists: Gate,
    searches: Gate,
    options: RouterOptions,
}

async fn serve(State(face): State<Arc<Face>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let parameters = Parameters::parse(request.uri.query().unwrap_or_default());
    let pretty = parameters.as_ref().is_ok_and(|parameters| parameters.switch("pretty").unwrap_or(false));
    let mut headers = media::answer(&request.headers);
    if request.method == Method::OPTIONS
        && let Some(allowed) = Route::allowed(request.uri.path(), face.options.openapi)
    {
        return ([(ALLOW, allowed)], "").into_response();
    }
    let (status, answer) = match face.answer(&request, body, parameters).await {
        Ok(Answer { body, warnings }) => {
            headers.extend(warnings.iter().filter_map(|text| media::warning(text)));
            (StatusCode::OK, body)
        }
        Err(ErrorAnswer { status, body, header }) => {
            headers.extend(header.map(|header| *header));
            (status, body.to_string())
        }
    };
    let text = if pretty { indented(&answer) } else { answer };
    (status, headers, text).into_response()
}

impl Face {
    /// What to say of a job whose schedule has no time to come.
    fn never_fires(&self, job_id: &str) -> Option<String> {
        self.manager.get(job_id).filter(JobStatus::never_fires).map(|status| {
            let cron = status.config().map_or("", |config| config.schedule().as_str()).to_owned();
            format!("The schedule [{cron}] of rollup job [{job_id}] has no time to come: only a trigger runs it.")
        })
    }

    /// A call of the manager that reaches engine or store.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&RollupJobManager) -> T + Send + 'static,
    ) -> Result<T, ErrorAnswer> {
        let manager = Arc::clone(&self.manager);
        self.calls.call(move || call(&manager)).await
    }

    /// A stop that reaches the store: it is made even if its caller has given up.
    async fn stop<T: Send + 'static>(
        &self,
        call: impl FnOnce(&RollupJobManager) -> T + Send + 'static,
    ) -> Result<T, ErrorAnswer> {
        let manager = Arc::clone(&self.manager);
        self.stops.insist(move || call(&manager)).await
    }

    /// All jobs, in the form that `write` gives them.
    async fn list<T: Send + 'static>(&self, write: fn(&JobStatus) -> T) -> Result<Vec<T>, ErrorAnswer> {
        let manager = Arc::clone(&self.manager);
        self.lists.call(move || manager.list().iter().map(write).collect()).await
    }

    async fn answer(
        &self,
        request: &Parts,
        body: Body,
        parameters: Result<Parameters, ErrorAnswer>,
    ) -> Result<Answer, ErrorAnswer> {
        let original = request.extensions.get::<OriginalUri>().map_or(&request.uri, |uri| &uri.0);
        let shown = original.path_and_query().map_or(original.path(), |whole| whole.as_str());
        let Route { action, id } = Route::find(&request.method, request.uri.path(), shown, self.options.openapi)?;
        let caller = self.authorizer.authorize(request, action).map_err(|refusal| refused(refusal, action, shown))?;
        media::check_accept(&request.headers)?;
        let parameters = parameters?;
        media::check_format(parameters.text("format"))?;
        for switch in ["pretty", "human", "error_trace"] {
            parameters.switch(switch)?;
        }
        let known: &[&str] = match action {
            Action::Stop => &stop::PARAMETERS,
            Action::Refresh => &refresh::PARAMETERS,
            Action::Verify => &late_data::VERIFY_PARAMETERS,
            Action::Delete => &delete::PARAMETERS,
            Action::Search => &search::PARAMETERS,
            Action::Plan => &search::PLAN_PARAMETERS,
            _ => &[],
        };
        parameters.only(known, original.path())?;
        let body = self.read(request, body).await?;
        let takes_body = matches!(
            action,
            Action::Put
                | Action::Update
                | Action::Refresh
                | Action::Verify
                | Action::Search
                | Action::Plan
                | Action::NoteChange
                | Action::Seal
        );
        if !takes_body && !body.is_empty() {
            let (method, path) = (&request.method, original.path());
            return Err(ErrorAnswer::bad_request(format!("request [{method} {path}] does not support having a body")));
        }
        let answer = match action {
            Action::Put => put::serve(self, &id, caller.run_as, &body).await,
            Action::Update => update::serve(self, &id, &body).await,
            Action::Start => start::serve(self, &id).await,
            Action::Stop => stop::serve(self, &id, &parameters).await,
            Action::Trigger => trigger::serve(self, &id),
            Action::Refresh => refresh::serve(self, &id, &parameters, &body).await,
            Action::Verify => late_data::verify(self, &id, &parameters, &body).await,
            Action::LateData => late_data::serve(self, &id).await,
            Action::Delete => delete::serve(self, &id, &parameters).await,
            Action::Get => get::serve(self, &id).await,
            Action::Search => search::serve(self, &id, (request, caller), &parameters, &body).await,
            Action::Plan => search::plan(self, (request, caller), &parameters, &body).await,
            Action::GetCaps => caps::serve(self, &id, request),
            Action::GetIndexCaps => caps::of_index(self, &id, request),
            Action::NoteChange => change::serve(self, &id, &body).await,
            Action::SafeToDrop => seal::safe_to_drop(self, &id).await,
            Action::Seal => seal::seal(self, &id, &body).await,
            Action::RawDropped => seal::raw_dropped(self, &id).await,
            Action::Describe => openapi::serve(original.path()),
        }?;
        let Some(filter) = parameters.text("filter_path") else { return Ok(answer) };
        let body = Json::read(&answer.body).map_err(|error| ErrorAnswer::unprintable(&error))?;
        Ok(Answer { body: filter_path::apply(filter, body).to_string(), ..answer })
    }

    async fn read(&self, request: &Parts, body: Body) -> Result<Bytes, ErrorAnswer> {
        let limit = self.options.body_limit;
        let read = to_bytes(body, limit).await.map_err(|error| {
            let reason = format!("could not read the body, which may have at most [{limit}] bytes: {error}");
            ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, Cause::new("content_too_long_exception", reason))
        })?;
        if !read.is_empty() {
            media::check_content_type(&request.headers)?;
        }
        media::unpack(&request.headers, read, limit)
    }
}

/// What goes well, and what the caller should know all the same.
struct Answer {
    body: String,
    warnings: Vec<String>,
}

impl Answer {
    fn of(body: &impl Serialize) -> Result<Self, ErrorAnswer> {
        let body = serde_json::to_string(body).map_err(|error| ErrorAnswer::unprintable(&error))?;
        Ok(Self { body, warnings: Vec::new() })
    }

    fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        Self { body: Json::object(members).to_string(), warnings: Vec::new() }
    }

    fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }
}

fn indented(json: &str) -> String {
    Json::read(json).map_or_else(|_| json.to_owned(), |json| format!("{json:#}\n"))
}

fn refused(refusal: Refusal, action: Action, shown: &str) -> ErrorAnswer {
    let security = |reason| Cause::new("security_exception", reason);
    let granted_by = if action.is_on_indices() {
        "index privileges [read,all]".to_owned()
    } else {
        let granting: Vec<_> = action.granted_by().iter().map(|privilege| privilege.as_str()).collect();
        format!("cluster privileges [{}]", granting.join(","))
    };
    match refusal.kind {
        RefusalKind::Unauthenticated { challenge } => {
            let reason = format!("missing authentication credentials for REST request [{shown}]");
            let challenges = Json::Array(vec![challenge.as_str().into()]);
            let header = more("header", Json::object([("WWW-Authenticate", challenges)]));
            ErrorAnswer::with_more(StatusCode::UNAUTHORIZED, security(reason), header)
                .header(WWW_AUTHENTICATE, &challenge)
        }
        RefusalKind::Forbidden { user } => {
            let reason = format!(
                "action [{action}] is unauthorized for user [{user}], this action is granted by the {granted_by}"
            );
            ErrorAnswer::new(StatusCode::FORBIDDEN, security(reason))
        }
    }
}
