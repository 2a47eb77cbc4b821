//! What a cluster is asked to notice: by the time at which documents were indexed, or by counting those of the last
//! days.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::Method;
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::engine::{FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::SearchRequest;
use rollup_jobs::store::{ElasticsearchStore, JobStore, MemoryStore};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{
    DateHistogram, JobUpdate, LateData, LateDataReport, NoticeBy, PutError, RefreshError, RepairWhen, RollupJobConfig,
    RollupJobManager, TimeValue, UpdateError,
};
use serde_json::{Value, json};

use crate::server::{BOTH, Server};
use crate::world::{World, text};

const HOUR: i64 = 3_600_000;
const FIELDS: [(&str, FieldType); 3] =
    [("timestamp", FieldType::Date), ("load", FieldType::Double), ("ingested", FieldType::Date)];

/// When the hour began in which the manager's clock stands.
fn this_hour() -> i64 {
    "2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap().as_millisecond()
}

/// When an hour of so many hours ago began.
fn hours_ago(hours: i64) -> i64 {
    this_hour() - hours * HOUR
}

/// Each is indexed a millisecond after the one before.
fn document(date: i64, load: f64) -> Value {
    static INDEXED: AtomicI64 = AtomicI64::new(0);
    let ingested = this_hour() + HOUR / 2 + INDEXED.fetch_add(1, Ordering::Relaxed);
    json!({ "timestamp": date, "load": load, "ingested": ingested })
}

/// Indexes documents by id, to be seen at once.
fn index(server: &Server, index: &str, documents: &[(&str, Value)]) {
    for (id, document) in documents {
        server.put(&format!("{index}/_doc/{id}"), document.clone());
    }
    server.ask(Method::POST, &format!("{index}/_refresh"), None);
}

/// Ten hours of one document each, that begin so many hours ago.
fn begin(server: &Server, name: &str, hours: i64) {
    server.create_index(name, &FIELDS);
    let documents: Vec<_> =
        (0..10).map(|hour| (format!("at-{hour}"), document(hours_ago(hours - hour), 1.0))).collect();
    let documents: Vec<_> = documents.iter().map(|(id, document)| (id.as_str(), document.clone())).collect();
    index(server, name, &documents);
}

fn by(notice_by: NoticeBy) -> LateData {
    LateData::new().repair(RepairWhen::AfterRun).notice_by(notice_by)
}

fn look_back(text: &str) -> NoticeBy {
    NoticeBy::look_back(TimeValue::parse(text, "look_back").unwrap())
}

fn job(late_data: LateData) -> RollupJobConfig {
    let job = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    let job = job.cron("0 0 0 1 1 ? 2090").page_size(100).late_data(late_data);
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    job.metric("load", [rollup_jobs::Metric::Sum]).build().unwrap()
}

fn open(server: &Server, store: &Arc<dyn JobStore>) -> World {
    open_at(server, store, &half_past())
}

fn half_past() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millisecond(this_hour() + HOUR / 2).unwrap()))
}

fn open_at(server: &Server, store: &Arc<dyn JobStore>, clock: &Arc<ManualClock>) -> World {
    let engine = Arc::new(ElasticsearchEngine::new(server.cluster()));
    World::of(RollupJobManager::builder(engine, Arc::clone(store)).clock(Arc::clone(clock) as _))
}

/// Ten hours that begin thirty hours ago, rolled up by a job that does so about late data.
fn rolled_up_world(server: &Server, clock: &Arc<ManualClock>, late_data: LateData) -> World {
    begin(server, "sensor-1", 30);
    let world = open_at(server, &memory(), clock);
    world.put(&job(late_data));
    world.run_well("sensor");
    world
}

fn memory() -> Arc<dyn JobStore> {
    Arc::new(MemoryStore::new())
}

/// How many documents there are, and the sum of their loads: as a search answers.
fn answer(manager: &RollupJobManager) -> (u64, f64) {
    let body = json!({ "aggs": { "load": { "sum": { "field": "load" } } } });
    let found = manager.search(&SearchRequest::from_json("sensor-*", &body).unwrap()).unwrap();
    (found.total().unwrap(), found.to_json()["aggregations"]["load"]["value"].as_f64().unwrap())
}

/// The same of what is rolled up.
fn rolled_up(manager: &RollupJobManager) -> (u64, f64) {
    let rows = manager.rolled_up("sensor").unwrap().map(Result::unwrap);
    rows.fold((0, 0.0), |(count, sum), row| (count + row.doc_count(), sum + row.sum("load").unwrap()))
}

/// When the hours of so many hours ago begin that have changed.
fn changed(report: &LateDataReport) -> Vec<i64> {
    report.changed.iter().map(|range| (this_hour() - range.start.as_millisecond()) / HOUR).collect()
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_was_indexed_since_is_noticed() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let world = rolled_up_world(&server, &half_past(), by(NoticeBy::ingest_time("ingested")));
        let nothing = world.manager.late_data("sensor").unwrap();
        assert_eq!((nothing.changed.len(), nothing.late_documents.noticed), (0, 0));
        assert_eq!(answer(&world.manager), (10, 10.0));

        // Late, two years late, and one that is there already.
        let late = [
            ("late", document(hours_ago(25), 2.0)),
            ("far", document(hours_ago(18_000), 4.0)),
            ("at-3", document(hours_ago(27), 8.0)),
            ("in-time", document(hours_ago(0), 16.0)),
        ];
        index(&server, "sensor-1", &late);
        assert_eq!(answer(&world.manager), (13, 39.0));
        let report = world.manager.late_data("sensor").unwrap();
        assert_eq!(changed(&report), [18_000, 27, 25]);
        assert_eq!(report.late_documents.noticed, 2, "an update is none more");
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager), (12, 23.0));
        assert_eq!(answer(&world.manager), (13, 39.0));
        assert!(world.manager.late_data("sensor").unwrap().changed.is_empty());

        // An index that comes late.
        begin(&server, "sensor-2", 40);
        assert_eq!(answer(&world.manager), (23, 49.0));
        assert_eq!(world.manager.late_data("sensor").unwrap().late_documents.noticed, 12);
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager), (22, 33.0));
        // Nothing is repaired twice.
        let before = world.manager.get("sensor").unwrap().late_documents().read_again;
        world.run_well("sensor");
        assert_eq!(world.manager.get("sensor").unwrap().late_documents().read_again, before);
    }
}

/// A look sees again only what was indexed within the last minute, and much that comes at once in longer stretches.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn the_window_moves_on() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let clock = half_past();
        let world = rolled_up_world(&server, &clock, by(NoticeBy::ingest_time("ingested")));
        let many = |minute: i64| {
            let document = SourceDocument::new().date("timestamp", hours_ago(1_000) + minute * 60_000);
            document.double("load", 1.0).date("ingested", this_hour() + HOUR / 2 + 1_000)
        };
        server.add("sensor-1", &(0..40_000).map(many).collect::<Vec<_>>());
        assert_eq!(answer(&world.manager).0, 40_010);
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager).0, 40_010);
        let mut total = 40_010;
        for minute in 1..5 {
            clock.advance(Duration::from_mins(1));
            assert!(world.manager.late_data("sensor").unwrap().changed.is_empty());
            let ingested = this_hour() + HOUR / 2 + minute * 60_000;
            let late = json!({ "timestamp": hours_ago(900 - minute), "load": 1.0, "ingested": ingested });
            index(&server, "sensor-1", &[(&format!("late-{minute}"), late)]);
            total += 1;
            assert_eq!(answer(&world.manager).0, total);
            let changed = changed(&world.manager.late_data("sensor").unwrap());
            assert!(changed.len() == 1 && changed[0] >= 900 - minute, "{changed:?}");
            world.run_well("sensor");
            assert_eq!(rolled_up(&world.manager).0, total);
        }
    }
}

/// What a manager remembers outlives it, in a store in the cluster too.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_was_indexed_while_no_manager_was_open_is_noticed() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let kept: Arc<dyn JobStore> = Arc::new(ElasticsearchStore::new(server.cluster()));
        for (number, store) in [memory(), kept].into_iter().enumerate() {
            server.ask(Method::DELETE, "sensor-1,rolled?ignore_unavailable=true", None);
            begin(&server, "sensor-1", 30);
            let world = open(&server, &store);
            world.put(&job(by(NoticeBy::ingest_time("ingested"))));
            world.run_well("sensor");
            drop(world);
            index(&server, "sensor-1", &[("late", document(hours_ago(25), 2.0))]);
            let world = open(&server, &store);
            assert_eq!(answer(&world.manager), (11, 12.0), "store {number}");
            assert_eq!(changed(&world.manager.late_data("sensor").unwrap()), [25]);
            world.run_well("sensor");
            assert_eq!(rolled_up(&world.manager), (11, 12.0));
        }
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn what_is_counted_anew_is_noticed_as_far_as_it_looks_back() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let world = rolled_up_world(&server, &half_past(), by(look_back("2d")));
        assert_eq!(answer(&world.manager), (10, 10.0));
        let late = [
            ("late", document(hours_ago(25), 2.0)),
            ("in-time", document(hours_ago(0), 16.0)),
            // Nobody looks so far back.
            ("far", document(hours_ago(100), 4.0)),
        ];
        index(&server, "sensor-1", &late);
        assert_eq!(answer(&world.manager), (12, 28.0));
        let report = world.manager.late_data("sensor").unwrap();
        assert_eq!((changed(&report), report.late_documents.noticed), (vec![25], 1));
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager), (11, 12.0));

        // What is deleted is told of, and stays rolled up.
        server.ask(Method::DELETE, "sensor-1/_doc/at-4?refresh=true", None);
        let report = world.manager.late_data("sensor").unwrap();
        let shrunk: Vec<_> = report.shrunk.iter().map(|range| range.start.as_millisecond()).collect();
        assert_eq!((report.changed.len(), shrunk), (0, vec![hours_ago(26)]));
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager), (11, 12.0));
        let trusting = by(look_back("2d")).trust_deletes(true);
        world.manager.update("sensor", JobUpdate::new().late_data(trusting)).unwrap();
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager), (10, 11.0));
    }
}

/// A job that is told to look only now does not take for granted what nobody has looked at.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_job_that_begins_to_look_counts_what_it_has() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let world = rolled_up_world(&server, &half_past(), LateData::new());
        index(&server, "sensor-1", &[("late", document(hours_ago(25), 2.0))]);
        world.run_well("sensor");
        assert_eq!(answer(&world.manager), (10, 10.0), "nobody was to look");
        let update = |by_what| JobUpdate::new().late_data(by(by_what));
        world.manager.update("sensor", update(NoticeBy::ingest_time("ingested"))).unwrap();
        world.run_well("sensor");
        assert_eq!(rolled_up(&world.manager), (11, 12.0));

        // Sealing does not trust what sees only a part: it counts.
        index(&server, "sensor-1", &[("not-seen", json!({ "timestamp": hours_ago(24), "load": 1.0 }))]);
        let seal = Timestamp::from_millisecond(hours_ago(20)).unwrap();
        let refused = world.manager.seal_before("sensor-1", seal).unwrap_err().to_string();
        assert!(refused.contains("sensor"), "{refused}");

        let error = world.manager.update("sensor", update(NoticeBy::ingest_time("load"))).unwrap_err();
        let UpdateError::Invalid(error) = error else { panic!("{error}") };
        assert_eq!(error.problems()[0].field(), "late_data.notice_by.ingest_time.field");
        let error = world.manager.update("sensor", update(NoticeBy::ingest_time("ingestd"))).unwrap_err();
        assert!(error.to_string().contains("Could not find"), "{error}");
    }
}

/// Another index takes the name of one that was rolled up: it does not have its documents.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn an_index_under_the_name_of_another_is_another() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let clock = half_past();
        let world = rolled_up_world(&server, &clock, LateData::new().repair(RepairWhen::AfterRun));
        server.ask(Method::DELETE, "sensor-1", None);
        server.create_index("sensor-1", &FIELDS);
        index(&server, "sensor-1", &[("a", document(hours_ago(26), 2.0)), ("b", document(hours_ago(26), 2.0))]);
        let hour = [hours_ago(26), hours_ago(25)].map(|at| Timestamp::from_millisecond(at).unwrap());
        let refused = world.manager.refresh("sensor", hour[0]..hour[1]).unwrap().wait(Duration::from_mins(1));
        assert!(matches!(refused, Err(RefreshError::NotDone { .. })), "{refused:?}");
        assert_eq!(rolled_up(&world.manager), (10, 10.0), "nothing is replaced by less");
        let _of_the_refresh = world.end();
        clock.advance(Duration::from_hours(1));
        let status = world.run_well("sensor");
        let notice = status.notice().unwrap().text();
        assert!(notice.contains("source indices that were there before are gone: sensor-1"), "{notice}");
        assert_eq!(world.manager.late_data("sensor").unwrap().lost, [hour[0]..hour[1]]);
        let error = world.manager.search(&SearchRequest::new("sensor-*")).unwrap_err();
        assert!(text(&error).contains("source indices that were rolled up were dropped"), "{}", text(&error));
    }
}

/// Where nothing can be asked a job that says how to ask is refused, and does not look as if it looked.
#[test]
fn an_engine_that_is_no_cluster_refuses_it() {
    let memory = MemoryEngine::new();
    for (field, kind) in FIELDS {
        memory.map("sensor-1", field, kind);
    }
    let manager = RollupJobManager::builder(Arc::new(memory), Arc::new(MemoryStore::new())).open().unwrap();
    let error = manager.put(job(by(NoticeBy::ingest_time("ingested")))).unwrap_err();
    let PutError::Invalid(error) = error else { panic!("{error}") };
    assert_eq!(error.problems()[0].field(), "late_data.notice_by");
    manager.put(job(LateData::new())).unwrap();
    let error = manager.update("sensor", JobUpdate::new().late_data(by(look_back("1d")))).unwrap_err();
    assert!(error.to_string().contains("this engine is none"), "{error}");
}
