use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::position::Position;
use super::stats::JobStats;

/// How far a job has come and what it did until then. A rollup index that commits documents and progress in one step
/// keeps it with the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// The key of the last bucket that was written; none before the first.
    pub position: Option<Position>,
    /// The first instant (milliseconds since 1970) from which on everything is rolled up. `None`: there is no earlier
    /// one that is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_up_from: Option<i64>,
    /// The instant (milliseconds since 1970) before which every date bucket is rolled up. It is the start of a bucket,
    /// and never goes back. It is not the position's: that may lie inside a date bucket, and stays where it is
    /// while no documents come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_up_until: Option<i64>,
    /// Grows with every turn: of two that have one position, the higher one knows more.
    #[serde(default)]
    pub sequence: u64,
    /// The statistics that belong to the position.
    pub stats: JobStats,
    /// The source indices that the last run has read, as far as the engine says which; if that was none, those of the
    /// run before.
    #[serde(default, alias = "sources", skip_serializing_if = "Vec::is_empty")]
    pub source_indices: Vec<String>,
}

impl Progress {
    /// Of a job that has written everything up to this position, and nothing behind it.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self { rolled_up_until: position.date(), position: Some(position), ..Self::default() }
    }

    /// The instant before which every date bucket is rolled up, if any is.
    #[must_use]
    pub fn rolled_up_until(&self) -> Option<Timestamp> {
        // Of what the first format stored, the date bucket of the position is not known to be whole.
        let until = self.rolled_up_until.or_else(|| self.position.as_ref()?.date())?;
        Timestamp::from_millisecond(until).ok()
    }

    /// Everything before `until` is rolled up.
    pub(crate) fn cover(&mut self, until: i64) {
        self.rolled_up_until = self.rolled_up_until.max(Some(until));
    }

    /// Goes where `other` is: position and coverage belong together.
    pub(crate) fn go_to(&mut self, other: &Self) {
        self.position.clone_from(&other.position);
        self.rolled_up_from = other.rolled_up_from;
        self.rolled_up_until = other.rolled_up_until;
    }

    /// The same for a job that has to begin from the start.
    pub(crate) fn without_position(&self) -> Self {
        Self {
            position: None,
            rolled_up_from: self.rolled_up_from,
            rolled_up_until: None,
            sequence: self.sequence + 1,
            stats: self.stats.rolled_back_to(&JobStats::default()),
            source_indices: self.source_indices.clone(),
        }
    }
}
