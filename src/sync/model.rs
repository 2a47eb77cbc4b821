//! What runs under a model checker: the same face on shuttle's or loom's primitives. Neither ever times out a wait; a
//! scenario plays a timeout with a clock that somebody else may move at any moment.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

#[cfg(rollup_loom)]
use loom as checker;
#[cfg(rollup_shuttle)]
use shuttle as checker;

pub(crate) use checker::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
pub(crate) use checker::thread::{JoinHandle, ThreadId, yield_now};

pub(crate) use model::MutexGuard;

use checker::sync as model;

/// A mutex that, like the one in production, does not poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(model::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> model::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock for many readers that, like the one in production, does not poison.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(model::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> model::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> model::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value behind a mutex, with the condition variable that announces its changes.
#[derive(Debug, Default)]
pub(crate) struct Monitor<T> {
    value: model::Mutex<T>,
    changed: model::Condvar,
}

/// Proof of holding a [`Monitor`].
pub(crate) struct MonitorGuard<'a, T>(Option<model::MutexGuard<'a, T>>);

impl<T> Monitor<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: model::Mutex::new(value), changed: model::Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MonitorGuard<'_, T> {
        MonitorGuard(Some(self.value.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn wait(&self, guard: &mut MonitorGuard<'_, T>) {
        let held = guard.0.take().expect("a guard is whole but during a wait");
        guard.0 = Some(self.changed.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn wait_for(&self, guard: &mut MonitorGuard<'_, T>, _timeout: Duration) {
        self.wait(guard);
    }

    pub(crate) fn notify_all(&self) {
        self.changed.notify_all();
    }
}

impl<T> Deref for MonitorGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("a guard is whole but during a wait")
    }
}

impl<T> DerefMut for MonitorGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("a guard is whole but during a wait")
    }
}

/// An unbounded queue, as in production.
pub(crate) mod queue {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use super::Monitor;

    struct State<T> {
        items: VecDeque<T>,
        senders: usize,
    }

    pub(crate) struct Sender<T>(Arc<Monitor<State<T>>>);
    pub(crate) struct Receiver<T>(Arc<Monitor<State<T>>>);
    pub(crate) struct SendError<T>(pub(crate) T);

    pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Monitor::new(State { items: VecDeque::new(), senders: 1 }));
        (Sender(Arc::clone(&shared)), Receiver(shared))
    }

    impl<T> Sender<T> {
        #[expect(clippy::unnecessary_wraps, reason = "the face of the one in production")]
        pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
            self.0.lock().items.push_back(item);
            self.0.notify_all();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn is_empty(&self) -> bool {
            self.0.lock().items.is_empty()
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.lock().senders -= 1;
            self.0.notify_all();
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Iterator for &Receiver<T> {
        type Item = T;

        fn next(&mut self) -> Option<T> {
            let mut state = self.0.lock();
            loop {
                if let Some(item) = state.items.pop_front() {
                    return Some(item);
                }
                if state.senders == 0 {
                    return None;
                }
                self.0.wait(&mut state);
            }
        }
    }
}

/// Starts a named thread.
pub(crate) fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    checker::thread::Builder::new().name(name).spawn(body)
}

/// The calling thread.
pub(crate) fn current_thread() -> ThreadId {
    checker::thread::current().id()
}
