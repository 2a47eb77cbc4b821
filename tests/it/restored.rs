//! A rollup index that was restored from a copy: what was rolled up again since is not in it, and nobody remembers what
//! that was.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::RollupJobManager;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{SearchRequest, Tier};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::ManualClock;

use crate::former_formats::copy;
use crate::noticing::{late, open, run};
use crate::support::{HOUR, NOW, PATIENCE, Watcher, config, now, readings, waiting};
use crate::tantivy_harness::{FIELDS, Written};

/// Ten hours of readings, rolled up below a folder.
struct World {
    host: Written,
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let mut host = Written::new(&FIELDS);
        host.commit(readings().enumerate().map(|(number, reading)| reading.keyword("id", &number.to_string())));
        let clock = Arc::new(ManualClock::at(NOW.parse::<Timestamp>().unwrap()));
        Self { host, folder: tempfile::tempdir().unwrap(), store: Arc::default(), clock }
    }

    fn rollups(&self) -> PathBuf {
        self.folder.path().join("rollups")
    }

    /// Opens a manager, has it work, and closes it.
    fn with_manager(&mut self, work: impl FnOnce(&mut Written, &RollupJobManager, &Watcher)) {
        let engine = TantivyEngine::open(self.rollups()).unwrap();
        engine.register("sensor-1", &self.host.index).unwrap();
        let (manager, watcher) = open(Arc::new(engine), &self.store, &self.clock);
        if manager.get("sensor").is_none() {
            manager.put(config("sensor").build().unwrap()).unwrap();
        }
        manager.start("sensor").unwrap();
        work(&mut self.host, &manager, &watcher);
        assert!(manager.stop("sensor", waiting()).unwrap().is_at_rest());
        manager.shutdown(PATIENCE).unwrap();
    }

    fn keep_copy(&self, name: &str) {
        copy(&self.rollups(), &self.folder.path().join(name));
    }

    fn restore(&self, name: &str) {
        fs::remove_dir_all(self.rollups()).unwrap();
        copy(&self.folder.path().join(name), &self.rollups());
    }
}

fn total(manager: &RollupJobManager) -> u64 {
    manager.search(&SearchRequest::new("sensor-*")).unwrap().total().unwrap()
}

fn rolled_up(manager: &RollupJobManager) -> u64 {
    manager.rolled_up("sensor").unwrap().map(|row| row.unwrap().doc_count()).sum()
}

fn reads_rolled_up(manager: &RollupJobManager) -> bool {
    let plan = manager.plan(&SearchRequest::new("sensor-*")).unwrap();
    plan.parts.iter().any(|part| part.tier == Tier::RolledUp)
}

/// The job stands where it stood: only what was repaired is not there.
#[test]
fn what_was_repaired_since_is_repaired_again() {
    let mut world = World::new();
    world.with_manager(|_, manager, watcher| run(manager, watcher));
    world.keep_copy("before");
    world.with_manager(|host, manager, watcher| {
        host.commit([late(3, "x")]);
        // Once to repair, and once to forget what was noted.
        run(manager, watcher);
        run(manager, watcher);
        assert_eq!((total(manager), rolled_up(manager)), (61, 61));
    });
    assert_eq!(world.store.ledger("sensor-1").unwrap().notes, []);
    world.restore("before");
    world.with_manager(|_, manager, watcher| {
        assert_eq!((total(manager), rolled_up(manager)), (61, 60));
        assert!(!reads_rolled_up(manager), "nobody knows what of it is right");
        run(manager, watcher);
        let notice = manager.get("sensor").unwrap().notice().unwrap().text().to_owned();
        assert_eq!(notice, "the rollup index was restored from a copy: what it has is rolled up again");
        assert_eq!((total(manager), rolled_up(manager)), (61, 61));
        assert!(reads_rolled_up(manager));
        // That is over then.
        let read_again = || manager.get("sensor").unwrap().late_documents().read_again;
        let before = read_again();
        run(manager, watcher);
        assert_eq!(read_again(), before);
    });
}

/// A copy of a time when less was rolled up: the job goes on there, and what was repaired below is repaired again.
#[test]
fn an_older_copy_is_gone_on_with() {
    let mut world = World::new();
    world.with_manager(|_, manager, watcher| run(manager, watcher));
    world.keep_copy("before");
    world.clock.advance(Duration::from_hours(2));
    world.with_manager(|host, manager, watcher| {
        host.commit([late(3, "x"), late(now() / HOUR, "y")]);
        run(manager, watcher);
        run(manager, watcher);
        assert_eq!(rolled_up(manager), 62);
    });
    world.restore("before");
    world.with_manager(|_, manager, watcher| {
        assert_eq!((total(manager), rolled_up(manager)), (62, 60));
        run(manager, watcher);
        assert_eq!((total(manager), rolled_up(manager)), (62, 62));
    });
}
