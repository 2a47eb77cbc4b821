//! What becomes of a manager that cannot be opened: nothing, for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rollup_jobs::store::{JobStore, JobStoreAdapter, LoadedRecord, MemoryStore, StoreError};
use rollup_jobs::{OpenError, RollupJobManager};

use crate::support::{config, loaded, waiting};

/// Cannot be read while told so.
#[derive(Debug, Default)]
struct Shut {
    inner: MemoryStore,
    is_shut: AtomicBool,
}

impl JobStoreAdapter for Shut {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError> {
        if self.is_shut.load(Ordering::SeqCst) {
            return Err(StoreError::damaged("planned fault"));
        }
        self.inner.load()
    }
}

/// The epoch was raised before the store was read, which then failed: the healthy manager had lost its jobs to nobody.
#[test]
fn a_manager_that_cannot_be_opened_takes_nothing_from_a_healthy_one() {
    let store: Arc<Shut> = Arc::default();
    let healthy = RollupJobManager::builder(Arc::new(loaded()), store.clone()).open().unwrap();
    healthy.put(config("sensor").build().unwrap()).unwrap();
    store.is_shut.store(true, Ordering::SeqCst);
    let failed = RollupJobManager::builder(Arc::new(loaded()), store.clone()).open();
    assert!(matches!(failed, Err(OpenError::Store(_))));
    healthy.start("sensor").unwrap();
    assert!(healthy.stop("sensor", waiting()).unwrap().is_at_rest());
}
