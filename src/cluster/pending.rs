use tokio::task::AbortHandle;

use super::answer::{Answer, Received};
use super::failure::{Cause, Failure};
use crate::stop_signal::StopSignal;
use crate::sync::{Arc, Monitor};

type Slot = Arc<Monitor<Option<Result<Received, Failure>>>>;

/// A request that is on its way. Dropping it gives it up: its connection is closed, and the server notices.
pub(crate) struct Pending {
    slot: Slot,
    task: Option<AbortHandle>,
}

/// Where the answer goes. Whatever becomes of the task, there is one.
pub(super) struct Reply(Slot);

impl Pending {
    pub(super) fn new() -> (Self, Reply) {
        let slot = Slot::default();
        (Self { slot: Arc::clone(&slot), task: None }, Reply(slot))
    }

    pub(super) fn by(mut self, task: AbortHandle) -> Self {
        self.task = Some(task);
        self
    }

    /// Lets it go its way: nobody is interested in the answer.
    pub(crate) fn leave(mut self) {
        self.task = None;
    }

    /// Waits for the answer, but not beyond a stop.
    pub(crate) fn answer(self, stop: &StopSignal) -> Result<Answer, Failure> {
        let _woken = stop.wakes(&self.slot);
        self.received(stop)?.into_answer()
    }

    fn received(&self, stop: &StopSignal) -> Result<Received, Failure> {
        let mut slot = self.slot.lock();
        loop {
            if stop.is_stopped() {
                return Err(Failure::cancelled());
            }
            if let Some(received) = slot.take() {
                return received;
            }
            self.slot.wait(&mut slot);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Reply {
    pub(super) fn give(self, received: Result<Received, Failure>) {
        *self.0.lock() = Some(received);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let nothing = || Err(Failure::new(Cause::Unavailable, "the request was given up"));
        self.0.lock().get_or_insert_with(nothing);
        self.0.notify_all();
    }
}
