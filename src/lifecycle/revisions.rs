use crate::sync::{AtomicU64, Ordering};

/// The revisions of records, whatever their jobs: each is given out once, in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Revisions(AtomicU64);

impl Revisions {
    /// The next one.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Goes on after `newest`.
    pub(crate) fn go_on_after(&self, newest: u64) {
        self.0.store(newest, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_later_than_all_before() {
        let revisions = Revisions::default();
        assert!(revisions.next() < revisions.next());
        revisions.go_on_after(41);
        assert_eq!([revisions.next(), revisions.next()], [42, 43]);
    }
}
