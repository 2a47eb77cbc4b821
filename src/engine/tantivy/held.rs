//! What the engine holds at one moment: committed segments, which stay as long as somebody has them open.

use super::TantivyState;
use super::rollup::JobIndex;
use super::scan::{Committed, ScanSource, committed};
use crate::engine::{CommittedProgress, EngineError, RolledUpSnapshot, StopSignal};
use crate::job::IndexPattern;
use crate::scan::Snapshot;

/// How often an index that is committed to all the time is looked at again.
const MAX_LOOKS: usize = 5;

/// The committed states of some indices.
pub(super) struct Held {
    pub(super) committed: Vec<Committed>,
    /// Those of the source indices, if it is of such.
    pub(super) names: Option<Vec<String>>,
}

impl Held {
    pub(super) fn of_sources(
        state: &TantivyState,
        pattern: &IndexPattern,
        stop: &StopSignal,
    ) -> Result<Self, EngineError> {
        let sources = state.resolve(pattern)?;
        let names = sources.iter().map(|(name, _)| name.clone()).collect();
        let sources: Vec<ScanSource> = sources.iter().map(|(name, source)| source.to_scan(name)).collect();
        Ok(Self { committed: committed(&sources, stop)?, names: Some(names) })
    }

    pub(super) fn of_job(index: &JobIndex, stop: &StopSignal) -> Result<Self, EngineError> {
        Ok(Self { committed: index.read(|| committed(&[index.to_scan()], stop))?, names: None })
    }

    /// Documents and progress of one commit. Where one commit follows the other too fast the documents may be of a
    /// later one, which has at least those that the progress tells of.
    pub(super) fn with_progress(index: &JobIndex, stop: &StopSignal) -> Result<RolledUpSnapshot, EngineError> {
        let mut progress = index.progress()?;
        let mut held = Self::of_job(index, stop)?;
        for _ in 0..MAX_LOOKS {
            let now = index.progress()?;
            if now == progress {
                break;
            }
            (progress, held) = (now, Self::of_job(index, stop)?);
        }
        Ok(RolledUpSnapshot::new(Snapshot::new(held), CommittedProgress::Kept(progress)))
    }
}
