//! Where time comes from: the wall clock that schedules follow and the monotonic one that deadlines use.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::sync::{Arc, Monitor, MonitorGuard, Weak};

/// A callback that makes a sleeper look at the clock again.
pub type Wake = dyn Fn() + Send + Sync;

/// The source of all time in the crate.
///
/// Production code uses [`SystemClock`]. Tests use `testing::ManualClock` (feature `testing`), whose time moves only
/// when told to.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall-clock time. It may jump (NTP, suspend, an operator).
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary origin that never goes back. Deadlines, durations and back-off use it.
    fn monotonic(&self) -> Duration;

    /// How long, in real time, a sleeper may sleep before it looks again when `remaining` is left on this clock.
    ///
    /// `None` means that only [`on_advance`](Self::on_advance) can make the time pass.
    fn sleep_bound(&self, remaining: Duration) -> Option<Duration> {
        Some(remaining)
    }

    /// Asks to be woken whenever this clock is moved by hand. A clock that moves by itself ignores it.
    fn on_advance(&self, wake: Weak<Wake>) {
        drop(wake);
    }
}

/// The machine's own clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is this moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where machine time enters the crate")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where machine time enters the crate")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A moment on a clock's monotonic time, computed once; none at all means to wait for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    at: Option<Duration>,
    timeout: Duration,
}

impl Deadline {
    pub(crate) const NEVER: Self = Self { at: None, timeout: Duration::MAX };

    /// `timeout` from now. A sum that no clock can reach, such as with [`Duration::MAX`], is never.
    pub(crate) fn after(clock: &dyn Clock, timeout: Duration) -> Self {
        Self::since(clock.monotonic(), timeout)
    }

    /// `timeout` after `moment`, a reading of the monotonic clock.
    pub(crate) fn since(moment: Duration, timeout: Duration) -> Self {
        Self { at: moment.checked_add(timeout), timeout }
    }

    /// How long it was away from the moment that it was computed at.
    pub(crate) fn timeout(self) -> Duration {
        self.timeout
    }

    /// What is left of it: `None` when it never comes, zero when it has passed.
    pub(crate) fn remaining(self, clock: &dyn Clock) -> Option<Duration> {
        self.at.map(|at| at.saturating_sub(clock.monotonic()))
    }
}

/// Sleeps until `done` says something about what `monitor` guards, or the deadline has passed. The predicate decides,
/// never the timer.
pub(crate) fn wait_until<T: Send + 'static, A>(
    clock: &dyn Clock,
    monitor: &Arc<Monitor<T>>,
    deadline: Deadline,
    mut done: impl FnMut(&T) -> Option<A>,
) -> Option<A> {
    if let Some(answer) = done(&monitor.lock()) {
        return Some(answer);
    }
    let _wake = wake_on_advance(clock, monitor);
    let mut guard = monitor.lock();
    loop {
        if let Some(answer) = done(&guard) {
            return Some(answer);
        }
        match deadline.remaining(clock) {
            Some(Duration::ZERO) => return None,
            remaining => sleep(clock, monitor, &mut guard, remaining),
        }
    }
}

/// Sleeps until somebody notifies or `remaining` has passed on `clock`, or for no reason.
pub(crate) fn sleep<T>(
    clock: &dyn Clock,
    monitor: &Monitor<T>,
    guard: &mut MonitorGuard<'_, T>,
    remaining: Option<Duration>,
) {
    match remaining.and_then(|remaining| clock.sleep_bound(remaining)) {
        Some(bound) => monitor.wait_for(guard, bound),
        None => monitor.wait(guard),
    }
}

/// Has a clock that is moved by hand wake the sleepers of `monitor`, as long as the answer lives. It takes the lock
/// first, so that nobody who has just looked at the time can miss it.
pub(crate) fn wake_on_advance<T: Send + 'static>(clock: &dyn Clock, monitor: &Arc<Monitor<T>>) -> Arc<Wake> {
    let monitor = Arc::downgrade(monitor);
    let wake: Arc<Wake> = Arc::new(move || {
        if let Some(monitor) = monitor.upgrade() {
            drop(monitor.lock());
            monitor.notify_all();
        }
    });
    clock.on_advance(Arc::downgrade(&wake));
    wake
}
