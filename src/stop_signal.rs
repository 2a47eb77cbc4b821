//! `StopSignal`: how a long engine call learns that its result is no longer wanted.

use std::fmt;

use crate::guard::guarded;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

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
#[derive(Clone)]
pub struct StopSignal {
    /// None if nobody can raise it.
    shared: Option<Arc<SignalState>>,
}

#[derive(Default)]
struct SignalState {
    raised: AtomicBool,
    /// How often it is still looked at in vain, if that raises it.
    looks: Option<AtomicU64>,
    /// What else raises it, looked at whenever it is looked at itself.
    when: Option<Box<dyn Fn() -> bool + Send + Sync>>,
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
        Self { shared: None }
    }

    /// One that is not raised yet.
    pub(crate) fn new() -> Self {
        Self { shared: Some(Arc::default()) }
    }

    /// A signal that is raised already, for tests of engines.
    #[must_use]
    pub fn raised() -> Self {
        let signal = Self::new();
        signal.raise();
        signal
    }

    /// A signal that is raised as soon as it was looked at `looks` times, or somebody asks to be woken by it: in the
    /// middle of whatever the engine does, for tests of engines.
    #[must_use]
    pub fn raised_after(looks: u64) -> Self {
        Self { shared: Some(Arc::new(SignalState { looks: Some(AtomicU64::new(looks)), ..SignalState::default() })) }
    }

    /// A signal that counts as raised as soon as this holds: a deadline, or what somebody else raises.
    pub(crate) fn raised_when(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { shared: Some(Arc::new(SignalState { when: Some(Box::new(holds)), ..SignalState::default() })) }
    }

    /// Whether the work should end. Costs one relaxed load.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let is_raised = |shared: &Arc<SignalState>| {
            shared.raised.load(Ordering::Relaxed)
                || shared.count_look()
                || shared.when.as_ref().is_some_and(|when| when())
        };
        self.shared.as_ref().is_some_and(is_raised)
    }

    /// Runs `callback` when the signal is raised, at once if it is already. It runs in the thread that raises the
    /// signal and must not block. Dropping the returned guard takes it back.
    pub fn on_stop(&self, callback: impl FnOnce() + Send + 'static) -> OnStopGuard {
        let Some(shared) = &self.shared else { return OnStopGuard { registered: None } };
        let mut callbacks = shared.callbacks.lock();
        if shared.looks.is_some() || self.is_stopped() {
            shared.raised.store(true, Ordering::Relaxed);
            drop(callbacks);
            callback();
            return OnStopGuard { registered: None };
        }
        let id = callbacks.next_id;
        callbacks.next_id += 1;
        callbacks.waiting.push((id, Box::new(callback)));
        OnStopGuard { registered: Some((Arc::clone(shared), id)) }
    }

    /// Wakes who waits on `monitor` when the signal is raised: whoever looks at the signal under the monitor's lock
    /// before it waits misses nothing.
    #[cfg(any(feature = "tantivy", feature = "elasticsearch"))]
    pub(crate) fn wakes<T: Send + 'static>(&self, monitor: &Arc<crate::sync::Monitor<T>>) -> OnStopGuard {
        let monitor = Arc::clone(monitor);
        self.on_stop(move || {
            drop(monitor.lock());
            monitor.notify_all();
        })
    }

    /// Raises the signal and wakes whoever asked for it, outside the lock. A callback that panics must keep neither
    /// the others nor the stop itself from what is next.
    pub(crate) fn raise(&self) {
        let Some(shared) = &self.shared else { return };
        let waiting = {
            let mut callbacks = shared.callbacks.lock();
            shared.raised.store(true, Ordering::Relaxed);
            std::mem::take(&mut callbacks.waiting)
        };
        for (_, callback) in waiting {
            let _ = guarded(callback);
        }
    }
}

impl SignalState {
    /// Whether it is raised by being looked at, and this look comes after the last one in vain.
    fn count_look(&self) -> bool {
        let is_last = |looks: &AtomicU64| {
            let counted = looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |looks| looks.checked_sub(1));
            counted.is_err()
        };
        self.looks.as_ref().is_some_and(is_last)
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raised = self.shared.as_ref().is_some_and(|shared| shared.raised.load(Ordering::Relaxed));
        f.debug_struct("StopSignal").field("stopped", &raised).finish()
    }
}

/// Keeps a callback of [`StopSignal::on_stop`] registered.
#[must_use = "dropping the guard takes the callback back"]
pub struct OnStopGuard {
    registered: Option<(Arc<SignalState>, u64)>,
}

impl fmt::Debug for OnStopGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnStopGuard").field("registered", &self.registered.is_some()).finish()
    }
}

impl Drop for OnStopGuard {
    fn drop(&mut self) {
        if let Some((shared, id)) = &self.registered {
            shared.callbacks.lock().waiting.retain(|(waiting, _)| waiting != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_callback_keeps_nobody_from_being_woken() {
        let signal = StopSignal::new();
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
        let signal = StopSignal::new();
        let counts: [Arc<AtomicU64>; 3] = Default::default();
        let [kept, dropped, late] = counts.each_ref().map(|count| {
            let count = Arc::clone(count);
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let called = || counts.each_ref().map(|count| count.load(Ordering::SeqCst));
        let registered = signal.on_stop(kept);
        assert!(format!("{registered:?}").contains("true") && format!("{signal:?}").contains("false"));
        drop(signal.on_stop(dropped));
        signal.raise();
        signal.raise();
        assert_eq!(called(), [1, 0, 0]);
        assert!(format!("{signal:?}").contains("true"));
        let _late = signal.on_stop(late);
        assert_eq!(called(), [1, 0, 1]);
    }
}
