//! When does it run? One timer thread, which owns all schedules and whatever else waits for its time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, Deadline, sleep, wait_until, wake_on_advance};
use crate::sync::{Arc, Crew, JoinHandle, Monitor, Weak, current_thread};

/// The wall clock may jump (NTP, suspend), so it is looked at no later than this, whatever is due when.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// If the wall clock was set back by as much, schedules are armed again. It is corrected by less all the time.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Something that the timer wakes.
pub(crate) trait Scheduled: Send + Sync {
    /// When its schedule says next, strictly after `instant`.
    fn next_after(&self, instant: Timestamp) -> Option<Timestamp>;

    /// Its time has come. Says whether it wants to hear of the next one too.
    fn tick(&self, scheduled: Timestamp) -> bool;
}

/// What the timer does when a time has passed.
type Alarm = Box<dyn FnOnce() + Send>;

/// A handle on the timer thread.
#[derive(Clone)]
pub(crate) struct Timer {
    shared: Arc<TimerState>,
}

struct TimerState {
    clock: Arc<dyn Clock>,
    agenda: Arc<Monitor<Agenda>>,
}

#[derive(Default)]
struct Agenda {
    /// By wall-clock time in milliseconds, then key.
    ticks: BTreeMap<(i64, u64), Weak<dyn Scheduled>>,
    /// When each key is armed for, and a number that tells arming from arming again.
    armed: HashMap<u64, (i64, u64)>,
    arms: u64,
    /// The last readings of both clocks, of the wall clock the latest that something may be armed by.
    seen: (Timestamp, Duration),
    /// By monotonic time, then number.
    alarms: BTreeMap<(Duration, u64), Alarm>,
    alarms_set: u64,
    closed: bool,
    ended: bool,
    thread: Option<JoinHandle<()>>,
}

/// A job that waits for its time.
struct Armed {
    key: u64,
    arm: u64,
    job: Weak<dyn Scheduled>,
}

/// What is due.
enum Due {
    Tick { key: u64, arm: u64, at: Timestamp, job: Weak<dyn Scheduled> },
    Alarm(Alarm),
}

impl Timer {
    /// Starts the thread `rollup-timer` as one of `crew`.
    pub(crate) fn start(clock: Arc<dyn Clock>, crew: &Crew) -> io::Result<Self> {
        let shared = Arc::new(TimerState { clock, agenda: Arc::default() });
        let body = Arc::clone(&shared);
        let thread = crew.spawn("rollup-timer".to_owned(), move || body.run())?;
        shared.agenda.lock().thread = Some(thread);
        Ok(Self { shared })
    }

    /// Ticks `job` by its schedule from now on. Arming again begins again.
    pub(crate) fn arm(&self, key: u64, job: Weak<dyn Scheduled>) {
        let (now, monotonic) = (self.shared.clock.now(), self.shared.clock.monotonic());
        let next = job.upgrade().and_then(|job| job.next_after(now));
        let mut agenda = self.shared.agenda.lock();
        let was_set_back = agenda.see(now, monotonic);
        agenda.disarm(key);
        // It may have had another schedule before.
        let Some(next) = next else { return };
        agenda.arms += 1;
        let arm = agenda.arms;
        agenda.insert(key, arm, next.as_millisecond(), job);
        // The thread looks again by itself when what was first is due.
        let is_first = agenda.ticks.first_key_value().is_some_and(|((_, first), _)| *first == key);
        drop(agenda);
        if is_first || was_set_back {
            self.shared.agenda.notify_all();
        }
    }

    /// When the job is ticked next, if it is at all.
    pub(crate) fn armed_for(&self, key: u64) -> Option<Timestamp> {
        let armed = self.shared.agenda.lock().armed.get(&key).copied();
        armed.and_then(|(at, _)| Timestamp::from_millisecond(at).ok())
    }

    /// Never ticks the job again.
    pub(crate) fn disarm(&self, key: u64) {
        self.shared.agenda.lock().disarm(key);
    }

    /// Runs `alarm` on the timer thread when `delay` is over; never, if the timer is closed before. It must not block.
    pub(crate) fn after(&self, delay: Duration, alarm: impl FnOnce() + Send + 'static) {
        let at = self.shared.clock.monotonic().saturating_add(delay);
        let mut agenda = self.shared.agenda.lock();
        agenda.alarms_set += 1;
        let number = agenda.alarms_set;
        agenda.alarms.insert((at, number), Box::new(alarm));
        let is_first = agenda.alarms.first_key_value().is_some_and(|((_, first), _)| *first == number);
        drop(agenda);
        if is_first {
            self.shared.agenda.notify_all();
        }
    }

    /// Wakes nobody any more. The thread ends soon.
    pub(crate) fn close(&self) {
        self.shared.agenda.lock().closed = true;
        self.shared.agenda.notify_all();
    }

    /// Waits for the thread until the deadline; after that it is left to itself. Says whether it ended.
    pub(crate) fn join(&self, deadline: Deadline) -> bool {
        let mut agenda = self.shared.agenda.lock();
        let thread = agenda.thread.take();
        if thread.as_ref().is_none_or(|thread| thread.thread().id() == current_thread()) {
            return true;
        }
        drop(agenda);
        if wait_until(&*self.shared.clock, &self.shared.agenda, deadline, |agenda| agenda.ended.then_some(())).is_none()
        {
            return false;
        }
        thread.is_none_or(|thread| thread.join().is_ok())
    }
}

impl Agenda {
    fn insert(&mut self, key: u64, arm: u64, at: i64, job: Weak<dyn Scheduled>) {
        self.ticks.insert((at, key), job);
        self.armed.insert(key, (at, arm));
    }

    fn disarm(&mut self, key: u64) {
        if let Some((at, _)) = self.armed.remove(&key) {
            self.ticks.remove(&(at, key));
        }
    }

    /// Looks at the clocks. Says whether the wall clock was set back since something was armed by it; that is so
    /// until somebody has armed everything again.
    fn see(&mut self, now: Timestamp, monotonic: Duration) -> bool {
        let (wall, steady) = self.seen;
        let expected = wall.saturating_add(monotonic.saturating_sub(steady)).unwrap_or(Timestamp::MAX);
        if now >= expected {
            self.seen = (now, monotonic);
        }
        expected.duration_since(now) >= SET_BACK
    }

    /// Everything that is armed; it stays so.
    fn all_armed(&self) -> Vec<Armed> {
        let arm = |key: &u64| self.armed.get(key).map_or(0, |(_, arm)| *arm);
        self.ticks.iter().map(|((_, key), job)| Armed { key: *key, arm: arm(key), job: Weak::clone(job) }).collect()
    }

    /// Takes what is due now, ticks first.
    fn take_due(&mut self, now: Timestamp, monotonic: Duration) -> Option<Due> {
        if let Some(entry) = self.ticks.first_entry()
            && entry.key().0 <= now.as_millisecond()
        {
            let ((at, key), job) = entry.remove_entry();
            let arm = self.armed.get(&key).map_or(0, |(_, arm)| *arm);
            return Some(Due::Tick { key, arm, at: Timestamp::from_millisecond(at).unwrap_or(now), job });
        }
        let entry = self.alarms.first_entry().filter(|entry| entry.key().0 <= monotonic)?;
        Some(Due::Alarm(entry.remove()))
    }

    /// How long nothing is due; `None` if nothing ever will be.
    fn idle_for(&self, now: Timestamp, monotonic: Duration) -> Option<Duration> {
        let tick = self.ticks.first_key_value().map(|((at, _), _)| {
            let millis = at.saturating_sub(now.as_millisecond());
            Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(LOOK_AGAIN)
        });
        let alarm = self.alarms.first_key_value().map(|((at, _), _)| at.saturating_sub(monotonic));
        [tick, alarm].into_iter().flatten().min()
    }
}

impl TimerState {
    fn run(self: &Arc<Self>) {
        let _ended = Ended(self);
        let wake = wake_on_advance(&*self.clock, &self.agenda);
        let mut agenda = self.agenda.lock();
        while !agenda.closed {
            let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
            if agenda.see(now, monotonic) {
                agenda.seen = (now, monotonic);
                let armed = agenda.all_armed();
                drop(agenda);
                self.arm_again(armed, now);
                agenda = self.agenda.lock();
                continue;
            }
            match agenda.take_due(now, monotonic) {
                Some(due) => {
                    drop(agenda);
                    self.fire(due, now);
                    agenda = self.agenda.lock();
                }
                None => {
                    let idle = agenda.idle_for(now, monotonic);
                    sleep(&*self.clock, &self.agenda, &mut agenda, idle);
                }
            }
        }
        drop(wake);
    }

    /// What was armed by a clock that was ahead would not be due before that clock's time has come.
    fn arm_again(&self, armed: Vec<Armed>, now: Timestamp) {
        let next = |Armed { key, arm, job }: Armed| {
            let next = job.upgrade().and_then(|job| job.next_after(now))?;
            Some((key, arm, next, job))
        };
        let armed: Vec<_> = armed.into_iter().filter_map(next).collect();
        let mut agenda = self.agenda.lock();
        for (key, arm, next, job) in armed {
            // Unless it was armed, or disarmed, meanwhile.
            if agenda.armed.get(&key).is_some_and(|(_, current)| *current == arm) {
                agenda.disarm(key);
                agenda.insert(key, arm, next.as_millisecond(), job);
            }
        }
    }

    fn fire(&self, due: Due, now: Timestamp) {
        match due {
            Due::Alarm(alarm) => alarm(),
            Due::Tick { key, arm, at, job } => {
                let next = job.upgrade().filter(|job| job.tick(at)).and_then(|job| job.next_after(now.max(at)));
                let mut agenda = self.agenda.lock();
                // Who armed the job again meanwhile knows better.
                if agenda.armed.get(&key).is_none_or(|(_, current)| *current != arm) {
                    return;
                }
                agenda.armed.remove(&key);
                if let Some(next) = next {
                    agenda.insert(key, arm, next.as_millisecond(), job);
                }
            }
        }
    }
}

/// Publishes that the thread has ended, also when it unwinds.
struct Ended<'a>(&'a TimerState);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.agenda.lock().ended = true;
        self.0.agenda.notify_all();
    }
}

#[cfg(test)]
mod tests;
