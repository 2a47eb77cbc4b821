//! JSON whose members keep their order.
//!
//! `serde_json` has a feature for that, which would change every map of the host's whole build.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Json {
    Object(Members),
    Array(Vec<Json>),
    /// Neither of the above.
    Scalar(Value),
}

/// What an object has, in its order.
pub(super) type Members = IndexMap<String, Json>;

impl Json {
    pub(super) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    pub(super) fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The member of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            Self::Array(_) | Self::Scalar(_) => None,
        }
    }
}

impl<T: Into<Value>> From<T> for Json {
    fn from(scalar: T) -> Self {
        Self::Scalar(scalar.into())
    }
}

/// Indented with `{:#}`.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if f.alternate() { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}
