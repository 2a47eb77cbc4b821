//! A rollup index of the embedded engine goes while others read it.

use std::io;
use std::sync::{Arc, Barrier};

use rollup_jobs::engine::tantivy::tantivy::Directory;
use rollup_jobs::engine::tantivy::{RollupPlace, RollupStorage, TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{CommittedProgress, EngineErrorKind, JobContext, RollupIndex, StopSignal};

use crate::disk::Disk;
use crate::support::{config, in_thread};

/// Removes nothing until it is told to.
#[derive(Debug)]
struct SlowToRemove {
    disk: Disk,
    begun: Barrier,
    go_on: Barrier,
}

impl RollupStorage for SlowToRemove {
    fn holds(&self, rollup_index: &str) -> bool {
        self.disk.holds(rollup_index)
    }

    fn exists(&self, place: &RollupPlace) -> bool {
        self.disk.exists(place)
    }

    fn open(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        self.disk.open(place)
    }

    fn create(&self, place: &RollupPlace) -> io::Result<Box<dyn Directory>> {
        self.disk.create(place)
    }

    fn remove(&self, place: &RollupPlace) -> io::Result<()> {
        if self.disk.exists(place) {
            self.begun.wait();
            self.go_on.wait();
        }
        self.disk.remove(place)
    }

    fn describe(&self, place: &RollupPlace) -> String {
        self.disk.describe(place)
    }
}

#[test]
fn an_index_that_is_being_removed_is_not_opened_again() {
    let storage = SlowToRemove { disk: Disk::default(), begun: Barrier::new(2), go_on: Barrier::new(2) };
    let storage = Arc::new(storage);
    let engine = TantivyEngine::on(Arc::clone(&storage) as _, TantivyOptions::new());
    let job = JobContext::new(config("sensor").build().unwrap(), &[]);
    engine.prepare(&job).unwrap();
    let before = engine.snapshot_rolled_up(&job, &StopSignal::never()).unwrap().unwrap();

    let removing = in_thread({
        let (engine, job) = (engine.clone(), job.clone());
        move || engine.remove(&job)
    });
    storage.begun.wait();
    let found = engine.snapshot_rolled_up(&job, &StopSignal::never());
    assert_eq!(found.unwrap_err().kind(), EngineErrorKind::NotFound);
    assert!(matches!(engine.committed_progress(&job).unwrap(), CommittedProgress::Kept(None)));
    assert!(engine.rollup_index("rolled", "sensor").unwrap().is_none());
    storage.go_on.wait();
    removing.join().unwrap().unwrap();

    drop(before);
    engine.prepare(&job).unwrap();
    engine.snapshot_rolled_up(&job, &StopSignal::never()).unwrap();
}
