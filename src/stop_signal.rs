//! `StopSignal`: how a long engine call learns that its result is no longer wanted.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

type Callback = Box<dyn FnOnce() + Send>;

/// A flag that is raised once, when the run it belongs to was asked to stop.
///
/// An engine looks at it between blocks of work ([`is_stopped`](Self::is_stopped)), or has itself woken
/// ([`on_stop`](Self::on_stop)) where it blocks in something that it can break off, such as a socket.
///
/// ```
/// use rollup_jobs::engine::StopSignal;
///
/// let signal = StopSignal::never();
/// assert!(!signal.is_stopped());
/// ```
#[derive(Clone, Default)]
pub struct StopSignal {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    raised: AtomicBool,
    callbacks: Mutex<Callbacks>,
}

#[derive(Default)]
struct Callbacks {
    next_id: u64,
    waiting: Vec<(u64, Callback)>,
}

impl StopSignal {
    /// A signal that nobody will raise, for calls outside a run.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// A signal that is raised already, for tests of engines.
    #[must_use]
    pub fn raised() -> Self {
        let signal = Self::default();
        signal.raise();
        signal
    }

    /// Whether the work should end. Costs one relaxed load.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shared.raised.load(Ordering::Relaxed)
    }

    /// Runs `callback` when the signal is raised, at once if it is already. It runs in the thread that raises the
    /// signal and must not block. Dropping the returned guard takes it back.
    pub fn on_stop(&self, callback: impl FnOnce() + Send + 'static) -> OnStopGuard {
        let mut callbacks = self.shared.callbacks.lock();
        if self.is_stopped() {
            drop(callbacks);
            callback();
            return OnStopGuard { signal: self.clone(), id: None };
        }
        let id = callbacks.next_id;
        callbacks.next_id += 1;
        callbacks.waiting.push((id, Box::new(callback)));
        OnStopGuard { signal: self.clone(), id: Some(id) }
    }

    /// Raises the signal and wakes whoever asked for it, outside the lock. A callback that panics must keep neither the others
    /// nor the stop itself from what is next.
    pub(crate) fn raise(&self) {
        let waiting = {
            let mut callbacks = self.shared.callbacks.lock();
            self.shared.raised.store(true, Ordering::Relaxed);
            std::mem::take(&mut callbacks.waiting)
        };
        for (_, callback) in waiting {
            let _ = catch_unwind(AssertUnwindSafe(callback));
        }
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopSignal").field("stopped", &self.is_stopped()).finish()
    }
}

/// Keeps a callback of [`StopSignal::on_stop`] registered.
#[derive(Debug)]
#[must_use = "dropping the guard takes the callback back"]
pub struct OnStopGuard {
    signal: StopSignal,
    id: Option<u64>,
}

impl Drop for OnStopGuard {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.signal.shared.callbacks.lock().waiting.retain(|(waiting, _)| *waiting != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    #[test]
    fn a_panicking_callback_keeps_nobody_from_being_woken() {
        let signal = StopSignal::never();
        let woken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&woken);
        let _first = signal.on_stop(|| panic!("planned panic"));
        let _second = signal.on_stop(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        signal.raise();
        assert_eq!(woken.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn callbacks_run_once_when_raised_and_at_once_afterwards() {
        let signal = StopSignal::never();
        let count = Arc::new(AtomicU64::new(0));
        let bump = |count: &Arc<AtomicU64>| {
            let count = Arc::clone(count);
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        let _kept = signal.on_stop(bump(&count));
        drop(signal.on_stop(bump(&count)));
        signal.raise();
        signal.raise();
        assert_eq!(count.load(Ordering::SeqCst), 1, "the dropped one is not called, the kept one once");
        let _late = signal.on_stop(bump(&count));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
