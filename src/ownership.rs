//! Whose jobs are these? Becoming the owner of a job store, staying it, and noticing that somebody else is.
//!
//! No two machines' clocks are compared. An owner counts its lease from before it asked for it, on its own monotonic
//! clock; whoever wants to succeed it counts from when it has seen the last renewal. So the one stops before the
//! other begins.

use std::io;
use std::time::Duration;

use crate::clock::{Clock, Deadline, wait_until};
use crate::guard::{discard, guarded};
use crate::store::{self, Acquired, JobStore, Lease, Ownership, StoreError, StoreErrorKind};
use crate::sync::{Arc, AtomicBool, AtomicU64, Crew, JoinHandle, Monitor, Ordering, current_thread};

/// How many times an owner renews in a lease, if all goes well: two may fail.
const RENEWALS_PER_LEASE: u32 = 3;
/// How many times it tries if not.
const TRIES_PER_LEASE: u32 = 10;
/// How many times somebody who waits looks.
const LOOKS_PER_LEASE: u32 = 30;

/// As if a store had such a lease that cannot be reached, and has none.
const NO_LEASE: Duration = Duration::from_secs(30);

/// A manager's ownership of its store, which it may lose.
pub(crate) struct Owner {
    shared: Arc<OwnedStore>,
}

struct OwnedStore {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    ownership: Ownership,
    /// What goes into records: the ownership's, unless it has none.
    epoch: AtomicU64,
    /// How long it lasts from a renewal on; for ever if there is none.
    lease: Option<Duration>,
    /// For those who only want to know that it is not lost, which is nearly always so.
    is_lost: AtomicBool,
    is_released: AtomicBool,
    standing: Arc<Monitor<Standing>>,
}

#[derive(Default)]
struct Standing {
    /// When what was acquired, or renewed last, runs out.
    until: Duration,
    /// Why the last renewal failed.
    failure: Option<StoreError>,
    /// Since when somebody else is known to be the owner, and from what.
    lost: Option<(Duration, StoreError)>,
    closed: bool,
    ended: bool,
    thread: Option<JoinHandle<()>>,
}

/// How an ownership is.
pub(crate) enum OwnerState {
    Held,
    /// It has run out, and may come back. Until then nothing runs.
    Lapsed {
        since: Duration,
        failure: Option<StoreError>,
    },
    /// Somebody else has it.
    Lost {
        since: Duration,
        error: StoreError,
    },
}

/// Why somebody did not become the owner.
pub(crate) enum NotAcquired {
    Held(Lease),
    Store(StoreError),
}

impl Owner {
    /// Becomes the owner of `store`: at once if it has none, or after a whole lease in which its owner gave no sign
    /// of life. One that does is waited for as long as there is `patience`.
    pub(crate) fn acquire(
        store: Arc<dyn JobStore>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Self, NotAcquired> {
        let patience = Deadline::after(&*clock, patience);
        let nothing = Arc::new(Monitor::new(()));
        let mut watched: Option<(Lease, Duration)> = None;
        loop {
            let asked = clock.monotonic();
            let lapsed = watched.as_ref().filter(|(lease, seen)| asked.saturating_sub(*seen) >= lease.duration);
            let acquired = store.acquire(lapsed.map(|(lease, _)| lease));
            let is_over = patience.remaining(&*clock) == Some(Duration::ZERO);
            let held = match acquired {
                Ok(Acquired::Owned(ownership)) => return Ok(Self::new(store, clock, ownership, asked)),
                Ok(Acquired::Held(lease)) => Some(lease),
                // Whoever waits, or watches, does so over a bad moment of the store.
                Err(error) if error.is_transient() && (!is_over || watches(watched.as_ref(), asked)) => None,
                Err(error) => return Err(NotAcquired::Store(error)),
            };
            let lease = held.as_ref().map(|lease| lease.duration).or_else(|| store.lease_duration());
            match (held, &watched) {
                (None, _) => {}
                (Some(lease), Some((seen, _))) if *seen == lease => {}
                (Some(lease), Some(_)) if is_over => return Err(NotAcquired::Held(lease)),
                (Some(lease), _) => watched = Some((lease, clock.monotonic())),
            }
            let look = Deadline::since(asked, lease.unwrap_or(NO_LEASE) / LOOKS_PER_LEASE);
            wait_until(&*clock, &nothing, look, |()| None::<()>);
        }
    }

    fn new(store: Arc<dyn JobStore>, clock: Arc<dyn Clock>, ownership: Ownership, asked: Duration) -> Self {
        let lease = store.lease_duration();
        let standing = Standing { until: asked.saturating_add(lease.unwrap_or_default()), ..Standing::default() };
        let standing = Arc::new(Monitor::new(standing));
        let (is_lost, is_released) = (AtomicBool::new(false), AtomicBool::new(false));
        let epoch = AtomicU64::new(ownership.epoch);
        Self { shared: Arc::new(OwnedStore { store, clock, ownership, epoch, lease, is_lost, is_released, standing }) }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Relaxed)
    }

    /// Goes by this epoch: the store has given out none.
    pub(crate) fn take_epoch(&self, epoch: u64) {
        self.shared.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Starts the thread `rollup-lease` as one of `crew`, if there is something to renew. It calls `changed` when an
    /// ownership that had run out is back, and when it is lost.
    pub(crate) fn keep(&self, crew: &Crew, changed: impl Fn() + Send + 'static) -> io::Result<()> {
        let Some(lease) = self.shared.lease else { return Ok(()) };
        let body = Arc::clone(&self.shared);
        let thread = crew.spawn("rollup-lease".to_owned(), move || body.run(lease, changed))?;
        self.shared.standing.lock().thread = Some(thread);
        Ok(())
    }

    /// Whether it has run out, and may come back.
    pub(crate) fn has_lapsed(&self) -> bool {
        let OwnedStore { lease, clock, .. } = &*self.shared;
        lease.is_some() && matches!(self.state(clock.monotonic()), OwnerState::Lapsed { .. })
    }

    /// What has become of it, if somebody else is the owner.
    pub(crate) fn lost(&self) -> Option<StoreError> {
        if !self.shared.is_lost.load(Ordering::Relaxed) {
            return None;
        }
        self.shared.standing.lock().lost.as_ref().map(|(_, error)| error.clone())
    }

    pub(crate) fn state(&self, now: Duration) -> OwnerState {
        let standing = self.shared.standing.lock();
        match &standing.lost {
            Some((since, error)) => OwnerState::Lost { since: *since, error: error.clone() },
            None if self.shared.is_released.load(Ordering::Relaxed) => OwnerState::Held,
            None if self.shared.lease.is_some() && now >= standing.until => {
                OwnerState::Lapsed { since: standing.until, failure: standing.failure.clone() }
            }
            None => OwnerState::Held,
        }
    }

    /// A store call has said that somebody else is the owner. Says whether that is news.
    pub(crate) fn lose(&self, error: StoreError) -> bool {
        self.shared.lose(error)
    }

    /// Ends the thread, and waits for that until the deadline. Says whether it ended.
    pub(crate) fn join(&self, deadline: Deadline) -> bool {
        let OwnedStore { clock, standing, .. } = &*self.shared;
        let thread = {
            let mut standing = standing.lock();
            standing.closed = true;
            standing.thread.take()
        };
        standing.notify_all();
        let Some(thread) = thread.filter(|thread| thread.thread().id() != current_thread()) else { return true };
        wait_until(&**clock, standing, deadline, |standing| standing.ended.then_some(())).is_some()
            && thread.join().is_ok()
    }

    /// Lets the next owner in at once.
    pub(crate) fn release(&self) {
        let OwnedStore { store, ownership, is_lost, is_released, .. } = &*self.shared;
        if !is_lost.load(Ordering::Relaxed) && !is_released.swap(true, Ordering::Relaxed) {
            // Should it fail, whoever comes next has to wait for the ownership to run out; there is nothing else to
            // do about it.
            let _ = guarded(|| store.release(ownership));
        }
    }
}

/// Whoever had it last has gone: a manager that could not be opened, or a thread that a shutdown had to leave.
impl Drop for Owner {
    fn drop(&mut self) {
        self.release();
    }
}

/// Whether a lease is still being watched, that may run out any moment now.
fn watches(watched: Option<&(Lease, Duration)>, now: Duration) -> bool {
    watched.is_some_and(|(lease, seen)| now.saturating_sub(*seen) < lease.duration.saturating_mul(2))
}

impl OwnedStore {
    /// Renews until it is lost, or closed.
    fn run(&self, lease: Duration, changed: impl Fn()) {
        let _ended = Ended(self);
        let acquired = self.standing.lock().until.saturating_sub(lease);
        let mut next = Deadline::since(acquired, lease / RENEWALS_PER_LEASE);
        while wait_until(&*self.clock, &self.standing, next, |standing| standing.is_over().then_some(())).is_none() {
            let asked = self.clock.monotonic();
            let pause = match self.renew(lease) {
                Ok(had_run_out) => {
                    if had_run_out {
                        changed();
                    }
                    lease / RENEWALS_PER_LEASE
                }
                Err(error) if error.kind() == StoreErrorKind::LostOwnership => return changed(),
                Err(_) => lease / TRIES_PER_LEASE,
            };
            next = Deadline::since(asked, pause);
        }
    }

    /// Asks the store once. Says whether the ownership had run out.
    fn renew(&self, lease: Duration) -> Result<bool, StoreError> {
        let until = self.clock.monotonic().saturating_add(lease);
        let renewed = store::call(&*self.store, |store| store.renew(&self.ownership));
        match &renewed {
            Err(error) if error.kind() == StoreErrorKind::LostOwnership => {
                self.lose(error.clone());
            }
            _ => {}
        }
        let mut standing = self.standing.lock();
        let failure = std::mem::replace(&mut standing.failure, renewed.as_ref().err().cloned());
        let had_run_out = self.clock.monotonic() >= standing.until;
        if renewed.is_ok() {
            standing.until = standing.until.max(until);
        }
        drop(standing);
        discard(failure);
        renewed.map(|()| had_run_out)
    }

    fn lose(&self, error: StoreError) -> bool {
        let mut standing = self.standing.lock();
        let is_news = standing.lost.is_none();
        if is_news {
            standing.lost = Some((self.clock.monotonic(), error));
            self.is_lost.store(true, Ordering::Relaxed);
        }
        drop(standing);
        self.standing.notify_all();
        is_news
    }
}

impl Standing {
    fn is_over(&self) -> bool {
        self.closed || self.lost.is_some()
    }
}

/// Publishes that the thread has ended, also when it unwinds.
struct Ended<'a>(&'a OwnedStore);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.standing.lock().ended = true;
        self.0.standing.notify_all();
    }
}
