//! The real manager, and the real lifecycle, under model checkers. The package of this folder builds it into the crate;
//! `tests/model.sh` runs it.

#[cfg(rollup_loom)]
mod exhaustive;
#[cfg(rollup_shuttle)]
mod refusals;
#[cfg(rollup_shuttle)]
mod repairs;
#[cfg(rollup_shuttle)]
mod scenarios;
#[cfg(rollup_shuttle)]
mod world;
