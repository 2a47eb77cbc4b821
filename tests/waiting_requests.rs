//! Requests that wait hold no thread, however many they are. Alone in its binary, as it counts threads.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::rest::{AllowAll, router};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::GatedEngine;
use rollup_jobs::{DateHistogram, JobState, RollupJobConfig, RollupJobManager, StopOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tower::ServiceExt;

const REQUESTS: usize = 10_000;
const THREADS: usize = 50;
const PATIENCE: Duration = Duration::from_mins(1);

struct Host {
    runtime: Runtime,
    manager: Arc<RollupJobManager>,
    router: axum::Router,
    gates: GatedEngine,
}

impl Host {
    fn new() -> Self {
        let engine = MemoryEngine::new();
        engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
        let gates = GatedEngine::new(Arc::new(engine));
        let builder = RollupJobManager::builder(Arc::new(gates.clone()), Arc::new(MemoryStore::new()));
        let manager = Arc::new(builder.indexer_threads(2).open().unwrap());
        let router = router(Arc::clone(&manager), AllowAll);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        Self { runtime, manager, router, gates }
    }

    fn put_indexing(&self, id: &str) {
        let config = RollupJobConfig::builder(id).index_pattern("sensor-*").rollup_index("rolled").cron("0 0 0 1 1 ?");
        let by_hour = DateHistogram::fixed_interval("timestamp", "1h");
        self.manager.put(config.page_size(10).date_histogram(by_hour).build().unwrap()).unwrap();
        self.manager.start(id).unwrap();
        self.manager.trigger(id).unwrap();
    }

    /// A request that waits for the job to stop. It keeps `token` as long as it is under way, and says through
    /// `waiting` when it has begun to wait.
    fn wait_for_stop(&self, id: &str, token: &Arc<()>, waiting: Sender<()>) -> JoinHandle<Response> {
        let uri = format!("/_rollup/job/{id}/_stop?wait_for_completion=true&timeout=1h");
        let request = Request::post(uri).extension(Arc::clone(token)).body(Body::empty()).unwrap();
        let mut answer = Box::pin(self.router.clone().oneshot(request));
        let mut waiting = Some(waiting);
        self.runtime.spawn(poll_fn(move |context| {
            let polled = Pin::new(&mut answer).poll(context).map(Result::unwrap);
            if let (Poll::Pending, Some(waiting)) = (&polled, waiting.take()) {
                waiting.send(()).unwrap();
            }
            polled
        }))
    }

    fn wait_for_stops(&self, id: &str, count: usize, token: &Arc<()>) -> Vec<JoinHandle<Response>> {
        let (sender, receiver) = channel();
        let requests = (0..count).map(|_| self.wait_for_stop(id, token, sender.clone())).collect();
        wait_for(&receiver, count);
        requests
    }

    fn all_are_stopped(&self, requests: Vec<JoinHandle<Response>>) {
        self.runtime.block_on(async {
            for request in requests {
                let response = tokio::time::timeout(PATIENCE, request).await.expect("an answer in time").unwrap();
                assert_eq!(response.status(), StatusCode::OK);
            }
        });
    }
}

fn wait_for(told: &Receiver<()>, count: usize) {
    for at in 0..count {
        told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("only {at} of {count} came"));
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[test]
fn waiting_requests_hold_no_thread_and_leave_nothing_behind() {
    let host = Host::new();
    let token = Arc::new(());
    host.gates.commit().close();
    host.put_indexing("sensor");
    host.gates.commit().wait_for_waiting(1);
    let _ = host.manager.stop("sensor", StopOptions::new()).unwrap();

    let before = resident_bytes();
    let requests = host.wait_for_stops("sensor", REQUESTS, &token);
    assert!(threads() < THREADS, "{} threads while {REQUESTS} requests wait", threads());
    println!("{} bytes a waiting request, its task included", resident_bytes().saturating_sub(before) / REQUESTS);

    let hung_up = host.wait_for_stops("sensor", 200, &token);
    for request in &hung_up {
        request.abort();
    }
    host.runtime.block_on(async {
        for request in hung_up {
            assert!(request.await.unwrap_err().is_cancelled());
        }
    });
    host.gates.commit().open();
    host.all_are_stopped(requests);
    assert_eq!(Arc::strong_count(&token), 1, "every request is gone with all that it had");
    assert_eq!(host.manager.get("sensor").unwrap().state(), JobState::Stopped);

    // The first stop of each of as many jobs, all at once: each has something to save.
    host.gates.search().close();
    let jobs: Vec<_> = (0..REQUESTS).map(|at| format!("job-{at}")).collect();
    for id in &jobs {
        host.put_indexing(id);
    }
    let (sender, receiver) = channel();
    let requests: Vec<_> = jobs.iter().map(|id| host.wait_for_stop(id, &token, sender.clone())).collect();
    drop(sender);
    let mut most = threads();
    while receiver.recv_timeout(PATIENCE).is_ok() {
        most = most.max(threads());
    }
    host.all_are_stopped(requests);
    println!("{most} threads at most while {REQUESTS} jobs are stopped");
    assert!(most < THREADS, "{most} threads while {REQUESTS} jobs are stopped");
    assert!(host.manager.list().iter().all(|status| status.state() == JobState::Stopped));
}
