//! Date buckets that are replaced in a cluster: not in one step, but right whatever befalls a request, once the
//! replacement was made again; and what was sent earlier and comes later changes nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::engine::{
    Batch, CommitReport, EngineError, FieldType, JobContext, RollupIndex, SourceDocument, StopSignal,
};
use rollup_jobs::rollup::{MetricValues, Page, roll_up};
use rollup_jobs::scan::Times;
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{DateHistogram, KeyPart, Progress, RollupJobConfig, RollupJobManager, TermsType};
use serde_json::json;

use crate::server::{BOTH, Kind, Server};
use crate::struck::{Fault, Striking};
use crate::world::World;

const HOUR: i64 = 3_600_000;

/// The counts of groups, by hour and node.
type Counts = BTreeMap<(i64, i64), u64>;

fn job(number: usize, epoch: u64) -> JobContext {
    let config = RollupJobConfig::builder(format!("sensor-{number}"))
        .index_pattern("sensor-*")
        .rollup_index(format!("rolled-{number}"))
        .cron("0 0 0 1 1 ? 2090")
        .page_size(1_000)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .terms(["node"])
        .build()
        .unwrap();
    JobContext::new(config, &[TermsType::Integer]).with_epoch(epoch)
}

/// In each of these hours these nodes have so many documents.
fn counts(hours: Range<i64>, nodes: Range<i64>, count: u64) -> Counts {
    hours.flat_map(|hour| nodes.clone().map(move |node| ((hour, node), count))).collect()
}

fn write(
    engine: &dyn RollupIndex,
    job: &JobContext,
    batch: &Batch,
    counts: &Counts,
) -> Result<CommitReport, EngineError> {
    let mut page = Page::new(job.layout());
    for ((hour, node), count) in counts {
        page.push([KeyPart::Date(hour * HOUR), KeyPart::Integer(*node)], *count, Vec::<MetricValues>::new());
    }
    let page = roll_up(page, job.layout()).unwrap();
    let mut writer = engine.begin(job, batch)?;
    let report = writer.write(page.documents(), &StopSignal::never())?;
    if let Some(rejected) = report.rejected.into_iter().next() {
        return Err(rejected.error);
    }
    assert_eq!(report.taken, counts.len());
    writer.commit(&Progress::default())
}

/// What a plain search finds: the counts of all documents, and their versions.
fn found(server: &Server, job: &JobContext) -> (Counts, BTreeMap<String, (i64, u64)>) {
    let index = job.config().rollup_index();
    server.ask(Method::POST, &format!("{index}/_refresh"), None);
    let answer = server.post(&format!("{index}/_search"), json!({ "size": 10_000, "version": true }));
    let (mut counts, mut versions) = (Counts::new(), BTreeMap::new());
    for hit in answer["hits"]["hits"].as_array().unwrap() {
        let document = &hit["_source"];
        let hour = document["timestamp.date_histogram.timestamp"].as_i64().unwrap() / HOUR;
        let node = document["node.terms.value"].as_i64().unwrap();
        let count = document["timestamp.date_histogram._count"].as_u64().unwrap();
        assert!(counts.insert((hour, node), count).is_none(), "a group has one document");
        versions.insert(hit["_id"].as_str().unwrap().to_owned(), (hour, hit["_version"].as_u64().unwrap()));
    }
    (counts, versions)
}

fn without_tombstones(mut counts: Counts) -> Counts {
    counts.retain(|_, count| *count > 0);
    counts
}

/// The second of three hours is replaced: some groups vanish, some change, some are new.
fn replaced() -> Batch {
    Batch::Replace(Times::buckets_between(HOUR..2 * HOUR))
}

fn before() -> Counts {
    counts(0..3, 0..40, 1)
}

fn second_hour() -> Counts {
    counts(1..2, 20..60, 7)
}

fn after() -> Counts {
    let mut all = before();
    all.retain(|(hour, _), _| *hour != 1);
    all.extend(second_hour());
    all
}

fn is_right_in_the_end(kind: Kind, fault: Fault) {
    let server = Server::empty(kind);
    let striking = Striking::before(&server.nodes[0], fault, || {});
    let open = || ElasticsearchEngine::new(striking.cluster());
    for number in 1.. {
        let mut engine = open();
        let mut owned = job(number, 1);
        engine.prepare(&owned).unwrap();
        write(&engine, &owned, &Batch::Append, &before()).unwrap();

        striking.arm(number);
        let tried = write(&engine, &owned, &replaced(), &second_hour());
        let was_struck = striking.has_come_to(number);
        striking.arm(0);
        if was_struck && fault.ends_the_host() {
            (engine, owned) = (open(), job(number, 2));
        }
        println!("{kind:?}: {fault:?} at request {number}: {:?}", tried.as_ref().map_err(EngineError::kind));
        if tried.is_ok() {
            assert_eq!(without_tombstones(found(&server, &owned).0), after());
        }
        write(&engine, &owned, &replaced(), &second_hour()).unwrap();
        assert_eq!(without_tombstones(found(&server, &owned).0), after());
        if !was_struck {
            assert!(number > 6, "the whole replacement was tried: {number} requests");
            return;
        }
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_replacement_is_right_in_the_end_whatever_befalls_a_request() {
    for kind in BOTH {
        for fault in Fault::ALL {
            is_right_in_the_end(kind, fault);
        }
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_was_sent_before_a_replacement_and_comes_after_it_is_refused() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let (engine, job) = (ElasticsearchEngine::new(server.cluster()), job(1, 1));
        engine.prepare(&job).unwrap();
        write(&engine, &job, &Batch::Append, &before()).unwrap();
        let (_, versions) = found(&server, &job);
        // As a second try does, of which the first one's bulk may still be on its way.
        write(&engine, &job, &replaced(), &second_hour()).unwrap();
        let (right, _) = found(&server, &job);
        let vanished: Vec<_> = right.iter().filter(|(_, count)| **count == 0).map(|(group, _)| *group).collect();
        assert_eq!(vanished, (0..20).map(|node| (1, node)).collect::<Vec<_>>());

        for (id, (hour, version)) in versions {
            let path = format!("rolled-1/_doc/{id}?version={version}&version_type=external_gte");
            let (status, _) = server.try_ask(Method::PUT, &path, Some(r#"{"late": true}"#.to_owned()));
            if hour == 1 {
                assert_eq!(status, 409, "it would be there again");
            }
        }
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn tombstones_go_when_nothing_can_be_late_any_more() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let (engine, job) = (ElasticsearchEngine::new(server.cluster()), job(1, 1));
        engine.prepare(&job).unwrap();
        write(&engine, &job, &Batch::Append, &before()).unwrap();
        let report = write(&engine, &job, &replaced(), &second_hour()).unwrap();
        assert!(!report.wants_merge, "it is too early");
        engine.merge(&job, &StopSignal::never()).unwrap();
        assert_eq!(found(&server, &job).0.len(), after().len() + 20, "they stay");

        // Another process does not know of them, and looks when its own time has come.
        let options = ElasticsearchOptions::new().tombstones_stay(Duration::ZERO);
        let (engine, job) = (ElasticsearchEngine::with_options(server.cluster(), options), self::job(1, 2));
        let report = write(&engine, &job, &Batch::Append, &counts(3..4, 0..10, 1)).unwrap();
        assert!(report.wants_merge);
        engine.merge(&job, &StopSignal::never()).unwrap();
        let mut all = after();
        all.extend(counts(3..4, 0..10, 1));
        assert_eq!(found(&server, &job).0, all);
        let report = write(&engine, &job, &Batch::Append, &counts(4..5, 0..10, 1)).unwrap();
        assert!(!report.wants_merge, "there are none");
    }
}

/// Two hours that are not over are rolled up by a clock that is ahead.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_a_clock_that_was_ahead_has_rolled_up_goes() {
    for kind in BOTH {
        let server = Server::empty(kind);
        server.create_index("sensor-1", &[("timestamp", FieldType::Date), ("node", FieldType::Long)]);
        let reading = |minute: i64| SourceDocument::new().date("timestamp", minute * 60_000).integer("node", 1);
        server.add("sensor-1", &[30, 90, 150].map(reading));
        let clock = Arc::new(ManualClock::at("1970-01-01T03:00:00Z".parse().unwrap()));
        let store = Arc::new(MemoryStore::new());
        let engine = Arc::new(ElasticsearchEngine::new(server.cluster()));
        let builder = RollupJobManager::builder(engine, store.clone());
        let (world, job) = (World::of(builder.clock(clock.clone())), job(1, 0));
        world.put(job.config());
        world.run_well(job.id());
        assert_eq!(found(&server, &job).0.len(), 3);

        clock.set_wall_clock("1970-01-01T01:20:00Z".parse().unwrap());
        world.run_well(job.id());
        let kept = Counts::from([((0, 1), 1)]);
        assert_eq!(without_tombstones(found(&server, &job).0), kept);
        let notes = store.ledger("sensor-1").unwrap().notes;
        assert_eq!((notes.len(), &notes[0].range), (1, &(HOUR..3 * HOUR)), "should the host have ended in between");

        server.add("sensor-1", &[reading(100)]);
        clock.set_wall_clock("1970-01-01T03:00:00Z".parse().unwrap());
        world.run_well(job.id());
        assert_eq!(without_tombstones(found(&server, &job).0), Counts::from([((0, 1), 1), ((1, 1), 2), ((2, 1), 1)]));
    }
}
