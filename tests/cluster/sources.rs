//! What a pattern means, and what is in its indices: closed and hidden ones, aliases, data streams, kinds of dates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::engine::{EngineError, FieldType, JobContext, SourceDocument, SourceValue, StopSignal};
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::rollup::Grouping;
use rollup_jobs::scan::ScanRequest;
use rollup_jobs::{DateHistogram, IndexPattern, Metric, RollupJobConfig, RunOutcome};
use serde_json::json;

use crate::faults::{config, source};
use crate::meddling::{Call, Meddling};
use crate::scripted::Scripted;
use crate::server::{BOTH, Kind, Server};
use crate::world::{FIELDS, World, assert_same, causes, engine, expected, job, load, rolled_up, rolled_up_into, text};

/// How many documents have a date.
fn dated(source: &[SourceDocument]) -> u64 {
    source.iter().filter(|document| document.fields().any(|(name, _)| name == "timestamp")).count() as u64
}

/// A closed index is skipped, as Elasticsearch does; an alias is followed, also when it is switched in the middle of
/// a run.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn closed_indices_and_aliases() {
    for kind in BOTH {
        let server = Arc::new(Server::empty(kind));
        let source = source();
        for index in ["old", "new", "closed-1"] {
            server.create_index(index, &FIELDS);
            server.add(index, &source);
        }
        server.close("closed-1");
        server.put("old/_alias/sensor-all", json!({}));
        let meddled = Arc::clone(&server);
        let meddling = Meddling::new(engine(&server), move |call, number| {
            if (call, number) == (Call::Write, 3) {
                let (remove, add) = (
                    json!({ "index": "old", "alias": "sensor-all" }),
                    json!({ "index": "new", "alias": "sensor-all" }),
                );
                meddled.post("_aliases", json!({ "actions": [{ "remove": remove }, { "add": add }] }));
                meddled.ask(Method::DELETE, "old", None);
            }
        });
        let world = World::new(meddling);
        world.put(&job("sensor").index_pattern("sensor-*,closed-*").terms(["node"]).page_size(50).build().unwrap());
        let status = world.run_well("sensor");
        let notice = "the source was opened again in the middle of the run; closed indices are left out: closed-1; \
                      source indices that were there before are gone: old";
        assert_eq!(status.notice().unwrap().text(), notice);
        assert_same(&rolled_up(&server), &expected(&source, &[config()]));

        let options = ElasticsearchOptions::new().skip_closed(false);
        let world = World::new(Arc::new(ElasticsearchEngine::with_options(server.cluster(), options)));
        world.put(&job("strict").index_pattern("sensor-*,closed-*").build().unwrap());
        let (outcome, status) = world.run("strict");
        assert_eq!(outcome, RunOutcome::Failed);
        assert!(causes(&status).contains("closed: [closed-1]; open them, or leave them out"), "{}", causes(&status));

        // One that is named is not left out.
        server.ask(Method::POST, "closed-1/_open", None);
        let world = World::new(engine(&server));
        world.put(&job("named").index_pattern("closed-1").build().unwrap());
        server.close("closed-1");
        let (outcome, status) = world.run("named");
        assert_eq!(outcome, RunOutcome::Failed);
        assert!(causes(&status).contains("closed: [closed-1]"), "{}", causes(&status));
    }
}

/// By a wildcard they are left out, by name the run ends.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn closed_members_of_aliases() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let source = source();
        for index in ["open", "closed"] {
            server.create_index(index, &FIELDS);
            server.add(index, &source);
            server.put(&format!("{index}/_alias/sensor-all"), json!({}));
        }
        server.put("closed/_alias/sensor-none", json!({}));
        // Together more than a URL may have.
        let long = |number| format!("long-{number:02}-{}", "x".repeat(230));
        for number in 0..20 {
            let settings = json!({ "number_of_replicas": 0 });
            server.put(&long(number), json!({ "settings": settings, "aliases": { "sensor-all": {} } }));
        }
        server.put("open/_alias/single", json!({}));
        let hidden = json!({ "index": "closed", "alias": "hidden-all", "is_hidden": true });
        server.post("_aliases", json!({ "actions": [{ "add": hidden }] }));
        let patterns = [
            ("sensor-*,-long-19-*,-closed", None),
            ("sensor-*,-long*", Some("closed")),
            ("*-none", Some("closed")),
            // What comes after it is not taken out, nor what is named.
            ("other-*,-open,sensor-*,-closed,-long*", None),
            ("single,other-*,-open", None),
            // No wildcard means what is hidden.
            ("open,hidden-*", None),
        ];
        let id_of = |pattern: &str| pattern.replace(['*', ','], "_");
        let world = World::new(engine(&server));
        for (pattern, _) in patterns {
            world.put(&job(&id_of(pattern)).index_pattern(pattern).build().unwrap());
        }
        world.put(&config());
        for index in ["closed", &long(19)] {
            server.close(index);
        }
        let left_out = |closed: &str| format!("closed indices are left out: {closed}");
        let status = world.run_well("sensor");
        assert_eq!(status.notice().unwrap().text(), left_out(&format!("closed, {}", long(19))));
        assert_same(&rolled_up(&server), &expected(&source, &[config()]));
        for (pattern, closed) in patterns {
            let status = world.run_well(&id_of(pattern));
            assert_eq!(status.notice().map(|notice| notice.text().to_owned()), closed.map(left_out), "{pattern}");
            let read = if pattern == "*-none" { 0 } else { dated(&source) };
            assert_eq!(status.stats().documents_processed(), read, "{pattern}");
        }

        let error = world.manager.put(job("named").index_pattern("sensor-none,open").build().unwrap()).unwrap_err();
        assert!(text(&error).contains("closed: [closed]; open them, or leave them out"), "{}", text(&error));
        server.ask(Method::POST, "closed/_open", None);
        world.put(&job("named").index_pattern("sensor-none,open").build().unwrap());
        server.close("closed");
        let (outcome, status) = world.run("named");
        assert_eq!(outcome, RunOutcome::Failed);
        assert!(causes(&status).contains("closed: [closed]; open them"), "{}", causes(&status));
    }
}

/// The Elasticsearch that is tested against is without data streams.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn closed_members_of_data_streams() {
    let server = Server::empty(Kind::OpenSearch);
    let date = json!({ "properties": { "timestamp": { "type": "date", "format": "epoch_millis" } } });
    let stream = json!({ "timestamp_field": { "name": "timestamp" } });
    let template = json!({ "index_patterns": ["stream-*"], "data_stream": stream, "template": { "mappings": date } });
    server.put("_index_template/stream", template);
    server.ask(Method::PUT, "_data_stream/stream-a", None);
    let world = World::new(engine(&server));
    let config = DateHistogram::fixed_interval("timestamp", "1h").delay("24h");
    let config =
        RollupJobConfig::builder("stream").index_pattern("stream-*").rollup_index("rolled").date_histogram(config);
    world.put(&config.cron("0 0 0 1 1 ? 2090").page_size(10).build().unwrap());
    for (at, instant) in [1_000, 2_000_000, 10_000_000].into_iter().enumerate() {
        server.post(&format!("stream-a/_create/{at}?refresh=true"), json!({ "timestamp": instant }));
    }
    server.ask(Method::POST, "stream-a/_rollover", None);
    let status = world.run_well("stream");
    assert_eq!((status.stats().rollups_indexed(), status.notice()), (2, None));
    server.close(".ds-stream-a-000001");
    // A shorter delay: more buckets are over.
    world.manager.update("stream", rollup_jobs::JobUpdate::new().no_delay()).unwrap();
    let status = world.run_well("stream");
    assert_eq!(status.notice().unwrap().text(), "closed indices are left out: .ds-stream-a-000001");
}

/// A wildcard does not mean what is hidden, and a name does.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn hidden_indices() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &source());
        server.put("hidden-1", json!({ "settings": { "index": { "hidden": true } } }));
        server.map("hidden-1", &FIELDS);
        server.add("hidden-1", &source());
        let world = World::new(engine(&server));
        for (id, pattern, count) in
            [("beside", "sensor-*,hidden-*", 1), ("named", "hidden-1", 1), ("both", "sensor-*,hidden-1", 2)]
        {
            world.put(&job(id).index_pattern(pattern).build().unwrap());
            let processed = world.run_well(id).stats().documents_processed();
            assert_eq!(processed, count * dated(&source()), "{kind:?} {id}");
        }
    }
}

/// One index has milliseconds, the other nanoseconds.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_date_beside_a_date_in_nanoseconds() {
    for kind in BOTH {
        let server = Server::empty(kind);
        // The nanoseconds begin in 1970.
        let millis = |value: &SourceValue| if let SourceValue::Date(millis) = value { *millis } else { 0 };
        let is_late = |document: &SourceDocument| {
            document.fields().all(|(_, values)| values.iter().all(|value| millis(value) >= 0))
        };
        let source: Vec<_> = source().into_iter().filter(is_late).collect();
        let (first, second) = source.split_at(source.len() / 2);
        server.create_index("sensor-1", &FIELDS);
        server.add("sensor-1", first);
        // Where the other one is there already the job is refused, as by Elasticsearch.
        let world = World::new(engine(&server));
        world.put(&config());
        server.put("sensor-2", json!({ "mappings": { "properties": { "timestamp": { "type": "date_nanos", "format": "epoch_millis" } } } }));
        server.map("sensor-2", &FIELDS[1..]);
        server.add("sensor-2", second);
        world.run_well("sensor");
        assert_same(&rolled_up(&server), &expected(&source, &[config()]));
    }
}

/// OpenSearch has a way of its own for dates without anything else, which fails on a last page.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn dates_in_their_order() {
    for kind in BOTH {
        let server = Server::empty(kind);
        server.create_index("sensor-1", &FIELDS);
        let at = |hour: i64| SourceDocument::new().date("timestamp", hour * 3_600_000 + 1).integer("level", hour);
        let source: Vec<_> = (0..6).map(at).collect();
        // Each in a segment of its own.
        for document in source.chunks(1) {
            server.add("sensor-1", document);
        }
        let world = World::new(engine(&server));
        for (number, page_size) in [1, 2, 4, 100].into_iter().enumerate() {
            for metrics in [&[][..], &[Metric::Min, Metric::ValueCount]] {
                let index = format!("rolled-{number}-{}", metrics.len());
                let mut job = RollupJobConfig::builder(&index).index_pattern("sensor-1").rollup_index(&index);
                if !metrics.is_empty() {
                    job = job.metric("level", metrics.iter().copied());
                }
                let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "2h")).page_size(page_size);
                let job = job.cron("0 0 0 1 1 ? 2090").build().unwrap();
                world.put(&job);
                world.run_well(job.id());
                assert_same(&rolled_up_into(&server, &index), &expected(&source, &[job]));
            }
        }
    }
}

/// A byte is compared as a byte, beside an index where the same field has more room: no value that only one of them can
/// have is refused, or left out.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_filter_compares_what_each_index_can_have() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let date = FieldType::Date;
        for (index, kind) in [("sensor-1", "byte"), ("sensor-2", "long"), ("sensor-3", "float"), ("sensor-4", "double")]
        {
            server.create_index(index, &[("timestamp", date.clone()), ("code", FieldType::Other(kind.into()))]);
        }
        server.create_index("others-1", &[("timestamp", date), ("code", FieldType::Ip)]);
        let reading = || SourceDocument::new().date("timestamp", 0);
        server.add("sensor-1", &[reading().integer("code", 100)]);
        server.add("sensor-2", &[reading().integer("code", 100), reading().integer("code", 1_000)]);
        // As a 32-bit number 0.1 is a little more.
        server.add("sensor-3", &[reading().double("code", 0.1)]);
        server.add("sensor-4", &[reading().double("code", 0.1)]);
        let engine = engine(&server);
        let job = JobContext::new(job("sensor").build().unwrap(), &[]);
        let count = |pattern: &str, filter: Filter| {
            let request = ScanRequest::new(Grouping::new("timestamp")).filter(filter, 0);
            let stream = engine.scan(&job, &IndexPattern::new(pattern), request, &StopSignal::never());
            let page = stream.and_then(|mut stream| stream.next_page(&StopSignal::never()))?;
            Ok::<_, EngineError>(page.iter().map(|group| group.doc_count).sum::<u64>())
        };
        assert_eq!(count("sensor-*", Filter::term("code", 100)).unwrap(), 2, "{kind:?}");
        assert_eq!(count("sensor-*", Filter::term("code", 1_000)).unwrap(), 1);
        assert_eq!(count("sensor-*", Filter::range("code", FilterRange::new().at_least(1_000))).unwrap(), 1);
        assert_eq!(count("sensor-*", Filter::range("code", FilterRange::new().at_most(1_000))).unwrap(), 5);
        assert_eq!(count("sensor-*", Filter::term("code", 0.1)).unwrap(), 1, "of 64 bits");
        assert_eq!(count("sensor-*", Filter::range("code", FilterRange::new().above(0.1).below(1))).unwrap(), 1);
        let error = count("others-1", Filter::term("code", "127.0.0.1")).unwrap_err();
        assert_eq!(
            text(&error),
            "the engine rejected the request: [filter] field [code] of source indices [others-1] is [ip], and a filter \
             cannot look at it"
        );
    }
}

/// Until the next date bucket is over, a run asks whether the rollup index is still there, and nothing else.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_run_that_finds_nothing_asks_three_times_at_most() {
    for kind in BOTH {
        let server = Server::empty(kind);
        load(&server, &crate::world::readings(200, true));
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let proxy = Scripted::before(&server.nodes[0], move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            None
        });
        let cluster = Cluster::new(ClusterOptions::new([proxy.url.clone()])).unwrap();
        let world = World::new(Arc::new(ElasticsearchEngine::new(cluster)));
        world.put(&job("sensor").build().unwrap());
        world.run_well("sensor");
        let before = requests.load(Ordering::SeqCst);
        assert!(before > 10, "{before} requests of a whole run");
        world.run_well("sensor");
        let asked = requests.load(Ordering::SeqCst) - before;
        // Which indices there are, for what was said of them, is one of them.
        assert!(asked <= 3, "{kind:?}: {asked} requests");
    }
}
