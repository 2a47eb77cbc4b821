//! A host on tokio answers searches: on a thread of the runtime's that may block, and never longer than somebody waits.
//!
//! ```text
//! cargo run --example async_search
//! ```

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, SearchCancel, SearchRequest, SearchResponse};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager};

/// Ends the search when its future goes away: after a time-out, or with a client that hangs up.
struct CancelOnDrop(SearchCancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn search(
    manager: Arc<RollupJobManager>,
    request: SearchRequest,
) -> Result<SearchResponse, Box<dyn std::error::Error>> {
    let cancel = SearchCancel::new();
    let request = request.cancelled_by(&cancel);
    let _cancel = CancelOnDrop(cancel);
    Ok(tokio::task::spawn_blocking(move || manager.search(&request)).await??)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Arc::new(MemoryEngine::new());
    for minute in 0..10_000_i32 {
        let reading = SourceDocument::new().date("timestamp", i64::from(minute) * 60_000);
        engine.add("sensor", reading.double("temperature", f64::from(minute % 40)));
    }
    let manager = Arc::new(RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).open()?);
    // A search is of what some job rolls up. This one has not run yet: all is read raw.
    let job = RollupJobConfig::builder("sensor").index_pattern("sensor").rollup_index("hourly").cron("0 0 * * * ?");
    let job = job.page_size(1_000).date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    manager.put(job.metric("temperature", [Metric::Max]).build()?)?;

    let per_day = DateHistogramAggregation::calendar("timestamp", "1d");
    let per_day = per_day.aggregation("hottest", MetricAggregation::max("temperature"));
    let request = SearchRequest::new("sensor").aggregation("per_day", per_day);
    let answer = search(Arc::clone(&manager), request);
    let answer = tokio::time::timeout(Duration::from_secs(10), answer).await??;
    for day in answer.buckets("per_day")? {
        let date = Timestamp::from_millisecond(day.date().unwrap_or_default())?;
        let hottest = day.value("hottest")?.unwrap_or(f64::NAN);
        println!("{date}: {} readings, at most {hottest} degrees", day.doc_count());
    }
    Ok(())
}
