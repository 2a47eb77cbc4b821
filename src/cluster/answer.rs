use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::budget::Charge;
use super::failure::{Cause, Failure};

/// What a value of JSON takes at most when it is parsed, with its name and with what its list keeps in reserve.
const VALUE: usize = 160;
/// The longest text that is looked at for what went wrong.
const MAX_ERROR_LENGTH: usize = 1 << 20;

/// What came from the cluster, as it came.
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) is_packed: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) bytes: Vec<u8>,
    pub(super) charge: Charge,
    pub(super) limit: usize,
}

/// An answer that says that all went well.
pub(crate) struct Answer {
    bytes: Vec<u8>,
    /// What it takes of the budget until it is dropped.
    charge: Charge,
}

/// What an answer was parsed into, and what that takes of the budget until it is dropped.
pub(crate) struct Parsed<T> {
    value: T,
    _charge: Charge,
}

impl<T> Deref for Parsed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Parsed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Parsed<T> {
    /// What is kept, and is small.
    pub(crate) fn into_inner(self) -> T {
        self.value
    }
}

impl Received {
    /// Unpacked, in the thread that asked.
    pub(super) fn into_answer(mut self) -> Result<Answer, Failure> {
        if self.is_packed {
            self.bytes = self.unpacked()?;
        }
        if (200..300).contains(&self.status) {
            return Ok(Answer { bytes: self.bytes, charge: self.charge });
        }
        Err(Failure::of_answer(self.status, &error_in(&self.bytes)).after(self.retry_after))
    }

    fn unpacked(&mut self) -> Result<Vec<u8>, Failure> {
        const STEP: usize = 1 << 20;
        let mut unpacked = Vec::new();
        let mut decoder = MultiGzDecoder::new(self.bytes.as_slice());
        loop {
            if !self.charge.grow(STEP) {
                return Err(no_memory());
            }
            let before = unpacked.len();
            let read = (&mut decoder).take(STEP as u64).read_to_end(&mut unpacked);
            read.map_err(|error| Failure::new(Cause::Unavailable, format!("the response is damaged: {error}")))?;
            if unpacked.len() > self.limit {
                return Err(too_large(self.limit));
            }
            if unpacked.len() == before {
                return Ok(unpacked);
            }
        }
    }
}

impl Answer {
    pub(crate) fn json(self) -> Result<Parsed<Value>, Failure> {
        self.parse()
    }

    /// Into something that may take many times the memory of its text, which is paid for before it is taken.
    pub(crate) fn parse<T: DeserializeOwned>(mut self) -> Result<Parsed<T>, Failure> {
        if !self.charge.grow(VALUE.saturating_mul(values(&self.bytes))) {
            return Err(no_memory());
        }
        Ok(Parsed { value: self.read()?, _charge: self.charge })
    }

    /// Into something that takes hardly more than the text.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        // A proxy that answers with a page of its own may be gone the next time.
        serde_json::from_slice(&self.bytes).map_err(|error| {
            Failure::new(Cause::Unavailable, format!("the response is not what was expected: {error}"))
        })
    }
}

/// What went wrong, if the text says so. What is no JSON comes from a proxy, and says nothing that can be relied upon.
pub(super) fn error_in(json: &[u8]) -> Value {
    let is_short = json.len() <= MAX_ERROR_LENGTH;
    is_short.then(|| serde_json::from_slice(json).ok()).flatten().unwrap_or(Value::Null)
}

/// How many values there are at most in a text of JSON: each but the first comes after one of these.
fn values(json: &[u8]) -> usize {
    1 + json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count()
}

pub(super) fn no_memory() -> Failure {
    Failure::new(
        Cause::Unavailable,
        "the memory budget is used up by other responses (`ClusterOptions::memory_budget`)",
    )
}

pub(super) fn too_large(limit: usize) -> Failure {
    let text = format!("the response has more than {limit} bytes (`ClusterOptions::response_limit`)");
    Failure::new(Cause::TooMuch, text)
}
