//! Where do jobs survive? The [`JobStore`] trait and the stores that come with the crate.
//!
//! [`MemoryStore`] forgets everything with the process; `RedbStore` (feature `redb`) is the one for real use, on one
//! machine, and `ElasticsearchStore` (feature `elasticsearch`) where several hosts may run the jobs, one at a time.
//! All pass the suite in `testing` (feature `testing`), which a store of your own should pass too.

use std::fmt;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::guard::guarded;
use crate::job::{JobRecord, Ledger};

mod adapter;
#[cfg(feature = "elasticsearch")]
mod elasticsearch;
mod error;
mod ledger;
mod memory;
#[cfg(feature = "redb")]
mod redb;

pub use adapter::JobStoreAdapter;
#[cfg(feature = "elasticsearch")]
pub use elasticsearch::{ElasticsearchStore, ElasticsearchStoreOptions};
pub use error::{StoreError, StoreErrorKind};
pub use ledger::change_ledger;
pub(crate) use ledger::change_ledger_unless;
pub use memory::MemoryStore;
#[cfg(feature = "redb")]
pub use redb::{OpenRedbError, RedbStore};

/// Keeps one [`JobRecord`] per job, and one [`Ledger`] per source index.
///
/// Every call ends in bounded time: a store that talks to something puts a time-out of its own on it, because a stop
/// saves in its caller's thread. A call that returned success is durable.
pub trait JobStore: Send + Sync + fmt::Debug {
    /// All records. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`StoreError`] if the store as a whole cannot be read.
    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError>;

    /// The record of this id, if there is one. Default: out of [all](Self::load).
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read. A record that is damaged is no error here.
    fn get(&self, id: &str) -> Result<Option<LoadedRecord>, StoreError> {
        Ok(self.load()?.into_iter().find(|record| record.id() == id))
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`StoreError::already_exists`] if there is one of this id, whatever its state; then nothing changed.
    fn insert(&self, record: &JobRecord) -> Result<(), StoreError>;

    /// Replaces records, each wholly or not at all, in one transaction if the store can. The answers are in the order
    /// of the records.
    ///
    /// A record that is older than the stored one of the same epoch is skipped, and that is a success: two saves may
    /// overtake each other.
    ///
    /// # Errors
    /// Per record: [`StoreError::gone`] if there is none of this id; [`StoreError::lost_ownership`] if the stored one
    /// has a newer epoch.
    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>>;

    /// Removes a record, readable or not. None there is no error.
    ///
    /// # Errors
    /// Any [`StoreError`]; the record is still there then.
    fn remove(&self, id: &str) -> Result<(), StoreError>;

    /// The ledger of a source index; an empty one if nothing was ever said of it.
    ///
    /// # Errors
    /// Any [`StoreError`]: one that is damaged, or that a newer version wrote, is no empty one.
    fn ledger(&self, index: &str) -> Result<Ledger, StoreError>;

    /// The ledgers of several source indices, in their order. Default: one after the other.
    ///
    /// # Errors
    /// Any [`StoreError`], as [`ledger`](Self::ledger) has it.
    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError> {
        indices.iter().map(|index| self.ledger(index)).collect()
    }

    /// Puts a ledger in the place of the one whose revision is one less: `false`, and nothing changes, if that is not
    /// the stored one's (any more). It is no matter of the ownership: whoever has the store may do it.
    /// [`change_ledger`] is the way to use it.
    ///
    /// # Errors
    /// Any [`StoreError`]. After one that is transient it may have taken place.
    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError>;

    /// What an engine remembers of a source index, under a name that the manager gives it: see
    /// [`Source::look`](crate::engine::Source::look). Default: nothing is kept, and what has changed while no manager
    /// was open is found by counting.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = name;
        Ok(None)
    }

    /// Keeps what engines remember of source indices, each in the place of what was kept under its name. It is no
    /// matter of the ownership. Default: it is forgotten.
    ///
    /// # Errors
    /// Any [`StoreError`]; some of them may be kept.
    fn put_marks(&self, marks: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        let _ = marks;
        Ok(())
    }

    /// How long an ownership lasts that is not renewed. The manager renews it in time, on a thread of its own.
    /// Default: for ever.
    fn lease_duration(&self) -> Option<Duration> {
        None
    }

    /// Becomes the one owner of the store: what an earlier one saves from now on is refused as
    /// [`StoreError::lost_ownership`]. Default: there is no other, ever.
    ///
    /// Where somebody else's ownership has not run out, it says whose, and nothing changes. How much time has passed is
    /// not for the store to judge, whose clock may be another machine's: whoever wants to be the next owner calls
    /// again, and when it has watched one and the same lease for as long as it lasts, hands it over as `lapsed`. It is
    /// then taken over, if it still is the same.
    ///
    /// # Errors
    /// Any [`StoreError`]; whether the store is owned now is not known then, and the next call will tell.
    fn acquire(&self, lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        let _ = lapsed;
        Ok(Acquired::Owned(Ownership::SOLE))
    }

    /// Keeps an ownership for another [lease](Self::lease_duration), which counts from before the call. Default:
    /// nothing to do.
    ///
    /// # Errors
    /// [`StoreError::lost_ownership`] if somebody else is the owner now: it will not come back. After any other it
    /// may be renewed still, as long as nobody else has taken it over, even if it has run out.
    fn renew(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let _ = ownership;
        Ok(())
    }

    /// Lets the next owner in at once. Default: nothing to do.
    ///
    /// # Errors
    /// Any [`StoreError`]; the next owner has to wait until the ownership has run out.
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

    /// The ownership after the one of epoch `previous`, 0 if there was none. Its epoch is not below the seconds since
    /// 1970: a store that was lost, or came back from a backup, does not give out again what engines have seen of
    /// owners that it has forgotten.
    #[must_use]
    pub fn after(previous: u64) -> Self {
        let seconds = u64::try_from(SystemClock::new().now().as_second()).unwrap_or(0);
        Self::new(seconds.max(previous + 1))
    }
}

/// What came of trying to become a store's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// The caller owns it.
    Owned(Ownership),
    /// Somebody else does.
    Held(Lease),
}

/// Somebody's ownership, as it was when it was looked at. Two that are equal: it was not renewed in between.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// Who it is, for people.
    pub owner: String,
    /// Its epoch.
    pub epoch: u64,
    /// How often it was renewed.
    pub renewals: u64,
    /// How long it lasts from a renewal on.
    pub duration: Duration,
}

impl Lease {
    /// A lease of `owner`.
    #[must_use]
    pub fn new(owner: impl Into<String>, epoch: u64, renewals: u64, duration: Duration) -> Self {
        Self { owner: owner.into(), epoch, renewals, duration }
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
    /// The id that it is stored under.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Job(record) => record.id(),
            Self::Unreadable { id, .. } => id,
        }
    }

    /// Reads a stored record, whatever comes of it.
    #[must_use]
    pub fn read(id: &str, json: &[u8]) -> Self {
        match JobRecord::from_json(json) {
            Ok(record) => Self::Job(Box::new(record)),
            Err(error) => Self::Unreadable { id: id.to_owned(), error: StoreError::damaged(error) },
        }
    }
}

/// Calls a store. One that panics has refused.
pub(crate) fn call<T>(
    store: &dyn JobStore,
    call: impl FnOnce(&dyn JobStore) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let answer = guarded(|| call(store));
    answer.unwrap_or_else(|panic| Err(StoreError::rejected(format!("the job store panicked: {panic}"))))
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
