use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use jiff::Timestamp;

use crate::{Clock, Wake};

/// A clock that moves only when told to, and wakes whoever sleeps on it.
///
/// ```
/// use std::time::Duration;
///
/// use rollup_jobs::Clock;
/// use rollup_jobs::testing::ManualClock;
///
/// let clock = ManualClock::at("2026-11-23T12:00:00Z".parse().unwrap());
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_string(), "2026-11-23T12:01:00Z");
/// ```
#[derive(Debug)]
pub struct ManualClock {
    time: Mutex<Time>,
}

struct Time {
    now: Timestamp,
    monotonic: Duration,
    sleepers: Vec<(ThreadId, Weak<Wake>)>,
}

impl ManualClock {
    /// Stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { time: Mutex::new(Time { now, monotonic: Duration::ZERO, sleepers: Vec::new() }) }
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, by: Duration) {
        self.change(|time| {
            time.monotonic += by;
            time.now = time.now.saturating_add(by).unwrap_or(Timestamp::MAX);
        });
    }

    /// Sets the wall clock, and leaves the monotonic one alone.
    pub fn set_wall_clock(&self, now: Timestamp) {
        self.change(|time| time.now = now);
    }

    /// Whether this thread sleeps on it, and looks again when it is moved: a stop that waits, or one of the manager's
    /// own.
    ///
    /// A test that moves it for a stop in another thread waits until that thread sleeps.
    #[must_use]
    pub fn has_asleep(&self, thread: ThreadId) -> bool {
        self.lock().sleepers.iter().any(|(sleeper, wake)| *sleeper == thread && wake.strong_count() > 0)
    }

    fn change(&self, change: impl FnOnce(&mut Time)) {
        let sleepers = {
            let mut time = self.lock();
            change(&mut time);
            time.sleepers.retain(|(_, wake)| wake.strong_count() > 0);
            time.sleepers.clone()
        };
        for wake in sleepers.iter().filter_map(|(_, wake)| wake.upgrade()) {
            wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Time").field("now", &self.now).field("monotonic", &self.monotonic).finish_non_exhaustive()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn sleep_bound(&self, _remaining: Duration) -> Option<Duration> {
        None
    }

    fn on_advance(&self, wake: Weak<Wake>) {
        self.lock().sleepers.push((std::thread::current().id(), wake));
    }
}
