//! The indexer threads: one queue, a number that stays the same whatever happens to one of them, each joined at most
//! once.
//!
//! A call that never returns keeps its thread. Once such a thread has given no sign of life for long enough it is
//! given up as *lost*, and another one takes its place; should its call return after all, it ends.

use std::io;
use std::time::Duration;

use super::indexer;
use super::job::Job;
use crate::clock::{Clock, Deadline, wait_until};
use crate::guard::{discard, guarded};
use crate::schedule::Timer;
use crate::sync::queue::{self, Receiver, Sender};
use crate::sync::{Arc, Crew, JoinHandle, Monitor, Mutex, ThreadId, Weak, current_thread};

/// An engine that hangs in every call must not cost a thread for every job.
const MAX_LOST: usize = 64;

/// Something for an indexer thread to do.
pub(super) enum Task {
    /// A turn of the job's run, if it still wants one.
    Turn(Arc<Job>),
    /// Tell the observers what was published in somebody else's thread.
    Deliver(Arc<Job>),
    /// Save a stop that the store has refused to save.
    SaveStop(Arc<Job>),
}

impl Task {
    fn job(&self) -> &Arc<Job> {
        let (Self::Turn(job) | Self::Deliver(job) | Self::SaveStop(job)) = self;
        job
    }
}

pub(crate) struct Pool {
    /// Taken out when the pool closes, which ends the threads once the queue is empty.
    queue: Mutex<Option<Sender<Task>>>,
    shared: Arc<PoolState>,
}

/// What the threads share.
struct PoolState {
    tasks: Receiver<Task>,
    /// Turns that wait for the ownership of the jobs to come back, or for a paused manager to be resumed.
    withheld: Mutex<Vec<Task>>,
    roster: Arc<Monitor<Roster>>,
    crew: Crew,
    clock: Arc<dyn Clock>,
    timer: Timer,
    lost_after: Duration,
    this: Weak<PoolState>,
}

/// All threads that were ever started.
#[derive(Default)]
struct Roster {
    workers: Vec<Worker>,
    /// The timer will look for lost threads.
    watched: bool,
    /// Somebody waits until nobody has anything to do.
    draining: bool,
    closed: bool,
}

struct Worker {
    thread: Option<JoinHandle<()>>,
    /// Known once it runs.
    id: Option<ThreadId>,
    /// The job it is at.
    job: Option<Arc<Job>>,
    last_sign: Duration,
    lost: bool,
    ended: bool,
}

impl Pool {
    /// Without a thread.
    pub(super) fn new(lost_after: Duration, clock: Arc<dyn Clock>, timer: Timer, crew: Crew) -> Self {
        let (sender, tasks) = queue::unbounded();
        let roster = Arc::default();
        let shared = Arc::new_cyclic(|this| PoolState {
            tasks,
            withheld: Mutex::default(),
            roster,
            crew,
            clock,
            timer,
            lost_after,
            this: Weak::clone(this),
        });
        Self { queue: Mutex::new(Some(sender)), shared }
    }

    /// Starts the threads `rollup-indexer-0`, `rollup-indexer-1` ... Should one not start, some may have.
    pub(super) fn start(&self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.shared.start_worker())
    }

    /// Hands a task to the next free thread; a closed pool drops it.
    pub(super) fn push(&self, task: Task) {
        let refused = match &*self.queue.lock() {
            Some(queue) => queue.send(task).err().map(|error| error.0),
            None => Some(task),
        };
        // What it holds is dropped outside the lock.
        discard(refused);
    }

    /// Lets the threads end when the queue is empty.
    pub(crate) fn close(&self) {
        self.shared.roster.lock().closed = true;
        let sender = self.queue.lock().take();
        drop(sender);
        self.resume();
    }

    /// Lets the turns go on that were withheld. A closed pool drops them.
    pub(super) fn resume(&self) {
        let withheld = std::mem::take(&mut *self.shared.withheld.lock());
        for task in withheld {
            self.push(task);
        }
    }

    /// Waits until the deadline for all threads but the caller's own to have nothing to do. Says whether it came to
    /// that.
    pub(crate) fn drain(&self, deadline: Deadline) -> bool {
        let own = current_thread();
        let PoolState { clock, roster, tasks, .. } = &*self.shared;
        roster.lock().draining = true;
        let is_idle = |roster: &Roster| {
            let mut others = roster.workers.iter().filter(|worker| !worker.ended && worker.id != Some(own)).peekable();
            // What is queued is the caller's own to do if it is the only one that is left; it does so later.
            let is_empty = others.peek().is_none() || tasks.is_empty();
            is_empty && others.all(|worker| worker.job.is_none())
        };
        let idle = |roster: &Roster| is_idle(roster).then_some(());
        wait_until(&**clock, roster, deadline, idle).is_some()
    }

    /// Waits until the deadline for all threads but the caller's own to end, and joins them; those left are never
    /// joined. Says whether they did.
    pub(crate) fn join(&self, deadline: Deadline) -> bool {
        let own = current_thread();
        let all_ended = |roster: &Roster| roster.workers.iter().all(|worker| worker.ended || worker.id == Some(own));
        let ended =
            wait_until(&*self.shared.clock, &self.shared.roster, deadline, |roster| all_ended(roster).then_some(()))
                .is_some();
        let mut roster = self.shared.roster.lock();
        let threads: Vec<_> = roster.workers.iter_mut().filter_map(|worker| worker.thread.take()).collect();
        drop(roster);
        if ended {
            // They have nothing left to do but to return; tasks cannot unwind into them.
            for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
                drop(thread.join());
            }
        }
        ended
    }

    /// Whether something waits for a thread.
    pub(super) fn is_busy(&self) -> bool {
        !self.shared.tasks.is_empty()
    }

    /// How many threads have nothing to do.
    pub(super) fn idle(&self) -> usize {
        let roster = self.shared.roster.lock();
        let idle = |worker: &&Worker| worker.job.is_none() && !worker.ended;
        roster.workers.iter().filter(idle).count()
    }

    /// The jobs that threads are at.
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        let roster = self.shared.roster.lock();
        roster.workers.iter().filter_map(|worker| worker.job.clone()).collect()
    }
}

impl PoolState {
    fn start_worker(&self) -> io::Result<()> {
        let worker =
            Worker { thread: None, id: None, job: None, last_sign: self.clock.monotonic(), lost: false, ended: false };
        let mut roster = self.roster.lock();
        if roster.closed {
            return Err(io::Error::other("the pool is closed"));
        }
        if roster.workers.iter().filter(|worker| worker.lost && !worker.ended).count() >= MAX_LOST {
            return Err(io::Error::other(format!("{MAX_LOST} threads are lost already")));
        }
        let number = roster.workers.len();
        roster.workers.push(worker);
        drop(roster);
        let Some(this) = self.this.upgrade() else { return Ok(()) };
        let spawned = self.crew.spawn(format!("rollup-indexer-{number}"), move || this.work(number));
        let mut roster = self.roster.lock();
        match spawned {
            Ok(thread) => {
                roster.workers[number].thread = Some(thread);
                Ok(())
            }
            Err(error) => {
                roster.workers[number].ended = true;
                Err(error)
            }
        }
    }

    fn work(&self, number: usize) {
        let _ended = Ended(self, number);
        self.roster.lock().workers[number].id = Some(current_thread());
        let pulse = Pulse { shared: self, number };
        for task in &self.tasks {
            let Some(task) = self.admit(task) else {
                self.tell_who_drains();
                continue;
            };
            self.begin(number, task.job());
            // A turn publishes its end itself, whatever happens in it; this keeps the thread alive should that have a
            // bug.
            let _ = guarded(|| match &task {
                Task::Turn(job) => indexer::take(job, &pulse),
                Task::Deliver(job) => job.deliver(&pulse),
                Task::SaveStop(job) => {
                    job.save_stop();
                    job.deliver(&pulse);
                }
            });
            let was_lost = self.end(number);
            // The last reference to a job may be this one.
            discard(task);
            if was_lost {
                return;
            }
        }
    }

    /// Keeps a turn back whose job may have another owner by now, or whose manager is paused.
    fn admit(&self, task: Task) -> Option<Task> {
        let has_to_wait = |task: &Task| {
            let waits = |job: &Arc<Job>| job.runtime.is_paused() || job.runtime.owner.has_lapsed();
            matches!(task, Task::Turn(job) if waits(job))
        };
        if !has_to_wait(&task) {
            return Some(task);
        }
        let mut withheld = self.withheld.lock();
        // Whoever resumes takes this lock after the ownership is back, the pause over, or the pool closed: one of the
        // two sees the other.
        if !has_to_wait(&task) || self.roster.lock().closed {
            return Some(task);
        }
        withheld.push(task);
        None
    }

    fn begin(&self, number: usize, job: &Arc<Job>) {
        let now = self.clock.monotonic();
        let mut roster = self.roster.lock();
        let worker = &mut roster.workers[number];
        (worker.job, worker.last_sign) = (Some(Arc::clone(job)), now);
        let was_watched = std::mem::replace(&mut roster.watched, true);
        drop(roster);
        if !was_watched {
            self.watch(self.lost_after);
        }
    }

    /// Says whether the thread was given up meanwhile.
    fn end(&self, number: usize) -> bool {
        let mut roster = self.roster.lock();
        let job = roster.workers[number].job.take();
        let was_lost = roster.workers[number].lost;
        drop(roster);
        self.tell_who_drains();
        discard(job);
        was_lost
    }

    /// Somebody may wait until nobody has anything to do.
    fn tell_who_drains(&self) {
        if self.roster.lock().draining {
            self.roster.notify_all();
        }
    }

    /// Looks for lost threads after `delay`.
    fn watch(&self, delay: Duration) {
        let this = Weak::clone(&self.this);
        self.timer.after(delay, move || {
            if let Some(this) = this.upgrade() {
                this.replace_lost();
            }
        });
    }

    /// Gives up the threads that have shown no sign of life for too long, and starts as many others.
    fn replace_lost(&self) {
        let now = self.clock.monotonic();
        let silent = self.roster.lock().silent(now, self.lost_after);
        for (number, job, silence) in silent {
            let replaced = self.start_worker();
            if replaced.is_ok() {
                self.roster.lock().workers[number].lost = true;
            }
            job.note_lost_thread(silence, replaced.err());
        }
        let mut roster = self.roster.lock();
        let next = roster.next_silence(now, self.lost_after);
        roster.watched = next.is_some();
        drop(roster);
        if let Some(delay) = next {
            self.watch(delay);
        }
    }
}

impl Roster {
    /// The workers that are at something, and not given up yet.
    fn busy(&self) -> impl Iterator<Item = (usize, &Worker, &Arc<Job>)> {
        let candidates = self.workers.iter().enumerate().filter(|(_, worker)| !worker.lost && !self.closed);
        candidates.filter_map(|(number, worker)| worker.job.as_ref().map(|job| (number, worker, job)))
    }

    fn silent(&self, now: Duration, lost_after: Duration) -> Vec<(usize, Arc<Job>, Duration)> {
        let silence = |worker: &Worker| now.saturating_sub(worker.last_sign);
        let silent = self.busy().filter(|(_, worker, _)| silence(worker) >= lost_after);
        silent.map(|(number, worker, job)| (number, Arc::clone(job), silence(worker))).collect()
    }

    /// When the next worker may have been silent for too long; one that could not be replaced is looked at again then
    /// too.
    fn next_silence(&self, now: Duration, lost_after: Duration) -> Option<Duration> {
        let left = |worker: &Worker| lost_after.saturating_sub(now.saturating_sub(worker.last_sign));
        self.busy().map(|(_, worker, _)| left(worker)).map(|left| if left.is_zero() { lost_after } else { left }).min()
    }
}

/// How a thread shows that it lives.
pub(super) struct Pulse<'a> {
    shared: &'a PoolState,
    number: usize,
}

impl Pulse<'_> {
    pub(super) fn beat(&self, now: Duration) {
        self.shared.roster.lock().workers[self.number].last_sign = now;
    }
}

/// Publishes that a thread has ended, also when it unwinds.
struct Ended<'a>(&'a PoolState, usize);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.roster.lock().workers[self.1].ended = true;
        self.0.roster.notify_all();
    }
}
