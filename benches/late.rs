//! What late documents cost: noticing them, answering with them, rolling up again what they have changed, and verifying
//! all of it. Each beside rolling everything up anew, or reading the same documents, in the same sitting.
//!
//! ```text
//! cargo bench --features tantivy,testing --bench late
//! ```
//!
//! `ROLLUP_LATE_DOCUMENTS` says how many there are: ten million unless it does.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking, and has no users")]

#[path = "common/ends.rs"]
mod ends;

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use criterion::{Criterion, criterion_group, criterion_main};
use ends::ends;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, doc};
use rollup_jobs::engine::{JobContext, ScanRequest, Source, StopSignal};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, SearchRequest, TermsAggregation, Tier};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{
    DateHistogram, LateData, Metric, RepairWhen, RollupJobConfig, RollupJobManager, StopOptions, TermsType,
    VerifyOptions,
};

const HOUR: i64 = 3_600_000;
const DAYS: i64 = 90;
const BEGIN: i64 = 1_735_689_600_000;
const NODES: i64 = 200;

struct Source90Days {
    index: Index,
    writer: IndexWriter,
    number: i64,
}

impl Source90Days {
    fn new(documents: i64) -> Self {
        let mut schema = Schema::builder();
        let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
        schema.add_date_field("timestamp", date);
        schema.add_text_field("node", STRING | FAST);
        schema.add_f64_field("temperature", FAST);
        let index = Index::create_in_ram(schema.build());
        let writer: IndexWriter = index.writer_with_num_threads(1, 256 << 20).unwrap();
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let mut source = Self { index, writer, number: 0 };
        source.add((0..documents).map(|number| number * (DAYS * 24 * HOUR / documents)));
        source
    }

    /// Documents so long after the beginning, in one commit.
    fn add(&mut self, at: impl Iterator<Item = i64>) {
        let schema = self.index.schema();
        let field = |name| schema.get_field(name).unwrap();
        let (timestamp, node, temperature) = (field("timestamp"), field("node"), field("temperature"));
        for at in at {
            self.number += 1;
            let value = f64::from(u16::try_from(self.number * 7 % 1_000).unwrap());
            let at = DateTime::from_timestamp_millis(BEGIN + at);
            let name = format!("node-{}", self.number * 31 % NODES);
            self.writer.add_document(doc!(timestamp => at, node => name, temperature => value)).unwrap();
        }
        self.writer.commit().unwrap();
    }
}

fn job(id: &str) -> RollupJobConfig {
    let job = RollupJobConfig::builder(id).index_pattern("sensor").rollup_index(format!("rolled-{id}"));
    let job = job.cron("0 0 0 1 1 ? 2090").page_size(10_000).terms(["node"]);
    let job = job.late_data(LateData::new().repair(RepairWhen::AfterRun));
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    job.metric("temperature", [Metric::Max, Metric::Avg]).build().unwrap()
}

/// Wall and processor time, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "time is what is measured")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, [f64; 2]) {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    let answer = work();
    let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
    (answer, [millis(wall.elapsed()), millis(cpu.elapsed())])
}

fn run(manager: &RollupJobManager, ends: &Receiver<()>, id: &str) -> [f64; 2] {
    timed(|| {
        manager.trigger(id).unwrap();
        ends.recv().unwrap();
    })
    .1
}

fn by_day_and_node() -> SearchRequest {
    let nodes = TermsAggregation::new("node").size(1_000);
    let nodes = nodes.aggregation("average", MetricAggregation::avg("temperature"));
    let days = DateHistogramAggregation::fixed("timestamp", "1d").aggregation("nodes", nodes);
    SearchRequest::new("sensor").aggregation("days", days)
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn late(_: &mut Criterion) {
    let documents = std::env::var("ROLLUP_LATE_DOCUMENTS").map_or(10_000_000, |text| text.parse().unwrap());
    // As a test it is enough that it runs.
    let documents = if std::env::args().any(|argument| argument == "--test") { 100_000 } else { documents };
    let mut source = Source90Days::new(documents);
    let engine = TantivyEngine::in_ram();
    engine.register("sensor", &source.index).unwrap();
    let clock = ManualClock::at(Timestamp::from_millisecond(BEGIN + DAYS * 24 * HOUR).unwrap());
    let (observer, ends) = ends();
    let builder = RollupJobManager::builder(Arc::new(engine.clone()), Arc::new(MemoryStore::new()));
    let builder = builder.indexer_threads(1).clock(Arc::new(clock)).observer(observer);
    let manager = builder.open().unwrap();
    manager.put(job("sensor")).unwrap();
    manager.start("sensor").unwrap();
    run(&manager, &ends, "sensor");
    let print = |what: &str, [wall, cpu]: [f64; 2]| println!("{what:<58} {wall:>10.2} ms, CPU {cpu:>10.2} ms");

    // Nothing has changed: a look is all.
    let plan = || manager.plan(&by_day_and_node()).unwrap();
    let looks: Vec<[f64; 2]> = (0..100).map(|_| timed(plan).1).collect();
    let mean = |at: usize| looks.iter().map(|look| look[at]).sum::<f64>() / looks.len() as f64;
    print("plan, nothing has changed", [mean(0), mean(1)]);
    print("search", timed(|| manager.search(&by_day_and_node()).unwrap()).1);

    // Late documents in a part of the hours, and in all of them.
    let hours = DAYS * 24;
    for every in [20, 1] {
        let late = documents / 100;
        source.add((0..late).map(|number| {
            let hour = number * 7_919 % hours / every * every;
            hour * HOUR + number % HOUR
        }));
        let (noticed, time) = timed(plan);
        let raw = noticed.parts.iter().filter(|part| part.tier == Tier::Raw && part.from.is_some());
        let dirty: i64 = raw.map(|part| part.until.unwrap_or(BEGIN + hours * HOUR) - part.from.unwrap()).sum();
        let share = dirty as f64 / (hours * HOUR) as f64;
        println!("1 % late, in one hour of {every}: {:.1} % of the hours are dirty", share * 100.0);
        print("  noticing, and a plan", time);
        print("  search, before it is repaired", timed(|| manager.search(&by_day_and_node()).unwrap()).1);
        let repaired = run(&manager, &ends, "sensor");
        print("  repairing", repaired);
        print("  search, after it", timed(|| manager.search(&by_day_and_node()).unwrap()).1);
        let (id, anew) = (format!("anew-{every}"), job(&format!("anew-{every}")));
        manager.put(anew).unwrap();
        manager.start(&id).unwrap();
        let anew = run(&manager, &ends, &id);
        assert!(manager.stop(&id, StopOptions::new()).unwrap().is_at_rest());
        manager.delete(&id).unwrap();
        print("  everything anew", anew);
        let part = |at: usize| repaired[at] / anew[at] / share;
        println!("  repairing, as a multiple of the share that is dirty: {:.2} (CPU {:.2})", part(0), part(1));
    }

    // One document far back.
    let before = manager.get("sensor").unwrap().stats().index_total();
    source.add(std::iter::once(-700 * 24 * HOUR));
    print("one document two years back: repairing", run(&manager, &ends, "sensor"));
    println!("  pages written: {}", manager.get("sensor").unwrap().stats().index_total() - before);

    // Verification, beside reading the same raw documents with the same groups.
    let context = JobContext::new(job("sensor"), &[TermsType::Keyword]);
    let read = || {
        let request = ScanRequest::new(Arc::clone(context.layout().grouping())).page_size(10_000);
        let stop = StopSignal::never();
        let mut stream = engine.scan(&context, context.config().index_pattern(), request, &stop).unwrap();
        let mut groups = 0;
        loop {
            let page = stream.next_page(&stop).unwrap();
            if page.is_empty() {
                break groups;
            }
            groups += page.len();
        }
    };
    let (groups, scanned) = timed(read);
    let (found, verified) = timed(|| manager.verify("sensor", &VerifyOptions::new()).unwrap());
    assert!(found.is_right(), "{found}");
    print(&format!("scan, {groups} groups"), scanned);
    print("verifying", verified);
    println!("  as a multiple of the scan: {:.2} (CPU {:.2})", verified[0] / scanned[0], verified[1] / scanned[1]);
}

criterion_group!(benches, late);
criterion_main!(benches);
