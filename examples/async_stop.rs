//! A host on tokio awaits stops: no thread blocks, and a time-out is tokio's own.
//!
//! ```text
//! cargo run --example async_stop
//! ```

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager, StopOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Arc::new(MemoryEngine::new());
    for minute in 0..100_000_i32 {
        let reading = SourceDocument::new().date("timestamp", i64::from(minute) * 60_000);
        engine.add("sensor", reading.double("temperature", f64::from(minute % 40)));
    }
    let manager = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?;
    for id in ["hourly", "daily"] {
        let interval = if id == "hourly" { "1h" } else { "1d" };
        let job = RollupJobConfig::builder(id).index_pattern("sensor").rollup_index("rolled").cron("0 0 * * * ?");
        let job = job.page_size(100).date_histogram(DateHistogram::fixed_interval("timestamp", interval));
        manager.put(job.metric("temperature", [Metric::Min, Metric::Max]).build()?)?;
        manager.start(id)?;
        manager.trigger(id)?;
    }

    // The call returns at once; the stop is in force, and durable. What is left to wait for is a future.
    let hourly = manager.stop("hourly", StopOptions::new())?.completion();
    let daily = manager.stop("daily", StopOptions::new())?.completion();
    let (hourly, daily) = tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(hourly, daily) }).await?;
    hourly?;
    daily?;
    for status in manager.list() {
        println!("{} is {} after {} documents", status.id(), status.state(), status.stats().documents_processed());
    }
    manager.delete("hourly")?;
    Ok(())
}
