//! The time that a call has, over all requests that it takes.

use std::time::Duration;

use crate::clock::{Deadline, SystemClock, wait_until};
use crate::cluster::{Cause, Failure};
use crate::sync::{Arc, Monitor};

const MIN_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Call {
    clock: SystemClock,
    deadline: Deadline,
    pause: Duration,
}

impl Call {
    pub(super) fn within(timeout: Duration) -> Self {
        let clock = SystemClock::new();
        let deadline = Deadline::after(&clock, timeout);
        Self { clock, deadline, pause: MIN_PAUSE }
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        self.deadline.remaining(&self.clock).unwrap_or(Duration::MAX)
    }

    /// What a change may take: afterwards there has to be time to look what became of it.
    pub(super) fn half(&self) -> Duration {
        self.left() / 2
    }

    /// Takes `step` until it has decided, as often as there is time for: again at once where it says that something
    /// has changed meanwhile, and after a pause where it failed by what may pass.
    pub(super) fn until_decided<T>(
        &mut self,
        mut step: impl FnMut(&Self) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        loop {
            match step(self) {
                Ok(Some(decided)) => return Ok(decided),
                Ok(None) => {}
                Err(failure) => self.pause_after(failure)?,
            }
        }
    }

    /// Whether trying again can help.
    pub(super) fn passes(failure: &Failure) -> bool {
        matches!(failure.cause(), Cause::Unavailable | Cause::NoMemory)
    }

    /// Gives the failure back if it does not pass by itself, or there is no time left.
    fn pause_after(&mut self, failure: Failure) -> Result<(), Failure> {
        let pause = failure.retry_after().unwrap_or_default().max(self.pause);
        if !Self::passes(&failure) || pause >= self.left() {
            return Err(failure);
        }
        self.pause = self.pause.saturating_mul(2);
        let nothing = Arc::new(Monitor::new(()));
        let _: Option<()> = wait_until(&self.clock, &nothing, Deadline::after(&self.clock, pause), |()| None);
        Ok(())
    }
}
