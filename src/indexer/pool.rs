//! The indexer threads: a fixed number, one queue, joined once.

use std::io;
use std::thread::{JoinHandle, ThreadId};

use super::{Job, guarded, turn};
use crate::clock::{Clock, Deadline, wait_until};
use crate::sync::queue::{self, Receiver, Sender};
use crate::sync::{self, Arc, Monitor, Mutex};

/// Something for an indexer thread to do.
pub(super) enum Task {
    /// A turn of the job's run, if it still wants one.
    Turn(Arc<Job>),
    /// Tell the observers what was published in somebody else's thread.
    Deliver(Arc<Job>),
}

pub(crate) struct Pool {
    /// Taken out when the pool closes, which ends the threads once the queue is empty.
    queue: Mutex<Option<Sender<Task>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ids: Vec<ThreadId>,
    ended: Arc<Monitor<Vec<ThreadId>>>,
    clock: Arc<dyn Clock>,
}

impl Pool {
    /// Starts the threads `rollup-indexer-0`, `rollup-indexer-1` ...
    pub(super) fn start(count: usize, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (sender, receiver) = queue::unbounded();
        let ended: Arc<Monitor<Vec<ThreadId>>> = Arc::default();
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (receiver, ended) = (receiver.clone(), Arc::clone(&ended));
            // Should one not start, dropping the sender ends those that did.
            threads.push(sync::spawn(format!("rollup-indexer-{number}"), move || work(&receiver, &ended))?);
        }
        let ids = threads.iter().map(|thread| thread.thread().id()).collect();
        Ok(Self { queue: Mutex::new(Some(sender)), threads: Mutex::new(threads), ids, ended, clock })
    }

    /// Hands a task to the next free thread; a closed pool drops it.
    pub(super) fn push(&self, task: Task) {
        let refused = match &*self.queue.lock() {
            Some(queue) => queue.send(task).err().map(|error| error.0),
            None => Some(task),
        };
        // What it holds is dropped outside the lock.
        drop(refused);
    }

    /// Lets the threads end when the queue is empty.
    pub(crate) fn close(&self) {
        let sender = self.queue.lock().take();
        drop(sender);
    }

    /// Waits until the deadline for all threads but the caller's own to end. Says whether they did.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        let own = std::thread::current().id();
        let all_ended = |ended: &Vec<ThreadId>| self.ids.iter().all(|id| *id == own || ended.contains(id));
        wait_until(&*self.clock, &self.ended, deadline, |ended| all_ended(ended).then_some(())).is_some()
    }

    /// Waits likewise, and joins them; those left are never joined.
    pub(crate) fn join(&self, deadline: Deadline) -> bool {
        let ended = self.wait(deadline);
        let threads = std::mem::take(&mut *self.threads.lock());
        if ended {
            let own = std::thread::current().id();
            // They have nothing left to do but to return; tasks cannot unwind into them.
            for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
                drop(thread.join());
            }
        }
        ended
    }

    pub(super) fn thread_ids(&self) -> &[ThreadId] {
        &self.ids
    }
}

fn work(tasks: &Receiver<Task>, ended: &Monitor<Vec<ThreadId>>) {
    let _ended = Ended(ended);
    for task in tasks {
        // A turn publishes its end itself, whatever happens in it; this keeps the thread alive should that have a bug.
        let _ = guarded(|| match task {
            Task::Turn(job) => turn::take(&job),
            Task::Deliver(job) => job.deliver(),
        });
    }
}

/// Publishes that a thread has ended, also when it unwinds.
struct Ended<'a>(&'a Monitor<Vec<ThreadId>>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.lock().push(std::thread::current().id());
        self.0.notify_all();
    }
}
