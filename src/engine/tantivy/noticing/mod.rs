//! What has changed in a source index: its segments now, against those of the last look.
//!
//! A mark has, for each segment, how many documents there are in each stretch of time. Segments that have come are held
//! against those that have gone: a merge moves documents, and changes no number. A segment that has lost documents is
//! held against what it had. So inserts, deletions and updates are seen; an update that leaves the numbers as they were
//! is not, if a merge hides it before the next look.

mod counts;
mod mark;

use std::path::Path;

use ::tantivy::{Directory as _, TantivyError};

use super::RegisteredIndex;
use super::rollup::META;
use crate::engine::{EngineError, Look, Noticed, SourceMark, StopSignal};
pub(super) use mark::Mark;

impl RegisteredIndex {
    /// What has changed since the last look; `None` if nothing has, not even the segments.
    pub(super) fn look(&self, name: &str, look: &Look<'_>, stop: &StopSignal) -> Result<Option<Noticed>, EngineError> {
        let failed = |error: TantivyError| EngineError::unavailable(format!("source index [{name}]: {error}"));
        let given = look.mark(name);
        let known = given.as_ref().and_then(SourceMark::get::<Mark>);
        let meta = self.index.directory().atomic_read(Path::new(META));
        let meta = meta.map_err(|error| failed(error.into()))?;
        if known.is_some_and(|known| known.is_of(&meta)) {
            return Ok(None);
        }
        let segments = self.segments.committed(&self.index, stop).map_err(failed)?;
        let segments = segments.ok_or_else(EngineError::cancelled)?;
        let now = Mark::new(meta, look.date_field, &segments, known);
        let before = look.before(name);
        let nothing = Mark::default();
        let changes = known.unwrap_or(&nothing).changes(&now, before, stop).map_err(failed)?;
        let changes = changes.ok_or_else(EngineError::cancelled)?;
        Ok(Some(Noticed::new(name, changes, SourceMark::new(now))))
    }
}
