//! The smallest embedding: a host with a memory engine rolls its readings up by the hour.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded};

struct End(SyncSender<RunEnded>);

impl Observer for End {
    fn run_ended(&self, _job_id: &str, run: &RunEnded) {
        let _ = self.0.try_send(*run);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Arc::new(MemoryEngine::new());
    for minute in 0..600_i32 {
        let reading = SourceDocument::new().date("timestamp", i64::from(minute) * 60_000).keyword("node", "a");
        engine.add("sensor-1", reading.double("temperature", f64::from(minute % 60)));
    }
    let (sender, end) = sync_channel(1);
    let builder = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new()));
    let manager = builder.observer(Arc::new(End(sender))).open()?;
    let job = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("hourly").cron("0 0 * * * ?");
    let job = job.page_size(1_000).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).terms(["node"]);
    manager.put(job.metric("temperature", [Metric::Min, Metric::Max, Metric::Avg]).build()?)?;
    manager.start("sensor")?;
    manager.trigger("sensor")?;
    println!("{:?}", end.recv()?);
    println!("{:#}", engine.rolled_up("hourly").first().ok_or("nothing was rolled up")?.to_json());
    Ok(())
}
