//! How is it rolled up? A run, in turns.

mod repair;
mod run;
mod turn;

pub(crate) use run::Run;
pub(super) use turn::take;
