//! What a run costs the job store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::store::{JobStore, JobStoreAdapter, MemoryStore, StoreError};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{JobRecord, JobState, Ledger, RollupJobManager};

use crate::noticing::late;
use crate::support::{HOUR, NOW, Watcher, config, now};
use crate::tantivy_harness::{FIELDS, Written};

/// Counts what is written.
#[derive(Debug, Default)]
struct Counting {
    inner: MemoryStore,
    records: AtomicUsize,
    ledgers: AtomicUsize,
    marks: AtomicUsize,
}

impl JobStoreAdapter for Counting {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        self.records.fetch_add(1, Ordering::SeqCst);
        self.inner.update(records)
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        self.ledgers.fetch_add(1, Ordering::SeqCst);
        self.inner.replace_ledger(index, ledger)
    }

    fn put_marks(&self, marks: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        self.marks.fetch_add(1, Ordering::SeqCst);
        self.inner.put_marks(marks)
    }
}

impl Counting {
    fn counts(&self) -> [usize; 3] {
        [&self.records, &self.ledgers, &self.marks].map(|count| count.load(Ordering::SeqCst))
    }
}

/// That changes are noticed costs a run no write of its own where nothing has changed but what is new, but for what was
/// seen, once in five minutes.
#[test]
fn a_run_that_finds_only_what_is_new_writes_its_record_and_no_more() {
    let mut host = Written::new(&FIELDS);
    host.commit([late(0, "first")]);
    let engine = TantivyEngine::in_ram();
    engine.register("sensor-1", &host.index).unwrap();
    let store = Arc::new(Counting::default());
    let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
    let watcher: Arc<Watcher> = Arc::default();
    let builder = RollupJobManager::builder(Arc::new(engine), Arc::clone(&store) as _).clock(Arc::clone(&clock) as _);
    let manager = builder.observer(Arc::clone(&watcher) as _).open().unwrap();
    manager.put(config("sensor").build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    let run = || {
        let before = store.counts();
        manager.trigger("sensor").unwrap();
        watcher.wait_for(&manager, "the end of a run", || {
            (manager.get("sensor").unwrap().state() == JobState::Started).then_some(())
        });
        let after = store.counts();
        [0, 1, 2].map(|at| after[at] - before[at])
    };
    run();
    let hour = now() / HOUR;
    for number in 0..4 {
        host.commit([late(hour + number, &format!("in-time-{number}"))]);
        clock.advance(Duration::from_hours(1));
        // What was seen is written once five minutes have passed since it was, by the next run.
        assert_eq!(run(), [1, 0, usize::from(number % 2 == 0)]);
        assert_eq!(run(), [0, 0, 0], "nothing is new");
    }
}
