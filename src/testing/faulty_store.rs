use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault_plan::FaultPlan;
use crate::store::{Acquired, JobStore, JobStoreAdapter, Lease, Ownership, StoreError};
use crate::{JobRecord, Ledger};

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
    /// [`JobStore::acquire`]
    Acquire,
    /// [`JobStore::renew`]
    Renew,
    /// [`JobStore::ledger`] and [`JobStore::ledgers`]
    Ledgers,
    /// [`JobStore::replace_ledger`]
    ReplaceLedger,
}

/// How a store call fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFault {
    /// With a transient error.
    #[default]
    Unavailable,
    /// With a permanent error.
    Rejected,
    /// By a panic.
    Panic,
    /// It takes place, and reports a transient error all the same.
    UnavailableAfterwards,
    /// Not at all, but on one of the manager's own threads it returns only after [`FaultyStore::heal`]. On others it
    /// does not hang: a store promises that its calls end.
    Hang,
}

/// A store that refuses calls of chosen kinds while told to, or fails its n-th call.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    store: Arc<dyn JobStore>,
    plan: Arc<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    refused: Mutex<Vec<StoreCall>>,
    fault: Mutex<StoreFault>,
    calls: FaultPlan,
}

impl FaultyStore {
    /// Passes everything on to `store` until told otherwise.
    #[must_use]
    pub fn new(store: Arc<dyn JobStore>) -> Self {
        Self { store, plan: Arc::default() }
    }

    /// Refuses these kinds of calls from now on, and no others.
    pub fn refuse(&self, calls: &[StoreCall]) {
        *lock(&self.plan.refused) = calls.to_vec();
    }

    /// Fails the `n`-th call from now on: all but reading and releasing count.
    pub fn fail_at(&self, n: u64, fault: StoreFault) {
        *lock(&self.plan.fault) = fault;
        self.plan.calls.fail_from(n, 1);
    }

    /// Whether a call has failed since the last [`fail_at`](Self::fail_at).
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.plan.calls.has_failed()
    }

    /// Refuses nothing any more, and lets a call that hangs go on.
    pub fn heal(&self) {
        self.refuse(&[]);
        self.plan.calls.heal();
    }

    fn check(&self, kind: StoreCall) -> Result<(), StoreError> {
        let is_refused = lock(&self.plan.refused).contains(&kind);
        if is_refused { Err(StoreError::unavailable("planned fault")) } else { Ok(()) }
    }

    /// Makes the call, or has it fail.
    fn call<T>(&self, kind: StoreCall, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let planned = || Err(StoreError::unavailable("planned fault"));
        self.check(kind)?;
        let Some(due) = self.plan.calls.due() else {
            return call();
        };
        let fault = *lock(&self.plan.fault);
        match fault {
            StoreFault::Unavailable => planned(),
            StoreFault::Rejected => Err(StoreError::rejected("planned fault")),
            StoreFault::Panic => panic!("planned fault"),
            StoreFault::UnavailableAfterwards => call().and_then(|_| planned()),
            StoreFault::Hang => {
                if std::thread::current().name().is_some_and(|name| name.starts_with("rollup-")) {
                    due.hang();
                }
                call()
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl JobStoreAdapter for FaultyStore {
    fn store(&self) -> &dyn JobStore {
        &*self.store
    }

    fn insert(&self, record: &JobRecord) -> Result<(), StoreError> {
        self.call(StoreCall::Insert, || self.store.insert(record))
    }

    fn update(&self, records: &[JobRecord]) -> Vec<Result<(), StoreError>> {
        let updated = self.call(StoreCall::Update, || Ok(self.store.update(records)));
        updated.unwrap_or_else(|error| records.iter().map(|_| Err(error.clone())).collect())
    }

    fn remove(&self, id: &str) -> Result<(), StoreError> {
        self.call(StoreCall::Remove, || self.store.remove(id))
    }

    fn acquire(&self, lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        self.call(StoreCall::Acquire, || self.store.acquire(lapsed))
    }

    fn renew(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.call(StoreCall::Renew, || self.store.renew(ownership))
    }

    fn ledger(&self, index: &str) -> Result<Ledger, StoreError> {
        self.check(StoreCall::Ledgers).and_then(|()| self.store.ledger(index))
    }

    fn ledgers(&self, indices: &[&str]) -> Result<Vec<Ledger>, StoreError> {
        self.check(StoreCall::Ledgers).and_then(|()| self.store.ledgers(indices))
    }

    fn replace_ledger(&self, index: &str, ledger: &Ledger) -> Result<bool, StoreError> {
        self.call(StoreCall::ReplaceLedger, || self.store.replace_ledger(index, ledger))
    }
}
