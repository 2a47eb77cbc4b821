//! What happens to clusters, while a job runs: the run goes on or ends with the reason, and when the cause is gone
//! all documents are there, none missing and none double.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::{DeleteOptions, JobError, JobStatus, PutOptions, RollupJobConfig, RunAs, RunOutcome, StopOptions};
use serde_json::json;

use crate::meddling::{Call, Meddling};
use crate::scripted::Scripted;
use crate::server::{BOTH, Kind, Server};
use crate::world::{FIELDS, World, assert_same, causes, engine, expected, job, load, readings, rolled_up};

/// Twelve pages or so.
pub(crate) fn config() -> RollupJobConfig {
    job("sensor").terms(["node"]).page_size(50).build().unwrap()
}

pub(crate) fn source() -> Vec<SourceDocument> {
    readings(2_000, true)
}

/// Runs the job while `meddle` has its way: the run ends well, and all documents are there.
fn survives(kind: Kind, meddle: impl Fn(&Server, Call, usize) + Send + Sync + 'static) -> JobStatus {
    let server = Arc::new(Server::empty(kind));
    load(&server, &source());
    let meddled = Arc::clone(&server);
    let world = World::new(Meddling::new(engine(&server), move |call, number| meddle(&meddled, call, number)));
    world.put(&config());
    let status = world.run_well("sensor");
    assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
    status
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_rollup_index_that_is_deleted_is_rolled_up_anew() {
    for kind in BOTH {
        for call in [Call::Page, Call::Write, Call::Commit] {
            let status = survives(kind, move |server, now, number| {
                if (now, number) == (call, 4) {
                    server.ask(Method::DELETE, "rolled", None);
                }
            });
            let notice = status.notice().map(|notice| notice.text().to_owned()).unwrap_or_default();
            assert!(notice.contains("from the start") || notice.contains("again"), "{call:?}: {notice}");
        }
    }
}

/// Two jobs have the index, and one of them notices first that it was deleted.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn every_job_of_a_rollup_index_that_was_deleted_is_rolled_up_anew() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        let jobs = ["a", "b"].map(|id| job(id).terms(["node"]).build().unwrap());
        let world = World::new(engine(&server));
        for job in &jobs {
            world.put(job);
            world.run_well(job.id());
        }
        server.ask(Method::DELETE, "rolled", None);
        for job in &jobs {
            world.run_well(job.id());
        }
        assert_same(&rolled_up(&server), &expected(&source(), &jobs));
        // The definitions are lost, and nothing else.
        server.put("rolled/_mapping", json!({ "_meta": { "_rollup": {} } }));
        for job in &jobs {
            let status = world.run_well(job.id());
            assert!(status.notice().is_none_or(|notice| notice.run() < status.run()), "{status:#?}");
        }
        let meta = server.get("rolled/_mapping")["rolled"]["mappings"]["_meta"]["_rollup"].clone();
        assert_eq!(meta.as_object().unwrap().len(), 2, "{meta}");
    }
}

/// Documents of another life of the job are no place to begin.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_job_is_not_put_over_documents_of_its_name() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        let world = World::new(engine(&server));
        world.put(&config());
        world.run_well("sensor");
        world
            .manager
            .delete_with("sensor", DeleteOptions::new().stop(StopOptions::new().wait_for_completion(true)))
            .unwrap();
        server.put("rolled/_mapping", json!({ "_meta": { "_rollup": {} } }));
        let other = job("sensor").page_size(7).build().unwrap();
        let error = world.manager.put(other).unwrap_err();
        assert!(format!("{error:?}").contains("has documents of job [sensor]"), "{error:?}");
        assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
    }
}

/// Somebody else makes an index of the name, by writing to it.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn an_index_in_the_place_of_the_rollup_index_is_refused() {
    for kind in BOTH {
        let server = Arc::new(Server::empty(kind));
        load(&server, &source());
        let meddled = Arc::clone(&server);
        let meddling = Meddling::new(engine(&server), move |call, number| {
            if (call, number) == (Call::Write, 3) {
                meddled.ask(Method::DELETE, "rolled", None);
                meddled.put("rolled/_doc/1?refresh=true", json!({ "a": 1 }));
            }
        });
        let world = World::new(meddling);
        world.put(&config());
        let (outcome, status) = world.run("sensor");
        assert_eq!(outcome, RunOutcome::Failed);
        assert!(causes(&status).contains("existing indices that contain non-rollup data"), "{}", causes(&status));
        server.ask(Method::DELETE, "rolled", None);
        world.run_well("sensor");
        assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_rollup_index_that_takes_no_writes_ends_the_run_with_the_reason() {
    for kind in BOTH {
        for (setting, reason) in [("index.blocks.write", "write"), ("index.blocks.read_only", "read-only")] {
            let server = Arc::new(Server::empty(kind));
            load(&server, &source());
            let meddled = Arc::clone(&server);
            let meddling = Meddling::new(engine(&server), move |call, number| {
                if (call, number) == (Call::Write, 3) {
                    meddled.put("rolled/_settings", json!({ setting: true }));
                }
            });
            let world = World::new(meddling);
            world.put(&config());
            let (outcome, status) = world.run("sensor");
            assert_eq!(outcome, RunOutcome::Failed, "{setting}");
            assert!(causes(&status).contains(reason), "{}", causes(&status));
            server.put("rolled/_settings", json!({ setting: null }));
            world.run_well("sensor");
            assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
        }
    }
}

/// The disk is nearly full: the cluster says so with a status that passes, and the run waits for it.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_flood_stage_block_is_waited_for() {
    for kind in BOTH {
        survives(kind, |server, call, number| match (call, number) {
            (Call::Write, 3) => {
                server.put("rolled/_settings", json!({ "index.blocks.read_only_allow_delete": true }));
            }
            (Call::Write, 5) => {
                server.put("rolled/_settings", json!({ "index.blocks.read_only_allow_delete": null }));
            }
            _ => {}
        });
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_document_that_the_mapping_rejects_ends_the_run_with_its_reason() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        let world = World::new(engine(&server));
        world.put(&config());
        // Not a word of it is a date.
        server.put("rolled/_mapping", json!({ "properties": { "node": { "properties": { "terms": { "properties": { "value": { "type": "date" } } } } } } }));
        let (outcome, status) = world.run("sensor");
        assert_eq!(outcome, RunOutcome::Failed);
        assert!(causes(&status).contains("failed to parse"), "{}", causes(&status));
        server.ask(Method::DELETE, "rolled", None);
        world.run_well("sensor");
        assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
    }
}

/// The largest page that the cluster takes is less than the job's.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_page_that_is_too_large_for_the_cluster_is_halved() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        let limit = |most: serde_json::Value| {
            server.put("_cluster/settings", json!({ "persistent": { "search.max_buckets": most } }))
        };
        limit(json!(60));
        let world = World::new(engine(&server));
        let config = job("sensor").terms(["node"]).page_size(100).build().unwrap();
        world.put(&config);
        let (outcome, status) = world.run("sensor");
        limit(serde_json::Value::Null);
        assert_eq!(outcome, RunOutcome::Finished, "{status:#?}");
        assert!(status.last_errors().is_empty() && status.stats().pages_processed() > 5, "{status:#?}");
        assert_eq!(status.reduced_page_size(), Some(50));
        let expected = expected(&source(), std::slice::from_ref(&config));
        assert_same(&rolled_up(&server), &expected);
        // The job begins with pages of that size again, and grows back.
        let pages = status.stats().pages_processed();
        let options = DeleteOptions::new().stop(StopOptions::new()).delete_data(true);
        world.manager.delete_with("sensor", options).unwrap();
        world.put(&config);
        let status = world.run_well("sensor");
        assert_eq!(status.reduced_page_size(), None);
        assert!(status.stats().pages_processed() < pages && status.stats().pages_processed() > 8, "{status:#?}");
        assert_same(&rolled_up(&server), &expected);
    }
}

/// Four jobs take turns, and only one point in time may be open.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn jobs_take_points_in_time_from_each_other() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        let options = ElasticsearchOptions::new().points_in_time(1);
        let world = World::new(Arc::new(ElasticsearchEngine::with_options(server.cluster(), options)));
        let jobs: Vec<_> =
            ["a", "b", "c", "d"].map(|id| job(id).terms(["node"]).page_size(50).build().unwrap()).to_vec();
        for job in &jobs {
            world.put(job);
        }
        world.run_all(&jobs);
        assert_same(&rolled_up(&server), &expected(&source(), &jobs));
        drop(world);
        assert_eq!(server.open_contexts(), 0, "all are closed");
    }
}

/// More than the cluster allows are open: pages are read from what is there.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn where_the_cluster_has_no_point_in_time_left_pages_are_read_without() {
    let server = Server::empty(Kind::OpenSearch);
    load(&server, &source());
    let limit = |most: serde_json::Value| {
        server.put("_cluster/settings", json!({ "persistent": { "search.max_open_pit_context": most } }))
    };
    limit(json!(0));
    let world = World::new(engine(&server));
    world.put(&config());
    let (outcome, status) = world.run("sensor");
    limit(serde_json::Value::Null);
    assert_eq!(outcome, RunOutcome::Finished, "{status:#?}");
    assert!(status.last_errors().is_empty(), "{status:#?}");
    assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
}

/// One of the source's indices has no shard that could answer: its documents would be left out, so nothing is rolled
/// up.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_red_source_index_is_waited_for() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let source = source();
        let (first, second) = source.split_at(1_000);
        load(&server, first);
        // A refresh would wait a minute for the shard before it says that it is not there.
        let options = ElasticsearchOptions::new().refresh(false);
        let world = World::new(Arc::new(ElasticsearchEngine::with_options(server.cluster(), options)));
        world.put(&config());
        let nowhere = json!({ "settings": { "index.routing.allocation.require._name": "nowhere" } });
        server.put("sensor-2?wait_for_active_shards=0", nowhere);
        let (outcome, status) = world.run("sensor");
        assert_eq!(outcome, RunOutcome::Failed, "{status:#?}");
        assert!(status.last_errors().iter().all(JobError::is_transient), "{status:#?}");
        assert!(rolled_up(&server).is_empty());
        server.put("sensor-2/_settings", json!({ "index.routing.allocation.require._name": null }));
        server.get("_cluster/health/sensor-2?wait_for_status=yellow&timeout=30s");
        server.map("sensor-2", &FIELDS);
        server.add("sensor-2", second);
        world.run_well("sensor");
        assert_same(&rolled_up(&server), &expected(&source, &[config()]));
    }
}

/// Two processes prepare the same rollup index at once; each has its own idea of its `_meta`.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn two_that_put_at_once_are_both_known_after_their_next_runs() {
    for kind in BOTH {
        for _ in 0..5 {
            let server = Server::empty(kind);
            load(&server, &readings(100, true));
            let worlds = [World::new(engine(&server)), World::new(engine(&server))];
            let configs = ["a", "b"].map(|id| job(id).build().unwrap());
            std::thread::scope(|scope| {
                for (world, config) in worlds.iter().zip(&configs) {
                    let manager = &world.manager;
                    scope.spawn(move || manager.put(config.clone()).unwrap());
                }
            });
            for (world, config) in worlds.iter().zip(&configs) {
                world.manager.start(config.id()).unwrap();
                world.run_well(config.id());
            }
            let meta = server.get("rolled/_mapping")["rolled"]["mappings"]["_meta"]["_rollup"].clone();
            for config in &configs {
                assert_eq!(meta[config.id()], config.to_json(), "{meta}");
            }
        }
    }
}

/// A run has something to mend in the rollup index, and another job's put keeps it from that for longer than a
/// request may take.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_stop_does_not_wait_for_another_jobs_put() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    let server = Server::empty(Kind::OpenSearch);
    load(&server, &source());
    let (tell, told) = channel();
    // Everything goes on when the other end is dropped.
    let ((bulk, bulk_held), (put, put_held)) = (channel::<()>(), channel::<()>());
    let (tell, bulk_held, put_held) = (Mutex::new(tell), Mutex::new(bulk_held), Mutex::new(put_held));
    let proxy = Scripted::before(&server.nodes[0], move |_, request| {
        let say = |what| tell.lock().unwrap().send(what).unwrap();
        if request.line.contains("/_bulk?") {
            say("bulk");
            let _ = bulk_held.lock().unwrap().recv();
        } else if request.headers.get("x-user").is_some_and(|user| user == "other") && request.line.contains(" /rolled")
        {
            say("put");
            // Four requests, none of which takes too long.
            let _ = put_held.lock().unwrap().recv_timeout(TIMEOUT / 2);
        }
        None
    });
    let options = ElasticsearchOptions::new().bulk_timeout(TIMEOUT);
    let cluster = Cluster::new(ClusterOptions::new([proxy.url]).run_as_header("x-user")).unwrap();
    let world = World::new(Arc::new(ElasticsearchEngine::with_options(cluster, options)));
    world.put(&config());
    world.manager.trigger("sensor").unwrap();
    let wait_for = |what| assert!(told.iter().any(|it| it == what));
    wait_for("bulk");
    server.put("rolled/_mapping", json!({ "_meta": { "_rollup": {} } }));
    std::thread::scope(|scope| {
        let as_other = PutOptions::new().run_as(RunAs::new("other"));
        let other = scope.spawn(|| world.manager.put_with(job("other").build().unwrap(), as_other));
        wait_for("put");
        drop(bulk);
        let stop = StopOptions::new().wait_for_completion(true).timeout(Duration::from_mins(1));
        assert!(world.manager.stop("sensor", stop).unwrap().is_at_rest());
        assert!(!other.is_finished());
        drop(put);
        other.join().unwrap().unwrap();
    });
    let status = world.manager.get("sensor").unwrap();
    assert!(causes(&status).contains("is being changed for another job"), "{}", causes(&status));
    world.end();
    world.manager.start("sensor").unwrap();
    world.run_well("sensor");
    assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
}

/// A node is killed in the middle of a call, and started again a little later. Every index has a copy elsewhere.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn nodes_that_are_killed() {
    for call in [Call::Page, Call::Write, Call::Commit] {
        let server = Arc::new(Server::empty(Kind::OpenSearch));
        load(&server, &source());
        server.put("sensor-1/_settings", json!({ "index.number_of_replicas": 2 }));
        let options = ClusterOptions::new(&server.nodes).request_timeout(Duration::from_secs(20));
        let options = options.connect_timeout(Duration::from_secs(1));
        let bulk = ElasticsearchOptions::new().bulk_timeout(Duration::from_secs(10));
        let engine = ElasticsearchEngine::with_options(Cluster::new(options).unwrap(), bulk);
        let meddled = Arc::clone(&server);
        let meddling = Meddling::new(Arc::new(engine), move |now, number| {
            // Each of the nodes but the first, which the test itself asks, in turn.
            let node = 2 + number / 3 % 2;
            if now == call && (3..=32).contains(&number) {
                match number % 3 {
                    0 => meddled.kill(node),
                    2 => meddled.start(2 + (number - 2) / 3 % 2),
                    _ => {}
                }
            }
        });
        let world = World::new(meddling);
        let config = job("sensor").terms(["node"]).page_size(15).build().unwrap();
        world.put(&config);
        server.put("rolled/_settings", json!({ "index.number_of_replicas": 2 }));
        server.get("_cluster/health?wait_for_status=green&timeout=60s");
        let mut rest = 10;
        while world.run("sensor").0 != RunOutcome::Finished {
            rest -= 1;
            assert!(rest > 0, "{:#?}", world.manager.get("sensor"));
        }
        server.wait_until_whole();
        assert_same(&rolled_up(&server), &expected(&source(), &[config]));
    }
}

/// The node that holds the only copy is paused for longer than a request may take.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_node_that_is_paused() {
    for call in [Call::Page, Call::Write, Call::Commit] {
        let server = Arc::new(Server::empty(Kind::OpenSearch));
        load(&server, &source());
        server.put("sensor-1/_settings", json!({ "index.number_of_replicas": 0 }));
        let timeout = Duration::from_secs(2);
        let options = ClusterOptions::new(&server.nodes).request_timeout(timeout);
        let bulk = ElasticsearchOptions::new().bulk_timeout(timeout);
        let engine = ElasticsearchEngine::with_options(Cluster::new(options).unwrap(), bulk);
        let meddled = Arc::clone(&server);
        let meddling = Meddling::new(Arc::new(engine), move |now, number| {
            let node = if call == Call::Page { meddled.node_of("sensor-1") } else { meddled.node_of("rolled") };
            if now == call && [3, 6, 9].contains(&number) {
                meddled.pause(node);
            } else {
                (1..=3).for_each(|node| meddled.resume(node));
            }
        });
        let world = World::new(meddling);
        world.put(&config());
        server.put("rolled/_settings", json!({ "index.number_of_replicas": 0 }));
        let status = world.run_well("sensor");
        server.wait_until_whole();
        assert_same(&rolled_up(&server), &expected(&source(), &[config()]));
        let lost = status.last_errors().iter().filter(|error| error.is_transient()).count();
        // A page may have been on its way before its node was paused, and a commit asks whichever node is next.
        assert!(lost > 0 || call != Call::Write, "{call:?}: {status:#?}");
    }
}
