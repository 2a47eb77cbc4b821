//! The client: nodes that do not answer, answers that nobody can use, secrets, time-outs, and whom it trusts.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::cluster::{Cluster, ClusterOptions, ClusterOptionsError, Credentials};
use rollup_jobs::engine::elasticsearch::ElasticsearchEngine;
use rollup_jobs::engine::{EngineError, EngineErrorKind, FieldCapabilities, JobContext, Source};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, IndexPattern, RollupJobConfig, RollupJobManager, RunAs, StopOptions};

use crate::authority::Authority;
use crate::scripted::{Reply, Scripted, Seen};
use crate::world::text;

const RESOLVED: &str = r#"{"indices":[{"name":"sensor","attributes":["open"]}],"aliases":[],"data_streams":[]}"#;
const CAPABILITIES: &str =
    r#"{"indices":["sensor"],"fields":{"timestamp":{"date":{"type":"date","aggregatable":true}}}}"#;

/// What a small cluster with one index answers about it.
fn well(request: &Seen) -> Reply {
    Reply::json(200, text_of(request))
}

fn text_of(request: &Seen) -> &'static str {
    match request.line.as_str() {
        "GET /" => r#"{"version":{"distribution":"opensearch","number":"3.8.0"}}"#,
        line if line.starts_with("GET /_resolve") => RESOLVED,
        _ => CAPABILITIES,
    }
}

fn config() -> RollupJobConfig {
    let config =
        RollupJobConfig::builder("sensor").index_pattern("sensor").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
    config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).build().unwrap()
}

fn ask(options: ClusterOptions) -> Result<FieldCapabilities, EngineError> {
    let engine = ElasticsearchEngine::new(Cluster::new(options).unwrap());
    let job = JobContext::new(config(), &[]).with_run_as(Some(RunAs::new("jane")));
    engine.field_capabilities(&job, &IndexPattern::new("sensor"), &["timestamp"])
}

/// A port at which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_node_that_does_not_answer_is_left_out() {
    let server = Scripted::new(well);
    let breaks_off = Scripted::new(|_| Reply::Last(b"HTTP/1.1 200 Of\r\ncontent-length: 100\r\n\r\n{".to_vec()));
    let options = ClusterOptions::new([closed_port(), breaks_off.url.clone(), server.url.clone()]);
    let engine = ElasticsearchEngine::new(Cluster::new(options).unwrap());
    let job = JobContext::new(config(), &[]);
    for _ in 0..10 {
        let found = engine.field_capabilities(&job, &IndexPattern::new("sensor"), &["timestamp"]).unwrap();
        assert_eq!(found.indices, ["sensor"]);
    }
    assert_eq!(breaks_off.requests.try_iter().count(), 1, "asked once in these milliseconds");
    let error = ask(ClusterOptions::new([closed_port()])).unwrap_err();
    assert!(error.is_transient() && text(&error).contains("no node answers"), "{}", text(&error));
}

#[test]
fn answers_that_nobody_can_use() {
    for (status, body, kind) in [
        (200, "<html>Welcome to the proxy</html>", EngineErrorKind::Unavailable),
        (302, "", EngineErrorKind::Rejected),
        (401, "<html>", EngineErrorKind::Rejected),
        (403, r#"{"error":{"type":"security_exception","reason":"no"},"status":403}"#, EngineErrorKind::Rejected),
        (
            404,
            r#"{"error":{"type":"index_not_found_exception","reason":"no such index [sensor]"}}"#,
            EngineErrorKind::NotFound,
        ),
        (404, "<html>No such page</html>", EngineErrorKind::Unavailable),
        (429, "", EngineErrorKind::Unavailable),
        (500, "", EngineErrorKind::Unavailable),
        (502, "<html>", EngineErrorKind::Unavailable),
        (503, "", EngineErrorKind::Unavailable),
    ] {
        let elsewhere = Scripted::new(well);
        let location = elsewhere.url.clone();
        let server = Scripted::new(move |_| {
            Reply::with(status, &[("location", location.as_str()), ("retry-after", "7")], body.as_bytes())
        });
        let error = ask(ClusterOptions::new([server.url.clone()])).unwrap_err();
        assert_eq!(error.kind(), kind, "{status}: {}", text(&error));
        let waits = (status != 200).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), waits, "{status}");
        assert_eq!(elsewhere.requests.try_iter().count(), 0, "a redirect is not followed");
    }
}

#[test]
fn answers_are_unpacked_and_limited() {
    let packed = |body: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(body).unwrap();
        Reply::with(200, &[("content-encoding", "gzip")], &packed.finish().unwrap())
    };
    let server = Scripted::new(move |request| {
        assert_eq!(request.headers["accept-encoding"], "gzip");
        packed(text_of(request).as_bytes())
    });
    assert_eq!(ask(ClusterOptions::new([server.url.clone()])).unwrap().indices, ["sensor"]);

    // A thousandth of what it is once it is unpacked.
    let bomb = Scripted::new(move |_| packed(&vec![b' '; 8 << 20]));
    let error = ask(ClusterOptions::new([bomb.url.clone()]).response_limit(4 << 20)).unwrap_err();
    assert!(text(&error).contains("response_limit"), "{}", text(&error));
    let error = ask(ClusterOptions::new([bomb.url.clone()]).memory_budget(1 << 20)).unwrap_err();
    assert!(error.is_transient() && text(&error).contains("memory_budget"), "{}", text(&error));
    let large = Scripted::new(move |_| Reply::json(200, &" ".repeat(2 << 20)));
    let error = ask(ClusterOptions::new([large.url.clone()]).response_limit(1 << 20)).unwrap_err();
    assert!(text(&error).contains("response_limit"), "{}", text(&error));
}

#[test]
fn a_server_that_dawdles_is_given_up() {
    for reply in [|| Reply::Hang, || Reply::Trickle] {
        let server = Scripted::new(move |_| reply());
        let options = ClusterOptions::new([server.url.clone()]).request_timeout(Duration::from_millis(100));
        let error = ask(options).unwrap_err();
        assert!(error.is_transient() && text(&error).contains("no answer within 100ms"), "{}", text(&error));
        server.given_up.recv_timeout(Duration::from_secs(30)).expect("the connection is closed");
    }
}

#[test]
fn who_asks_is_said_to_the_cluster_and_to_nobody_else() {
    let secret = "c2VjcmV0";
    for (credentials, expected) in [
        (Credentials::basic("jane", secret), "Basic amFuZTpjMlZqY21WMA=="),
        (Credentials::api_key(secret), "ApiKey c2VjcmV0"),
        (Credentials::bearer(secret), "Bearer c2VjcmV0"),
    ] {
        let server =
            Scripted::new(|request| if request.line == "GET /" { well(request) } else { Reply::json(500, "") });
        let options = ClusterOptions::new([server.url.clone()]).credentials(credentials.clone());
        let options = options.run_as_header("es-security-runas-user");
        let shown = format!("{options:?} {credentials:?} {:?}", Cluster::new(options.clone()).unwrap());
        let error = ask(options).unwrap_err();
        let seen = server.requests.recv().unwrap();
        assert_eq!(seen.headers["authorization"], expected);
        // The first is for no job.
        let seen = server.requests.recv().unwrap();
        assert_eq!(seen.headers["authorization"], expected);
        assert_eq!(seen.headers["es-security-runas-user"], "jane");
        for text in [shown, text(&error), format!("{error:?}")] {
            assert!(!text.contains(secret) && !text.contains("amFuZTp"), "{text}");
        }
    }
    let server = Scripted::new(well);
    ask(ClusterOptions::new([server.url.clone()])).unwrap();
    // Which cluster it is is asked once, for nobody in particular.
    let _ = server.requests.recv().unwrap();
    assert!(!server.requests.recv().unwrap().headers.contains_key("es-security-runas-user"));
}

#[test]
fn options_that_cannot_be_used() {
    let problem = |options: ClusterOptions| Cluster::new(options).unwrap_err();
    assert!(matches!(problem(ClusterOptions::new::<String>([])), ClusterOptionsError::NoNodes));
    for node in ["localhost:9200", "ftp://localhost", "http://", "", "https://jane:secret@localhost"] {
        let error = problem(ClusterOptions::new(["http://localhost:9200", node]));
        assert!(matches!(error, ClusterOptionsError::Node { place: 2, .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let options = || ClusterOptions::new(["https://localhost:9200"]);
    for error in [
        problem(options().certificate_authority("no PEM")),
        problem(options().client_certificate("no PEM", "nor this")),
    ] {
        assert!(matches!(error, ClusterOptionsError::Certificate { .. }), "{error}");
    }
    for error in
        [problem(options().run_as_header("no name")), problem(options().credentials(Credentials::bearer("a\nb")))]
    {
        assert!(matches!(error, ClusterOptionsError::Header { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_host_may_call_from_its_runtime() {
    let server = Scripted::new(well);
    // Made, asked and dropped here.
    ask(ClusterOptions::new([server.url.clone()])).unwrap();
}

/// A stop comes while the cluster opens a point in time: nobody waits for it, and it is closed when it is there.
#[test]
fn a_point_in_time_that_nobody_waits_for_is_closed() {
    let (open, opened) = std::sync::mpsc::channel();
    let opened = std::sync::Mutex::new(opened);
    let server = Scripted::new(move |request| match request.line.as_str() {
        line if line.ends_with("/_refresh") => Reply::json(200, r#"{"_shards":{"total":1,"successful":1,"failed":0}}"#),
        line if line.starts_with("GET /rolled") => Reply::json(
            200,
            r#"{"rolled":{"aliases":{"rollup-jobs-write-rolled":{}},"mappings":{"_meta":{"_rollup":{}}},"settings":{"index":{"uuid":"u"}}}}"#,
        ),
        line if line.starts_with("POST /sensor/_search/point_in_time") => {
            let _ = opened.lock().unwrap().recv();
            Reply::json(200, r#"{"pit_id":"late","_shards":{"total":1,"successful":1}}"#)
        }
        line if line.starts_with("GET ") => well(request),
        _ => Reply::json(200, "{}"),
    });
    let cluster = Cluster::new(ClusterOptions::new([server.url.clone()])).unwrap();
    let engine = ElasticsearchEngine::new(cluster);
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).open().unwrap();
    manager.put(config()).unwrap();
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    let next = || server.requests.recv_timeout(Duration::from_secs(30)).unwrap();
    while !next().line.contains("point_in_time") {}
    let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(30));
    assert!(manager.stop("sensor", options).unwrap().is_at_rest());
    open.send(()).unwrap();
    let closing = std::iter::repeat_with(next).find(|request| request.line == "DELETE /_search/point_in_time").unwrap();
    assert_eq!(String::from_utf8_lossy(&closing.body), r#"{"pit_id":["late"]}"#);
}

/// The stopper waits neither for the answer nor for the server to notice.
#[test]
fn a_stop_closes_the_connection_of_a_search() {
    let server = Scripted::new(|request| match request.line.as_str() {
        line if line.starts_with("GET /_resolve") || line.starts_with("GET /sensor/_field_caps") => well(request),
        "GET /" => well(request),
        line if line.ends_with("/_refresh") => Reply::json(200, r#"{"_shards":{"total":1,"successful":1,"failed":0}}"#),
        line if line.starts_with("GET /rolled") => Reply::json(
            200,
            r#"{"rolled":{"aliases":{"rollup-jobs-write-rolled":{}},"mappings":{"_meta":{"_rollup":{}}},"settings":{"index":{"uuid":"u"}}}}"#,
        ),
        line if line.contains("point_in_time") => {
            Reply::json(200, r#"{"pit_id":"p","_shards":{"total":1,"successful":1}}"#)
        }
        line if line.starts_with("POST /_search?") => Reply::Hang,
        _ => Reply::json(200, "{}"),
    });
    let cluster = Cluster::new(ClusterOptions::new([server.url.clone()])).unwrap();
    let engine = ElasticsearchEngine::new(cluster);
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).open().unwrap();
    manager.put(config()).unwrap();
    server.requests.try_iter().for_each(drop);
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    while !server.requests.recv_timeout(Duration::from_secs(30)).unwrap().line.starts_with("POST /_search?") {}
    let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(30));
    assert!(manager.stop("sensor", options).unwrap().is_at_rest());
    server.given_up.recv_timeout(Duration::from_secs(30)).expect("the connection is closed");
    drop(manager);
    let closed = server.requests.iter().find(|request| request.line == "DELETE /_search/point_in_time");
    assert!(closed.is_some(), "the point in time is closed");
}

#[test]
fn nodes_and_the_client_show_each_other_certificates() {
    let (authority, another) = (Authority::new(), Authority::new());
    let server = authority.server(well);
    let (certificate, key) = authority.sign("client");
    let options = || ClusterOptions::new([server.url.clone()]);
    let with_client = |options: ClusterOptions| options.client_certificate(certificate.pem(), key.serialize_pem());
    let trusting = |authority: &Authority| options().certificate_authority(authority.certificate.pem());
    assert_eq!(ask(with_client(trusting(&authority))).unwrap().indices, ["sensor"]);
    let capitals = ClusterOptions::new([server.url.replacen("https", "HTTPS", 1)]);
    let capitals = capitals.certificate_authority(authority.certificate.pem());
    assert_eq!(ask(with_client(capitals)).unwrap().indices, ["sensor"]);
    for (what, options) in [
        ("another authority", with_client(trusting(&another))),
        ("the system's", with_client(options())),
        ("no client certificate", trusting(&authority)),
    ] {
        let error = ask(options).expect_err(what);
        assert!(text(&error).to_lowercase().contains("certificate"), "{what}: {}", text(&error));
    }
}
