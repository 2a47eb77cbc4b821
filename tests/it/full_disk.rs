//! A disk that was full once and has room again: redb refuses everything after its first I/O error, so the store
//! opens its file again.

use std::sync::Arc;

use rollup_jobs::store::{JobStore, RedbStore};
use rollup_jobs::{JobState, RollupJobManager, StopError};

use crate::disk::Disk;
use crate::support::{config, loaded, records, waiting};

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
