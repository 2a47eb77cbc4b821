//! Locks, queue and threads: everything that blocks goes through here.
//!
//! `production.rs` is the only file that names the crates behind them, so that a model checker can put its own
//! primitives in their place without the rest of the crate noticing: the package in `tests/model` chooses `model.rs`
//! by a cfg.

mod crew;
#[cfg(any(rollup_shuttle, rollup_loom))]
mod model;
#[cfg(not(any(rollup_shuttle, rollup_loom)))]
mod production;

#[cfg(any(rollup_shuttle, rollup_loom))]
use model as chosen;
#[cfg(not(any(rollup_shuttle, rollup_loom)))]
use production as chosen;

pub(crate) use chosen::{
    AtomicBool, AtomicI64, AtomicU64, JoinHandle, Monitor, MonitorGuard, Mutex, MutexGuard, Ordering, RwLock, ThreadId,
    current_thread, queue, yield_now,
};
pub(crate) use crew::Crew;
pub(crate) use std::sync::{Arc, Weak};
