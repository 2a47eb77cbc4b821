//! Code that is not ours panics where nobody calls it: while an error becomes a text, or while something is dropped.
//! The end of a turn was outside its guard then: the job hung in `indexing, saving`, green, and an observer was never
//! told anything any more.

use std::fmt;
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rollup_jobs::engine::{
    Engine, EngineError, JobContext, PageStream, RollupIndex, RollupIndexAdapter, ScanRequest, Source, SourceAdapter,
    StopSignal,
};
use rollup_jobs::store::{JobStore, JobStoreAdapter, MemoryStore, StoreError};
use rollup_jobs::{
    HealthColor, IndexPattern, JobRecord, JobState, Observer, RollupJobManager, StateChange, StopError, StoredState,
};

use crate::support::{Watcher, World, config, loaded, waiting};

/// Panics whenever somebody looks at it, or lets it go, as it was made.
#[derive(Clone)]
struct Nasty {
    in_text: bool,
    in_drop: bool,
}

impl fmt::Debug for Nasty {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("planned panic in Debug");
    }
}

impl fmt::Display for Nasty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.in_text, "planned panic in Display");
        f.write_str("nasty")
    }
}

impl std::error::Error for Nasty {}

impl Drop for Nasty {
    fn drop(&mut self) {
        if self.in_drop && !std::thread::panicking() {
            panic_any(Payload);
        }
    }
}

/// The payload of a panic, which panics as it is dropped.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("planned panic in Drop");
    }
}

const ALL: [Nasty; 3] = [
    Nasty { in_text: true, in_drop: false },
    Nasty { in_text: false, in_drop: true },
    Nasty { in_text: true, in_drop: true },
];

/// Refuses to save with a nasty error, from the `from`-th update on, `times` times.
#[derive(Debug)]
struct NastyStore {
    inner: MemoryStore,
    updates: AtomicU64,
    from: u64,
    times: u64,
    error: fn() -> StoreError,
}

impl JobStoreAdapter for NastyStore {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let update = self.updates.fetch_add(1, Ordering::SeqCst);
        if (self.from..self.from + self.times).contains(&update) {
            return records.iter().map(|_| Err((self.error)())).collect();
        }
        self.inner.update(records)
    }
}

fn errors() -> [fn() -> StoreError; 4] {
    [
        || StoreError::unavailable(ALL[0].clone()),
        || StoreError::rejected(ALL[0].clone()),
        || StoreError::unavailable(ALL[1].clone()),
        || StoreError::rejected(ALL[2].clone()),
    ]
}

/// At whatever save of a run the store fails so: the run ends, a stop is answered, and the next run has everything.
#[test]
fn a_store_error_that_panics_ends_a_run_like_any_other() {
    for error in errors() {
        for from in 2..6 {
            let store =
                Arc::new(NastyStore { inner: MemoryStore::new(), updates: AtomicU64::new(0), from, times: 1, error });
            let watcher: Arc<Watcher> = Arc::default();
            let manager = RollupJobManager::builder(Arc::new(loaded()), store.clone())
                .turn_time(std::time::Duration::ZERO)
                .observer(watcher.clone())
                .open()
                .unwrap();
            manager.put(config("sensor").build().unwrap()).unwrap();
            manager.start("sensor").unwrap();
            manager.trigger("sensor").unwrap();
            watcher.wait_for(&manager, "the end of the run", || {
                let status = manager.get("sensor").unwrap();
                (status.state() == JobState::Started).then_some(())
            });
            watcher.wait_for(&manager, "the stop", || match manager.stop("sensor", waiting()) {
                Ok(stopped) => stopped.is_at_rest().then_some(()),
                Err(StopError::Store { .. }) => None,
                Err(error) => panic!("a stop is answered with {:?}", std::mem::discriminant(&error)),
            });
            assert_eq!(crate::support::records(&store.inner)[0].state(), StoredState::Stopped);
        }
    }
}

/// The end of a stop is saved when the last waiter is gone, and what the store has said before is dropped outside all
/// locks.
#[test]
fn a_stop_that_a_nasty_store_refused_is_saved_at_last() {
    for error in errors() {
        let (inner, updates) = (MemoryStore::new(), AtomicU64::new(0));
        let store = Arc::new(NastyStore { inner, updates, from: 2, times: 2, error });
        let manager = RollupJobManager::builder(Arc::new(loaded()), store.clone()).open().unwrap();
        manager.put(config("sensor").build().unwrap()).unwrap();
        manager.start("sensor").unwrap();
        let refused = manager.stop("sensor", waiting());
        assert!(matches!(refused, Err(StopError::Store { .. })));
        assert_eq!(manager.get("sensor").unwrap().health().color(), HealthColor::Red, "which needs the error's text");
        std::mem::forget(refused);
        let watcher = Watcher::default();
        watcher.wait_for(&manager, "the save", || {
            (manager.get("sensor").unwrap().state() == JobState::Stopped).then_some(())
        });
        assert_eq!(crate::support::records(&store.inner)[0].state(), StoredState::Stopped);
    }
}

/// An engine whose panic has a payload that panics, and one whose error does.
#[test]
fn an_engine_that_panics_twice_ends_its_run() {
    let data = loaded();
    for fault in 0..2 {
        let world = World::on(
            data.snapshot(),
            |engine| Arc::new(Throwing { engine, fault }),
            |builder| builder.retry(rollup_jobs::RetryOptions::new().attempts(1)),
        );
        world.put_started("sensor");
        let run = world.manager.trigger("sensor").unwrap().run();
        world.wait_for_end_of_run("sensor", run);
        assert_eq!(world.state("sensor"), JobState::Started);
        assert_eq!(world.status("sensor").last_errors().len(), 1);
        assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    }
}

#[derive(Debug)]
struct Throwing {
    engine: Arc<dyn Engine>,
    fault: usize,
}

impl SourceAdapter for Throwing {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }

    fn scan(
        &self,
        _: &JobContext,
        _: &IndexPattern,
        _: ScanRequest,
        _: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        if self.fault == 0 {
            panic_any(Payload);
        }
        Err(EngineError::rejected(ALL[2].clone()))
    }
}

impl RollupIndexAdapter for Throwing {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }
}

/// Once an observer had thrown something that panics as it is dropped, nobody was told anything of that job any more.
#[test]
fn an_observer_that_panics_twice_is_told_again() {
    #[derive(Default)]
    struct Counts(AtomicU64);
    impl Observer for Counts {
        fn state_changed(&self, _: &str, _: &StateChange) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic_any(Payload);
        }
    }
    let counts: Arc<Counts> = Arc::default();
    let (engine, store) = (Arc::new(loaded()), Arc::new(MemoryStore::new()));
    let manager = RollupJobManager::builder(engine, store).observer(counts.clone()).open().unwrap();
    manager.put(config("sensor").build().unwrap()).unwrap();
    for _ in 0..3 {
        manager.start("sensor").unwrap();
        assert!(manager.stop("sensor", waiting()).unwrap().is_at_rest());
    }
    manager.shutdown(crate::support::PATIENCE).unwrap();
    assert_eq!(counts.0.load(Ordering::SeqCst), 9);
}
