//! Who owns the store: one document, which its owner renews, and whoever succeeds it replaces.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::Call;
use super::index::{Change, Index, Stamp, Stored};
use crate::cluster::{Cause, Failure};
use crate::store::{Lease, Ownership, StoreError};

const ID: &str = "lease";

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredLease {
    owner: String,
    /// Tells its ownership from another one that came about in the same moment.
    nonce: u64,
    epoch: u64,
    renewals: u64,
    millis: u64,
    /// Its owner has left.
    released: bool,
}

/// An ownership as its owner last left it.
#[derive(Debug, Clone)]
pub(super) struct HeldLease {
    lease: StoredLease,
    stamp: Stamp,
}

/// What came of trying to own the store.
pub(super) enum Tried {
    Owned(HeldLease),
    Taken(Lease),
}

impl HeldLease {
    pub(super) fn ownership(&self) -> Ownership {
        Ownership::new(self.lease.epoch)
    }
}

impl StoredLease {
    fn as_seen(&self) -> Lease {
        Lease::new(self.owner.clone(), self.epoch, self.renewals, Duration::from_millis(self.millis))
    }

    fn source(&self) -> Value {
        json!(self)
    }
}

/// Where it does not follow from an answer that a change took place it is looked at, and the nonce tells.
pub(super) fn acquire(
    index: &Index,
    owner: &str,
    lease: Duration,
    lapsed: Option<&Lease>,
    call: &mut Call,
) -> Result<Tried, Failure> {
    let nonce = RandomState::new().hash_one(owner);
    let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    call.until_decided(|call| {
        let (stamp, epoch) = match find(index, call)? {
            // Written again, since a read is no proof that it stays.
            Some(HeldLease { lease, stamp }) if lease.nonce == nonce => {
                let lease = StoredLease { renewals: lease.renewals + 1, ..lease };
                let written = write(index, Change::Replace(stamp, lease.source()), call)?;
                return Ok(written.map(|stamp| Tried::Owned(HeldLease { lease, stamp })));
            }
            Some(HeldLease { lease, .. }) if !lease.released && lapsed != Some(&lease.as_seen()) => {
                return Ok(Some(Tried::Taken(lease.as_seen())));
            }
            Some(held) => (Some(held.stamp), held.lease.epoch),
            None => (None, 0),
        };
        // Records may come from another store, whose owners count on their own.
        let Ownership { epoch } = Ownership::after(epoch.max(index.newest_epoch(call.left())?));
        let mine = StoredLease { owner: owner.to_owned(), nonce, epoch, renewals: 0, millis, released: false };
        let change = stamp.map_or(Change::Create(mine.source()), |stamp| Change::Replace(stamp, mine.source()));
        Ok(write(index, change, call)?.map(|stamp| Tried::Owned(HeldLease { lease: mine, stamp })))
    })
}

/// Changes the lease of who has it: `None` if somebody else has it now.
pub(super) fn change(
    index: &Index,
    held: &HeldLease,
    released: bool,
    call: &mut Call,
) -> Result<Option<HeldLease>, Failure> {
    let mut current = Some(held.clone());
    call.until_decided(|call| {
        let HeldLease { lease, stamp } = match current.take() {
            Some(held) => held,
            None => match find(index, call)? {
                Some(found) if found.lease.nonce == held.lease.nonce => found,
                Some(found) if found.lease.epoch > held.lease.epoch => return Ok(Some(None)),
                // Gone, or an earlier one, as in an index that came back from a snapshot.
                _ => return Err(Failure::new(Cause::Refused, "the store does not know any more who owns it")),
            },
        };
        let lease = StoredLease { renewals: lease.renewals + 1, released, ..lease };
        let written = write(index, Change::Replace(stamp, lease.source()), call)?;
        Ok(written.map(|stamp| Some(HeldLease { lease, stamp })))
    })
}

/// Refuses what an owner of `epoch` does, if there is a later one.
pub(super) fn later_owner(index: &Index, epoch: u64, call: &Call) -> Result<Option<StoreError>, Failure> {
    let later = find(index, call)?.filter(|held| held.lease.epoch > epoch);
    Ok(later.map(|held| lost(&held.lease.owner)))
}

/// Says who the owner is, to one who is not any more.
pub(super) fn lost_to_whom(index: &Index, call: &Call) -> StoreError {
    let owner = find(index, call).ok().flatten().map(|held| held.lease.owner);
    lost(owner.as_deref().unwrap_or("somebody else"))
}

fn lost(owner: &str) -> StoreError {
    StoreError::lost_ownership(format!("the store belongs to {owner} now"))
}

fn find(index: &Index, call: &Call) -> Result<Option<HeldLease>, Failure> {
    let found = index.read(&[ID.to_owned()], call.left())?.into_iter().flatten().next();
    let read = |Stored { source, stamp, .. }| match serde_json::from_value(source) {
        Ok(lease) => Ok(HeldLease { lease, stamp }),
        Err(error) => Err(Failure::new(Cause::Refused, format!("what it says of its owner is damaged: {error}"))),
    };
    found.map(read).transpose()
}

/// `None` if it is not the last version any more.
fn write(index: &Index, change: Change, call: &Call) -> Result<Option<Stamp>, Failure> {
    index.change_one(ID, change, call.half())
}
