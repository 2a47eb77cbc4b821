//! The real manager, and the real lifecycle, under model checkers. Built into the crate by `--cfg rollup_shuttle` or
//! `--cfg rollup_loom`; `tests/model.sh` runs it.

#[cfg(rollup_loom)]
mod exhaustive;
#[cfg(rollup_shuttle)]
mod refusals;
#[cfg(rollup_shuttle)]
mod scenarios;
#[cfg(rollup_shuttle)]
mod world;
