//! The routes of the host itself: indices, documents and searches.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use rollup_jobs::RollupJobManager;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Answer, Problem};
use crate::indices::Indices;
use crate::{documents, rolled_up, search};

/// Official clients look for it.
pub(crate) const PRODUCT: HeaderName = HeaderName::from_static("x-elastic-product");

type Host = State<Arc<Indices>>;

pub(crate) fn router(indices: Arc<Indices>, manager: Arc<RollupJobManager>) -> Router {
    let searches =
        Router::new().route("/{index}/_search", get(search).post(search)).with_state((Arc::clone(&indices), manager));
    Router::new()
        .route("/", get(info))
        .route("/_bulk", post(bulk).put(bulk))
        .route("/{index}", put(create).get(describe).delete(delete))
        .route("/{index}/_mapping", get(describe))
        .route("/{index}/_doc", post(add))
        .route("/{index}/_bulk", post(bulk).put(bulk))
        .route("/{index}/_refresh", post(refresh).get(refresh))
        .route("/{index}/_count", get(count).post(count))
        .with_state(indices)
        .merge(searches)
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        // As much as Elasticsearch takes.
        .layer(DefaultBodyLimit::max(100 << 20))
        .layer(middleware::from_fn(say_product))
}

async fn say_product(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(PRODUCT, HeaderValue::from_static("Elasticsearch"));
    response
}

/// Tantivy reads and writes files: not on the threads that answer requests.
async fn at_leisure(work: impl FnOnce() -> Answer + Send + 'static) -> Answer<Json<Value>> {
    Ok(Json(tokio::task::spawn_blocking(work).await??))
}

/// No body is an empty object.
fn parse(body: &str) -> Answer {
    let body = if body.trim().is_empty() { "{}" } else { body };
    serde_json::from_str(body).map_err(|error| Problem::bad(format!("the body is not JSON: {error}")))
}

async fn info() -> Json<Value> {
    let version = json!({ "number": "8.19.0", "build_flavor": "default", "distribution": "rollup-jobs search_server" });
    Json(json!({ "name": "search_server", "cluster_name": "search_server", "version": version }))
}

async fn unknown(request: Request) -> Problem {
    Problem::bad(format!("no handler found for uri [{}] and method [{}]", request.uri(), request.method()))
}

async fn create(State(indices): Host, Path(name): Path<String>, body: String) -> Answer<Json<Value>> {
    at_leisure(move || {
        indices.create(&name, &parse(&body)?)?;
        Ok(json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }))
    })
    .await
}

async fn delete(State(indices): Host, Path(pattern): Path<String>) -> Answer<Json<Value>> {
    at_leisure(move || indices.delete(&pattern).map(|()| json!({ "acknowledged": true }))).await
}

async fn describe(State(indices): Host, Path(pattern): Path<String>) -> Answer<Json<Value>> {
    let all = indices.sources(&pattern)?.into_iter();
    Ok(Json(all.map(|index| (index.name.clone(), json!({ "aliases": {}, "mappings": index.mappings }))).collect()))
}

/// What an addition may say in its query: whether searches see it at once.
#[derive(Deserialize)]
struct Adding {
    refresh: Option<String>,
}

impl Adding {
    fn is_refreshed(&self) -> bool {
        self.refresh.as_ref().is_some_and(|refresh| refresh != "false")
    }
}

async fn add(
    State(indices): Host,
    Path(name): Path<String>,
    Query(adding): Query<Adding>,
    body: String,
) -> Answer<(StatusCode, Json<Value>)> {
    let added = at_leisure(move || {
        let index = indices.source(&name)?;
        let added = documents::add(&index, &body)?;
        index.writer.lock().commit()?;
        if adding.is_refreshed() {
            index.reader.reload()?;
        }
        Ok(added)
    });
    Ok((StatusCode::CREATED, added.await?))
}

async fn bulk(
    State(indices): Host,
    index: Option<Path<String>>,
    Query(adding): Query<Adding>,
    body: String,
) -> Answer<Json<Value>> {
    let index = index.map(|Path(name)| name);
    at_leisure(move || documents::bulk(&indices, index.as_deref(), adding.is_refreshed(), &body)).await
}

/// Makes what was added visible to searches. Rollup jobs see it in any case.
async fn refresh(State(indices): Host, Path(pattern): Path<String>) -> Answer<Json<Value>> {
    at_leisure(move || {
        indices.sources(&pattern)?.iter().try_for_each(|index| index.reader.reload())?;
        Ok(json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }))
    })
    .await
}

async fn count(State(indices): Host, Path(pattern): Path<String>, body: String) -> Answer<Json<Value>> {
    let Json(found) = at_leisure(move || search::search(&indices, &pattern, &parse(&body)?)).await?;
    Ok(Json(json!({ "count": found["hits"]["total"]["value"], "_shards": found["_shards"] })))
}

/// What a search may say in its query.
#[derive(Deserialize)]
struct Searching {
    rollup: Option<Rollup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rollup {
    /// What was rolled up may answer.
    Auto,
}

async fn search(
    State((indices, manager)): State<(Arc<Indices>, Arc<RollupJobManager>)>,
    Path(pattern): Path<String>,
    Query(Searching { rollup }): Query<Searching>,
    body: String,
) -> Answer<Json<Value>> {
    at_leisure(move || {
        let body = parse(&body)?;
        let rolled_up = rollup.and_then(|Rollup::Auto| rolled_up::search(&manager, &indices, &pattern, &body));
        rolled_up.map_or_else(|| search::search(&indices, &pattern, &body), Ok)
    })
    .await
}
