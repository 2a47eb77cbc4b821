//! Kill the process at fifty moments of a run, reopen, resume: the final documents are those of an undisturbed run,
//! none missing, none double. On tantivy and redb, over more than a million rows.
//!
//! The child reports the turns of its run; the parent kills it right after a report, or a little after one, inside
//! the next turn.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexReader, IndexWriter, ReloadPolicy, doc};
use rollup_jobs::store::RedbStore;
use rollup_jobs::{DateHistogram, JobState, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded, TurnEnded};

use crate::child_process::{self, report, start};

const ROWS: i64 = 1_050_000;
const KILLS: usize = 50;

/// Rows a second apart of fifty nodes: 24,000 buckets or so.
fn build_source(folder: &Path) {
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let node = schema.add_text_field("node", STRING | FAST);
    let temperature = schema.add_f64_field("temperature", FAST);
    let index = Index::create_in_dir(folder, schema.build()).unwrap();
    let mut writer: IndexWriter = index.writer_with_num_threads(2, 100_000_000).unwrap();
    for n in 0..ROWS {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let value = (n * 7919 % 1_000) as f64 / 8.0;
        let at = DateTime::from_timestamp_millis(n * 1_000);
        writer.add_document(doc!(timestamp => at, node => format!("n{}", n * n % 97), temperature => value)).unwrap();
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
}

fn config() -> RollupJobConfig {
    RollupJobConfig::builder("sensor")
        .index_pattern("sensor")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(250)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "30m"))
        .terms(["node"])
        .metric("temperature", Metric::ALL.iter().copied())
        .build()
        .unwrap()
}

/// Says what happens on standard output, a line each. Between two turns it waits for a line from the parent: it holds
/// the only indexer thread, so that nothing happens meanwhile.
struct Reporter(Mutex<Sender<()>>);

impl Observer for Reporter {
    fn turn_ended(&self, _: &str, turn: &TurnEnded) {
        report(&format!("turn {}", turn.stats.rollups_indexed()));
        let mut line = String::new();
        let _ = std::io::stdin().read_line(&mut line);
    }

    fn run_ended(&self, _: &str, _: &RunEnded) {
        let _ = self.0.lock().unwrap().send(());
    }
}

/// What the child does: opens everything that is on disk, and runs the job to its end. Does nothing in a test run of
/// its own.
#[test]
fn child() {
    let Some((folder, _)) = child_process::task() else { return };
    let folder = &*folder;
    let source = Index::open_in_dir(folder.join("source")).unwrap();
    let engine = Arc::new(TantivyEngine::open(folder.join("rollups")).unwrap());
    engine.register("sensor", &source).unwrap();
    let store = Arc::new(RedbStore::open(folder.join("jobs.redb")).unwrap());
    let (ended, end) = channel();
    let manager = RollupJobManager::builder(engine, store)
        .indexer_threads(1)
        .turn_time(Duration::ZERO)
        .observer(Arc::new(Reporter(Mutex::new(ended))))
        .open()
        .unwrap();
    if manager.get("sensor").is_none() {
        manager.put(config()).unwrap();
    }
    manager.start("sensor").unwrap();
    report("begin");
    // A job that was found indexing runs already.
    let _ = manager.trigger("sensor");
    end.recv().unwrap();
    assert_eq!(manager.get("sensor").unwrap().state(), JobState::Started);
    assert!(manager.get("sensor").unwrap().last_errors().is_empty());
    report("end");
}

/// Passes without a sleep: the kill falls somewhere inside the turn that is under way.
#[expect(clippy::disallowed_methods, reason = "a moment inside a turn is a matter of real time")]
fn spin_for(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

type Documents = BTreeMap<String, (i64, i64, Vec<u64>)>;

/// All rolled-up documents by id, with their values bit for bit. One that is there twice is a failure.
fn documents(folder: &Path) -> Documents {
    let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
    let index = engine.rollup_index("rolled", "sensor").unwrap().expect("a rollup index");
    let reader: IndexReader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().unwrap();
    let mut documents = Documents::new();
    for segment in reader.searcher().segment_readers() {
        let fast = segment.fast_fields();
        let id = fast.str("_id").unwrap().unwrap();
        let date = fast.date("timestamp.date_histogram.timestamp").unwrap();
        let count = fast.i64("node.terms._count").unwrap();
        let parts = Metric::ALL.iter().flat_map(|metric| metric.parts());
        let values: Vec<_> = parts.map(|part| fast.f64(&format!("temperature.{}", part.name())).unwrap()).collect();
        // A date bucket that two snapshots have had a part in was rolled up again.
        for doc in segment.doc_ids_alive() {
            let mut name = String::new();
            id.ord_to_str(id.term_ords(doc).next().unwrap(), &mut name).unwrap();
            let bits = values.iter().map(|column| column.first(doc).unwrap().to_bits()).collect();
            let at = date.first(doc).unwrap().into_timestamp_millis();
            let document = (at, count.first(doc).unwrap(), bits);
            assert!(documents.insert(name.clone(), document).is_none(), "[{name}] is there twice");
        }
    }
    documents
}

#[test]
fn killed_at_fifty_moments_nothing_is_missing_and_nothing_is_double() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    build_source(&source);
    let place = |name: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(&source, place.join("source")).unwrap();
        place
    };

    let undisturbed = place("undisturbed");
    let mut running = start("fifty::child", &undisturbed, "");
    while running.next() != "begin" {}
    #[expect(clippy::disallowed_methods, reason = "how long a turn takes decides when to kill")]
    let began = Instant::now();
    let mut turns = 0_u32;
    while running.next() != "end" {
        turns += 1;
        running.go_on();
    }
    let turn_time = began.elapsed() / turns;
    running.finish();
    let expected = documents(&undisturbed);
    assert!(turns > 60 && expected.len() > 10_000, "{turns} turns, {} documents", expected.len());

    // Each kill comes a few turns after the last: half of them between two turns, half inside one, each a tenth of a
    // turn later in it, so that all parts of a turn are met. A run that was killed goes on; when one has ended, the
    // next begins in a new place.
    let (mut kills, mut between, mut inside, mut round) = (0, 0, 0, 0);
    while kills < KILLS {
        round += 1;
        let killed = place(&format!("killed-{round}"));
        loop {
            let mut running = start("fifty::child", &killed, "");
            let mut reports = 1 + kills % 4;
            let ended = loop {
                match running.next().as_str() {
                    "end" => break true,
                    line if line.starts_with("turn") => reports -= usize::from(reports > 0),
                    _ => continue,
                }
                if kills < KILLS && reports == 0 {
                    break false;
                }
                running.go_on();
            };
            if ended {
                running.finish();
                break;
            }
            if kills % 2 == 0 {
                between += 1;
            } else {
                running.go_on();
                spin_for(turn_time * u32::try_from(kills / 2 % 10).unwrap() / 10);
                inside += usize::from(!running.lines.try_iter().any(|line| line == "end"));
            }
            running.kill();
            kills += 1;
            let so_far = documents(&killed);
            assert!(!so_far.is_empty(), "the kill came after the first write");
            for (id, document) in &so_far {
                assert_eq!(Some(document), expected.get(id), "{id} after kill {kills}");
            }
        }
        assert_eq!(documents(&killed), expected, "after {kills} kills");
    }
    assert!(between + inside >= 40, "only {between} + {inside} of {KILLS} kills fell between first write and end");
    println!(
        "{kills} kills in {round} runs of {turns} turns: {between} between turns, {inside} inside one; {} documents",
        expected.len()
    );
}
