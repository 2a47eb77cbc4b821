//! The same job where one machine is too small: a real OpenSearch of three nodes is started, hourly weather readings
//! are rolled up to a document per station and day, a node is killed on the way, the job is stopped, and everything
//! is checked against the raw data.
//!
//! ```text
//! cargo run --example cluster --all-features
//! ```
//!
//! Needs Maven (`mvn`), which fetches OpenSearch from its registry, and a JDK of 21 or newer.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::blocking::Client;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::store::RedbStore;
use rollup_jobs::{
    DateHistogram, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded, RunOutcome, StopOptions, TurnEnded,
};
use serde_json::{Value, json};

/// Should the job get no further, the example ends and says so.
const PATIENCE: Duration = Duration::from_mins(2);

const CSV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/sensor_nyc2013.csv");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/cluster");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/cluster/example");

fn main() -> Result<(), Box<dyn Error>> {
    let servers = Servers::start()?;
    println!("1. Started OpenSearch on {}.", servers.urls.join(", "));
    let raw = servers.load()?;
    println!(
        "2. Loaded {} readings of {} stations into three shards, with a copy of each.",
        raw.readings,
        raw.sums.len()
    );

    let folder = tempfile::tempdir()?;
    let cluster = Cluster::new(ClusterOptions::new(&servers.urls).connect_timeout(Duration::from_secs(1)))?;
    let engine = Arc::new(ElasticsearchEngine::new(cluster));
    let store = Arc::new(RedbStore::open(folder.path().join("jobs.redb"))?);
    let (progress, turns, ends) = Progress::new();
    let builder = RollupJobManager::builder(engine, store).observer(progress).turn_time(Duration::ZERO);
    let manager = builder.open()?;
    manager.put(config()?)?;
    // A node that is lost takes nothing along that has a copy.
    servers.ask(Method::GET, "_cluster/health/sensor_daily?wait_for_status=green&timeout=60s", String::new())?;
    manager.start("sensor")?;
    manager.trigger("sensor")?;
    println!("3. Put, started and triggered the job [sensor].");

    while turns.recv_timeout(PATIENCE)? < 5 {}
    Servers::kill(3)?;
    println!("4. Killed a node after five pages.");
    while turns.recv_timeout(PATIENCE)? < 15 {}
    let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
    let stopped = manager.stop("sensor", options.clone())?;
    let status = manager.get("sensor").ok_or("the job is gone")?;
    println!(
        "5. Stopped it after fifteen: at rest and durable: {}, {} documents written, {} requests tried again.",
        stopped.is_at_rest(),
        status.stats().rollups_indexed(),
        status.last_errors().len()
    );
    Servers::start_again(3)?;
    manager.start("sensor")?;
    // The stopped run's end is known already.
    while ends.recv_timeout(PATIENCE)? != RunOutcome::Stopped {}
    manager.trigger("sensor")?;
    while ends.recv_timeout(PATIENCE)? != RunOutcome::Finished {}
    println!("6. Started the node and the job again, which finished.");
    let _ = manager.stop("sensor", options)?;
    manager.delete("sensor")?;

    let documents = servers.check(&raw)?;
    println!("7. Stopped and deleted the job; its {documents} documents stay: their sums equal those of the readings.");
    Ok(())
}

fn config() -> Result<RollupJobConfig, Box<dyn Error>> {
    let job =
        RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("sensor_daily").cron("0 0 0 * * ?");
    let job = job.page_size(30).terms(["node"]);
    let job = job.date_histogram(DateHistogram::calendar_interval("timestamp", "1d").time_zone("America/New_York"));
    Ok(job.metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount]).build()?)
}

/// What the readings add up to.
struct Raw {
    readings: u64,
    /// By station.
    sums: BTreeMap<String, f64>,
}

/// The nodes, stopped when it is dropped.
struct Servers {
    urls: Vec<String>,
    http: Client,
}

impl Servers {
    fn start() -> Result<Self, Box<dyn Error>> {
        let _ = std::fs::remove_dir_all(FOLDER);
        let output = Command::new(SCRIPT).args(["start", FOLDER, "3"]).env("BASE_PORT", "9710").output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let urls = String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect();
        // The example's own requests need no TLS, but its client wants to know how.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { urls, http: Client::new() })
    }

    fn kill(node: u32) -> Result<(), Box<dyn Error>> {
        let pid = std::fs::read_to_string(Path::new(FOLDER).join(format!("n{node}/pid")))?;
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status()?;
        if killed.success() { Ok(()) } else { Err("the node could not be killed".into()) }
    }

    fn start_again(node: u32) -> Result<(), Box<dyn Error>> {
        let started = Command::new(SCRIPT).args(["node", FOLDER, &node.to_string()]).status()?;
        if started.success() { Ok(()) } else { Err("the node could not be started again".into()) }
    }

    fn ask(&self, method: Method, path: &str, body: String) -> Result<Value, Box<dyn Error>> {
        let request = self.http.request(method, format!("{}/{path}", self.urls[0]));
        let response = request.header("content-type", "application/json").body(body).send()?.error_for_status()?;
        Ok(serde_json::from_str(&response.text()?)?)
    }

    fn load(&self) -> Result<Raw, Box<dyn Error>> {
        let fields = json!({
            "timestamp": { "type": "date" }, "node": { "type": "keyword" }, "temperature": { "type": "double" }
        });
        let settings = json!({ "number_of_shards": 3, "number_of_replicas": 1 });
        let index = json!({ "settings": settings, "mappings": { "properties": fields } });
        self.ask(Method::PUT, "sensor-2013", index.to_string())?;
        let (mut lines, mut raw) = (String::new(), Raw { readings: 0, sums: BTreeMap::new() });
        for row in csv::Reader::from_path(CSV)?.into_deserialize::<BTreeMap<String, String>>() {
            let row = row?;
            let at: Timestamp = row["timestamp"].parse()?;
            let mut document = json!({ "timestamp": at.as_millisecond(), "node": row["node"] });
            raw.readings += 1;
            let sum = raw.sums.entry(row["node"].clone()).or_default();
            if let Ok(temperature) = row["temperature"].parse::<f64>() {
                document["temperature"] = json!(temperature);
                *sum += temperature;
            }
            writeln!(lines, "{{\"index\":{{}}}}\n{document}")?;
        }
        let answer = self.ask(Method::POST, "sensor-2013/_bulk", lines)?;
        if answer["errors"] != false {
            return Err(format!("the readings were not all taken: {answer}").into());
        }
        Ok(raw)
    }

    /// Whether what was rolled up adds up to the readings; how many documents that are.
    fn check(&self, raw: &Raw) -> Result<u64, Box<dyn Error>> {
        self.ask(Method::POST, "sensor_daily/_refresh", String::new())?;
        let sum = |field: &str| json!({ "sum": { "field": field } });
        let search = json!({
            "size": 0, "track_total_hits": true,
            "aggs": {
                "nodes": {
                    "terms": { "field": "node.terms.value" },
                    "aggs": { "sum": sum("temperature.sum.value"), "readings": sum("timestamp.date_histogram._count") }
                }
            }
        });
        let answer = self.ask(Method::POST, "sensor_daily/_search", search.to_string())?;
        let mut readings = 0.0;
        for node in answer["aggregations"]["nodes"]["buckets"].as_array().into_iter().flatten() {
            let (name, found) = (node["key"].as_str().unwrap_or_default(), node["sum"]["value"].as_f64());
            readings += node["readings"]["value"].as_f64().unwrap_or_default();
            let expected = raw.sums.get(name).copied();
            let is_same = matches!((found, expected), (Some(a), Some(b)) if (a - b).abs() <= 1e-9 * b.abs());
            if !is_same {
                return Err(format!("the sum of {name} was rolled up to {found:?}, but is {expected:?}").into());
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "some ten thousand")]
        if (readings - raw.readings as f64).abs() > 0.5 {
            return Err(format!("{readings} readings were rolled up, not {}", raw.readings).into());
        }
        answer["hits"]["total"]["value"].as_u64().ok_or_else(|| "the number of documents is not known".into())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).args(["stop", FOLDER]).status();
    }
}

/// Tells of the turns and of the ends of runs.
struct Progress {
    turns: Mutex<Sender<u64>>,
    ends: Mutex<Sender<RunOutcome>>,
}

impl Progress {
    fn new() -> (Arc<Self>, Receiver<u64>, Receiver<RunOutcome>) {
        let ((turns, turn), (ends, end)) = (channel(), channel());
        (Arc::new(Self { turns: Mutex::new(turns), ends: Mutex::new(ends) }), turn, end)
    }
}

impl Observer for Progress {
    fn turn_ended(&self, _: &str, turn: &TurnEnded) {
        if let Ok(turns) = self.turns.lock() {
            // Nobody may be interested any more.
            let _ = turns.send(turn.turn);
        }
    }

    fn run_ended(&self, _: &str, run: &RunEnded) {
        if let Ok(ends) = self.ends.lock() {
            let _ = ends.send(run.outcome);
        }
    }
}
