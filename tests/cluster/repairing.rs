//! Repairs on clusters, whatever happens in the middle of one: it is right when a later run, or a later host, has ended
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::engine::{Engine, FieldType, SourceDocument};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::{
    DateHistogram, KeyPart, LateData, RepairWhen, RetryOptions, RollupJobConfig, RollupJobManager, RunOutcome,
    VerifyOptions,
};
use serde_json::json;

use crate::meddling::{Call, Meddling};
use crate::server::{BOTH, Kind, Server};
use crate::struck::{Fault, Striking};
use crate::world::World;

const HOUR: i64 = 3_600_000;

/// How many documents each hour and node have.
type Counts = BTreeMap<(i64, i64), u64>;

fn config(number: usize, page_size: u32) -> RollupJobConfig {
    let job = RollupJobConfig::builder(format!("sensor-{number}")).index_pattern(format!("source-{number}"));
    let job = job.rollup_index(format!("rolled-{number}")).cron("0 0 0 1 1 ? 2090").page_size(page_size);
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).terms(["node"]);
    job.late_data(LateData::new().repair(RepairWhen::AfterRun)).build().unwrap()
}

fn reading(hour: i64, node: i64) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR + 1).integer("node", node)
}

/// So many hours with three nodes each.
fn load(server: &Server, index: &str, hours: i64) -> Counts {
    server.create_index(index, &[("timestamp", FieldType::Date), ("node", FieldType::Long)]);
    let keys = (0..hours).flat_map(|hour| (0..3).map(move |node| (hour, node)));
    for hour in 0..hours {
        server.put(&format!("{index}/_doc/{hour}"), json!({ "timestamp": hour * HOUR + 1, "node": 1 }));
    }
    let others = keys.clone().filter(|(_, node)| *node != 1);
    server.add(index, &others.map(|(hour, node)| reading(hour, node)).collect::<Vec<_>>());
    keys.map(|key| (key, 1)).collect()
}

/// In the hours from the second on a group vanishes, one comes, and one has a document more.
fn change(server: &Server, index: &str, counts: &mut Counts, hours: i64) {
    let changed = 1..hours;
    for hour in changed.clone() {
        server.ask(Method::DELETE, &format!("{index}/_doc/{hour}"), None);
    }
    let late = changed.clone().flat_map(|hour| [reading(hour, 0), reading(hour, 7)]);
    server.add(index, &late.collect::<Vec<_>>());
    for hour in changed {
        counts.remove(&(hour, 1));
        counts.insert((hour, 0), 2);
        counts.insert((hour, 7), 1);
    }
}

fn note(manager: &RollupJobManager, index: &str, hours: i64) {
    let [from, until] = [HOUR, hours * HOUR].map(|at| Timestamp::from_millisecond(at).unwrap());
    manager.note_change(index, from..until).unwrap();
}

fn rolled_up(manager: &RollupJobManager, id: &str) -> Counts {
    let rows = manager.rolled_up(id).unwrap().map(Result::unwrap);
    let node = |part: Option<&KeyPart>| match part {
        Some(KeyPart::Integer(node)) => *node,
        other => panic!("no node: {other:?}"),
    };
    rows.map(|row| ((row.date() / HOUR, node(row.part("node"))), row.doc_count())).collect()
}

fn assert_right(manager: &RollupJobManager, config: &RollupJobConfig, expected: &Counts, when: &str) {
    assert_eq!(rolled_up(manager, config.id()), *expected, "{when}");
    let found = manager.verify(config.id(), &VerifyOptions::new()).unwrap();
    assert!(found.is_right() && found.not_verified.is_empty(), "{when}: {found}");
}

/// A host ends at any request of a repair, and another one has its jobs then.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_hand_over_in_the_middle_of_a_repair() {
    const HOURS: i64 = 4;
    for kind in BOTH {
        for fault in Fault::ALL.into_iter().filter(|fault| fault.ends_the_host()) {
            let server = Server::empty(kind);
            let striking = Striking::before(&server.nodes[0], fault, || {});
            for number in 1.. {
                let (config, index) = (config(number, 4), format!("source-{number}"));
                let mut counts = load(&server, &index, HOURS);
                let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
                let host = |cluster: Cluster| {
                    let engine: Arc<dyn Engine> = Arc::new(ElasticsearchEngine::new(cluster));
                    let retry = RetryOptions::new().attempts(1).initial_delay(Duration::from_millis(1));
                    World::on(engine, Arc::clone(&store), retry)
                };
                let first = host(striking.cluster());
                first.put(&config);
                first.run_well(config.id());
                assert_right(&first.manager, &config, &counts, "before");
                change(&server, &index, &mut counts, HOURS);
                note(&first.manager, &index, HOURS);
                striking.arm(number);
                let _whatever = first.run(config.id());
                let was_struck = striking.has_come_to(number);
                drop(first);
                striking.arm(0);
                let second = host(server.cluster());
                second.run_well(config.id());
                assert_right(&second.manager, &config, &counts, &format!("{kind:?}: {fault:?} at request {number}"));
                if !was_struck {
                    assert!(number > 10, "the whole repair was tried: {number} requests");
                    break;
                }
            }
        }
    }
}

/// Nodes are killed in the middle of a repair, and started again a little later.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_node_that_is_killed_in_the_middle_of_a_repair() {
    const HOURS: i64 = 40;
    for call in [Call::Page, Call::Write, Call::Commit] {
        let server = Arc::new(Server::empty(Kind::OpenSearch));
        let mut counts = load(&server, "source-1", HOURS);
        server.put("source-1/_settings", json!({ "index.number_of_replicas": 2 }));
        let options = ClusterOptions::new(&server.nodes).request_timeout(Duration::from_secs(20));
        let options = options.connect_timeout(Duration::from_secs(1));
        let bulk = ElasticsearchOptions::new().bulk_timeout(Duration::from_secs(10));
        let engine = ElasticsearchEngine::with_options(Cluster::new(options).unwrap(), bulk);
        // Of the calls of this kind since the repair has begun.
        let calls = Arc::new(AtomicUsize::new(usize::MAX / 2));
        let (meddled, counted) = (Arc::clone(&server), Arc::clone(&calls));
        let meddling = Meddling::new(Arc::new(engine), move |now, _| {
            if now == call {
                match counted.fetch_add(1, Ordering::SeqCst) {
                    0 => meddled.kill(2),
                    2 => meddled.start(2),
                    _ => {}
                }
            }
        });
        let world = World::new(meddling);
        let config = config(1, 9);
        world.put(&config);
        world.run_well(config.id());
        server.put("rolled-1/_settings", json!({ "index.number_of_replicas": 2 }));
        server.get("_cluster/health?wait_for_status=green&timeout=60s");
        change(&server, "source-1", &mut counts, HOURS);
        note(&world.manager, "source-1", HOURS);
        calls.store(0, Ordering::SeqCst);
        let mut rest = 10;
        while world.run(config.id()).0 != RunOutcome::Finished {
            rest -= 1;
            assert!(rest > 0, "{:#?}", world.manager.get(config.id()));
        }
        assert!(calls.load(Ordering::SeqCst) > 0, "{call:?}: it was in the middle of the repair");
        if calls.load(Ordering::SeqCst) < 3 {
            server.start(2);
        }
        server.wait_until_whole();
        world.run_well(config.id());
        assert_right(&world.manager, &config, &counts, &format!("{call:?}"));
    }
}
