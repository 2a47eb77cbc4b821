//! Moving house: jobs that another system has run go on here, where they were.
//!
//! `cargo run --example adopt` takes what an Elasticsearch cluster has printed;
//! `cargo run --example adopt -- http://host:9200 user:password` asks one, or the server of `examples/search_server`,
//! for its jobs. Those that are stopped there are adopted. The source here is a reading for each minute of the first
//! weeks of 2026 in `sensor-1`.

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{ForeignJob, Observer, RollupJobManager, RunEnded};

const NEW_YEAR: i64 = 1_767_225_600_000;
const READINGS: i64 = 50_000;

/// The job has rolled up 40,000 minutes there.
const CAPTURED: &str = r#"{ "jobs": [{
    "config": {
        "id": "sensor", "index_pattern": "sensor-*", "rollup_index": "sensor_rollup", "cron": "*/30 * * * * ?",
        "groups": { "date_histogram": { "fixed_interval": "1m", "field": "timestamp", "time_zone": "UTC" } },
        "metrics": [{ "field": "temperature", "metrics": ["min", "max", "sum"] }], "timeout": "20s", "page_size": 1000
    },
    "status": { "job_state": "stopped", "current_position": { "timestamp.date_histogram": 1769625600000 }, "upgraded_doc_id": true },
    "stats": {
        "pages_processed": 40, "documents_processed": 40000, "rollups_indexed": 40000, "trigger_count": 3, "index_time_in_ms": 911,
        "index_total": 40, "index_failures": 0, "search_time_in_ms": 622, "search_total": 40, "search_failures": 0,
        "processing_time_in_ms": 95, "processing_total": 40
    }
}] }"#;

struct End(SyncSender<RunEnded>);

impl Observer for End {
    fn run_ended(&self, _job_id: &str, run: &RunEnded) {
        let _ = self.0.try_send(*run);
    }
}

/// What the other side says of its jobs.
fn printed() -> Result<String, Box<dyn Error>> {
    let Some(url) = env::args().nth(1) else { return Ok(CAPTURED.to_owned()) };
    // Whoever has installed one already will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = reqwest::blocking::Client::new().get(format!("{url}/_rollup/job/_all"));
    if let Some((user, password)) = env::args().nth(2).as_deref().and_then(|login| login.split_once(':')) {
        request = request.basic_auth(user, Some(password));
    }
    Ok(request.send()?.error_for_status()?.text()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Arc::new(MemoryEngine::new());
    let reading =
        |minute| SourceDocument::new().date("timestamp", NEW_YEAR + minute * 60_000).double("temperature", 20.5);
    engine.extend("sensor-1", (1..=READINGS).map(reading));
    let (sender, end) = sync_channel(1);
    let builder = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new()));
    let manager = builder.observer(Arc::new(End(sender))).open()?;
    for job in ForeignJob::all_from_json(&printed()?)? {
        let id = job.id().unwrap_or("a job without an id").to_owned();
        if let Err(error) = manager.adopt(&job) {
            println!("{id} stays there: {error}");
            continue;
        }
        let adopted = manager.get(&id).ok_or("it was adopted")?;
        let there = adopted.stats().rollups_indexed();
        let position = adopted.position().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        println!("{id} has come here after {position}");
        manager.start(&id)?;
        manager.trigger(&id)?;
        end.recv()?;
        let here = engine.rolled_up(adopted.config().ok_or("it has a configuration")?.rollup_index()).len();
        println!("{there} documents were rolled up there, {here} here");
    }
    manager.shutdown(std::time::Duration::from_secs(30))?;
    Ok(())
}
