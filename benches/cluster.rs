//! A run on a real cluster, beside the same searches and bulks one after the other; what a page costs from the first
//! to the last; searches of what is rolled up, beside queries of the rollup index that are written by hand; a stop.
//!
//! ```text
//! HEAP=1g tests/cluster/with cargo bench --features elasticsearch --bench cluster
//! ```
//!
//! One million readings of 200 nodes in three shards of an OpenSearch on three nodes, by hour and node. It is no
//! criterion benchmark: a run takes half a minute, and what matters is what it is beside the other in the same
//! minutes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![allow(clippy::print_stdout, reason = "a benchmark reports")]

#[path = "common/ends.rs"]
mod ends;
#[path = "stop/latencies.rs"]
#[allow(dead_code, reason = "a part of it is needed")]
mod latencies;

use std::env;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use ends::ends;
use latencies::Latencies;
use reqwest::Method;
use reqwest::blocking::Client;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::engine::{Batch, JobContext, RollupIndex, Source, StopSignal};
use rollup_jobs::rollup::roll_up;
use rollup_jobs::search::SearchRequest;
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{
    DateHistogram, DeleteOptions, Metric, Progress, RollupJobConfig, RollupJobManager, StopOptions, TermsType,
};
use serde_json::{Value, json};

const DOCUMENTS: u64 = 1_000_000;
const ROUNDS: usize = 3;
const STOPS: u64 = 200;
const SEARCHES: usize = 21;
/// The first reading, 2025-01-01.
const BEGINS: i64 = 1_735_689_600_000;

fn main() {
    let Ok(nodes) = env::var("ROLLUP_OPENSEARCH") else {
        println!(
            "no cluster to measure: HEAP=1g tests/cluster/with cargo bench --features elasticsearch --bench cluster"
        );
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bench = Bench::new(nodes.split(',').map(str::to_owned).collect());
    bench.load();
    for page_size in [1_000, 10_000] {
        bench.compare(page_size);
    }
    bench.searches_beside_those_by_hand();
    bench.stop();
}

struct Bench {
    nodes: Vec<String>,
    http: Client,
    /// An engine by the same client that sends one request after the other.
    alone: ElasticsearchEngine,
    manager: RollupJobManager,
    ends: Receiver<()>,
}

fn job(page_size: u32) -> RollupJobConfig {
    let all = [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount];
    let job =
        RollupJobConfig::builder("sensor").index_pattern("sensor").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
    let job = job.page_size(page_size).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).terms(["node"]);
    job.metric("temperature", all).metric("voltage", all).build().unwrap()
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Buckets with the greatest temperature of each; by hand also with how many readings there are.
fn search_body(
    date: &str,
    interval: &str,
    node: &str,
    within: &Range<i64>,
    has_nodes: bool,
    rows: Option<&Value>,
) -> Value {
    let field = if rows.is_some() { "temperature.max.value" } else { "temperature" };
    let mut inside = json!({ "warmest": { "max": { "field": field } } });
    if let Some(rows) = rows {
        inside["rows"] = rows.clone();
    }
    if has_nodes {
        let terms = json!({ "field": node, "size": 1_000 });
        let nodes = json!({ "terms": terms, "aggs": inside.clone() });
        inside["nodes"] = nodes;
    }
    let histogram = json!({ "field": date, "fixed_interval": interval });
    json!({
        "size": 0,
        "query": { "range": { date: { "gte": within.start, "lt": within.end } } },
        "aggs": { "buckets": { "date_histogram": histogram, "aggs": inside } }
    })
}

fn count_buckets(found: &Value) -> usize {
    match found {
        Value::Object(members) => {
            usize::from(members.contains_key("doc_count")) + members.values().map(count_buckets).sum::<usize>()
        }
        Value::Array(values) => values.iter().map(count_buckets).sum(),
        _ => 0,
    }
}

impl Bench {
    fn new(nodes: Vec<String>) -> Self {
        let cluster = Cluster::new(ClusterOptions::new(&nodes)).unwrap();
        let one_bulk = ElasticsearchOptions::new().concurrent_bulks(1);
        let alone = ElasticsearchEngine::with_options(cluster.clone(), one_bulk);
        let engine = Arc::new(ElasticsearchEngine::new(cluster));
        let (observer, ends) = ends();
        let builder = RollupJobManager::builder(engine, Arc::new(MemoryStore::new()));
        let manager = builder.observer(observer).open().unwrap();
        Self { nodes, http: Client::new(), alone, manager, ends }
    }

    fn ask(&self, method: Method, path: &str, body: String) -> Value {
        let request = self.http.request(method, format!("{}/{path}", self.nodes[0]));
        let response = request.header("content-type", "application/json").body(body).send().unwrap();
        serde_json::from_str(&response.text().unwrap()).unwrap()
    }

    fn load(&self) {
        // Whatever a run before has left.
        self.ask(Method::DELETE, "sensor,rolled?ignore_unavailable=true", String::new());
        let double = || json!({ "type": "double" });
        let properties = json!({
            "timestamp": { "type": "date", "format": "epoch_millis" },
            "node": { "type": "keyword" }, "temperature": double(), "voltage": double()
        });
        let settings = json!({ "number_of_shards": 3, "number_of_replicas": 0, "refresh_interval": -1 });
        let index = json!({ "settings": settings, "mappings": { "properties": properties } });
        self.ask(Method::PUT, "sensor", index.to_string());
        let mut state = 20_250_101_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let span = 90 * 86_400_000_u64;
        for from in (0..DOCUMENTS).step_by(10_000) {
            let mut lines = String::new();
            for n in from..from + 10_000 {
                let (at, node) =
                    (BEGINS.unsigned_abs() + n * span / DOCUMENTS + random(10_000), random(200).min(random(200)));
                let (temperature, voltage) = (random(4_000), random(5_000));
                let _ = writeln!(
                    lines,
                    "{{\"index\":{{}}}}\n{{\"timestamp\":{at},\"node\":\"node-{node:03}\",\"temperature\":{}.{:02},\"voltage\":{}.{:03}}}",
                    temperature / 100,
                    temperature % 100,
                    voltage / 1_000,
                    voltage % 1_000
                );
            }
            assert_eq!(self.ask(Method::POST, "sensor/_bulk", lines)["errors"], false);
        }
        self.ask(Method::POST, "sensor/_refresh", String::new());
        self.ask(Method::POST, "sensor/_forcemerge?max_num_segments=3", String::new());
    }

    /// How many searches the shards of the source have answered.
    fn searches(&self) -> u64 {
        let stats = self.ask(Method::GET, "sensor/_stats/search", String::new());
        stats["_all"]["primaries"]["search"]["query_total"].as_u64().unwrap() / 3
    }

    /// A run, and the same requests one after the other, in turn.
    fn compare(&self, page_size: u32) {
        let (mut runs, mut bare, mut pages, mut searches) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let before = self.searches();
            runs.push(self.run(page_size));
            searches = self.searches() - before;
            let (spent, of_pages) = self.one_after_the_other(page_size);
            bare.push(spent);
            pages = of_pages;
        }
        let (run, alone) = (median(&mut runs), median(&mut bare));
        println!("pages of {page_size}, medians of {ROUNDS}");
        println!("    the same searches and bulks one after the other   {alone:.2} s");
        println!("    a run                                             {run:.2} s, {:.2} of it", run / alone);
        println!("    searches sent                                     {searches} for {} pages", pages.len());
        let tenth = (pages.len() / 10).max(2);
        let (mut first, mut last) = (pages[..tenth].to_vec(), pages[pages.len() - tenth..].to_vec());
        let (first, last) = (median(&mut first), median(&mut last));
        println!(
            "    a page, of the first and of the last {tenth:<4}         {:.1} and {:.1} ms",
            first * 1e3,
            last * 1e3
        );
    }

    fn run(&self, page_size: u32) -> Duration {
        let spent = self.roll_up(page_size);
        self.delete();
        spent
    }

    fn roll_up(&self, page_size: u32) -> Duration {
        self.manager.put(job(page_size)).unwrap();
        self.manager.start("sensor").unwrap();
        let began = Instant::now();
        self.manager.trigger("sensor").unwrap();
        self.ends.recv().unwrap();
        let spent = began.elapsed();
        let status = self.manager.get("sensor").unwrap();
        assert!(status.stats().rollups_indexed() > 100_000, "{status:#?}");
        // A small heap may be full for a moment.
        for error in status.last_errors() {
            println!("    {error}");
        }
        spent
    }

    fn delete(&self) {
        self.manager.delete_with("sensor", DeleteOptions::new().stop(StopOptions::new())).unwrap();
        self.ask(Method::DELETE, "rolled", String::new());
    }

    /// What the run asks of the cluster, by the same client, without any overlap (and each page in one bulk, which is
    /// less work than the run's); and what each search took.
    fn one_after_the_other(&self, page_size: u32) -> (Duration, Vec<Duration>) {
        let job = JobContext::new(job(page_size), &[TermsType::Keyword]);
        self.alone.prepare(&job).unwrap();
        let (never, mut pages) = (StopSignal::never(), Vec::new());
        let began = Instant::now();
        let request = job.scan_request();
        let mut stream = self.alone.scan(&job, job.config().index_pattern(), request, &never).unwrap();
        let mut writer = self.alone.begin(&job, &Batch::Append).unwrap();
        loop {
            let asked = Instant::now();
            let page = stream.next_page(&never).unwrap();
            if page.is_empty() {
                break;
            }
            pages.push(asked.elapsed());
            let page = roll_up(page, job.layout()).unwrap();
            let report = writer.write(page.documents(), &never).unwrap();
            assert_eq!((report.taken, report.rejected.len()), (page.documents().len(), 0));
        }
        writer.commit(&Progress::default()).unwrap();
        let spent = began.elapsed();
        self.ask(Method::DELETE, "rolled", String::new());
        (spent, pages)
    }

    /// What is rolled up, asked for through the manager, and by hand with one query of the rollup index, in turn.
    fn searches_beside_those_by_hand(&self) {
        self.roll_up(10_000);
        let week = 7 * 86_400_000_i64;
        let all = |from: i64| from..from + 90 * 86_400_000;
        for (name, interval, within, has_nodes) in [
            ("by day", "1d", all(BEGINS), false),
            ("by day and node", "1d", all(BEGINS), true),
            ("a week by hour and node", "1h", BEGINS..BEGINS + week, true),
        ] {
            let (mut ours, mut by_hand, mut buckets) = (Vec::new(), Vec::new(), [0, 0]);
            for _ in 0..SEARCHES {
                let body = search_body("timestamp", interval, "node", &within, has_nodes, None);
                let began = Instant::now();
                let request = SearchRequest::from_json("rolled", &body).unwrap();
                let found = self.manager.search(&request).unwrap().to_json();
                ours.push(began.elapsed());
                buckets[0] = count_buckets(&found["aggregations"]);
                let (date, node) = ("timestamp.date_histogram.timestamp", "node.terms.value");
                let rows = json!({ "sum": { "field": "timestamp.date_histogram._count" } });
                let body = search_body(date, interval, node, &within, has_nodes, Some(&rows));
                let began = Instant::now();
                let found = self.ask(Method::POST, "rolled/_search?request_cache=false", body.to_string());
                by_hand.push(began.elapsed());
                buckets[1] = count_buckets(&found["aggregations"]);
            }
            assert_eq!(buckets[0], buckets[1], "{name}");
            let (ours, by_hand) = (median(&mut ours) * 1e3, median(&mut by_hand) * 1e3);
            println!(
                "{name}: {} buckets, {ours:.1} ms, by hand {by_hand:.1} ms, {:.2} of it",
                buckets[0],
                ours / by_hand
            );
        }
        self.delete();
    }

    /// From the call to the return, at any moment of a run: mostly while the cluster searches.
    fn stop(&self) {
        let mut latencies = Latencies::default();
        self.manager.put(job(10_000)).unwrap();
        for round in 0..STOPS {
            self.manager.start("sensor").unwrap();
            self.manager.trigger("sensor").unwrap();
            // The opening of the source takes some milliseconds.
            latencies::spin(Duration::from_micros(30_000 + round * 997 % 100_000));
            let began = Instant::now();
            let options = StopOptions::new().wait_for_completion(true);
            assert!(self.manager.stop("sensor", options).unwrap().is_at_rest());
            latencies.push(began.elapsed());
            while self.ends.try_recv().is_ok() {}
            if self.manager.get("sensor").unwrap().stats().rollups_indexed() > 150_000 {
                self.delete();
                self.manager.put(job(10_000)).unwrap();
            }
        }
        self.delete();
        latencies.print("stop with waiting, pages of 10,000");
    }
}
