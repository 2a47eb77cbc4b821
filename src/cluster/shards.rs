use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::error_in;
use super::failure::Failure;

/// What an answer says of the shards that were asked for it.
#[derive(Deserialize)]
pub(crate) struct Shards {
    pub(crate) total: u64,
    pub(crate) successful: u64,
    #[serde(default)]
    failed: u64,
    #[serde(default)]
    failures: Option<Box<RawValue>>,
}

/// An answer of which only that matters.
#[derive(Deserialize)]
pub(crate) struct OfShards {
    #[serde(rename = "_shards")]
    pub(crate) shards: Shards,
}

impl Shards {
    /// Whether none has failed, of those that were asked.
    pub(crate) fn all_answered(&self) -> Result<(), Failure> {
        if self.failed > 0 {
            let failures = self.failures.as_ref().map_or(Value::Null, |text| error_in(text.get().as_bytes()));
            return Err(Failure::of_error(503, &json!({ "failed_shards": failures })));
        }
        Ok(())
    }
}
