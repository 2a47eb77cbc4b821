//! A manager on an engine, with what a test wants to know of its runs.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::engine::{Engine, FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::documents_of;
use rollup_jobs::{
    DateHistogram, Histogram, JobError, JobStatus, Metric, Observer, RetryOptions, RollupJobConfig,
    RollupJobConfigBuilder, RollupJobManager, RollupJobManagerBuilder, RunEnded, RunOutcome,
};
use serde_json::{Value, json};

use crate::server::Server;

/// How long a test waits for a run before it fails.
const PATIENCE: Duration = Duration::from_mins(3);

struct Watcher(Mutex<Sender<RunOutcome>>);

impl Observer for Watcher {
    fn run_ended(&self, _: &str, run: &RunEnded) {
        let _ = self.0.lock().unwrap().send(run.outcome);
    }
}

pub(crate) struct World {
    pub(crate) manager: RollupJobManager,
    ends: Receiver<RunOutcome>,
}

impl World {
    /// A page per turn.
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Self {
        let retry = RetryOptions::new().attempts(10).initial_delay(Duration::from_millis(50));
        Self::on(engine, Arc::new(MemoryStore::new()), retry)
    }

    pub(crate) fn on(engine: Arc<dyn Engine>, store: Arc<dyn JobStore>, retry: RetryOptions) -> Self {
        Self::of(RollupJobManager::builder(engine, store).turn_time(Duration::ZERO).retry(retry))
    }

    pub(crate) fn of(builder: RollupJobManagerBuilder) -> Self {
        let (ends, receiver) = channel();
        let manager = builder.observer(Arc::new(Watcher(Mutex::new(ends)))).open().unwrap();
        Self { manager, ends: receiver }
    }

    pub(crate) fn put(&self, config: &RollupJobConfig) {
        self.manager.put(config.clone()).unwrap();
        self.manager.start(config.id()).unwrap();
    }

    /// Runs a job that was put, to the end of the run.
    pub(crate) fn run(&self, id: &str) -> (RunOutcome, JobStatus) {
        self.manager.trigger(id).unwrap();
        let outcome = self.ends.recv_timeout(PATIENCE);
        let status = self.manager.get(id).unwrap();
        (outcome.unwrap_or_else(|_| panic!("the run does not end: {status:#?}")), status)
    }

    /// Waits for the end of a run that somebody else has begun, or stopped.
    pub(crate) fn end(&self) -> RunOutcome {
        self.ends.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the run does not end: {:#?}", self.manager.list()))
    }

    /// Runs all of them at once, to the ends of all runs.
    pub(crate) fn run_all(&self, jobs: &[RollupJobConfig]) {
        for job in jobs {
            self.manager.trigger(job.id()).unwrap();
        }
        for _ in jobs {
            let outcome = self.ends.recv_timeout(PATIENCE);
            assert_eq!(outcome, Ok(RunOutcome::Finished), "{:#?}", self.manager.list());
        }
    }

    pub(crate) fn run_well(&self, id: &str) -> JobStatus {
        let (outcome, status) = self.run(id);
        assert_eq!(outcome, RunOutcome::Finished, "{status:#?}");
        status
    }
}

pub(crate) const FIELDS: [(&str, FieldType); 6] = [
    ("timestamp", FieldType::Date),
    ("node", FieldType::Keyword),
    ("level", FieldType::Long),
    ("load", FieldType::Double),
    ("temperature", FieldType::Double),
    ("distance", FieldType::Double),
];

/// The same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 20).unwrap() % end
    }

    fn double(&mut self) -> f64 {
        f64::from(i32::try_from(self.below(2_000_000)).unwrap()) / 997.0 - 1_000.0
    }
}

/// Readings from the end of 1968 to the end of 1971: missing values, several values in a field, whole numbers beyond
/// 2^53, and instants that an hour has twice.
pub(crate) fn readings(count: usize, only_one_value: bool) -> Vec<SourceDocument> {
    const DAY: i64 = 86_400_000;
    let mut random = Random(7);
    let several = |random: &mut Random| !only_one_value && random.below(10) == 0;
    let reading = |_| {
        let mut document = SourceDocument::new();
        if random.below(50) > 0 {
            document = document.date("timestamp", random.below(1_000 * DAY) - 380 * DAY);
            if several(&mut random) {
                document = document.date("timestamp", random.below(1_000 * DAY) - 380 * DAY);
            }
        }
        for _ in 0..=usize::from(several(&mut random)) {
            document = document.keyword("node", ["a", "b", "é", "zz"][usize::try_from(random.below(4)).unwrap()]);
        }
        if random.below(9) > 0 {
            document = document.integer("level", 9_007_199_254_740_993 + 2 * random.below(3));
        }
        if random.below(9) > 0 {
            document = document.double("load", random.double() / 700.0 + 0.001);
        }
        for _ in 0..random.below(if only_one_value { 2 } else { 3 }) {
            let temperature = random.double();
            document = document.double("temperature", temperature).double("distance", temperature.abs());
        }
        document
    };
    (0..count).map(reading).collect()
}

pub(crate) fn job(id: &str) -> RollupJobConfigBuilder {
    let job = RollupJobConfig::builder(id).index_pattern("sensor-*").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
    let job = job.page_size(300).date_histogram(DateHistogram::calendar_interval("timestamp", "1w"));
    job.metric("temperature", Metric::ALL.iter().copied()).metric("distance", [Metric::Sum])
}

/// Jobs of all kinds.
pub(crate) fn jobs() -> Vec<RollupJobConfig> {
    let date = |kind: &str, interval: &str, zone: &str| match kind {
        "fixed" => DateHistogram::fixed_interval("timestamp", interval).time_zone(zone),
        _ => DateHistogram::calendar_interval("timestamp", interval).time_zone(zone),
    };
    [
        job("by-day").date_histogram(date("calendar", "1d", "America/New_York")).page_size(500),
        job("by-minutes").date_histogram(date("fixed", "90m", "America/New_York")).page_size(2_000),
        job("half-hour-zone").date_histogram(date("fixed", "12h", "Asia/Kolkata")).terms(["node"]).page_size(1_000),
        job("by-month").date_histogram(date("calendar", "1M", "Europe/Berlin")).terms(["node", "level"]).page_size(100),
        job("fractions").histogram(Histogram::new(0.1, ["load"])).page_size(700),
        job("all").histogram(Histogram::new(0.3, ["load"])).terms(["level", "node"]).page_size(1_000),
        job("no-metrics").date_histogram(date("calendar", "1q", "UTC")).terms(["load"]).page_size(1_000),
    ]
    .map(|job| job.build().unwrap())
    .to_vec()
}

pub(crate) type Documents = BTreeMap<String, Value>;

/// What the reference rolls up.
pub(crate) fn expected(source: &[SourceDocument], jobs: &[RollupJobConfig]) -> Documents {
    let memory = MemoryEngine::new();
    memory.extend("sensor-1", source.iter().cloned());
    let world = World::new(Arc::new(memory.clone()));
    let mut documents = Documents::new();
    for job in jobs {
        world.put(job);
        world.run_well(job.id());
        documents.extend(documents_of(&memory, job.rollup_index()));
    }
    documents
}

/// All documents of the rollup index `rolled`, by id.
pub(crate) fn rolled_up(server: &Server) -> Documents {
    rolled_up_into(server, "rolled")
}

/// All documents of a rollup index, by id.
pub(crate) fn rolled_up_into(server: &Server, index: &str) -> Documents {
    let mut documents = Documents::new();
    server.ask(reqwest::Method::POST, &format!("{index}/_refresh"), None);
    let mut answer = server.post(&format!("{index}/_search?scroll=1m"), json!({ "size": 5_000 }));
    loop {
        let scroll = answer["_scroll_id"].clone();
        let hits = answer["hits"]["hits"].as_array().unwrap();
        if hits.is_empty() {
            server.ask(reqwest::Method::DELETE, "_search/scroll", Some(json!({ "scroll_id": scroll })));
            return documents;
        }
        for hit in hits {
            let id = hit["_id"].as_str().unwrap().to_owned();
            assert!(documents.insert(id, hit["_source"].clone()).is_none());
        }
        answer = server.post("_search/scroll", json!({ "scroll": "1m", "scroll_id": scroll }));
    }
}

/// Every member bit for bit, but for sums: those to 1e-12 of the sum of the absolute values, which `distance` has.
pub(crate) fn assert_same(found: &Documents, expected: &Documents) {
    for (id, expected) in expected {
        let found = found.get(id).unwrap_or_else(|| panic!("[{id}] is missing"));
        let names = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(found), names(expected), "{id}");
        for (name, value) in expected.as_object().unwrap() {
            if name.ends_with(".sum.value") || name.ends_with(".avg.value") {
                let all = expected["distance.sum.value"].as_f64().unwrap();
                let difference = (found[name].as_f64().unwrap() - value.as_f64().unwrap()).abs();
                assert!(difference <= 1e-12 * all, "{id} {name}: {} {value}", found[name]);
            } else {
                assert_eq!(found[name], *value, "{id} {name}");
            }
        }
    }
    let unexpected: Vec<_> = found.keys().filter(|id| !expected.contains_key(*id)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

/// Without nulls and what is the same in all documents, which tantivy has no need to keep for each.
pub(crate) fn bare(mut documents: Documents) -> Documents {
    for document in documents.values_mut() {
        document.as_object_mut().unwrap().retain(|name, value| {
            let constant = name.ends_with(".interval") || name.ends_with(".time_zone") || name.starts_with("_rollup.");
            !value.is_null() && !constant
        });
    }
    documents
}

/// What has gone wrong in a job's runs.
pub(crate) fn causes(status: &JobStatus) -> String {
    status.last_errors().iter().flat_map(JobError::causes).cloned().collect::<Vec<_>>().join("; ")
}

/// An error with all that has caused it.
pub(crate) fn text(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An engine with the default options.
pub(crate) fn engine(server: &Server) -> Arc<dyn Engine> {
    Arc::new(ElasticsearchEngine::new(server.cluster()))
}

/// The source on a server.
pub(crate) fn load(server: &Server, source: &[SourceDocument]) {
    server.create_index("sensor-1", &FIELDS);
    server.add("sensor-1", source);
}
