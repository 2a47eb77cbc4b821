use tokio::task::AbortHandle;

use super::answer::{Answer, Received};
use super::failure::{Cause, Failure};
use super::request::Request;
use crate::stop_signal::StopSignal;
use crate::sync::{Arc, Monitor};

type Slot = Arc<Monitor<State>>;

/// What undoes a request whose answer came when nobody waited for it any more.
type Undo = Box<dyn FnOnce(Answer) -> Option<Request> + Send>;

#[derive(Default)]
enum State {
    #[default]
    UnderWay,
    Answered(Result<Received, Failure>),
    Left(Undo),
}

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
        self.received(stop, |_| ())?.into_answer()
    }

    /// The same, for a request that leaves something behind: beyond a stop it goes its way, and what comes of it is
    /// undone.
    pub(crate) fn answer_or_undo(
        mut self,
        stop: &StopSignal,
        undo: impl FnOnce(Answer) -> Option<Request> + Send + 'static,
    ) -> Result<Answer, Failure> {
        let _woken = stop.wakes(&self.slot);
        let received = self.received(stop, |state| *state = State::Left(Box::new(undo)));
        // Answered or left: there is nothing to give up.
        self.task = None;
        received?.into_answer()
    }

    fn received(&self, stop: &StopSignal, leave: impl FnOnce(&mut State)) -> Result<Received, Failure> {
        let mut state = self.slot.lock();
        loop {
            if let State::Answered(received) = std::mem::take(&mut *state) {
                return received;
            }
            if stop.is_stopped() {
                leave(&mut state);
                return Err(Failure::cancelled());
            }
            self.slot.wait(&mut state);
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
    /// Says what has to be done if nobody waits any more.
    pub(super) fn give(self, received: Result<Received, Failure>) -> Option<Request> {
        let undo = {
            let mut state = self.0.lock();
            match std::mem::take(&mut *state) {
                State::Left(undo) => undo,
                State::UnderWay | State::Answered(_) => {
                    *state = State::Answered(received);
                    return None;
                }
            }
        };
        received.and_then(Received::into_answer).ok().and_then(undo)
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(*state, State::UnderWay) {
            *state = State::Answered(Err(Failure::new(Cause::Unavailable, "the request was given up")));
        }
        drop(state);
        self.0.notify_all();
    }
}
