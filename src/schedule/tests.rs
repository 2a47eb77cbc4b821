use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use super::*;
use crate::clock::SystemClock;
use crate::sync::Mutex;

const PATIENCE: Duration = Duration::from_mins(1);
const KEY: u64 = 7;

/// The same moment for ever. It counts who looks at it.
#[derive(Debug)]
struct StandingClock {
    now: Timestamp,
    looks: AtomicUsize,
}

impl StandingClock {
    fn at(now: Timestamp) -> Self {
        Self { now, looks: AtomicUsize::new(0) }
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.now
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// What is armed for one moment, then for another.
struct Appointment {
    timer: Timer,
    next: Mutex<Timestamp>,
    /// When it arms itself again for, as it is ticked.
    later: Option<Timestamp>,
    ticked: Sender<()>,
    this: Weak<Self>,
}

impl Appointment {
    fn new(timer: &Timer, next: Timestamp, later: Option<Timestamp>, ticked: Sender<()>) -> Arc<Self> {
        let (timer, next) = (timer.clone(), Mutex::new(next));
        Arc::new_cyclic(|this| Self { timer, next, later, ticked, this: Weak::clone(this) })
    }

    fn arm(&self) {
        let this: Weak<dyn Scheduled> = self.this.clone();
        self.timer.arm(KEY, this);
    }
}

impl Scheduled for Appointment {
    fn next_after(&self, _instant: Timestamp) -> Option<Timestamp> {
        Some(*self.next.lock())
    }

    fn tick(&self, _scheduled: Timestamp) -> bool {
        if let Some(later) = self.later {
            *self.next.lock() = later;
            self.arm();
        }
        let _ = self.ticked.send(());
        false
    }
}

fn standing() -> (Timer, Timestamp) {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    (Timer::start(Arc::new(StandingClock::at(now)), &Crew::default()).unwrap(), now)
}

fn end(timer: &Timer) {
    timer.close();
    assert!(timer.join(Deadline::NEVER));
}

/// Waits until the thread has done what it was at.
fn settle(timer: &Timer) {
    let (sender, done) = channel();
    timer.after(Duration::ZERO, move || sender.send(()).unwrap());
    done.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn alarms_of_one_moment_all_go_off() {
    let (timer, _) = standing();
    let (sender, gone_off) = channel();
    timer.after(Duration::ZERO, {
        // Both are set before the thread looks again.
        let timer = timer.clone();
        move || {
            for n in [1, 2] {
                let sender = sender.clone();
                timer.after(Duration::ZERO, move || sender.send(n).unwrap());
            }
        }
    });
    assert_eq!([(); 2].map(|()| gone_off.recv_timeout(PATIENCE)), [Ok(1), Ok(2)]);
    end(&timer);
}

#[test]
fn what_is_armed_again_during_its_tick_stays_armed() {
    let (timer, now) = standing();
    let later = now + SignedDuration::from_hours(1);
    let (sender, ticked) = channel();
    let appointment = Appointment::new(&timer, now, Some(later), sender);
    appointment.arm();
    ticked.recv_timeout(PATIENCE).unwrap();
    settle(&timer);
    assert_eq!(timer.armed_for(KEY), Some(later));
    timer.disarm(KEY);
    assert_eq!(timer.armed_for(KEY), None);
    end(&timer);
}

/// On the real clock, which wakes nobody by itself.
#[test]
fn what_is_due_first_wakes_the_thread() {
    let clock = SystemClock::new();
    let now = clock.now();
    let timer = Timer::start(Arc::new(clock), &Crew::default()).unwrap();
    let (sender, ticked) = channel();
    let appointment = Appointment::new(&timer, now, None, sender);
    for _ in 0..100 {
        appointment.arm();
        ticked.recv_timeout(PATIENCE).unwrap();
        // Most of the time it sleeps by then.
        settle(&timer);
        (0..100).for_each(|_| std::thread::yield_now());
    }
    end(&timer);
}

#[test]
fn a_join_waits_for_the_thread_until_its_deadline() {
    let (timer, _) = standing();
    let (sender, is_at_work) = channel();
    let (release, released) = channel::<()>();
    timer.after(Duration::ZERO, move || {
        sender.send(()).unwrap();
        released.recv_timeout(PATIENCE).unwrap();
    });
    is_at_work.recv_timeout(PATIENCE).unwrap();
    timer.close();
    assert!(!timer.join(Deadline::since(Duration::ZERO, Duration::ZERO)), "it is still at work");
    release.send(()).unwrap();
}

#[test]
fn the_thread_does_not_wait_for_itself() {
    let (timer, _) = standing();
    let (sender, joined) = channel();
    timer.after(Duration::ZERO, {
        let timer = timer.clone();
        move || sender.send(timer.join(Deadline::NEVER)).unwrap()
    });
    assert_eq!(joined.recv_timeout(PATIENCE), Ok(true));
    timer.close();
}

/// One that looks at the clock over and over keeps a core busy.
#[test]
fn a_timer_with_nothing_to_do_sleeps() {
    let clock = Arc::new(StandingClock::at(Timestamp::UNIX_EPOCH));
    let timer = Timer::start(clock.clone(), &Crew::default()).unwrap();
    settle(&timer);
    let before = clock.looks.load(Ordering::Relaxed);
    (0..10_000).for_each(|_| std::thread::yield_now());
    assert!(clock.looks.load(Ordering::Relaxed) - before < 10);
    end(&timer);
}
