//! The bulks of a page, which are on their way at once.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use flate2::read::GzDecoder;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::{JobError, Phase, RollupJobConfig, RunOutcome, StopError, StopOptions};
use serde_json::{Value, json};

use crate::scripted::{Forward, Reply, Scripted, Seen};
use crate::server::{Kind, Server};
use crate::world::{World, assert_same, expected, job, load, readings, rolled_up};

fn source() -> Vec<SourceDocument> {
    readings(600, true)
}

/// A page is divided into a bulk of ten documents and one of five.
fn config() -> RollupJobConfig {
    job("sensor").page_size(15).build().unwrap()
}

fn documents(bulk: &Seen) -> usize {
    let (mut body, mut lines) = (bulk.body.as_slice(), String::new());
    let read = match bulk.headers.get("content-encoding") {
        Some(_) => GzDecoder::new(body).read_to_string(&mut lines),
        None => body.read_to_string(&mut lines),
    };
    read.unwrap();
    lines.lines().count() / 2
}

/// A cluster behind a proxy that does as it is told with the bulks, or passes them on.
fn behind(bulk: impl Fn(&Forward, &Seen) -> Option<Reply> + Send + Sync + 'static) -> (Server, World) {
    let server = Server::empty(Kind::OpenSearch);
    load(&server, &source());
    let proxy = Scripted::before(&server.nodes[0], move |forward, request| {
        if request.line.contains("/_bulk?") { bulk(forward, request) } else { None }
    });
    let cluster = Cluster::new(ClusterOptions::new([proxy.url])).unwrap();
    let options = ElasticsearchOptions::new().bulk_timeout(Duration::from_secs(10));
    let world = World::new(Arc::new(ElasticsearchEngine::with_options(cluster, options)));
    world.put(&config());
    (server, world)
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_page_is_written_by_two_at_once() {
    let (both, bulks) = (Barrier::new(2), AtomicUsize::new(0));
    let (server, world) = behind(move |_, _| {
        // If the second came only after the answer to the first, neither would get any further.
        if bulks.fetch_add(1, Ordering::SeqCst) < 2 {
            both.wait();
        }
        None
    });
    let status = world.run_well("sensor");
    assert!(status.last_errors().is_empty(), "{status:#?}");
    assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
}

/// The cluster may still write the one, though the other has failed.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_stop_waits_for_each_of_them() {
    let ((arrive, arrived), (release, released)) = (channel(), channel());
    let (arrive, released) = (Mutex::new(arrive), Mutex::new(released));
    let (server, world) = behind(move |_, bulk| {
        arrive.lock().unwrap().send(()).unwrap();
        if documents(bulk) == 10 {
            return Some(Reply::with(401, &[], b"<html>No</html>"));
        }
        released.lock().unwrap().recv().unwrap();
        None
    });
    world.manager.trigger("sensor").unwrap();
    for _ in 0..2 {
        arrived.recv_timeout(Duration::from_mins(1)).unwrap();
    }
    let stop = |timeout| {
        world.manager.stop("sensor", StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(timeout)))
    };
    match stop(1) {
        Err(StopError::Timeout { job, .. }) => assert_eq!(job.phase(), Phase::Writing),
        other => panic!("{other:?}"),
    }
    release.send(()).unwrap();
    assert!(stop(60).unwrap().is_at_rest());
    assert_eq!(world.end(), RunOutcome::Failed);
    assert_eq!(rolled_up(&server).len(), 5);
}

/// The answer to a bulk, but that it says of one document that it was rejected.
fn but_for(forward: &Forward, bulk: &Seen, document: usize, status: u16) -> Reply {
    let mut bulk = bulk.clone();
    bulk.headers.remove("accept-encoding");
    let mut answer: Value = serde_json::from_slice(&forward.answer(&bulk).unwrap().bytes().unwrap()).unwrap();
    answer["errors"] = json!(true);
    answer["items"][document]["index"] =
        json!({ "status": status, "error": { "type": "planned", "reason": "planned" } });
    Reply::json(200, &answer.to_string())
}

/// The first document that was not accepted is where the run goes on.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_is_accepted_before_a_rejection_counts() {
    for (of, document, accepted) in [(10, 3, 3), (5, 3, 13)] {
        for status in [400, 429] {
            let bulks = AtomicUsize::new(0);
            let (server, world) = behind(move |forward, bulk| {
                let is_first = documents(bulk) == of && bulks.fetch_add(1, Ordering::SeqCst) == 0;
                is_first.then(|| but_for(forward, bulk, document, status))
            });
            let (outcome, stopped) = world.run("sensor");
            let (expected, total) = (expected(&source(), &[config()]), stopped.stats().rollups_indexed());
            if status == 400 {
                assert_eq!((outcome, total), (RunOutcome::Failed, accepted));
                world.run_well("sensor");
            } else {
                assert_eq!((outcome, total), (RunOutcome::Finished, expected.len() as u64));
            }
            let status = world.manager.get("sensor").unwrap();
            assert_eq!(status.stats().rollups_indexed(), expected.len() as u64, "each is counted once");
            assert_same(&rolled_up(&server), &expected);
        }
    }
}

/// The second bulk as a whole is rejected again and again, and the run comes to its end all the same.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_is_accepted_before_a_failure_is_kept() {
    let (server, world) =
        behind(|_, bulk| (documents(bulk) == 5).then(|| Reply::with(503, &[], b"<html>Not now</html>")));
    let (outcome, status) = world.run("sensor");
    let expected = expected(&source(), &[config()]);
    assert!(status.last_errors().iter().all(JobError::is_transient), "{status:#?}");
    assert_eq!(outcome, RunOutcome::Finished, "{status:#?}");
    assert_eq!(status.stats().rollups_indexed(), expected.len() as u64);
    assert_same(&rolled_up(&server), &expected);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn those_that_are_too_large_are_divided_again() {
    // All but the smallest; and the second of a page only.
    for is_too_large in [|documents| documents > 3, |documents| documents == 5] {
        let refused = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&refused);
        let (server, world) = behind(move |_, bulk| {
            is_too_large(documents(bulk)).then(|| {
                count.fetch_add(1, Ordering::SeqCst);
                Reply::with(413, &[], b"<html>Too large</html>")
            })
        });
        let status = world.run_well("sensor");
        assert!(status.last_errors().is_empty(), "{status:#?}");
        assert!(refused.load(Ordering::SeqCst) > 0);
        let expected = expected(&source(), &[config()]);
        assert_eq!(status.stats().rollups_indexed(), expected.len() as u64);
        assert_same(&rolled_up(&server), &expected);
    }
}
