//! How much memory all responses may take.

use crate::sync::{Arc, Mutex};

/// Bytes that responses share.
pub(super) struct Budget {
    total: usize,
    used: Mutex<usize>,
}

/// Bytes that are given back when it is dropped.
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, used: Mutex::new(0) })
    }

    pub(super) fn nothing(self: &Arc<Self>) -> Charge {
        Charge { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Charge {
    /// Takes so many more bytes; `false` if they are not there.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let mut used = self.budget.used.lock();
        let is_there = used.saturating_add(bytes) <= self.budget.total;
        if is_there {
            *used += bytes;
            self.bytes += bytes;
        }
        is_there
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        *self.budget.used.lock() -= self.bytes;
    }
}
