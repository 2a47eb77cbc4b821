//! The versions that documents are written and deleted with: each write has a higher one than those that it may
//! overwrite, whoever sent them and whenever they arrive.

use crate::engine::JobContext;
use crate::sync::{AtomicU64, Ordering};

/// The low bits of a version: so many writers an owner of the job store can tell apart.
const PASS_BITS: u32 = 31;
const LAST_PASS: u64 = (1 << PASS_BITS) - 1;
/// With it the least version is above any that a server gave out by itself, or this crate before it counted passes.
const BASE: u64 = 4;

/// Gives versions out. The high bits are the epoch of the job store's owner, the low ones count the passes over
/// documents under this owner: a bulk whose answer never came, of a former owner or of an earlier try, is refused if
/// it arrives after a later pass.
#[derive(Default)]
pub(super) struct Versions {
    passes: AtomicU64,
}

impl Versions {
    /// For the documents of a new pass.
    ///
    /// An owner that has made two thousand million passes, four years of a thousand jobs' minutes, gives the last
    /// version out again and again. What is late then is refused by the next owner.
    pub(super) fn next(&self, job: &JobContext) -> u64 {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed).min(LAST_PASS);
        // Epochs are seconds since 1970, or little more.
        (BASE.saturating_add(job.epoch()).min((1 << (63 - PASS_BITS)) - 1) << PASS_BITS) + pass
    }
}
