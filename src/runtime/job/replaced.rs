//! Which rolled-up documents of a job were replaced or removed of late: what was read meanwhile, where the engine holds
//! no moment of them, may be some of both.

use std::collections::VecDeque;
use std::ops::Range;

use crate::ranges::touch;
use crate::sync::Mutex;

/// How many are remembered; of those before, it is not known where they were.
const MOST: usize = 64;

/// A job that has never replaced anything has none.
#[derive(Default)]
pub(super) struct Replaced(Mutex<Option<Box<Known>>>);

#[derive(Default)]
struct Known {
    /// How many there were.
    number: u64,
    /// Where the last of them were, in date buckets.
    last: VecDeque<Vec<Range<i64>>>,
}

impl Replaced {
    /// How many there were.
    pub(super) fn number(&self) -> u64 {
        self.0.lock().as_ref().map_or(0, |known| known.number)
    }

    /// One begins or ends.
    pub(super) fn note(&self, buckets: &[Range<i64>]) {
        let mut known = self.0.lock();
        let known = known.get_or_insert_default();
        known.number += 1;
        known.last.truncate(MOST - 1);
        known.last.push_front(buckets.to_vec());
    }

    /// Whether any has begun or ended in these buckets since there were so many.
    pub(super) fn since(&self, number: u64, buckets: &[Range<i64>]) -> bool {
        let known = self.0.lock();
        let Some(known) = known.as_ref() else { return false };
        let later = usize::try_from(known.number - number).unwrap_or(usize::MAX);
        let is_in = |replaced: &Vec<Range<i64>>| {
            replaced.iter().any(|replaced| buckets.iter().any(|buckets| touch(replaced, buckets)))
        };
        later > known.last.len() || known.last.iter().take(later).any(is_in)
    }
}
