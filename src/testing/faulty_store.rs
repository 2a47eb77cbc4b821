use std::sync::{Arc, Mutex, PoisonError};

use crate::JobRecord;
use crate::store::{JobStore, LoadedRecord, Ownership, StoreError};

/// A kind of store call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreCall {
    /// [`JobStore::insert`]
    Insert,
    /// [`JobStore::update`]
    Update,
    /// [`JobStore::remove`]
    Remove,
}

/// A store that refuses calls of chosen kinds while told to.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    store: Arc<dyn JobStore>,
    refused: Arc<Mutex<Vec<StoreCall>>>,
}

impl FaultyStore {
    /// Passes everything on to `store` until told otherwise.
    #[must_use]
    pub fn new(store: Arc<dyn JobStore>) -> Self {
        Self { store, refused: Arc::default() }
    }

    /// Refuses these kinds of calls from now on, and no others.
    pub fn refuse(&self, calls: &[StoreCall]) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = calls.to_vec();
    }

    /// Refuses nothing any more.
    pub fn heal(&self) {
        self.refuse(&[]);
    }

    fn check(&self, call: StoreCall) -> Result<(), StoreError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&call);
        if refused { Err(StoreError::unavailable("planned fault")) } else { Ok(()) }
    }
}

impl JobStore for FaultyStore {
    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError> {
        self.store.load()
    }

    fn insert(&self, record: &JobRecord) -> Result<(), StoreError> {
        self.check(StoreCall::Insert)?;
        self.store.insert(record)
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        match self.check(StoreCall::Update) {
            Ok(()) => self.store.update(records),
            Err(error) => records.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        self.check(StoreCall::Remove)?;
        self.store.remove(id)
    }

    fn acquire(&self) -> Result<Ownership, StoreError> {
        self.store.acquire()
    }

    fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.store.release(ownership)
    }
}
