//! A rollup index that was deleted is started over, whichever request of that is refused, has its answer lost, or is
//! the last that the host sends: nothing is missing afterwards.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rollup_jobs::RetryOptions;
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::{FaultyStore, StoreCall};

use crate::server::{BOTH, Kind, Server};
use crate::struck::{Fault, Striking};
use crate::world::{World, assert_same, expected, job, load, readings, rolled_up_into};

/// A week that no reading is in yet.
fn reading(number: usize) -> SourceDocument {
    let week = i64::try_from(number).unwrap() + 200;
    SourceDocument::new().date("timestamp", week * 7 * 86_400_000).keyword("node", "a")
}

fn loses_nothing(kind: Kind, fault: Fault) {
    let server = Server::empty(kind);
    let mut source = readings(600, true);
    load(&server, &source);
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let cut = store.clone();
    let striking = Striking::before(&server.nodes[0], fault, move || cut.refuse(&[StoreCall::Update]));
    let open = || {
        let cluster = striking.cluster();
        let retry = RetryOptions::new().attempts(2).initial_delay(Duration::from_millis(1));
        World::on(Arc::new(ElasticsearchEngine::new(cluster)), Arc::new(store.clone()), retry)
    };
    let mut world = open();
    for number in 1.. {
        let id = format!("sensor-{number}");
        let config = job(&id).rollup_index(format!("rolled-{number}")).page_size(50).build().unwrap();
        striking.arm(0);
        world.put(&config);
        world.run_well(&id);
        server.ask(Method::DELETE, config.rollup_index(), None);
        source.push(reading(number));
        server.add("sensor-1", &source[source.len() - 1..]);

        striking.arm(number);
        world.run(&id);
        let was_struck = striking.has_come_to(number);
        if fault.ends_the_host() && was_struck {
            drop(world);
            striking.arm(0);
            store.heal();
            world = open();
        }
        striking.arm(0);
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
