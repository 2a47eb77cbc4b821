use std::fmt;
use std::time::Duration;

use super::{Acquired, JobStore, Lease, LoadedRecord, Ownership, StoreError};
use crate::adapter::adapter;
use crate::job::{JobRecord, Ledger};

adapter! {
    /// What stands before a [`JobStore`]: it says what it stands before, and has the methods that it changes. All
    /// others are passed on, those with a default and those that come with later versions too.
    ///
    /// ```
    /// use rollup_jobs::JobRecord;
    /// use rollup_jobs::store::{JobStore, JobStoreAdapter, MemoryStore, StoreError};
    ///
    /// /// Keeps what is saved out of the store while somebody backs it up.
    /// #[derive(Debug)]
    /// struct Backup(MemoryStore);
    ///
    /// impl JobStoreAdapter for Backup {
    ///     fn store(&self) -> &dyn JobStore {
    ///         &self.0
    ///     }
    ///
    ///     fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
    ///         records.iter().map(|_| Err(StoreError::unavailable("a backup is under way"))).collect()
    ///     }
    /// }
    /// ```
    JobStoreAdapter: JobStore + Sync + fmt::Debug {
        /// What it stands before.
        fn store(&self) -> &dyn JobStore;

        pass on to store: fn load(self: &Self) -> Result<Vec<LoadedRecord>, StoreError>;
        pass on to store: fn get(self: &Self, id: &str) -> Result<Option<LoadedRecord>, StoreError>;
        pass on to store: fn insert(self: &Self, record: &JobRecord) -> Result<(), StoreError>;
        pass on to store: fn update(self: &Self, records: &[JobRecord]) -> Vec<Result<(), StoreError>>;
        pass on to store: fn remove(self: &Self, id: &str) -> Result<(), StoreError>;
        pass on to store: fn ledger(self: &Self, index: &str) -> Result<Ledger, StoreError>;
        pass on to store: fn ledgers(self: &Self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError>;
        pass on to store: fn replace_ledger(self: &Self, index: &str, ledger: &Ledger) -> Result<bool, StoreError>;
        pass on to store: fn mark(self: &Self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
        pass on to store: fn put_marks(self: &Self, marks: &[(String, Vec<u8>)]) -> Result<(), StoreError>;
        pass on to store: fn lease_duration(self: &Self) -> Option<Duration>;
        pass on to store: fn acquire(self: &Self, lapsed: Option<&Lease>) -> Result<Acquired, StoreError>;
        pass on to store: fn renew(self: &Self, ownership: &Ownership) -> Result<(), StoreError>;
        pass on to store: fn release(self: &Self, ownership: &Ownership) -> Result<(), StoreError>;
    }
}
