//! A rollup index of the embedded engine goes while others read it.

use std::sync::{Arc, Barrier};

use rollup_jobs::engine::tantivy::{RollupPlace, RollupStorage, TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{CommittedProgress, EngineErrorKind, JobContext, RollupIndex, StopSignal};

use crate::disk::{Before, Disk, StorageCall};
use crate::support::{config, in_thread};

#[test]
fn an_index_that_is_being_removed_is_not_opened_again() {
    let [begun, go_on] = [(); 2].map(|()| Arc::new(Barrier::new(2)));
    let disk = Disk::default();
    let wait_to_remove = {
        let (disk, begun, go_on) = (disk.clone(), Arc::clone(&begun), Arc::clone(&go_on));
        move |call, place: &RollupPlace| {
            if call == StorageCall::Remove && disk.exists(place) {
                begun.wait();
                go_on.wait();
            }
            Ok(())
        }
    };
    let engine = TantivyEngine::on(Arc::new(Before { disk, before: wait_to_remove }), TantivyOptions::new());
    let job = JobContext::new(config("sensor").build().unwrap(), &[]);
    engine.prepare(&job).unwrap();
    let before = engine.snapshot_rolled_up(&job, &StopSignal::never()).unwrap().unwrap();

    let removing = in_thread({
        let (engine, job) = (engine.clone(), job.clone());
        move || engine.remove(&job)
    });
    begun.wait();
    let found = engine.snapshot_rolled_up(&job, &StopSignal::never());
    assert_eq!(found.unwrap_err().kind(), EngineErrorKind::NotFound);
    assert!(matches!(engine.committed_progress(&job).unwrap(), CommittedProgress::Kept(None)));
    assert!(engine.rollup_index("rolled", "sensor").unwrap().is_none());
    go_on.wait();
    removing.join().unwrap().unwrap();

    drop(before);
    engine.prepare(&job).unwrap();
    engine.snapshot_rolled_up(&job, &StopSignal::never()).unwrap();
}
