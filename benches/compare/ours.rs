//! This crate's engine, and tantivy's own composite aggregation, at the data of the comparison.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use rollup_jobs::engine::tantivy::tantivy::aggregation::agg_req::Aggregations;
use rollup_jobs::engine::tantivy::tantivy::aggregation::{
    AggContextParams, AggregationCollector, AggregationLimitsGuard,
};
use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::query::AllQuery;
use rollup_jobs::engine::tantivy::tantivy::{
    DateTime, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument,
};
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{Batch, JobContext, RollupIndex, Source, StopSignal};
use rollup_jobs::rollup::roll_up;
use rollup_jobs::rollup::{FieldValue, Page, RolledUpDocument, RolledUpPage};
use rollup_jobs::store::RedbStore;
use rollup_jobs::{
    DateHistogram, Histogram, KeyPart, Metric, Observer, Phase, Progress, RollupJobConfig, RollupJobConfigBuilder,
    RollupJobManager, RunEnded, TermsType,
};

use crate::asking::Asked;
use crate::report::timed;
use crate::searches::{Searched, fresh};
use crate::shapes::{Question, data_set};

pub(crate) struct Contestant {
    index: Index,
    /// A host has its index open, and so mapped.
    reader: IndexReader,
    threads: usize,
    job: JobContext,
}

struct End(Mutex<Sender<()>>);

impl Observer for End {
    fn run_ended(&self, _: &str, _: &RunEnded) {
        let _ = self.0.lock().unwrap().send(());
    }
}

fn job(asked: &Question, page_size: u32) -> RollupJobConfigBuilder {
    let all = [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount];
    let date = match (&asked.fixed, &asked.calendar) {
        (Some(interval), None) => DateHistogram::fixed_interval("timestamp", interval),
        (None, Some(interval)) => DateHistogram::calendar_interval("timestamp", interval),
        other => panic!("one interval, not {other:?}"),
    };
    let date = match &asked.time_zone {
        Some(zone) => date.time_zone(zone),
        None => date,
    };
    let job =
        RollupJobConfig::builder("sensor").index_pattern("sensor").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
    let job = job.page_size(page_size).date_histogram(date).terms(&asked.terms);
    let job = match &asked.histogram {
        Some(field) => job.histogram(Histogram::new(1.0, [field])),
        None => job,
    };
    data_set(&asked.data).metrics.iter().fold(job, |job, field| job.metric(field, all))
}

impl Contestant {
    pub(crate) fn open(folder: &Path, asked: &Question, threads: usize, page_size: u32) -> Self {
        let index = Index::open_in_dir(folder.join("index")).unwrap();
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().unwrap();
        let integer = &data_set(&asked.data).integer;
        let is_integer = |field: &String| integer.as_ref() == Some(field);
        let terms = |field| if is_integer(field) { TermsType::Integer } else { TermsType::Keyword };
        let terms: Vec<_> = asked.terms.iter().map(terms).collect();
        let job = JobContext::new(job(asked, page_size).build().unwrap(), &terms);
        Self { index, reader, threads, job }
    }

    fn options(&self) -> TantivyOptions {
        TantivyOptions::new().scan_threads(self.threads)
    }

    /// All pages, one after the other. Says how many buckets there were.
    pub(crate) fn scan(&self, mut see: impl FnMut(&Page)) -> usize {
        let engine = TantivyEngine::in_ram_with(self.options());
        engine.register("sensor", &self.index).unwrap();
        let request = self.job.scan_request();
        let mut stream =
            engine.scan(&self.job, self.job.config().index_pattern(), request, &StopSignal::never()).unwrap();
        let mut buckets = 0;
        loop {
            let page = stream.next_page(&StopSignal::never()).unwrap();
            if page.is_empty() {
                return buckets;
            }
            see(&page);
            buckets += page.len();
        }
    }

    /// What the others compare with theirs: for each bucket its key, its documents, and four numbers for each metric.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn write_result(&self, file: &Path) -> usize {
        let mut file = BufWriter::new(File::create(file).unwrap());
        self.scan(|page| {
            for bucket in page.iter() {
                let number = |part: &KeyPart| match part {
                    KeyPart::Date(millis) => *millis as f64,
                    KeyPart::Histogram { number, interval } => number * interval,
                    KeyPart::Text(text) => text.rsplit_once('-').unwrap().1.parse().unwrap(),
                    other => panic!("{other:?}"),
                };
                let mut row: Vec<f64> = bucket.key.iter().map(number).collect();
                row.push(bucket.doc_count as f64);
                for values in bucket.metrics {
                    row.extend([values.min(), values.max(), values.sum(), values.count() as f64]);
                }
                for number in row {
                    file.write_all(&number.to_le_bytes()).unwrap();
                }
            }
        })
    }

    /// A whole run into a new rollup index on disk: scanned, written, durable, with the job in a file too.
    pub(crate) fn run(&self, folder: &Path) -> String {
        let spent = timed(|| {
            let manager = self.rolled_up(folder);
            usize::try_from(manager.get("sensor").unwrap().stats().rollups_indexed()).unwrap()
        });
        fs::remove_dir_all(folder).unwrap();
        spent
    }

    fn rolled_up(&self, folder: &Path) -> RollupJobManager {
        let engine = TantivyEngine::open_with(folder, self.options()).unwrap();
        engine.register("sensor", &self.index).unwrap();
        let store = RedbStore::open(folder.join("jobs.redb")).unwrap();
        let (sender, end) = channel();
        let builder = RollupJobManager::builder(Arc::new(engine), Arc::new(store));
        let builder = builder.indexer_threads(self.threads).observer(Arc::new(End(Mutex::new(sender))));
        let manager = builder.open().unwrap();
        manager.put(RollupJobConfig::clone(self.job.config())).unwrap();
        manager.start("sensor").unwrap();
        manager.trigger("sensor").unwrap();
        end.recv().unwrap();
        manager
    }

    /// Ready for searches, with all data rolled up into `folder`.
    pub(crate) fn searched(&self, folder: &Path) -> Searched {
        fresh(folder);
        let manager = self.rolled_up(folder);
        // Segments are merged in a turn behind the run.
        while manager.get("sensor").unwrap().phase() != Phase::Idle {
            std::thread::yield_now();
        }
        Searched::new(manager, self.threads)
    }

    /// All pages as rolled-up documents.
    fn pages(&self) -> Vec<RolledUpPage> {
        let mut pages = Vec::new();
        self.scan(|page| pages.push(roll_up(page.clone(), self.job.layout()).unwrap()));
        pages
    }

    /// Ready for questions, with all data rolled up into `folder`.
    pub(crate) fn asked(&self, folder: &Path) -> Asked {
        Asked::new(&self.index, self.options(), &self.job, folder)
    }

    /// The rolled-up documents alone, written and durable.
    pub(crate) fn write(&self) -> String {
        let (job, pages) = (&self.job, self.pages());
        let folder = tempfile::tempdir().unwrap();
        let engine = TantivyEngine::open_with(folder.path(), self.options()).unwrap();
        engine.prepare(job).unwrap();
        timed(|| {
            let mut writer = engine.begin(job, &Batch::Append).unwrap();
            let written = pages.iter().map(|page| writer.write(page.documents(), &StopSignal::never()).unwrap().taken);
            let written = written.sum();
            writer.commit(&Progress::default()).unwrap();
            written
        })
    }

    /// The same documents by tantivy's own writer, into the same fields.
    pub(crate) fn write_by_tantivy(&self) -> String {
        let (job, pages) = (&self.job, self.pages());
        let folder = tempfile::tempdir().unwrap();
        let engine = TantivyEngine::open_with(folder.path(), self.options()).unwrap();
        engine.prepare(job).unwrap();
        let index = engine.rollup_index("rolled", "sensor").unwrap().unwrap();
        let schema = index.schema();
        let document = |rolled_up: RolledUpDocument| {
            let mut document = TantivyDocument::default();
            document.add_text(schema.get_field("_id").unwrap(), rolled_up.id());
            for (described, value) in rolled_up.fields() {
                let field = schema.get_field(&described.name).unwrap();
                match value {
                    FieldValue::Date(millis) => document.add_date(field, DateTime::from_timestamp_millis(*millis)),
                    FieldValue::Integer(value) => document.add_i64(field, *value),
                    FieldValue::Unsigned(value) => document.add_u64(field, *value),
                    FieldValue::Double(value) => document.add_f64(field, *value),
                    FieldValue::Text(text) => document.add_text(field, &**text),
                    FieldValue::Null => {}
                    other => unreachable!("{other:?} is new"),
                }
            }
            document
        };
        let documents: Vec<_> = pages.iter().flat_map(|page| page.documents().iter()).map(document).collect();
        timed(|| {
            let written = documents.len();
            let mut writer: IndexWriter = index.writer_with_num_threads(self.threads, 64 << 20).unwrap();
            writer.set_merge_policy(Box::new(NoMergePolicy));
            for document in documents {
                writer.add_document(document).unwrap();
            }
            writer.commit().unwrap();
            written
        })
    }

    /// The same buckets by tantivy's own composite aggregation, in one page: the fewest passes that it can make.
    pub(crate) fn composite(&self) -> usize {
        let searcher: Searcher = self.reader.searcher();
        let stats = |field: &str| serde_json::json!({ "stats": { "field": field } });
        let request: Aggregations = serde_json::from_value(serde_json::json!({ "rollup": {
            "composite": { "size": 1_000_000, "sources": [
                { "date": { "date_histogram": { "field": "timestamp", "fixed_interval": "1h" } } },
                { "node": { "terms": { "field": "node" } } },
            ] },
            "aggs": { "temperature": stats("temperature"), "voltage": stats("voltage"), "humidity": stats("humidity") },
        } }))
        .unwrap();
        let limits = AggregationLimitsGuard::new(Some(8 << 30), Some(2_000_000));
        let context = AggContextParams { limits, ..AggContextParams::default() };
        let results = searcher.search(&AllQuery, &AggregationCollector::from_aggs(request, context)).unwrap();
        let results = serde_json::to_value(results).unwrap();
        results["rollup"]["buckets"].as_array().unwrap().len()
    }
}
