//! The smallest embedding: a host with a memory engine rolls its readings up by the hour.

use std::error::Error;
use std::sync::Arc;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, JobState, Metric, RollupJobConfig, RollupJobManager, StopOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Arc::new(MemoryEngine::new());
    for minute in 0..600_i32 {
        let reading = SourceDocument::new().date("timestamp", i64::from(minute) * 60_000).keyword("node", "a");
        engine.add("sensor-1", reading.double("temperature", f64::from(minute % 60)));
    }
    let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new())).open()?;
    let job = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("hourly").cron("0 0 * * * ?");
    let job = job.page_size(1_000).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).terms(["node"]);
    manager.put(job.metric("temperature", [Metric::Min, Metric::Max, Metric::Avg]).build()?)?;
    manager.start("sensor")?;
    manager.trigger("sensor")?;
    while manager.get("sensor").is_some_and(|status| status.state() == JobState::Indexing) {
        std::thread::yield_now();
    }
    println!("{:#}", engine.rolled_up("hourly").first().ok_or("nothing was rolled up")?.to_json());
    let _ = manager.stop("sensor", StopOptions::new().wait_for_completion(true))?;
    Ok(manager.delete("sensor")?)
}
