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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_from_job_to_job() {
        let settings = Settings {
            indexer_threads: 1,
            turn_time: Duration::ZERO,
            wedged_after: Duration::ZERO,
            retry_attempts: 0,
            retry_initial: Duration::from_secs(256),
            retry_max: Duration::from_secs(2_000),
            paused: false,
        };
        for (failures, whole) in [(0, 256), (1, 256), (2, 512), (3, 1_024), (4, 2_000), (1_000, 2_000)] {
            let pauses: Vec<_> = (0..1_000).map(|salt| back_off(&settings, failures, salt).as_secs()).collect();
            let (shortest, longest) = (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
            assert!((whole / 2..whole * 9 / 16).contains(&shortest), "{shortest} of {whole}");
            assert!((whole * 15 / 16..=whole).contains(&longest), "{longest} of {whole}");
        }
    }
}
