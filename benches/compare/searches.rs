//! Searches over what was rolled up: `searches.json`, which DuckDB is asked too.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::LazyLock;

use rollup_jobs::RollupJobManager;
use rollup_jobs::search::{Aggregation, Bucket, NamedAggregations, SearchRequest, Tier};
use serde_json::Value;

static SEARCHES: LazyLock<HashMap<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("searches.json")).unwrap());

/// A manager that has rolled everything up.
pub(crate) struct Searched {
    manager: RollupJobManager,
    threads: usize,
}

impl Searched {
    pub(crate) fn new(manager: RollupJobManager, threads: usize) -> Self {
        Self { manager, threads }
    }

    fn request(&self, name: &str) -> SearchRequest {
        SearchRequest::from_json("sensor", &SEARCHES[name]["body"]).unwrap().threads(self.threads)
    }

    /// The answer, walked to its last bucket. Says how many there were.
    pub(crate) fn search(&self, name: &str) -> usize {
        let mut buckets = 0;
        self.each_bucket(name, |_, _| buckets += 1);
        buckets
    }

    /// What DuckDB compares with its own answer: keys, documents, values.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn write_found(&self, name: &str, file: &Path) -> usize {
        let mut file = BufWriter::new(File::create(file).unwrap());
        let (mut buckets, request) = (0, self.request(name));
        let metrics = innermost(&request.aggregations);
        self.each_bucket(name, |keys, bucket| {
            buckets += 1;
            let values = metrics.iter().map(|name| bucket.value(name).unwrap().unwrap());
            for number in keys.iter().copied().chain([bucket.doc_count() as f64]).chain(values) {
                file.write_all(&number.to_le_bytes()).unwrap();
            }
        });
        buckets
    }

    fn each_bucket(&self, name: &str, mut see: impl FnMut(&[f64], &Bucket)) {
        let request = self.request(name);
        let response = self.manager.search(&request).unwrap();
        let last = response.plan().parts.last().unwrap();
        let rolled_up = response.plan().parts.iter().filter(|part| part.tier == Tier::RolledUp).count();
        assert!(rolled_up == 1 && response.plan().parts.len() <= 2, "{last:?}");
        let (name, _) = &request.aggregations[0];
        for bucket in response.buckets(name).unwrap() {
            walk(&request.aggregations[0].1, bucket, &mut Vec::new(), &mut see);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn walk(asked: &Aggregation, bucket: &Bucket, keys: &mut Vec<f64>, see: &mut impl FnMut(&[f64], &Bucket)) {
    let key = bucket.date().map(|date| date as f64);
    keys.push(key.unwrap_or_else(|| bucket.text().unwrap().rsplit_once('-').unwrap().1.parse().unwrap()));
    match inside(asked).iter().find(|(_, asked)| !matches!(asked, Aggregation::Metric(_))) {
        Some((name, asked)) => bucket.buckets(name).unwrap().iter().for_each(|bucket| walk(asked, bucket, keys, see)),
        None => see(keys, bucket),
    }
    keys.pop();
}

fn inside(asked: &Aggregation) -> &NamedAggregations {
    match asked {
        Aggregation::DateHistogram(asked) => &asked.aggregations,
        Aggregation::Terms(asked) => &asked.aggregations,
        other => panic!("{other:?}"),
    }
}

/// The names of the metrics of the innermost buckets.
fn innermost(aggregations: &NamedAggregations) -> Vec<String> {
    let is_metric = |aggregation: &Aggregation| matches!(aggregation, Aggregation::Metric(_));
    match aggregations.iter().find(|(_, aggregation)| !is_metric(aggregation)) {
        Some((_, aggregation)) => innermost(inside(aggregation)),
        None => aggregations.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// Empties a folder.
pub(crate) fn fresh(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
}
