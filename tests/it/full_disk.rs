//! What passes by itself. A disk that was full once and has room again: redb refuses everything after its first I/O
//! error, so the store opens its file again. A process that had too many files open: the run tries again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollup_jobs::engine::tantivy::{RollupPlace, RollupStorage, TantivyEngine, TantivyOptions};
use rollup_jobs::store::{JobStore, MemoryStore, RedbStore};
use rollup_jobs::{JobState, RetryOptions, RollupJobManager, RunOutcome, StopError};

use crate::disk::{Before, Disk, StorageCall};
use crate::support::{Heard, Watcher, config, loaded, readings, records, undisturbed, waiting};
use crate::tantivy_harness::{read_rollup, sensor_index};

#[test]
fn a_store_whose_disk_was_full_goes_on_when_there_is_room() {
    // Wherever in a save the disk is full.
    for change in 1.. {
        let disk = Disk::default();
        let store = Arc::new(disk.store().unwrap());
        let manager = RollupJobManager::builder(Arc::new(loaded()), store.clone()).open().unwrap();
        manager.put(config("sensor").build().unwrap()).unwrap();
        manager.start("sensor").unwrap();
        disk.full_from(disk.changes() + change);
        let stopped = manager.stop("sensor", waiting());
        let was_refused = stopped.is_err();
        if was_refused {
            assert!(matches!(stopped, Err(StopError::Store { .. })), "{stopped:?}");
            assert!(manager.stop("sensor", waiting()).is_err(), "it is still full");
            assert!(manager.put(config("other").build().unwrap()).is_err(), "for everybody");
        }
        disk.make_room();
        assert!(manager.stop("sensor", waiting()).unwrap().is_at_rest(), "full at change {change}");
        manager.put(config("another").build().unwrap()).unwrap();
        manager.start("another").unwrap();
        let records = records(&*store);
        assert_eq!(records.len(), 2);
        drop(manager);
        let again = RollupJobManager::builder(Arc::new(loaded()), store).open().unwrap();
        let states = ["another", "sensor"].map(|id| again.get(id).unwrap().state());
        assert_eq!(states, [JobState::Started, JobState::Stopped], "full at change {change}");
        if !was_refused {
            assert!(change > 2, "the whole save was tried");
            return;
        }
    }
}

/// Nobody else gets in while the file is opened again, nor by the way that it is held.
#[test]
fn the_file_stays_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let store = RedbStore::open(&path).unwrap();
    assert!(RedbStore::open(&path).unwrap_err().to_string().ends_with("only one process can have it"));
    assert!(store.load().unwrap().is_empty());
    drop(store);
    RedbStore::open(&path).unwrap();
}

/// As if too many files were open, for some calls.
fn few_files(refusals: &Arc<AtomicUsize>) -> Arc<dyn RollupStorage> {
    const EMFILE: i32 = 24;
    let refusals = Arc::clone(refusals);
    let before = move |call, _: &RollupPlace| {
        let one_less = |left: usize| left.checked_sub(1);
        let opens = matches!(call, StorageCall::Open | StorageCall::Create);
        if opens && refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        Ok(())
    };
    Arc::new(Before { disk: Disk::default(), before })
}

#[test]
fn a_run_goes_on_when_there_are_files_again() {
    let source = sensor_index(readings());
    let (refusals, store) = (Arc::<AtomicUsize>::default(), Arc::new(MemoryStore::new()));
    let files = few_files(&refusals);
    let open = || {
        let engine = Arc::new(TantivyEngine::on(Arc::clone(&files), TantivyOptions::new()));
        engine.register("sensor-1", &source).unwrap();
        let watcher: Arc<Watcher> = Arc::default();
        let retry = RetryOptions::new().initial_delay(Duration::from_millis(1));
        let builder = RollupJobManager::builder(Arc::clone(&engine) as _, Arc::clone(&store) as _);
        (engine, builder.retry(retry).observer(watcher.clone()).open().unwrap(), watcher)
    };
    let (_, manager, _) = open();
    manager.put(config("sensor").build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    drop(manager);

    // An engine that has not opened the rollup index yet.
    let (engine, manager, watcher) = open();
    refusals.store(2, Ordering::SeqCst);
    manager.trigger("sensor").unwrap();
    let run = watcher.wait_for(&manager, "the run", || {
        let of_run = |heard| if let Heard::Run(_, run) = heard { Some(run) } else { None };
        watcher.heard().into_iter().find_map(of_run)
    });
    assert_eq!(run.outcome, RunOutcome::Finished);
    let errors = manager.get("sensor").unwrap().last_errors().to_vec();
    assert!(errors.len() == 2 && errors.iter().all(rollup_jobs::JobError::is_transient), "{errors:?}");
    assert_eq!(read_rollup(&engine.rollup_index("rolled", "sensor").unwrap().unwrap()), undisturbed("sensor"));
}
