//! The gate before calls that can block: a few at once, on threads that the runtime keeps for that.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error_answer::{Cause, ErrorAnswer};
use crate::guard::guarded;

/// How long a runner waits for one more call. The runtime's own end may have to wait for that.
const LINGER: Duration = Duration::from_millis(100);

/// Lets a few calls at a time through to engine and store, so that however many requests come, few threads are held.
///
/// The calls queue up for a few runners, each of which keeps its thread until there have been no more for a while. A
/// permit for each call would not do: tokio begins a new thread for whoever gets the permit before its last holder's
/// thread counts as idle.
pub(super) struct Gate {
    places: usize,
    shared: Arc<GateState>,
}

#[derive(Default)]
struct GateState {
    queue: Mutex<Queue>,
    has_call: Condvar,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<Box<dyn FnOnce() + Send>>,
    runners: usize,
    /// Those of them that wait for a call.
    idle: usize,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self { places, shared: Arc::default() }
    }

    /// Makes the call. A request that goes away while it queues here has asked for nothing; once begun, a call is
    /// made to its end.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorAnswer> {
        let (answer, answered) = oneshot::channel();
        self.queue_up(Box::new(move || {
            if !answer.is_closed() {
                // Whoever has gone meanwhile misses the answer only.
                drop(answer.send(call()));
            }
        }));
        settled(answered).await
    }

    /// The same of a call that is made even if nobody waits for its answer any more.
    pub(super) async fn insist<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ErrorAnswer> {
        let (answer, answered) = oneshot::channel();
        self.queue_up(Box::new(move || drop(answer.send(call()))));
        settled(answered).await
    }

    fn queue_up(&self, call: Box<dyn FnOnce() + Send>) {
        let mut queue = self.shared.lock();
        queue.calls.push_back(call);
        if queue.idle >= queue.calls.len() {
            self.shared.has_call.notify_one();
        } else if queue.runners < self.places {
            queue.runners += 1;
            drop(queue);
            let runner = Runner { shared: Arc::clone(&self.shared), is_retired: false };
            tokio::task::spawn_blocking(move || runner.run());
        }
    }
}

async fn settled<T>(answered: oneshot::Receiver<T>) -> Result<T, ErrorAnswer> {
    let gone = || ErrorAnswer::internal(Cause::new("exception", "the call panicked, or the host is going down"));
    answered.await.map_err(|_| gone())
}

/// One of the places, from the moment it is taken: a runtime that goes down drops a runner that has not begun.
struct Runner {
    shared: Arc<GateState>,
    is_retired: bool,
}

impl Runner {
    fn run(mut self) {
        while let Some(call) = self.next() {
            // Its request is told by the answer that never comes.
            let _ = guarded(call);
        }
    }

    /// The next call; if there is none, the place is given back in the same step, so that no call is left without a
    /// runner.
    fn next(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut queue = self.shared.lock();
        if queue.calls.is_empty() {
            queue.idle += 1;
            let nothing = |queue: &mut Queue| queue.calls.is_empty();
            let waited = self.shared.has_call.wait_timeout_while(queue, LINGER, nothing);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.idle -= 1;
        }
        let call = queue.calls.pop_front();
        if call.is_none() {
            queue.runners -= 1;
            self.is_retired = true;
        }
        call
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if !self.is_retired {
            self.shared.lock().runners -= 1;
        }
    }
}

impl GateState {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
