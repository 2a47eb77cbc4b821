use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Which calls of an engine or a store fail: it counts them all.
#[derive(Debug, Default)]
pub(super) struct FaultPlan {
    counts: Mutex<Counts>,
    healed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    /// The call to fail; 0 for none.
    fail_at: u64,
    /// How many calls in a row fail.
    times: u64,
    failed: u64,
    heals: u64,
}

impl FaultPlan {
    pub(super) fn fail_from(&self, n: u64, times: u64) {
        let mut counts = self.lock();
        *counts = Counts { fail_at: n, times, heals: counts.heals, ..Counts::default() };
    }

    /// Lets everything through, and what hangs go on.
    pub(super) fn heal(&self) {
        let mut counts = self.lock();
        counts.fail_at = 0;
        counts.heals += 1;
        self.healed.notify_all();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.lock().failed > 0
    }

    /// Counts a call, and answers if it is one that fails.
    pub(super) fn due(&self) -> Option<Due<'_>> {
        let mut counts = self.lock();
        counts.calls += 1;
        let due = counts.fail_at > 0 && (counts.fail_at..counts.fail_at + counts.times).contains(&counts.calls);
        counts.failed += u64::from(due);
        due.then_some(Due { plan: self, heals: counts.heals })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has to fail.
pub(super) struct Due<'a> {
    plan: &'a FaultPlan,
    /// How often somebody had healed when it fell due: who heals before it hangs has healed it too.
    heals: u64,
}

impl Due<'_> {
    /// Blocks until somebody heals.
    pub(super) fn hang(self) {
        let healed = &self.plan.healed;
        let waiting = healed.wait_while(self.plan.lock(), |counts| counts.heals == self.heals);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }
}
