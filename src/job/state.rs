use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a job, with Elasticsearch's names. Every API reads and reports this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// At rest and durable: schedule ticks are ignored, nothing of the job is in flight.
    Stopped,
    /// Idle; the next trigger starts a run.
    Started,
    /// A run is under way.
    Indexing,
    /// A stop was asked for and is on its way; it ends in [`Stopped`](Self::Stopped).
    Stopping,
    /// A delete was accepted and the record is being removed. Should that fail, the job is stopped again.
    Aborting,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 5] = [Self::Stopped, Self::Started, Self::Indexing, Self::Stopping, Self::Aborting];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Started => "started",
            Self::Indexing => "indexing",
            Self::Stopping => "stopping",
            Self::Aborting => "aborting",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
