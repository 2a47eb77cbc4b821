//! The job file: who may open it, and what a record that cannot be read does to the others.

use std::fs;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, TableDefinition};
use rollup_jobs::store::{OpenRedbError, RedbStore};
use rollup_jobs::{HealthColor, JobState, RollupJobManager, StartError, StopError, StopOptions};

use crate::support::{config, loaded};

const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rollup_jobs");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("rollup_meta");

#[test]
fn a_file_that_is_open_already_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let first = RedbStore::open(&path).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(OpenRedbError::InUse { .. })));
    drop(first);
    RedbStore::open(&path).unwrap();
}

/// A crash while the file was created left what redb takes for a damaged one, and the host could not open its store
/// any more. Now the file gets its name when it is whole.
#[test]
fn a_crash_while_the_file_is_created_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let left = format!("jobs.redb.new-{}", std::process::id());
    fs::write(folder.path().join(left), vec![0; 100_000]).unwrap();
    drop(RedbStore::open(&path).unwrap());
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["jobs.redb"]);
    RedbStore::open(&path).unwrap();
}

/// Its folder is the one that the process is in.
#[test]
fn a_file_may_be_named_without_a_folder() {
    let name = format!("bare-name-{}.redb", std::process::id());
    let _removed_at_the_end = tempfile::TempPath::try_from_path(&name).unwrap();
    drop(RedbStore::open(&name).unwrap());
    assert!(fs::exists(&name).unwrap());
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    drop(RedbStore::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", 2).unwrap();
    write.commit().unwrap();
    drop(database);
    let Err(OpenRedbError::NewerFormat { found: 2, .. }) = RedbStore::open(&path) else { panic!("refused") };
    let database = Database::open(&path).unwrap();
    let read = database.begin_read().unwrap();
    assert_eq!(redb::ReadableTable::get(&read.open_table(META).unwrap(), "format").unwrap().unwrap().value(), 2);
}

#[test]
fn a_damaged_file_and_one_that_is_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    fs::write(&path, "these are not the jobs you are looking for".repeat(500)).unwrap();
    let error = RedbStore::open(&path).unwrap_err();
    assert!(matches!(error, OpenRedbError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("jobs.redb is damaged, or is no job store"));
    let missing = folder.path().join("no/such/folder/jobs.redb");
    assert!(matches!(RedbStore::open(missing), Err(OpenRedbError::Io { .. })));
}

#[test]
fn a_record_that_cannot_be_read_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let open = || {
        let store = RedbStore::open(&path).unwrap();
        RollupJobManager::builder(Arc::new(loaded()), Arc::new(store)).indexer_threads(1).open().unwrap()
    };
    let manager = open();
    for id in ["whole", "torn", "newer"] {
        manager.put(config(id).build().unwrap()).unwrap();
    }
    drop(manager);
    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut jobs = write.open_table(JOBS).unwrap();
        jobs.insert("torn", b"{\"format\": 1, \"conf".as_slice()).unwrap();
        jobs.insert("newer", b"{\"format\": 9}".as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(database);

    let manager = open();
    let healths: Vec<_> = manager.list().iter().map(|s| (s.id().to_owned(), s.health().color())).collect();
    let expected = [("newer", HealthColor::Red), ("torn", HealthColor::Red), ("whole", HealthColor::Green)];
    assert_eq!(healths, expected.map(|(id, color)| (id.to_owned(), color)));
    let status = manager.get("newer").unwrap();
    assert!(status.config().is_none());
    assert_eq!(status.state(), JobState::Stopped);
    assert!(
        status.health().reason().unwrap().contains("has format 9, this version reads up to 2"),
        "{:?}",
        status.health()
    );
    assert!(matches!(manager.start("torn"), Err(StartError::Unreadable { .. })));
    assert!(matches!(manager.stop("torn", StopOptions::new()), Err(StopError::Unreadable { .. })));
    manager.start("whole").unwrap();
    manager.delete("torn").unwrap();
    manager.put(config("torn").rollup_index("other").build().unwrap()).unwrap();
    drop(manager);
    assert_eq!(open().list().len(), 3);
}
