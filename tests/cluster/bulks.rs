//! The bulks of a page, which are on their way at once.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::{Phase, RollupJobConfig, RunOutcome, StopError, StopOptions};

use crate::scripted::{Reply, Scripted, Seen};
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
    let mut lines = String::new();
    let body: &mut dyn Read = match bulk.headers.get("content-encoding") {
        Some(_) => &mut flate2::read::GzDecoder::new(bulk.body.as_slice()),
        None => &mut bulk.body.as_slice(),
    };
    body.read_to_string(&mut lines).unwrap();
    lines.lines().count() / 2
}

/// A cluster behind a proxy that does as it is told with the bulks.
fn behind(bulk: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> (Server, World) {
    let server = Server::empty(Kind::OpenSearch);
    load(&server, &source());
    let proxy = Scripted::before(
        &server.nodes[0],
        move |_, request| {
            if request.line.contains("/_bulk?") { bulk(request) } else { None }
        },
    );
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
    let (server, world) = behind(move |_| {
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
    let (server, world) = behind(move |bulk| {
        if documents(bulk) == 10 {
            return Some(Reply::with(401, &[], b"<html>No</html>"));
        }
        arrive.lock().unwrap().send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        None
    });
    world.manager.trigger("sensor").unwrap();
    arrived.recv_timeout(Duration::from_mins(1)).unwrap();
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

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn those_that_are_too_large_are_divided_again() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let (server, world) = behind(move |bulk| {
        if documents(bulk) > 7 {
            count.fetch_add(1, Ordering::SeqCst);
            return Some(Reply::with(413, &[], b"<html>Too large</html>"));
        }
        None
    });
    let status = world.run_well("sensor");
    assert!(status.last_errors().is_empty(), "{status:#?}");
    assert!(refused.load(Ordering::SeqCst) > 0);
    let expected = expected(&source(), &[config()]);
    assert_eq!(status.stats().rollups_indexed(), expected.len() as u64);
    assert_same(&rolled_up(&server), &expected);
}
