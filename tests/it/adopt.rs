//! Jobs that another system has run until now, taken over by what its get API prints.

use std::sync::Arc;

use rollup_jobs::engine::{CommittedProgress, Engine, FieldType, JobContext, RollupIndex, SourceDocument};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::{EngineHarness, documents_of};
use rollup_jobs::{
    AdoptError, DeleteOptions, ForeignJob, Histogram, JobRecord, JobState, Progress, PutError, RollupJobConfig,
    RollupJobManager, StoredState,
};
use serde_json::{Value, json};

use crate::half_way::half_way;
use crate::rest::Client;
use crate::support::{Watcher, World, config, loaded, readings, undisturbed};
use crate::tantivy_harness::{TantivyHarness, read_rollup};

/// The other half.
fn go_on(engine: Arc<dyn Engine>, job: &ForeignJob) {
    let watcher = Arc::new(Watcher::default());
    let builder = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).observer(watcher.clone());
    let manager = builder.open().unwrap();
    let id = job.id().unwrap().to_owned();
    manager.adopt(job).unwrap();
    assert_eq!(manager.get(&id).unwrap().state(), JobState::Stopped);
    manager.start(&id).unwrap();
    manager.trigger(&id).unwrap();
    watcher.wait_for(&manager, "the end of the run", || {
        let status = manager.get(&id).unwrap();
        assert!(status.last_errors().is_empty(), "{status:#?}");
        (status.state() == JobState::Started).then_some(())
    });
}

fn foreign(manager: &RollupJobManager) -> ForeignJob {
    ForeignJob::from(&manager.get("sensor").unwrap())
}

/// What an engine in this process holds is another one's to see only by what is printed.
fn as_printed(manager: &Arc<RollupJobManager>) -> ForeignJob {
    let answer = Client::of(manager).send("GET /_rollup/job/_all").text;
    ForeignJob::all_from_json(&answer).unwrap().remove(0)
}

#[test]
fn one_half_here_and_the_other_half_there() {
    let whole = undisturbed("sensor");
    let (memory, tantivy) = (loaded(), tantivy());
    let there = half_way(Arc::new(memory.clone()), &config("sensor").build().unwrap());
    go_on(tantivy.engine(), &as_printed(&there));
    let (first, second) = (documents_of(&memory, "rolled"), of(&tantivy));
    assert!(!first.is_empty() && !second.is_empty());
    let keys = first.keys().chain(second.keys()).collect::<Vec<_>>();
    assert_eq!(keys.len(), whole.len(), "nothing twice");
    assert!(whole.keys().all(|key| keys.contains(&key)), "nothing left out");

    // And back.
    let (memory, tantivy) = (loaded(), self::tantivy());
    let there = half_way(tantivy.engine(), &config("sensor").build().unwrap());
    go_on(Arc::new(memory.clone()), &foreign(&there));
    let (first, second) = (of(&tantivy), documents_of(&memory, "rolled"));
    assert_eq!(first.len() + second.len(), whole.len());
    assert!(first.keys().all(|key| !second.contains_key(key)));
    assert!(second.iter().all(|(key, document)| whole[key] == *document));
}

const FIELDS: [(&str, FieldType); 3] =
    [("timestamp", FieldType::Date), ("node", FieldType::Keyword), ("temperature", FieldType::Double)];

fn tantivy() -> TantivyHarness {
    let harness = TantivyHarness::in_ram();
    harness.create_index("sensor-1", &FIELDS);
    harness.add("sensor-1", &readings().collect::<Vec<_>>());
    harness
}

fn of(harness: &TantivyHarness) -> std::collections::BTreeMap<String, Value> {
    read_rollup(&harness.engine.rollup_index("rolled", "sensor").unwrap().unwrap())
}

/// As Elasticsearch 7.17 printed it, of a job on `sensor-*` that is stopped.
fn captured() -> Value {
    json!({
        "config": {
            "id": "sensor", "index_pattern": "sensor-*", "rollup_index": "rolled", "cron": "*/30 * * * * ?",
            "groups": {
                "date_histogram": { "fixed_interval": "1h", "field": "timestamp", "delay": "7d", "time_zone": "UTC" },
                "histogram": { "interval": 5, "fields": ["load"] },
                "terms": { "fields": ["node"] }
            },
            "metrics": [{ "field": "temperature", "metrics": ["min", "max", "sum"] }],
            "timeout": "20s", "page_size": 1000
        },
        "status": {
            "job_state": "stopped",
            "current_position": {
                "timestamp.date_histogram": 1_517_590_800_000_i64, "load.histogram": 20.0, "node.terms": "a"
            },
            "upgraded_doc_id": true
        },
        "stats": {
            "pages_processed": 4, "documents_processed": 40, "rollups_indexed": 30, "trigger_count": 3, "index_time_in_ms": 11,
            "index_total": 3, "index_failures": 1, "search_time_in_ms": 22, "search_total": 4, "search_failures": 2,
            "processing_time_in_ms": 5, "processing_total": 4
        }
    })
}

/// A manager whose source has a field `load` too.
fn with_load() -> World {
    let data = loaded();
    data.add("sensor-1", SourceDocument::new().date("timestamp", 0).double("load", 21.0));
    World::on(data, |engine| engine, |builder| builder)
}

#[test]
fn a_job_of_elasticsearch_comes_with_position_and_statistics() {
    let world = with_load();
    let answer = json!({ "jobs": [captured()] }).to_string();
    let job = ForeignJob::all_from_json(&answer).unwrap().remove(0);
    world.manager.adopt(&job).unwrap();
    let answer = Client::of(&world.manager).send("GET /_rollup/job/sensor").json();
    for member in ["config", "stats"] {
        assert_eq!(answer["jobs"][0][member], captured()[member]);
    }
    assert_eq!(answer["jobs"][0]["status"]["current_position"], captured()["status"]["current_position"]);
    assert_eq!(answer["jobs"][0]["status"]["job_state"], "stopped");
    let again = world.manager.adopt(&job);
    assert!(matches!(again, Err(AdoptError::Put(PutError::AlreadyExists { .. }))), "{again:?}");
    // The engine knows it too.
    world.manager.delete("sensor").unwrap();
    let again = world.manager.put(RollupJobConfig::from_json(&captured()["config"].to_string()).unwrap());
    assert!(matches!(again, Err(PutError::PreviouslyCreated { .. })), "it would begin in the middle: {again:?}");
}

#[test]
fn a_schedule_with_other_times_in_elasticsearch_is_told() {
    for (cron, told) in [
        ("0 0 12 ? * MON-FRI", None),
        (
            "0 0 12 ? * MON-FRI/2",
            Some(
                "[0 0 12 ? * MON-FRI/2] runs at other times than in Elasticsearch, which does not heed all of [MON-FRI/2]",
            ),
        ),
    ] {
        let world = with_load();
        let mut job = captured();
        job["config"]["cron"] = json!(cron);
        world.manager.adopt(&ForeignJob::from_json(&job.to_string()).unwrap()).unwrap();
        let status = world.status("sensor");
        assert_eq!(status.notice().map(rollup_jobs::Notice::text), told);
    }
}

#[test]
fn what_cannot_go_on_exactly_is_refused_with_the_reason() {
    type Change = fn(&mut Value);
    let table: &[(Change, &str)] = &[
        (|job| job["status"]["job_state"] = json!("started"), "because it is started there: it must be stopped before"),
        (|job| job["status"]["job_state"] = json!("aborting"), "because it is aborting there"),
        (|job| job["status"]["upgraded_doc_id"] = json!(false), "its documents have ids of before 7.0"),
        (
            |job| job["config"]["groups"]["date_histogram"]["fixed_interval"] = json!("1fortnight"),
            "a rollup job whose configuration is not valid here",
        ),
        (|job| job["config"]["cron"] = json!("* * *"), "a rollup job whose configuration is not valid here"),
        (
            |job| job["status"]["current_position"]["timestamp.date_histogram"] = json!(1_517_590_800_001_i64),
            "[timestamp.date_histogram] is 1517590800001: no bucket begins then, as intervals and zones are here",
        ),
        (
            |job| job["status"]["current_position"]["timestamp.date_histogram"] = json!("x"),
            "it is no time in milliseconds",
        ),
        (
            |job| job["status"]["current_position"]["timestamp.date_histogram"] = Value::Null,
            "it is no time in milliseconds",
        ),
        (
            |job| job["status"]["current_position"]["load.histogram"] = json!(21.5),
            "[load.histogram] is 21.5: no bucket has this key here",
        ),
        (|job| job["status"]["current_position"]["load.histogram"] = json!(-0.0), "no bucket has this key here"),
        (|job| job["status"]["current_position"]["node.terms"] = json!(7), "[node.terms] is 7: it is no text"),
        (
            |job| job["status"]["current_position"] = json!({ "timestamp.date_histogram": 0, "node.terms": "a" }),
            "it has no [load.histogram]",
        ),
        (
            |job| job["status"]["current_position"]["level.terms"] = json!(1),
            "it has [level.terms], which the job does not group by",
        ),
    ];
    let world = with_load();
    for (change, reason) in table {
        let mut job = captured();
        change(&mut job);
        let error = world.manager.adopt(&ForeignJob::from_json(&job.to_string()).unwrap()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}, and not {reason}");
        assert!(world.manager.list().is_empty() && world.store.records().is_empty(), "{reason}");
    }
    // Nulls are buckets, and a job that has never run has no position.
    let mut without_node = captured();
    without_node["status"]["current_position"]["node.terms"] = Value::Null;
    let mut without_position = captured();
    without_position["status"]["current_position"] = Value::Null;
    for job in [without_node, without_position] {
        world.manager.adopt(&ForeignJob::from_json(&job.to_string()).unwrap()).unwrap();
        world.manager.delete_with("sensor", DeleteOptions::new().delete_data(true)).unwrap();
    }
}

#[test]
fn every_bucket_of_a_fractional_histogram_is_told_exactly() {
    let world = with_load();
    for number in -1_000..1_000 {
        let key = f64::from(number) * 0.1;
        if key == 0.0 && key.is_sign_negative() {
            continue;
        }
        let config = config("sensor").histogram(Histogram::new(0.1, ["load"])).build().unwrap();
        let position = json!({ "timestamp.date_histogram": 0, "node.terms": "a", "load.histogram": key });
        let job =
            json!({ "config": config.to_json(), "status": { "job_state": "stopped", "current_position": position } });
        world.manager.adopt(&ForeignJob::from_json(&job.to_string()).unwrap()).unwrap();
        assert_eq!(world.status("sensor").position().unwrap().to_json(), position);
        world.manager.delete_with("sensor", DeleteOptions::new().delete_data(true)).unwrap();
    }
}

/// The record is stored before the engine is asked: whoever opens the store finishes it, at the position.
#[test]
fn an_adoption_that_a_crash_interrupts_is_finished() {
    let engine = loaded();
    let there = half_way(Arc::new(loaded()), &config("sensor").build().unwrap());
    let world = World::new();
    world.manager.adopt(&foreign(&there)).unwrap();
    let adopted = world.store.record("sensor");
    let mut json = adopted.to_json();
    json["state"] = json!(StoredState::Preparing);
    let store = Arc::new(MemoryStore::new());
    let preparing = JobRecord::from_json(json.to_string().as_bytes()).unwrap();
    store.insert(&preparing).unwrap();
    let manager = RollupJobManager::builder(Arc::new(engine.clone()), store).open().unwrap();
    let status = manager.get("sensor").unwrap();
    assert_eq!((status.state(), status.position()), (JobState::Stopped, adopted.progress().position.as_ref()));
    let kept = engine.committed_progress(&JobContext::new(adopted.config().clone(), &[])).unwrap();
    let expected: &Progress = adopted.progress();
    assert!(matches!(kept, CommittedProgress::Kept(Some(kept)) if kept == *expected));
}
