//! A search for which nobody waits any more does not go on.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use rollup_jobs::engine::{
    EngineError, JobContext, MemoryEngine, PageStream, RollupIndex, RollupIndexAdapter, ScanRequest, Source,
    SourceAdapter, StopSignal,
};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{IndexPattern, RollupJobManager};
use tower::ServiceExt;

use super::Client;
use crate::support::{PATIENCE, config, loaded};

/// Scans that end when they are stopped, and tell when they begin and whether they were stopped.
#[derive(Debug)]
struct Endless {
    engine: MemoryEngine,
    begun: Sender<()>,
    stopped: Sender<bool>,
}

impl SourceAdapter for Endless {
    fn source(&self) -> &dyn Source {
        &self.engine
    }

    #[expect(clippy::disallowed_methods, reason = "a search that goes on does not hold the test up for ever")]
    fn scan(
        &self,
        job: &JobContext,
        indices: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        self.begun.send(()).unwrap();
        let begun = Instant::now();
        while !stop.is_stopped() && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        self.stopped.send(stop.is_stopped()).unwrap();
        self.engine.scan(job, indices, request, stop)
    }
}

impl RollupIndexAdapter for Endless {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.engine
    }
}

#[test]
fn a_search_ends_when_its_request_goes_away() {
    let (begun, has_begun) = channel();
    let (stopped, was_stopped) = channel();
    let engine = Endless { engine: loaded(), begun, stopped };
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).open().unwrap();
    manager.put(config("sensor").build().unwrap()).unwrap();
    let client = Client::of(&Arc::new(manager));
    let request = Request::post("/sensor-*/_rollup_search").header("content-type", "application/json");
    let answer = client
        .router
        .clone()
        .oneshot(request.body(Body::from(r#"{"aggs":{"nodes":{"terms":{"field":"node"}}}}"#)).unwrap());
    let request = client.runtime.spawn(answer);
    has_begun.recv_timeout(PATIENCE).unwrap();
    request.abort();
    assert!(was_stopped.recv_timeout(PATIENCE * 2).unwrap());
}
