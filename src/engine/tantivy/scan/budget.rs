//! One memory budget for all open scans of an engine.

use std::sync::Weak;

use crate::sync::{Arc, Mutex};

/// The least that a scan gets, even if the budget is used up by scans that are working at this moment: this part of the
/// whole, or these bytes if that is less.
const MIN_PART: usize = 256;
const MIN: usize = 64 << 10;
/// Which part of the whole is for what is kept from one scan to the next.
const KEPT_PART: usize = 8;

/// Bytes that the groups of all scans share.
pub(in crate::engine::tantivy) struct Budget {
    total: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    most_used: usize,
    /// What of `used` belongs to scans for as long as they live.
    charged: usize,
    /// What is kept from one scan to the next, beside `used`.
    kept: usize,
    scans: Vec<Weak<dyn Holder>>,
}

impl State {
    fn add(&mut self, bytes: usize) {
        self.used += bytes;
        self.most_used = self.most_used.max(self.used);
    }

    fn scans(&mut self) -> Vec<Arc<dyn Holder>> {
        self.scans.retain(|scan| scan.strong_count() > 0);
        self.scans.iter().filter_map(Weak::upgrade).collect()
    }
}

/// A scan that holds finished groups between its pages.
pub(super) trait Holder: Send + Sync {
    /// How many bytes it holds, `None` while it is working.
    fn held(&self) -> Option<usize>;

    /// Lets go of its groups, unless it has begun to work: it can make them again from where it is. Says how many
    /// bytes they were.
    fn release(&self) -> usize;
}

impl Budget {
    pub(in crate::engine::tantivy) fn new(total: usize) -> Self {
        Self { total, state: Mutex::default() }
    }

    /// Used now, and at most so far.
    pub(in crate::engine::tantivy) fn used(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.used, state.most_used)
    }

    /// What all scans together may take for things that they cannot do in parts, so that there is always room for
    /// groups.
    pub(super) fn most_for_terms(&self) -> usize {
        self.total.max(MIN) / 2
    }

    /// Room for something that is kept from one scan to the next: a small part of the whole. `None` if it is used up.
    pub(in crate::engine::tantivy) fn keep(self: &Arc<Self>, bytes: usize) -> Option<Kept> {
        let mut state = self.state.lock();
        let kept = state.kept.saturating_add(bytes);
        (kept <= self.total / KEPT_PART).then(|| {
            state.kept = kept;
            Kept { budget: Arc::clone(self), bytes }
        })
    }

    /// One more scan shares the budget, as long as it lives.
    pub(super) fn join(&self, scan: Weak<dyn Holder>) {
        let mut state = self.state.lock();
        state.scans.retain(|scan| scan.strong_count() > 0);
        state.scans.push(scan);
    }

    /// A share for one scan to work with: a fair one, so that all open scans and the next one could have as much.
    /// Scans that hold more than that, from a time when there were fewer, have to let go.
    pub(super) fn take_share(self: &Arc<Self>) -> Share {
        let mut state = self.state.lock();
        let others = state.scans();
        let least = (self.total / MIN_PART).max(MIN);
        let shared = self.total.saturating_sub(state.charged).saturating_sub(state.kept);
        let share = (shared / (others.len() + 1)).max(least);
        self.make_room(&mut state, share, share, &others);
        let share = share.min(self.total.saturating_sub(state.used + state.kept)).max(least);
        state.add(share);
        drop(state);
        // The last reference to a scan that was dropped meanwhile must not go away under the lock.
        drop(others);
        Share { budget: Arc::clone(self), bytes: share }
    }

    /// Bytes that a scan needs as long as it lives; parked scans have to let go for them. `false` if there is no room.
    pub(super) fn try_charge(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        if state.charged.saturating_add(bytes) > self.most_for_terms() {
            return false;
        }
        let others = state.scans();
        self.make_room(&mut state, bytes, 0, &others);
        state.add(bytes);
        state.charged += bytes;
        drop(state);
        drop(others);
        true
    }

    /// The scan that [`try_charge`](Self::try_charge) was for is gone.
    pub(super) fn give_back_charge(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.used -= bytes;
        state.charged -= bytes;
    }

    /// Has parked scans that hold more than `keep` let go until `bytes` are free, or all have.
    fn make_room(&self, state: &mut State, bytes: usize, keep: usize, scans: &[Arc<dyn Holder>]) {
        for scan in scans {
            if self.total.saturating_sub(state.used + state.kept) >= bytes {
                return;
            }
            if scan.held().is_some_and(|held| held > keep) {
                state.used -= scan.release();
            }
        }
    }

    /// Bytes that are no longer used.
    pub(super) fn give_back(&self, bytes: usize) {
        self.state.lock().used -= bytes;
    }
}

/// Memory for one pass. Given back when dropped, also by a pass that panics.
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The pass is over, and its scan holds `bytes` from now on.
    pub(super) fn settle(mut self, bytes: usize) {
        let share = std::mem::take(&mut self.bytes);
        let mut state = self.budget.state.lock();
        state.used -= share;
        state.add(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Memory for what is kept from one scan to the next. Given back when dropped.
pub(in crate::engine::tantivy) struct Kept {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.state.lock().kept -= self.bytes;
    }
}
