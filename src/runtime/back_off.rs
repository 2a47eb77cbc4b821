//! How long to wait before something that has failed is tried again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::Settings;

/// Exponential, with a jitter between half and the whole that differs from job to job.
pub(super) fn back_off(settings: &Settings, failures: u32, salt: impl Hash) -> Duration {
    let doubled = settings.retry_initial.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let mut hasher = DefaultHasher::new();
    (salt, failures).hash(&mut hasher);
    let jitter = 128 + u32::from(hasher.finish().to_le_bytes()[0]) / 2;
    doubled.min(settings.retry_max).saturating_mul(jitter) / 256
}
