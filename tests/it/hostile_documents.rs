//! Documents that somebody may write on purpose: keys that Elasticsearch confuses, and dates that have no place.
//!
//! Elasticsearch joins the parts of a key with `$` and escapes nothing, so that two keys had one id: on tantivy the
//! commit panicked, run after run; with pages of one bucket both documents had the id; in memory one of them was
//! gone. And a bucket that begins before the first date of tantivy was stored with another date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::{Engine, FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::documents_of;
use rollup_jobs::{DateHistogram, HealthColor, JobState, RollupJobConfig, RollupJobConfigBuilder, RollupJobManager};
use serde_json::Value;

use crate::support::{HOUR, Watcher};
use crate::tantivy_harness::{add_to_index, read_rollup, source_schema};

const FIELDS: [(&str, FieldType); 3] =
    [("timestamp", FieldType::Date), ("a", FieldType::Keyword), ("b", FieldType::Keyword)];

fn config(page_size: u32) -> RollupJobConfigBuilder {
    RollupJobConfig::builder("sensor")
        .index_pattern("in")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(page_size)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
}

/// A run of the job, and the manager afterwards.
fn run(engine: Arc<dyn Engine>, config: RollupJobConfigBuilder) -> RollupJobManager {
    let watcher: Arc<Watcher> = Arc::default();
    let builder = RollupJobManager::builder(engine, Arc::new(MemoryStore::new())).observer(watcher.clone());
    let manager = builder.open().unwrap();
    manager.put(config.build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    watcher
        .wait_for(&manager, "the run", || (manager.get("sensor").unwrap().state() == JobState::Started).then_some(()));
    let status = manager.get("sensor").unwrap();
    assert_eq!(status.health().color(), HealthColor::Green, "{status:?}");
    manager
}

/// What both engines make of the documents, by id.
fn on_both(
    documents: &[SourceDocument],
    config: &RollupJobConfigBuilder,
) -> [(BTreeMap<String, Value>, RollupJobManager); 2] {
    let memory = MemoryEngine::new();
    memory.extend("in", documents.iter().cloned());
    let in_memory = run(Arc::new(memory.clone()), config.clone());
    let (tantivy, index) = (TantivyEngine::in_ram(), Index::create_in_ram(source_schema(&FIELDS)));
    add_to_index(&index, documents);
    tantivy.register("in", &index).unwrap();
    let in_tantivy = run(Arc::new(tantivy.clone()), config.clone());
    let rolled_up = read_rollup(&tantivy.rollup_index("rolled", "sensor").unwrap().unwrap());
    [(documents_of(&memory, "rolled"), in_memory), (rolled_up, in_tantivy)]
}

#[test]
fn keys_that_elasticsearch_confuses_are_documents_of_their_own() {
    let pairs = [("a$b", "c"), ("a", "b$c"), ("", "$"), ("$", ""), ("$$", ""), ("x", "y")];
    let document = |(a, b): &(&str, &str)| SourceDocument::new().date("timestamp", 0).keyword("a", a).keyword("b", b);
    let documents: Vec<_> = pairs.iter().map(document).collect();
    for page_size in [1, 2, 1_000] {
        for (rolled_up, _) in on_both(&documents, &config(page_size).terms(["a", "b"])) {
            let keys: BTreeSet<_> = rolled_up
                .values()
                .map(|document| {
                    ["a", "b"].map(|field| document[format!("{field}.terms.value")].as_str().unwrap().to_owned())
                })
                .collect();
            let expected = pairs.iter().map(|(a, b)| [(*a).to_owned(), (*b).to_owned()]).collect();
            assert_eq!(keys, expected, "pages of {page_size}");
            assert_eq!(rolled_up.len(), pairs.len());
        }
    }
}

/// In milliseconds since 1970.
const DECEMBER_1677: i64 = -9_217_324_800_000;
/// The first that is a whole number of nanoseconds in 64 bits.
const FIRST: i64 = -9_223_372_036_854;

#[test]
fn a_bucket_that_tantivy_has_no_date_for_is_left_out_and_said() {
    let documents = |dates: &[i64]| -> Vec<_> {
        dates.iter().map(|date| SourceDocument::new().date("timestamp", *date).keyword("a", "x")).collect()
    };
    let cases = [
        (DateHistogram::calendar_interval("timestamp", "1y"), vec![DECEMBER_1677, 0], 1),
        (DateHistogram::fixed_interval("timestamp", "1h"), vec![FIRST, 0], 1),
        (DateHistogram::fixed_interval("timestamp", "200000d"), vec![-1], 0),
    ];
    for (date, dates, kept) in cases {
        let config = config(1_000).date_histogram(date);
        let [(in_memory, _), (in_tantivy, manager)] = on_both(&documents(&dates), &config);
        assert_eq!(in_memory.len(), kept + 1, "in memory every date has a place");
        assert_eq!(in_tantivy.len(), kept);
        for (id, document) in &in_tantivy {
            assert_eq!(document["timestamp.date_histogram.timestamp"], 0);
            assert_eq!(in_memory[id]["timestamp.date_histogram.timestamp"], 0);
        }
        let status = manager.get("sensor").unwrap();
        assert_eq!(status.stats().documents_skipped(), 1);
        let notice = "one document is left out: its date bucket begins before the first date that tantivy has, \
                      1677-09-21T00:12:43Z";
        assert_eq!(status.notice().map(rollup_jobs::Notice::text), Some(notice));
    }
}

#[test]
fn the_first_bucket_that_tantivy_has_a_date_for_is_kept() {
    let first_hour = FIRST - FIRST.rem_euclid(HOUR) + HOUR;
    let documents: Vec<_> =
        [first_hour, first_hour + 1, 0].map(|date| SourceDocument::new().date("timestamp", date)).into();
    let [(in_memory, _), (in_tantivy, manager)] = on_both(&documents, &config(1_000));
    assert_eq!(in_tantivy.len(), 2);
    assert_eq!(in_tantivy.keys().collect::<Vec<_>>(), in_memory.keys().collect::<Vec<_>>());
    assert_eq!(manager.get("sensor").unwrap().notice(), None);
}

/// Such dates were counted in the first, or the last, bucket that there is.
#[test]
fn a_date_that_no_calendar_has_is_left_out_and_said() {
    let memory = MemoryEngine::new();
    memory.extend("in", [i64::MIN, i64::MIN + 1, 0].map(|date| SourceDocument::new().date("timestamp", date)));
    let manager = run(Arc::new(memory.clone()), config(1_000));
    assert_eq!(documents_of(&memory, "rolled").len(), 1);
    let status = manager.get("sensor").unwrap();
    assert_eq!(status.stats().documents_skipped(), 2);
    let notice = "2 documents are left out: their date buckets begin outside the years -9996 to 9996";
    assert_eq!(status.notice().map(rollup_jobs::Notice::text), Some(notice));
}
