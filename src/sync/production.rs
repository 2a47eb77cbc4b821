//! What runs in a host: the locks of `parking_lot`, the queue of `crossbeam-channel`, the system's threads.

use std::io;
use std::time::Duration;

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
pub(crate) use std::thread::{JoinHandle, ThreadId, yield_now};

/// A value behind a mutex, with the condition variable that announces its changes.
#[derive(Debug, Default)]
pub(crate) struct Monitor<T> {
    value: Mutex<T>,
    changed: parking_lot::Condvar,
}

/// Proof of holding a [`Monitor`].
pub(crate) type MonitorGuard<'a, T> = parking_lot::MutexGuard<'a, T>;

impl<T> Monitor<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: parking_lot::Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MonitorGuard<'_, T> {
        self.value.lock()
    }

    /// Sleeps until somebody notifies. May also return for no reason: the caller looks at its predicate again.
    pub(crate) fn wait(&self, guard: &mut MonitorGuard<'_, T>) {
        self.changed.wait(guard);
    }

    /// Like [`wait`](Self::wait), for at most `timeout`. Whether it timed out is not said: the predicate decides.
    pub(crate) fn wait_for(&self, guard: &mut MonitorGuard<'_, T>, timeout: Duration) {
        self.changed.wait_for(guard, timeout);
    }

    pub(crate) fn notify_all(&self) {
        self.changed.notify_all();
    }
}

/// An unbounded queue. Receivers see its end when the last sender is gone and it is empty.
pub(crate) mod queue {
    pub(crate) type Sender<T> = crossbeam_channel::Sender<T>;
    pub(crate) type Receiver<T> = crossbeam_channel::Receiver<T>;

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        crossbeam_channel::unbounded()
    }
}

/// Starts a named thread.
pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(body)
}

/// The calling thread.
pub(crate) fn current_thread() -> ThreadId {
    std::thread::current().id()
}
