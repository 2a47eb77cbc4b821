//! Two processes on one store, which succeed each other by a clean shutdown, by SIGKILL, and by SIGSTOP with a
//! SIGCONT later, while twenty jobs run.

use std::collections::HashSet;
use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::store::{ElasticsearchStore, ElasticsearchStoreOptions};
use rollup_jobs::{
    DateHistogram, Metric, Observer, Phase, RetryOptions, RollupJobConfig, RollupJobManager, RunEnded, RunOutcome,
    TurnEnded,
};
use serde_json::json;

use crate::child_process::{Running, report, start, task};
use crate::server::{Kind, Server, nodes};
use crate::world::{FIELDS, assert_same, expected, rolled_up};

const JOBS: usize = 20;
const LEASE: Duration = Duration::from_secs(2);
/// How many turns an owner takes before it has to go.
const TURNS: usize = 8;
const TEST: &str = "hand_over::jobs_pass_from_process_to_process";
/// How many times, if not ten.
const COUNT: &str = "ROLLUP_JOBS_HAND_OVERS";

fn count() -> usize {
    std::env::var(COUNT).map_or(10, |count| count.parse().unwrap())
}

fn jobs() -> Vec<RollupJobConfig> {
    let job = |number| {
        let job = RollupJobConfig::builder(format!("job-{number:02}")).index_pattern("sensor-*").rollup_index("rolled");
        let job = job.cron("0 0 0 1 1 ? 2090").page_size(10);
        let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "10m"));
        job.metric("temperature", [Metric::Min, Metric::Sum]).metric("distance", [Metric::Sum]).build().unwrap()
    };
    (0..JOBS).map(job).collect()
}

/// Two readings for each bucket, and enough buckets that nobody is done before the last of the hand-overs.
fn source() -> Vec<SourceDocument> {
    let buckets = i64::try_from(count()).unwrap() * 100;
    let reading = |number: i64| {
        let temperature = f64::from(i32::try_from(number * 37 % 1_009).unwrap()) / 8.0;
        SourceDocument::new()
            .date("timestamp", number * 300_000)
            .double("temperature", temperature)
            .double("distance", temperature)
    };
    (0..2 * buckets).map(reading).collect()
}

/// Tells the parent of each turn, and of the end of it all.
struct Reporter(Mutex<HashSet<String>>);

impl Observer for Reporter {
    fn turn_ended(&self, _: &str, _: &TurnEnded) {
        report("turn");
    }

    fn run_ended(&self, job_id: &str, run: &RunEnded) {
        let mut finished = self.0.lock().unwrap();
        if run.outcome == RunOutcome::Finished && finished.insert(job_id.to_owned()) && finished.len() == JOBS {
            report("finished");
        }
    }
}

/// A host: waits for the jobs, runs them until it is told to shut down (by a line, or the end of its input), or has
/// lost them.
fn host(name: &str) {
    let cluster = Cluster::new(ClusterOptions::new(nodes(Kind::OpenSearch))).unwrap();
    let store =
        ElasticsearchStore::with_options(cluster.clone(), ElasticsearchStoreOptions::new().owner(name).lease(LEASE));
    let builder = RollupJobManager::builder(Arc::new(ElasticsearchEngine::new(cluster)), Arc::new(store));
    let builder = builder.wait_for_ownership(Duration::MAX).turn_time(Duration::ZERO).indexer_threads(2);
    let builder = builder.retry(RetryOptions::new().initial_delay(Duration::from_millis(50)));
    let manager = builder.observer(Arc::new(Reporter(Mutex::default()))).open().unwrap();
    // The first of all hosts.
    for job in jobs().into_iter().filter(|job| manager.get(job.id()).is_none()) {
        manager.put(job.clone()).unwrap();
        manager.start(job.id()).unwrap();
    }
    report("open");
    for job in jobs() {
        // They may have been lost already.
        let _ = manager.trigger(job.id());
    }
    let told = line();
    while told.recv_timeout(Duration::from_millis(20)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        if manager.get("job-00").is_some_and(|status| status.phase() == Phase::LostOwnership) {
            report("lost");
            break;
        }
    }
    manager.shutdown(Duration::MAX).unwrap();
    report("down");
}

fn line() -> Receiver<()> {
    let (sender, told) = channel();
    let read = move || {
        let _ = stdin().lock().read_line(&mut String::new());
        let _ = sender.send(());
    };
    thread::Builder::new().name("input".to_owned()).spawn(read).unwrap();
    told
}

fn next_host(number: usize) -> Running {
    start(TEST, Path::new("none"), &format!("host {number}"))
}

fn wait_for(host: &Running, what: &str) {
    while host.next() != what {}
}

/// Until somebody has not only begun.
fn let_it_work(host: &Running) {
    for _ in 0..TURNS {
        wait_for(host, "turn");
    }
}

fn hand_over(number: usize, mut owner: Running, successor: Running) -> Running {
    match number % 3 {
        0 => {
            owner.go_on();
            wait_for(&successor, "open");
            owner.finish();
        }
        1 => {
            owner.kill();
            wait_for(&successor, "open");
        }
        _ => {
            owner.signal("STOP");
            wait_for(&successor, "open");
            let_it_work(&successor);
            owner.signal("CONT");
            wait_for(&owner, "lost");
            owner.finish();
        }
    }
    successor
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn jobs_pass_from_process_to_process() {
    if let Some((_, name)) = task() {
        return host(&name);
    }
    let server = Server::empty(Kind::OpenSearch);
    server.create_index("sensor-1", &FIELDS);
    server.add("sensor-1", &source());
    let mut owner = next_host(0);
    wait_for(&owner, "open");
    for number in 1..=count() {
        let_it_work(&owner);
        let successor = next_host(number);
        owner = hand_over(number, owner, successor);
    }
    wait_for(&owner, "finished");
    owner.finish();
    assert_same(&rolled_up(&server), &expected(&source(), &jobs()));
    no_former_owner_has_the_last_word(&server);
}

/// An owner writes from where it has found a job on, up to where the next one finds it: with the time of the buckets
/// the epochs that the versions are made of never fall. What a former owner had written over its successor's, or
/// after it, would be an earlier epoch behind a later one.
fn no_former_owner_has_the_last_word(server: &Server) {
    let mut epochs = HashSet::new();
    for job in jobs() {
        let answer = server.post(
            "rolled/_search",
            json!({
                "size": 10_000, "version": true, "_source": false, "sort": [{ "timestamp.date_histogram.timestamp": "asc" }],
                "query": { "term": { "_rollup.id": job.id() } }
            }),
        );
        let hits = answer["hits"]["hits"].as_array().unwrap();
        let versions: Vec<_> = hits.iter().map(|hit| hit["_version"].as_u64().unwrap() >> 31).collect();
        assert_eq!(versions.len(), count() * 100);
        assert!(versions.is_sorted(), "{}: {versions:?}", job.id());
        epochs.extend(versions);
    }
    assert!(epochs.len() > count() / 2, "the owners have left their documents: {}", epochs.len());
}
