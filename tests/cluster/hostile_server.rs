//! A server that answers what costs the host its memory, its time, or its terminal.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::engine::{EngineError, FieldCapabilities, JobContext, Source, StopSignal};
use rollup_jobs::{DateHistogram, IndexPattern, RollupJobConfig};

use crate::scripted::{Reply, Scripted, Seen};
use crate::world::text;

fn job() -> JobContext {
    let config =
        RollupJobConfig::builder("sensor").index_pattern("sensor").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
    let config = config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build();
    JobContext::new(config.unwrap(), &[])
}

fn ask(options: ClusterOptions, fields: &[&str]) -> Result<FieldCapabilities, EngineError> {
    let engine = ElasticsearchEngine::new(Cluster::new(options).unwrap());
    engine.field_capabilities(&job(), &IndexPattern::new("sensor"), fields)
}

fn well(request: &Seen) -> Reply {
    Reply::json(
        200,
        match request.line.as_str() {
            "GET /" => r#"{"version":{"distribution":"opensearch","number":"3.8.0"}}"#,
            line if line.starts_with("GET /_resolve") => {
                r#"{"indices":[{"name":"sensor","attributes":["open"]}],"aliases":[],"data_streams":[]}"#
            }
            line if line.ends_with("/_refresh") => r#"{"_shards":{"total":1,"successful":1,"failed":0}}"#,
            line if line.contains("point_in_time") => r#"{"pit_id":"p","_shards":{"total":1,"successful":1}}"#,
            _ => r#"{"indices":["sensor"],"fields":{}}"#,
        },
    )
}

#[test]
fn what_an_answer_is_parsed_into_is_charged_to_the_budget() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(format!("[{}0]", "[],".repeat(2_000_000)).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 20_000, "{}", packed.len());
    for swollen in ["GET /_resolve", "GET /sensor/_field_caps"] {
        let packed = packed.clone();
        let server = Scripted::new(move |request| {
            if request.line.starts_with(swollen) {
                return Reply::with(200, &[("content-encoding", "gzip")], &packed);
            }
            well(request)
        });
        let error = ask(ClusterOptions::new([server.url.clone()]), &["timestamp"]).unwrap_err();
        assert!(text(&error).contains("memory_budget"), "{swollen}: {}", text(&error));
    }
}

#[test]
fn a_page_that_comes_again_is_an_error() {
    let searches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&searches);
    let server = Scripted::new(move |request| {
        if !request.line.starts_with("POST /_search?") {
            return well(request);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let bucket = r#"{"key":{"timestamp.date_histogram":3600000},"doc_count":1}"#;
        Reply::json(
            200,
            &format!(
                r#"{{"timed_out":false,"_shards":{{"total":1,"successful":1,"failed":0}},
                "hits":{{"total":{{"value":0}}}},
                "aggregations":{{"rollup":{{"buckets":[{bucket}]}},
                "values0":{{"value":1}},"documents0":{{"doc_count":1}}}}}}"#
            ),
        )
    });
    let engine = ElasticsearchEngine::new(Cluster::new(ClusterOptions::new([server.url.clone()])).unwrap());
    let stop = StopSignal::never();
    let request = job().scan_request().page_size(1);
    let mut stream = engine.scan(&job(), job().config().index_pattern(), request, &stop).unwrap();
    assert_eq!(stream.next_page(&stop).unwrap().len(), 1);
    let error = stream.next_page(&stop).unwrap_err();
    assert!(text(&error).contains("a page again"), "{}", text(&error));
    assert!(!error.is_transient(), "a run that is tried again would only meet it again");
    assert!(searches.load(Ordering::SeqCst) <= 4, "{searches:?}");
}

#[test]
fn a_servers_text_is_short_and_plain() {
    let reason = format!("\\u001b[31mred\\nline{}", "x".repeat(1 << 19));
    let body = format!(r#"{{"error":{{"type":"security_exception","reason":"{reason}"}},"status":403}}"#);
    let server = Scripted::new(move |_| Reply::json(403, &body));
    let text = text(&ask(ClusterOptions::new([server.url.clone()]), &["timestamp"]).unwrap_err());
    assert!(text.contains("[31mred line"), "{text}");
    assert!(text.len() < 10_000 && !text.contains(char::is_control), "{} bytes", text.len());
}

#[test]
fn the_cause_at_the_end_of_the_chain_is_shown() {
    let body = r#"{"error":{"root_cause":[
        {"type":"x_content_parse_exception","reason":"[date_histogram] failed to parse field"}],
        "type":"x_content_parse_exception","reason":"[date_histogram] failed to parse field",
        "caused_by":{"type":"zone_rules_exception","reason":"Unknown time-zone ID: Mars/Olympus"}},"status":400}"#;
    let server = Scripted::new(move |_| Reply::json(400, body));
    let text = text(&ask(ClusterOptions::new([server.url.clone()]), &["timestamp"]).unwrap_err());
    assert!(text.contains("Unknown time-zone ID: Mars/Olympus"), "{text}");
}

#[test]
fn many_fields_do_not_go_into_one_url() {
    let server = Scripted::new(well);
    let names: Vec<_> = (0..200).map(|at| format!("a_field_with_quite_a_long_name.{at}")).collect();
    let fields: Vec<_> = names.iter().map(String::as_str).collect();
    ask(ClusterOptions::new([server.url.clone()]), &fields).unwrap();
    let asked: Vec<_> = server.requests.try_iter().map(|request| request.line).collect();
    assert!(asked.iter().all(|line| line.len() < 4_096), "{:?}", asked.iter().map(String::len).max());
    for name in names {
        let asks = |line: &&String| {
            line.split(['=', '&', ',']).any(|part| part.replace("%2C", ",").split(',').any(|part| part == name))
        };
        assert_eq!(asked.iter().filter(asks).count(), 1, "{name}");
    }
}
