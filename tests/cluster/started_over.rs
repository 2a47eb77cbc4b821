//! A rollup index that was deleted is started over, whichever request of that is refused, has its answer lost, or is
//! the last that the host sends: nothing is missing afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use rollup_jobs::RetryOptions;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::{FaultyStore, StoreCall};

use crate::scripted::{Reply, Scripted};
use crate::server::{BOTH, Kind, Server};
use crate::world::{World, assert_same, expected, job, load, readings, rolled_up_into};

/// What befalls one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Refused,
    AnswerLost,
    /// The host sends it no more.
    EndBefore,
    /// The host sends it, and nothing after it.
    EndAfter,
}

impl Fault {
    fn ends_the_host(self) -> bool {
        matches!(self, Self::EndBefore | Self::EndAfter)
    }

    fn is_seen_by_the_server(self) -> bool {
        matches!(self, Self::AnswerLost | Self::EndAfter)
    }
}

/// How many requests there were, and which one of them is struck.
#[derive(Default)]
struct Requests {
    count: AtomicUsize,
    /// None if it is 0.
    struck: AtomicUsize,
}

impl Requests {
    fn arm(&self, number: usize) {
        self.count.store(0, Ordering::SeqCst);
        self.struck.store(number, Ordering::SeqCst);
    }
}

/// A week that no reading is in yet.
fn reading(number: usize) -> SourceDocument {
    let week = i64::try_from(number).unwrap() + 200;
    SourceDocument::new().date("timestamp", week * 7 * 86_400_000).keyword("node", "a")
}

fn loses_nothing(kind: Kind, fault: Fault) {
    let server = Server::empty(kind);
    let mut source = readings(600, true);
    load(&server, &source);
    let requests = Arc::new(Requests::default());
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let (counted, cut) = (Arc::clone(&requests), store.clone());
    let proxy = Scripted::before(&server.nodes[0], move |forward, request| {
        let number = counted.count.fetch_add(1, Ordering::SeqCst) + 1;
        let struck = counted.struck.load(Ordering::SeqCst);
        let is_struck = number == struck;
        let is_over = fault.ends_the_host() && (1..number).contains(&struck);
        if is_struck && fault.ends_the_host() {
            cut.refuse(&[StoreCall::Update]);
        }
        if is_struck && fault.is_seen_by_the_server() {
            forward.bytes(request);
            return Some(Reply::Last(Vec::new()));
        }
        (is_struck || is_over).then(|| Reply::json(503, "{}"))
    });
    let open = || {
        let cluster = Cluster::new(ClusterOptions::new([proxy.url.clone()])).unwrap();
        let retry = RetryOptions::new().attempts(2).initial_delay(Duration::from_millis(1));
        World::on(Arc::new(ElasticsearchEngine::new(cluster)), Arc::new(store.clone()), retry)
    };
    let mut world = open();
    for number in 1.. {
        let id = format!("sensor-{number}");
        let config = job(&id).rollup_index(format!("rolled-{number}")).page_size(50).build().unwrap();
        requests.arm(0);
        world.put(&config);
        world.run_well(&id);
        server.ask(Method::DELETE, config.rollup_index(), None);
        source.push(reading(number));
        server.add("sensor-1", &source[source.len() - 1..]);

        requests.arm(number);
        world.run(&id);
        let was_struck = requests.count.load(Ordering::SeqCst) >= number;
        if fault.ends_the_host() && was_struck {
            drop(world);
            requests.arm(0);
            store.heal();
            world = open();
        }
        requests.arm(0);
        world.run_well(&id);
        println!("{kind:?}: {fault:?} at request {number}");
        assert_same(&rolled_up_into(&server, config.rollup_index()), &expected(&source, &[config]));
        if !was_struck {
            assert!(number > 15, "the whole run was tried: {number} requests");
            return;
        }
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn after_a_refused_request_nothing_is_missing() {
    for kind in BOTH {
        loses_nothing(kind, Fault::Refused);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn after_a_lost_answer_nothing_is_missing() {
    for kind in BOTH {
        loses_nothing(kind, Fault::AnswerLost);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn after_a_host_that_ended_before_a_request_nothing_is_missing() {
    for kind in BOTH {
        loses_nothing(kind, Fault::EndBefore);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn after_a_host_that_ended_with_a_request_nothing_is_missing() {
    for kind in BOTH {
        loses_nothing(kind, Fault::EndAfter);
    }
}
