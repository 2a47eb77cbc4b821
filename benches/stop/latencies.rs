//! Latencies with their tail.

use std::time::Duration;

#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// None if nothing was measured: criterion was told to leave it out.
    pub(crate) fn quantile(&mut self, percent: usize) -> Option<Duration> {
        self.0.sort_unstable();
        self.0.get(self.0.len().saturating_sub(1) * percent / 100).copied()
    }

    /// A line of its own, in microseconds.
    pub(crate) fn print(&mut self, what: &str) {
        if self.0.is_empty() {
            return;
        }
        let [p50, p90, p99] =
            [50, 90, 99].map(|percent| self.quantile(percent).unwrap_or_default().as_secs_f64() * 1e6);
        println!("    {what}: p50 {p50:.1} us, p90 {p90:.1} us, p99 {p99:.1} us ({} stops)", self.0.len());
    }
}

/// Busy, for as long as that.
pub(crate) fn spin(time: Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}
