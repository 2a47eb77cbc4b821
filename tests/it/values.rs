//! What becomes of values that are missing, many, negative zero, no numbers, or too large for a double: the same on
//! both engines.

use rollup_jobs::engine::{FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::testing::{EngineHarness, MemoryHarness};
use rollup_jobs::{DateHistogram, Histogram, Metric, RollupJobConfig, RollupJobConfigBuilder, RollupJobManager};
use serde_json::{Value, json};

use crate::support::Watcher;
use crate::tantivy_harness::TantivyHarness;

fn job() -> RollupJobConfigBuilder {
    RollupJobConfig::builder("sensor")
        .index_pattern("sensor")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(2)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
}

fn at() -> SourceDocument {
    SourceDocument::new().date("timestamp", 0)
}

/// Rolls the documents up on both engines, checks that they agree, and gives the chosen members of each rolled-up
/// document, sorted.
fn roll_up(job: RollupJobConfigBuilder, documents: &[SourceDocument], members: &[&str]) -> Vec<Vec<Value>> {
    let fields = [
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("level", FieldType::Long),
        ("big", FieldType::Unsigned),
        ("load", FieldType::Double),
        ("temperature", FieldType::Double),
    ];
    let job = job.build().unwrap();
    let harnesses: [Box<dyn EngineHarness>; 2] =
        [Box::new(MemoryHarness::new(MemoryEngine::new())), Box::new(TantivyHarness::in_ram())];
    let rows = harnesses.map(|harness| {
        harness.create_index("sensor", &fields);
        harness.add("sensor", documents);
        let watcher: std::sync::Arc<Watcher> = std::sync::Arc::default();
        let store = std::sync::Arc::new(rollup_jobs::store::MemoryStore::new());
        let manager = RollupJobManager::builder(harness.engine(), store)
            .indexer_threads(1)
            .observer(watcher.clone())
            .open()
            .unwrap();
        manager.put(job.clone()).unwrap();
        manager.start("sensor").unwrap();
        manager.trigger("sensor").unwrap();
        watcher.wait_for(&manager, "the run", || {
            watcher.heard().iter().any(|heard| matches!(heard, crate::support::Heard::Run(..))).then_some(())
        });
        assert_eq!(manager.get("sensor").unwrap().last_errors().len(), 0, "{:?}", manager.get("sensor"));
        let types: Vec<_> = job
            .groups()
            .terms_fields()
            .iter()
            .map(|field| match field.as_str() {
                "node" => rollup_jobs::TermsType::Keyword,
                "level" => rollup_jobs::TermsType::Integer,
                "big" => rollup_jobs::TermsType::Unsigned,
                _ => rollup_jobs::TermsType::Floating,
            })
            .collect();
        let context = rollup_jobs::engine::JobContext::new(job.clone(), &types);
        let rolled = harness.rolled_up(&context);
        let row = |document: &Value| members.iter().map(|member| document[member].clone()).collect::<Vec<_>>();
        let mut rows: Vec<_> = rolled.values().map(row).collect();
        rows.sort_by_key(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>());
        rows
    });
    assert_eq!(rows[0], rows[1], "both engines agree");
    rows[0].clone()
}

#[test]
fn missing_terms_and_histogram_values_are_null_groups() {
    let documents =
        [at(), at().keyword("node", "a"), at().double("load", 7.0), at().keyword("node", "a").double("load", 7.0)];
    let job = job().terms(["node"]).histogram(Histogram::new(5.0, ["load"]));
    let rows = roll_up(job, &documents, &["node.terms.value", "load.histogram.value", "node.terms._count"]);
    let expected = [json!(["a", 5.0, 1]), json!(["a", null, 1]), json!([null, 5.0, 1]), json!([null, null, 1])];
    assert_eq!(json!(rows), json!(expected));
}

#[test]
fn missing_metric_values_count_nothing() {
    let job = job().metric("temperature", [Metric::Min, Metric::Sum, Metric::Avg, Metric::ValueCount]);
    let without_date = SourceDocument::new().double("temperature", 1.0);
    let members =
        ["temperature.min.value", "temperature.sum.value", "temperature.avg.value", "temperature.value_count.value"];
    assert_eq!(json!(roll_up(job, &[at(), at(), without_date], &members)), json!([[null, 0.0, null, 0.0]]));
}

#[test]
fn a_document_with_many_values_counts_once_in_each_of_its_buckets() {
    // Two loads fall into one bucket: Elasticsearch 9 counts the document once there, as we do.
    let document = at()
        .date("timestamp", 1)
        .date("timestamp", 3_600_000)
        .keyword("node", "a")
        .keyword("node", "b")
        .keyword("node", "a")
        .double("load", 6.0)
        .double("load", 7.0)
        .double("temperature", 1.0)
        .double("temperature", 2.0);
    let job = job().terms(["node"]).histogram(Histogram::new(5.0, ["load"])).metric("temperature", [Metric::Sum]);
    let members =
        ["timestamp.date_histogram.timestamp", "node.terms.value", "node.terms._count", "temperature.sum.value"];
    let rows = roll_up(job, &[document], &members);
    let expected = json!([[0, "a", 1, 3.0], [0, "b", 1, 3.0], [3_600_000, "a", 1, 3.0], [3_600_000, "b", 1, 3.0]]);
    assert_eq!(json!(rows), expected);
}

#[test]
fn negative_zero_is_grouped_with_zero() {
    let documents = [at().double("load", 0.0), at().double("load", -0.0)];
    let members = ["load.terms.value", "load.terms._count"];
    assert_eq!(json!(roll_up(job().terms(["load"]), &documents, &members)), json!([[0.0, 2]]));
    let members = ["load.histogram.value", "load.histogram._count"];
    let job = job().histogram(Histogram::new(5.0, ["load"]));
    assert_eq!(json!(roll_up(job, &documents, &members)), json!([[0.0, 2]]));
}

#[test]
fn what_is_no_finite_number_counts_as_missing() {
    let documents: Vec<_> = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0]
        .into_iter()
        .map(|value| at().double("load", value).double("temperature", value))
        .collect();
    let job = job().terms(["load"]).metric("temperature", [Metric::Min, Metric::Max, Metric::ValueCount]);
    let members = ["load.terms.value", "load.terms._count", "temperature.max.value", "temperature.value_count.value"];
    assert_eq!(json!(roll_up(job, &documents, &members)), json!([[1.0, 1, 1.0, 1.0], [null, 3, null, 0.0]]));
}

#[test]
fn integers_beyond_2_to_the_53_are_exact_as_terms_and_doubles_as_metrics() {
    let values = [i64::MAX, i64::MAX - 1, i64::MIN, 9_007_199_254_740_993];
    let documents: Vec<_> = values.into_iter().map(|value| at().integer("level", value)).collect();
    let job_of = || job().terms(["level"]).metric("level", [Metric::Max]);
    let rows = roll_up(job_of(), &documents, &["level.terms.value", "level.max.value"]);
    #[expect(clippy::cast_precision_loss, reason = "that is the point")]
    let mut expected: Vec<_> = values.iter().map(|value| vec![json!(value), json!(*value as f64)]).collect();
    expected.sort_by_key(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(rows, expected);
}

#[test]
fn unsigned_integers_are_exact_as_terms() {
    let values = [0, 1 << 63, u64::MAX, u64::MAX - 1];
    let documents: Vec<_> = values
        .into_iter()
        .map(|value| SourceDocument::new().date("timestamp", 0).unsigned("big", value))
        .chain([at()])
        .collect();
    let rows = roll_up(job().terms(["big"]), &documents, &["big.terms.value", "big.terms._count"]);
    let mut expected: Vec<_> = values.iter().map(|value| vec![json!(value), json!(1)]).collect();
    expected.push(vec![json!(null), json!(1)]);
    expected.sort_by_key(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(rows, expected);
}

#[test]
fn fractional_histograms_lose_and_repeat_no_bucket() {
    // tantivy's own composite aggregation loses buckets here: it finds its place again by dividing the key.
    let documents: Vec<_> = (0..900_i32)
        .map(|n| at().double("load", f64::from(n) / 60.0).keyword("node", ["a", "b"][usize::from(n % 2 == 0)]))
        .collect();
    for interval in [0.1, 0.2, 0.3, 0.7] {
        let job = job().terms(["node"]).histogram(Histogram::new(interval, ["load"]));
        let rows = roll_up(job, &documents, &["load.histogram._count"]);
        let sum: i64 = rows.iter().map(|row| row[0].as_i64().unwrap()).sum();
        assert_eq!(sum, 900, "interval {interval}");
        let mut buckets: Vec<_> =
            (0..900_i32).map(|n| ((f64::from(n) / 60.0 / interval).floor().to_bits(), n % 2)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        assert_eq!(rows.len(), buckets.len(), "interval {interval}");
    }
}

#[test]
fn an_integer_and_a_floating_index_may_mix_as_numbers() {
    let engine = MemoryEngine::new();
    engine.add("sensor", at().integer("load", 7));
    engine.add("sensor", at().double("load", 7.5));
    let store = std::sync::Arc::new(rollup_jobs::store::MemoryStore::new());
    let manager = RollupJobManager::builder(std::sync::Arc::new(engine), store).open().unwrap();
    manager.put(job().histogram(Histogram::new(5.0, ["load"])).build().unwrap()).unwrap();
}
