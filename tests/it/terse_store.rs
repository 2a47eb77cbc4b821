use std::sync::atomic::{AtomicUsize, Ordering};

use rollup_jobs::JobRecord;
use rollup_jobs::store::{JobStore, JobStoreAdapter, MemoryStore, StoreError};

/// A store that forgets to answer.
#[derive(Debug)]
pub struct TerseStore {
    inner: MemoryStore,
    answers: AtomicUsize,
}

impl Default for TerseStore {
    fn default() -> Self {
        Self { inner: MemoryStore::new(), answers: AtomicUsize::new(usize::MAX) }
    }
}

impl TerseStore {
    /// How many answers it gives to an update.
    pub fn answer_at_most(&self, answers: usize) {
        self.answers.store(answers, Ordering::SeqCst);
    }
}

impl JobStoreAdapter for TerseStore {
    fn store(&self) -> &dyn JobStore {
        &self.inner
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let mut answers = self.inner.update(records);
        answers.truncate(self.answers.load(Ordering::SeqCst));
        answers
    }
}
