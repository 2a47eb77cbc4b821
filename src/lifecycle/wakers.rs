//! The futures that wait for a stop.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::guard::guarded;

/// The tasks to wake at the next announcement, each under a number of its own.
///
/// A waker is foreign code: it is cloned before the lock is taken, and woken and dropped after it was let go.
///
/// In a box that the first future makes: most jobs have none.
#[derive(Default)]
pub(super) struct Wakers(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// The place of one future among the wakers of its job.
#[derive(Debug)]
pub(crate) struct WakerKey(u64);

impl Wakers {
    /// Has `waker` woken, in the place of the one that `key` stands for. Whatever comes back is dropped outside the
    /// lock.
    pub(super) fn register(&mut self, key: &mut Option<WakerKey>, waker: Waker) -> Option<Waker> {
        let waiting = self.0.get_or_insert_default();
        let key = key.get_or_insert_with(|| {
            waiting.next += 1;
            WakerKey(waiting.next)
        });
        waiting.wakers.insert(key.0, waker)
    }

    pub(super) fn forget(&mut self, key: &WakerKey) -> Option<Waker> {
        self.0.as_mut()?.wakers.remove(&key.0)
    }

    /// Takes all of them, to be woken outside the lock.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.0.as_mut().map(|waiting| std::mem::take(&mut waiting.wakers)).unwrap_or_default().into_values()
    }
}

/// Wakes them. One that panics keeps nobody else asleep.
pub(super) fn wake(wakers: impl Iterator<Item = Waker>) {
    for waker in wakers {
        let _ = guarded(|| waker.wake());
    }
}
