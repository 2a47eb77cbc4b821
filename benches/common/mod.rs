//! A seeded source index of sensor readings.
#![allow(dead_code, clippy::unwrap_used, reason = "shared by benchmarks that use parts of it, and fail by panicking")]

use std::path::Path;

use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, doc};
use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobConfigBuilder};

/// So many documents where it is measured; a hundredth where it only has to work.
pub(crate) fn documents(measured: u64) -> u64 {
    if std::env::args().any(|argument| argument == "--bench") { measured } else { measured / 100 }
}

/// 200 nodes over 90 days, nearly in the order of time, with three metrics.
pub(crate) fn sensor_index(folder: &Path, documents: u64) -> Index {
    in_segments(folder, documents, documents)
}

/// The same, in segments of so many documents at most.
pub(crate) fn in_segments(folder: &Path, documents: u64, at_most: u64) -> Index {
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let node = schema.add_text_field("node", STRING | FAST);
    let metrics = ["temperature", "voltage", "humidity"].map(|name| schema.add_f64_field(name, FAST));
    let index = Index::create_in_dir(folder, schema.build()).unwrap();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 256 << 20).unwrap();
    if at_most < documents {
        writer.set_merge_policy(Box::new(NoMergePolicy));
    }
    let mut state = 20_250_101_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let span = 90 * 86_400_000_u64;
    for n in 0..documents {
        let millis = 1_735_689_600_000 + n * span / documents + random(10_000);
        let at = DateTime::from_timestamp_millis(i64::try_from(millis).unwrap());
        // Unequal rates: low numbers come more often.
        let name = format!("node-{:03}", random(200).min(random(200)));
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let [temperature, voltage, humidity] =
            [random(4_000) as f64 / 100.0, random(5_000) as f64 / 1_000.0, random(1_000) as f64 / 10.0];
        let document = doc!(timestamp => at, node => name, metrics[0] => temperature, metrics[1] => voltage, metrics[2] => humidity);
        writer.add_document(document).unwrap();
        if at_most < documents && n % at_most == at_most - 1 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
    index
}

/// One document per hour and node.
pub(crate) fn hourly(id: &str) -> RollupJobConfigBuilder {
    let all = [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount];
    RollupJobConfig::builder(id)
        .index_pattern("sensor")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(10_000)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .terms(["node"])
        .metric("temperature", all)
        .metric("voltage", all)
        .metric("humidity", all)
}
