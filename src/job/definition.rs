//! What a job is: from its put on the same, but for its settings.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::config::RollupJobConfig;

/// A configuration, and what was settled when it was put.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobDefinition {
    pub(crate) config: RollupJobConfig,
    /// Of the terms fields, in configured order.
    pub(crate) terms_types: Vec<TermsType>,
    pub(crate) run_as: Option<RunAs>,
}

/// Whom a job acts for: opaque to this crate, stored with the job, handed to the engine in each call, never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunAs(String);

impl RunAs {
    /// Takes whatever the engine will understand.
    pub fn new(identity: impl Into<String>) -> Self {
        Self(identity.into())
    }

    /// The identity, for the engine.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunAs(..)")
    }
}

/// The kind of values of a `terms` field: the same in all source indices, settled when the job is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TermsType {
    /// Text.
    Keyword,
    /// Whole numbers in the signed 64-bit range.
    Integer,
    /// Whole numbers in the unsigned 64-bit range.
    Unsigned,
    /// Floating-point numbers.
    Floating,
}

impl fmt::Display for TermsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyword => "keyword",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned integer",
            Self::Floating => "floating point",
        })
    }
}
