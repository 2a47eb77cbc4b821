//! What is stored, with the version of its form: what a newer version of the crate wrote is left alone.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::ConfigError;
use crate::sync::Arc;

/// A stored record cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is not JSON of the expected shape.
    #[error("the stored record is damaged")]
    Damaged(#[source] Arc<serde_json::Error>),
    /// A newer version of the crate wrote it.
    #[error("the stored record has format {found}, this version reads up to {known}: upgrade rollup-jobs")]
    Format {
        /// The format number found.
        found: u32,
        /// The highest that this version reads.
        known: u32,
    },
    /// Its configuration is not valid (any more).
    #[error("the stored configuration is not valid")]
    Config(#[source] ConfigError),
}

#[derive(Deserialize)]
struct Versioned {
    format: u32,
    #[serde(flatten)]
    rest: Value,
}

pub(super) fn write(value: &impl Serialize, format: u32) -> Value {
    let mut json = super::json(value);
    json["format"] = Value::from(format);
    json
}

/// Reads what [`write`] wrote in the format `known`, or an earlier one.
pub(super) fn read<T: DeserializeOwned>(text: &[u8], known: u32) -> Result<T, RecordError> {
    let damaged = |error| RecordError::Damaged(Arc::new(error));
    let Versioned { format: found, rest } = serde_json::from_slice(text).map_err(damaged)?;
    if found > known {
        return Err(RecordError::Format { found, known });
    }
    serde_json::from_value(rest).map_err(damaged)
}
