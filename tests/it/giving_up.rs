//! A stop makes a writer give up what would keep somebody waiting, and a later run does that again.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::GatedEngine;
use rollup_jobs::{JobState, RollupJobManager, StopOptions};

use crate::support::{Heard, Watcher, config, readings, undisturbed, waiting};
use crate::tantivy_harness::{read_rollup, sensor_index};

/// Stops a run of thirty documents, in pages of three, that has written 21 of them, and lets a later run come to the
/// end. The stop leaves so many.
fn stopped_with(writer_memory: usize, left: RangeInclusive<u64>) {
    let engine = Arc::new(TantivyEngine::in_ram_with(TantivyOptions::new().writer_memory(writer_memory)));
    engine.register("sensor-1", &sensor_index(readings())).unwrap();
    let gates = GatedEngine::new(engine.clone());
    let watcher: Arc<Watcher> = Arc::default();
    let builder = RollupJobManager::builder(Arc::new(gates.clone()), Arc::new(MemoryStore::new()));
    let builder = builder.observer(watcher.clone()).indexer_threads(1).turn_time(std::time::Duration::MAX);
    let manager = builder.open().unwrap();
    manager.put(config("sensor").page_size(3).build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    gates.write().close();
    gates.write().let_through(7);
    manager.trigger("sensor").unwrap();
    gates.write().wait_for_waiting(1);
    assert!(!manager.stop("sensor", StopOptions::new()).unwrap().is_at_rest());
    gates.write().open();
    assert!(manager.stop("sensor", waiting()).unwrap().is_at_rest());

    let status = manager.get("sensor").unwrap();
    assert_eq!(status.state(), JobState::Stopped);
    let kept = status.stats().rollups_indexed();
    assert!(left.contains(&kept), "{kept} of 21");
    let rolled_up = || read_rollup(&engine.rollup_index("rolled", "sensor").unwrap().unwrap());
    assert_eq!(rolled_up().len() as u64, kept);
    let everything = undisturbed("sensor");
    assert!(rolled_up().iter().all(|(id, document)| everything.get(id) == Some(document)));

    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    watcher.wait_for(&manager, "the run", || {
        watcher.heard().iter().filter(|heard| matches!(heard, Heard::Run(..))).nth(1).map(|_| ())
    });
    assert_eq!(rolled_up(), everything);
    assert_eq!(manager.get("sensor").unwrap().stats().rollups_indexed(), 30);
}

#[test]
fn what_is_no_segment_yet_is_given_up() {
    stopped_with(1 << 16, 0..=0);
}

#[test]
fn a_little_is_written_down_so_that_a_job_comes_on_however_often_it_is_stopped() {
    stopped_with(1 << 18, 3..=18);
}

#[test]
fn what_is_a_segment_is_kept() {
    stopped_with(1, 15..=18);
}

#[test]
fn what_is_soon_written_is_kept() {
    stopped_with(64 << 20, 21..=21);
}
