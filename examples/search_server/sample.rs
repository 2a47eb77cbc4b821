//! Something to try the server on: a day of readings of two stations, and a job that rolls them up.

use std::error::Error;
use std::fmt::Write;

use rollup_jobs::{DateHistogram, Metric, PutError, RollupJobConfig, RollupJobManager};
use serde_json::json;

use crate::documents;
use crate::indices::Indices;

/// Adds the index `sensor-1` and the started job `sensor`, if they are not there.
pub(crate) fn add(indices: &Indices, manager: &RollupJobManager) -> Result<(), Box<dyn Error>> {
    if indices.source("sensor-1").is_err() {
        let fields = json!({
            "timestamp": { "type": "date" }, "node": { "type": "keyword" }, "temperature": { "type": "double" }
        });
        indices
            .create("sensor-1", &json!({ "mappings": { "properties": fields } }))
            .map_err(|problem| problem.reason)?;
        let mut lines = String::new();
        for minute in (0..24 * 60).step_by(5) {
            let (hour, minute) = (minute / 60, minute % 60);
            for (node, offset) in [("a", 0.0), ("b", 2.5)] {
                let temperature = f64::from(hour - 12).abs().mul_add(-0.75, 21.0 + offset);
                let at = format!("2026-01-01T{hour:02}:{minute:02}:00Z");
                let reading = json!({ "timestamp": at, "node": node, "temperature": temperature });
                writeln!(lines, "{{\"index\":{{}}}}\n{reading}")?;
            }
        }
        documents::bulk(indices, Some("sensor-1"), true, &lines).map_err(|problem| problem.reason)?;
    }
    let job = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("sensor_hourly");
    let job = job.cron("0 5 * * * ?").page_size(1_000).terms(["node"]);
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    let job = job.metric("temperature", [Metric::Min, Metric::Max, Metric::Avg]).build()?;
    match manager.put(job) {
        Ok(()) => {
            manager.start("sensor")?;
            manager.trigger("sensor")?;
        }
        Err(PutError::AlreadyExists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
