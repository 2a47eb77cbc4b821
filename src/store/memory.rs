use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, RangeMut};
use std::ops::Bound;
use std::time::Duration;

use super::{Acquired, JobStore, Lease, LoadedRecord, Ownership, StoreError, owned, supersedes};
use crate::job::{JobRecord, Ledger};
use crate::sync::{Arc, Mutex};

/// Keeps records as long as a clone of it lives. Clones share them, so that a test can close a manager and open
/// another.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Mutex<MemoryRecords>>,
    lease: Option<Duration>,
}

#[derive(Debug, Default)]
struct MemoryRecords {
    records: BTreeMap<String, JobRecord>,
    ledgers: BTreeMap<String, Ledger>,
    marks: BTreeMap<String, Vec<u8>>,
    epoch: u64,
    /// The present owner's, if it can run out.
    lease: Option<Lease>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An ownership of it, and of its clones, runs out when it is not renewed for so long, and until then nobody else
    /// gets one: for tests of what comes of that. Default: it is for ever, and whoever comes next takes it over at
    /// once.
    #[must_use]
    pub fn leased_for(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }
}

impl JobStore for MemoryStore {
    fn load(&self) -> Result<Vec<LoadedRecord>, StoreError> {
        Ok(self.shared.lock().records.values().map(|record| LoadedRecord::Job(Box::new(record.clone()))).collect())
    }

    fn get(&self, id: &str) -> Result<Option<LoadedRecord>, StoreError> {
        Ok(self.shared.lock().records.get(id).map(|record| LoadedRecord::Job(Box::new(record.clone()))))
    }

    fn insert(&self, record: &JobRecord) -> Result<(), StoreError> {
        let mut shared = self.shared.lock();
        owned(record, shared.epoch)?;
        match shared.records.entry(record.id().to_owned()) {
            Entry::Vacant(vacant) => {
                vacant.insert(record.clone());
                Ok(())
            }
            Entry::Occupied(_) => Err(StoreError::already_exists(format!("job [{}] is stored", record.id()))),
        }
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let MemoryRecords { records: stored, epoch, .. } = &mut *self.shared.lock();
        // Records that come together mostly come in the order of their ids: the next one's place is the one after the
        // last.
        let mut places: Option<RangeMut<'_, _, _>> = None;
        let mut answers = Vec::with_capacity(records.len());
        for record in records {
            let is_its = |(id, _): &(&String, &mut JobRecord)| *id == record.id();
            let mut place = places.as_mut().and_then(Iterator::next).filter(is_its);
            if place.is_none() {
                let from_it = (Bound::Included(record.id()), Bound::Unbounded);
                places = Some(stored.range_mut::<str, _>(from_it));
                place = places.as_mut().and_then(Iterator::next).filter(is_its);
            }
            answers.push(update(record, place.map(|(_, place)| place), *epoch));
        }
        answers
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        self.shared.lock().records.remove(id);
        Ok(())
    }

    fn ledger(&self, index: &str) -> Result<Ledger, StoreError> {
        Ok(self.shared.lock().ledgers.get(index).cloned().unwrap_or_default())
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        let mut shared = self.shared.lock();
        let stored = shared.ledgers.get(index).map_or(0, |stored| stored.revision);
        let is_next = stored + 1 == ledger.revision;
        if is_next {
            shared.ledgers.insert(index.to_owned(), ledger.clone());
        }
        Ok(is_next)
    }

    fn mark(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shared.lock().marks.get(name).cloned())
    }

    fn put_marks(&self, marks: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        self.shared.lock().marks.extend(marks.iter().cloned());
        Ok(())
    }

    fn lease_duration(&self) -> Option<Duration> {
        self.lease
    }

    fn acquire(&self, lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        let mut shared = self.shared.lock();
        if let Some(lease) = &shared.lease
            && lapsed != Some(lease)
        {
            return Ok(Acquired::Held(lease.clone()));
        }
        let newest = shared.records.values().map(JobRecord::epoch).max();
        let ownership = Ownership::after(shared.epoch.max(newest.unwrap_or_default()));
        shared.epoch = ownership.epoch;
        shared.lease = self.lease.map(|lease| Lease::new("a manager in this process", ownership.epoch, 0, lease));
        Ok(Acquired::Owned(ownership))
    }

    fn renew(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let mut shared = self.shared.lock();
        if shared.epoch != ownership.epoch {
            return Err(StoreError::lost_ownership(format!("the store's owner has epoch {}", shared.epoch)));
        }
        if let Some(lease) = &mut shared.lease {
            lease.renewals += 1;
        }
        Ok(())
    }

    fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let mut shared = self.shared.lock();
        if shared.epoch == ownership.epoch {
            shared.lease = None;
        }
        Ok(())
    }
}

fn update(record: &JobRecord, place: Option<&mut JobRecord>, epoch: u64) -> Result<(), StoreError> {
    owned(record, epoch)?;
    let place = place.ok_or_else(|| StoreError::gone(format!("job [{}] is not stored", record.id())))?;
    if supersedes(record, place)? {
        place.clone_from(record);
    }
    Ok(())
}
