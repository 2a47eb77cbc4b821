//! Where do jobs survive? The [`JobStore`] trait and the stores that come with the crate.
//!
//! [`MemoryStore`] forgets everything with the process; `RedbStore` (feature `redb`) is the one for real use. Both pass the
//! suite in `testing` (feature `testing`), which a store of your own should pass too.

use std::fmt;

use crate::job::JobRecord;

mod error;
mod memory;
#[cfg(feature = "redb")]
mod redb;

pub use error::{StoreError, StoreErrorKind};
pub use memory::MemoryStore;
#[cfg(feature = "redb")]
pub use redb::{OpenRedbError, RedbStore};

/// Keeps one [`JobRecord`] per job.
///
/// Every call ends in bounded time: a store that talks to something puts a time-out of its own on it, because a stop saves
/// in its caller's thread. A call that returned success is durable.
pub trait JobStore: Send + Sync + fmt::Debug {
    /// All records. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`StoreError`] if the store as a whole cannot be read.
    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError>;

    /// Adds a record.
    ///
    /// # Errors
    /// [`StoreError::already_exists`] if there is one of this id, whatever its state; then nothing changed.
    fn insert(&self, record: &JobRecord) -> Result<(), StoreError>;

    /// Replaces records, each wholly or not at all, in one transaction if the store can. The answers are in the order of
    /// the records.
    ///
    /// A record that is older than the stored one of the same epoch is skipped, and that is a success: two saves may
    /// overtake each other.
    ///
    /// # Errors
    /// Per record: [`StoreError::gone`] if there is none of this id; [`StoreError::lost_ownership`] if the stored one has a
    /// newer epoch.
    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>>;

    /// Removes a record, readable or not. None there is no error.
    ///
    /// # Errors
    /// Any [`StoreError`]; the record is still there then.
    fn remove(&self, id: &str) -> Result<(), StoreError>;

    /// Becomes the one owner of the store: what an earlier one saves from now on is refused as
    /// [`StoreError::lost_ownership`]. Default: there is no other, ever.
    ///
    /// # Errors
    /// [`StoreError::lost_ownership`] if somebody else owns it.
    fn acquire(&self) -> Result<Ownership, StoreError> {
        Ok(Ownership::SOLE)
    }

    /// Lets the next owner in. Default: nothing to do.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let _ = ownership;
        Ok(())
    }
}

/// A right to write to a store, with a number that grows from owner to owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ownership {
    /// Goes into every record.
    pub epoch: u64,
}

impl Ownership {
    /// The ownership of a store that has one owner by construction.
    pub const SOLE: Self = Self { epoch: 0 };

    /// An ownership with this epoch.
    #[must_use]
    pub const fn new(epoch: u64) -> Self {
        Self { epoch }
    }
}

/// A record as it was found.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadedRecord {
    /// A whole one.
    Job(Box<JobRecord>),
    /// One that cannot be read. The job is listed with red health; only delete can be done to it.
    Unreadable {
        /// The id it is stored under.
        id: String,
        /// Why it cannot be read.
        error: StoreError,
    },
}

impl LoadedRecord {
    /// Reads a stored record, whatever comes of it.
    #[must_use]
    pub fn read(id: &str, json: &[u8]) -> Self {
        match JobRecord::from_json(json) {
            Ok(record) => Self::Job(Box::new(record)),
            Err(error) => Self::Unreadable { id: id.to_owned(), error: StoreError::damaged(error) },
        }
    }
}

/// Refuses what an earlier owner than the one of `epoch` saves.
fn owned(record: &JobRecord, epoch: u64) -> Result<(), StoreError> {
    if record.epoch() < epoch {
        let (id, found) = (record.id(), record.epoch());
        let text = format!("job [{id}] is saved under epoch {found}, the store's owner has epoch {epoch}");
        return Err(StoreError::lost_ownership(text));
    }
    Ok(())
}

/// What [`JobStore::update`] does with `new` where `stored` is.
///
/// # Errors
/// [`StoreError::lost_ownership`] if `stored` has a newer epoch.
pub fn supersedes(new: &JobRecord, stored: &JobRecord) -> Result<bool, StoreError> {
    if new.epoch() < stored.epoch() {
        return Err(StoreError::lost_ownership(format!(
            "job [{}] was last saved under epoch {}, this owner has epoch {}",
            new.id(),
            stored.epoch(),
            new.epoch()
        )));
    }
    Ok(new.epoch() > stored.epoch() || new.revision() >= stored.revision())
}
