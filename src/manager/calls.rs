//! Calls in callers' threads that change a job: a shutdown waits for them, since what they save counts.

use crate::clock::{Clock, Deadline, wait_until};
use crate::sync::{Arc, Monitor, ThreadId, current_thread};

/// The calls that are under way.
#[derive(Default)]
pub(super) struct Calls(Arc<Monitor<State>>);

#[derive(Default)]
struct State {
    /// Whose they are.
    threads: Vec<ThreadId>,
    is_closed: bool,
}

/// A call that is under way, until it is dropped.
pub(super) struct Call<'a>(&'a Calls);

impl Calls {
    /// Begins a call; none is begun any more once they are closed.
    pub(super) fn begin(&self) -> Option<Call<'_>> {
        let mut state = self.0.lock();
        if state.is_closed {
            return None;
        }
        state.threads.push(current_thread());
        Some(Call(self))
    }

    /// Lets no call begin any more, and waits until the deadline for those that have, but for the caller's own. Says
    /// whether they ended.
    pub(super) fn close(&self, clock: &dyn Clock, deadline: Deadline) -> bool {
        let own = current_thread();
        self.0.lock().is_closed = true;
        let ended = |state: &State| state.threads.iter().all(|thread| *thread == own).then_some(());
        wait_until(clock, &self.0, deadline, ended).is_some()
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let own = current_thread();
        let mut state = self.0.0.lock();
        if let Some(at) = state.threads.iter().position(|thread| *thread == own) {
            state.threads.swap_remove(at);
        }
        let is_last = state.is_closed;
        drop(state);
        if is_last {
            self.0.0.notify_all();
        }
    }
}
