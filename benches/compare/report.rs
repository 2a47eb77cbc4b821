//! How long something took, also of the processor, and how much memory of its own the process had meanwhile.

use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// Resident memory that is not a mapped file, in bytes.
fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes << 10)
}

/// Before anything was done: what is freed afterwards, an allocator may keep.
pub(crate) static AT_FIRST: LazyLock<u64> = LazyLock::new(anonymous);

/// `work` says how many it has found or written.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time, and memory is looked at now and then")]
pub(crate) fn timed(work: impl FnOnce() -> usize) -> String {
    let (ended, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let (began, began_processor) = (Instant::now(), ProcessTime::now());
        let count = work();
        let (seconds, processor) = (began.elapsed().as_secs_f64(), began_processor.elapsed().as_secs_f64());
        ended.store(true, Ordering::Relaxed);
        let megabytes = peak.load(Ordering::Relaxed).saturating_sub(*AT_FIRST) >> 20;
        format!(r#"{{"seconds":{seconds},"processor":{processor},"count":{count},"megabytes":{megabytes}}}"#)
    })
}
