//! A year of weather readings is rolled up to one document per station and day, stopped in the middle, resumed from
//! disk, searched, checked against the raw data, and asked again when that is dropped.
//!
//! ```text
//! cargo run --example sensor --all-features
//! ```

mod readings;
mod report;

use std::error::Error;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::{Index, IndexWriter};
use rollup_jobs::store::RedbStore;
use rollup_jobs::{
    DateHistogram, JobState, Metric, Observer, RollupJobConfig, RollupJobManager, RunEnded, StopOptions, TurnEnded,
    VerifyOptions,
};

/// Three stations on 364 local days.
const BUCKETS: u64 = 1_092;
const PAGE_SIZE: u32 = 30;
const TURNS: u64 = BUCKETS.div_ceil(PAGE_SIZE as u64);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (source, raw) = readings::load(&folder.path().join("sensor-2013"))?;
    println!("1. Loaded {} hourly readings of {} stations into a tantivy index.", raw.readings(), raw.stations());

    let (progress, turns) = Progress::new();
    let bar = progress.bar.clone();
    let manager = open(folder.path(), &source, progress)?;
    manager.put(config()?)?;
    manager.start("sensor")?;
    println!("2. Put and started the job [sensor]: a document per station and local day.");
    println!("   Triggered a run of {TURNS} turns.");
    manager.trigger("sensor")?;

    // After a third of the turns somebody stops it: no sleep, the observer says when.
    while turns.recv()? < TURNS / 3 {}
    let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
    let answer = manager.stop("sensor", options)?;
    bar.finish_and_clear();
    let status = manager.get("sensor").ok_or("the job is gone")?;
    println!("3. Stopped it in the middle of run {}: at rest and durable: {}.", answer.run(), answer.is_at_rest());
    let position = status.position().ok_or("nothing was rolled up")?;
    let written = status.stats().rollups_indexed();
    println!("   {written} of {BUCKETS} documents are written; it will go on after {}.", report::place(position)?);
    drop(manager);

    let (progress, turns) = Progress::new();
    let manager = open(folder.path(), &source, progress)?;
    let restored = manager.get("sensor").ok_or("the job was forgotten")?;
    assert_eq!((restored.state(), restored.position()), (JobState::Stopped, Some(position)));
    manager.start("sensor")?;
    manager.trigger("sensor")?;
    // The channel ends with the run.
    while turns.recv().is_ok() {}
    let rolled_up = manager.get("sensor").ok_or("the job is gone")?.stats().rollups_indexed();
    println!("4. Opened everything from disk again: still stopped, same position.");
    println!("   Resumed, and finished: {rolled_up} documents.\n");

    let days = report::read(&manager)?;
    report::table_by_month(&days);
    report::picture_of_the_year(&days);

    println!("5. Asked for the warmest station of each summer month, from six in the morning of June 1st on:");
    report::ask(&manager)?;

    drop_raw(&manager, &source)?;

    let _ = manager.stop("sensor", StopOptions::new().wait_for_completion(true))?;
    manager.delete("sensor")?;
    println!("7. Stopped and deleted the job; its {} documents stay.\n", days.len());
    raw.check(&days)?;
    println!("Rolled totals equal raw totals: {} readings, every station and field.", raw.readings());
    Ok(())
}

/// Drops the raw readings, which are all rolled up: the same question still has the same answer.
fn drop_raw(manager: &RollupJobManager, source: &Index) -> Result<(), Box<dyn Error>> {
    let before = report::means_by_month(manager)?;
    let found = manager.verify("sensor", &VerifyOptions::new())?;
    let safe = manager.safe_to_drop_before("sensor-2013")?.before.ok_or("nothing may go")?;
    manager.seal_before("sensor-2013", safe)?;
    let mut writer: IndexWriter = source.writer(15_000_000)?;
    writer.delete_all_documents()?;
    writer.commit()?;
    assert_eq!(report::means_by_month(manager)?, before);
    println!("6. Verified it ({found}).");
    println!("   Sealed and dropped the raw readings: the means of {} months and stations stay.\n", before.len());
    Ok(())
}

fn open(folder: &Path, source: &Index, progress: Progress) -> Result<RollupJobManager, Box<dyn Error>> {
    let engine = TantivyEngine::open(folder.join("rollups"))?;
    engine.register("sensor-2013", source)?;
    let store = RedbStore::open(folder.join("jobs.redb"))?;
    let manager = RollupJobManager::builder(Arc::new(engine), Arc::new(store))
        // A turn is one page here, so that there is something to watch; the default is half a second of pages.
        .turn_time(Duration::ZERO)
        .observer(Arc::new(progress))
        .open()?;
    Ok(manager)
}

fn config() -> Result<RollupJobConfig, rollup_jobs::ConfigError> {
    RollupJobConfig::builder("sensor")
        .index_pattern("sensor-*")
        .rollup_index("sensor_daily")
        .cron("0 0 4 * * ?")
        .page_size(PAGE_SIZE)
        .date_histogram(DateHistogram::calendar_interval("timestamp", "1d").time_zone("America/New_York"))
        .terms(["node"])
        .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::ValueCount])
        .metric("humidity", [Metric::Avg])
        .metric("wind_speed", [Metric::Max, Metric::Avg])
        .metric("precip", [Metric::Sum, Metric::Max])
        .metric("pressure", [Metric::Min, Metric::Max, Metric::ValueCount])
        .build()
}

/// Draws a progress bar, and tells the main thread of each turn.
struct Progress {
    bar: ProgressBar,
    turns: Mutex<Option<Sender<u64>>>,
}

impl Progress {
    fn new() -> (Self, Receiver<u64>) {
        let bar = ProgressBar::new(BUCKETS);
        let style = ProgressStyle::with_template("   {bar:40} {pos}/{len} documents");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (sender, turns) = channel();
        (Self { bar, turns: Mutex::new(Some(sender)) }, turns)
    }
}

impl Observer for Progress {
    fn turn_ended(&self, _: &str, turn: &TurnEnded) {
        self.bar.set_position(turn.stats.rollups_indexed());
        if let Ok(Some(turns)) = self.turns.lock().as_deref() {
            // Nobody listens any more once the job is being stopped.
            let _ = turns.send(turn.turn);
        }
    }

    fn run_ended(&self, _: &str, _: &RunEnded) {
        self.bar.finish_and_clear();
        if let Ok(mut turns) = self.turns.lock() {
            turns.take();
        }
    }
}
