//! What people read.

use std::fmt;
use std::time::Duration;

/// A duration to the millisecond, or to the second if it is longer than ten.
pub(crate) fn duration(time: Duration) -> impl fmt::Display {
    const LONG: Duration = Duration::from_secs(10);
    let shown = if time < LONG { time.subsec_millis() * 1_000_000 } else { 0 };
    humantime::format_duration(Duration::new(time.as_secs(), shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_reads_nanoseconds() {
        let text = |nanos| duration(Duration::from_nanos(nanos)).to_string();
        assert_eq!(text(999_999), "0s");
        assert_eq!(text(1_999_999), "1ms");
        assert_eq!(text(9_999_999_999), "9s 999ms");
        assert_eq!(text(10_999_999_999), "10s");
        assert_eq!(duration(Duration::from_secs(90)).to_string(), "1m 30s");
        assert!(!duration(Duration::MAX).to_string().is_empty());
    }
}
