//! Questions over raw and over rolled-up data, as a search would ask them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{Batch, JobContext, PageStream, RollupIndex, Source, StopSignal};
use rollup_jobs::filter::Filter;
use rollup_jobs::rollup::{Bucket, Grouping, Measure, Measures, roll_up};
use rollup_jobs::scan::{ScanRequest, Times};
use rollup_jobs::{DateHistogram, KeyPart, Progress, RollupJobConfig, Rounding, TermsType};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// The day, of ninety, that is asked for.
const ASKED_DAY: i64 = 45;

/// An engine that has the raw data and what was rolled up of it, as long as questions are asked.
pub(crate) struct Asked {
    engine: TantivyEngine,
    job: JobContext,
    first: i64,
}

fn grid(interval: &str) -> Rounding {
    let job = RollupJobConfig::builder("grid").index_pattern("sensor").rollup_index("rolled").cron("0 0 0 1 1 ? 2090");
    let job = job.page_size(1).date_histogram(DateHistogram::fixed_interval("timestamp", interval));
    job.build().unwrap().rounding().clone()
}

impl Asked {
    /// Rolls all data up into `folder`.
    pub(crate) fn new(
        index: &rollup_jobs::engine::tantivy::tantivy::Index,
        options: TantivyOptions,
        job: &JobContext,
        folder: &Path,
    ) -> Self {
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
        let engine = TantivyEngine::open_with(folder, options).unwrap();
        engine.register("sensor", index).unwrap();
        engine.prepare(job).unwrap();
        let never = StopSignal::never();
        let mut stream = engine.scan(job, job.config().index_pattern(), job.scan_request(), &never).unwrap();
        let mut writer = engine.begin(job, &Batch::Append).unwrap();
        let mut first = None;
        loop {
            let page = stream.next_page(&never).unwrap();
            let Some(bucket) = page.get(0) else { break };
            if let KeyPart::Date(start) = bucket.key[0] {
                first.get_or_insert(start);
            }
            writer.write(roll_up(page, job.layout()).unwrap().documents(), &never).unwrap();
        }
        writer.commit(&Progress::default()).unwrap();
        Self { engine, job: job.clone(), first: first.unwrap() }
    }

    /// All groups of one of the questions. Says how many there were.
    pub(crate) fn ask(&self, question: &str, mut see: impl FnMut(&Bucket<'_>)) -> usize {
        let never = StopSignal::never();
        let by = |interval| Grouping::new("timestamp").date(grid(interval)).terms("node", TermsType::Keyword);
        let all = |grouping: Grouping| {
            let fields = ["temperature", "voltage", "humidity"];
            fields.into_iter().fold(grouping, |grouping, field| grouping.measure(field, Measures::ALL))
        };
        let mut stream: Box<dyn PageStream> = match question {
            "rolled-average" => {
                let grouping = by("1d").measure("temperature", Measure::Sum | Measure::Count);
                self.engine.scan_rolled_up(&self.job, ScanRequest::new(grouping), &never)
            }
            "rolled-all" => self.engine.scan_rolled_up(&self.job, ScanRequest::new(all(by("1d"))), &never),
            "raw-node" => {
                let request = ScanRequest::new(all(by("1h"))).filter(Filter::term("node", "node-007"), 0);
                self.engine.scan(&self.job, self.job.config().index_pattern(), request, &never)
            }
            "raw-day" => {
                let from = self.first.div_euclid(DAY) * DAY + ASKED_DAY * DAY;
                let request = ScanRequest::new(all(by("1h"))).times(Times::between(from..from + DAY));
                self.engine.scan(&self.job, self.job.config().index_pattern(), request, &never)
            }
            other => panic!("unknown question: {other}"),
        }
        .unwrap();
        let mut groups = 0;
        loop {
            let page = stream.next_page(&never).unwrap();
            if page.is_empty() {
                return groups;
            }
            page.iter().for_each(|bucket| see(&bucket));
            groups += page.len();
        }
    }

    /// What DuckDB compares with its own answer: for each group three numbers and two for the temperature.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    pub(crate) fn write_answer(&self, question: &str, file: &Path) -> usize {
        let mut file = BufWriter::new(File::create(file).unwrap());
        self.ask(question, |bucket| {
            let (date, node) = match bucket.key {
                [KeyPart::Date(date), KeyPart::Text(node)] => (*date, node),
                other => panic!("{other:?}"),
            };
            let node: f64 = node.trim_start_matches("node-").parse().unwrap();
            let temperature = bucket.metrics[0];
            let row = [date as f64, node, bucket.doc_count as f64, temperature.sum(), temperature.count() as f64];
            for number in row {
                file.write_all(&number.to_le_bytes()).unwrap();
            }
        })
    }
}
