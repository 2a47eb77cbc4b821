//! What the router adds to a stop: `cargo bench --all-features --bench rest`.
//!
//! A job that is stopped already, in process and without a socket: the direct call, an empty handler behind the same
//! kind of path, and the router.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::any;
use criterion::{Criterion, criterion_group, criterion_main};
use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::rest::{AllowAll, router};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, RollupJobConfig, RollupJobManager, StopOptions};
use tower::ServiceExt;

fn manager() -> RollupJobManager {
    let engine = MemoryEngine::new();
    engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).open().unwrap();
    let config =
        RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 0 1 1 ?");
    let by_hour = DateHistogram::fixed_interval("timestamp", "1h");
    manager.put(config.page_size(10).date_histogram(by_hour).build().unwrap()).unwrap();
    manager
}

fn stop_of_a_stopped_job(criterion: &mut Criterion) {
    let manager = Arc::new(manager());
    let mut group = criterion.benchmark_group("rest/stop of a stopped job");
    group.bench_function("direct call", |bencher| {
        bencher.iter(|| black_box(manager.stop("sensor", StopOptions::new())).unwrap().is_at_rest());
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let empty = Router::new().route("/_rollup/{*path}", any(|| async { "{}" }));
    let full = router(Arc::clone(&manager), AllowAll);
    for (name, router) in [("empty handler", empty), ("router", full)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let request = Request::post("/_rollup/job/sensor/_stop?wait_for_completion=true&timeout=10s");
                let answer = router.clone().oneshot(request.body(Body::empty()).unwrap());
                black_box(runtime.block_on(answer)).unwrap().status()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stop_of_a_stopped_job);
criterion_main!(benches);
