//! Is what is rolled up what the raw documents come to? Both are read in the order of their keys, group by group.

mod compare;
mod report;

pub(crate) use compare::{Tally, recount_grouping};
pub use report::{Mismatch, Verification, VerifyOptions};

use std::cmp::Ordering;

use crate::engine::{EngineError, PageStream};
use crate::rollup::{Bucket, Page};
use crate::stop_signal::StopSignal;

/// A group of raw documents and what is rolled up of it; one of them may be missing.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) raw: Option<Bucket<'a>>,
    pub(crate) rolled_up: Option<Bucket<'a>>,
}

/// Pairs the groups of two streams up, in the order of their keys, as long as `each` wants more.
pub(crate) fn pair_up(
    raw: Box<dyn PageStream>,
    rolled_up: Box<dyn PageStream>,
    stop: &StopSignal,
    mut each: impl FnMut(Pair<'_>) -> bool,
) -> Result<(), EngineError> {
    let (mut raw, mut rolled_up) = (Groups::of(raw), Groups::of(rolled_up));
    loop {
        raw.fill(stop)?;
        rolled_up.fill(stop)?;
        let (one, other) = (raw.first(), rolled_up.first());
        let order = match (&one, &other) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.key.cmp(other.key),
        };
        let pair = Pair { raw: one.filter(|_| order.is_le()), rolled_up: other.filter(|_| order.is_ge()) };
        if !each(pair) {
            return Ok(());
        }
        raw.next += usize::from(order.is_le());
        rolled_up.next += usize::from(order.is_ge());
    }
}

/// The groups of a stream, one after the other.
struct Groups {
    stream: Box<dyn PageStream>,
    page: Page,
    next: usize,
}

impl Groups {
    fn of(stream: Box<dyn PageStream>) -> Self {
        Self { stream, page: Page::default(), next: 0 }
    }

    fn fill(&mut self, stop: &StopSignal) -> Result<(), EngineError> {
        if self.next >= self.page.len() {
            (self.page, self.next) = (self.stream.next_page(stop)?, 0);
        }
        Ok(())
    }

    fn first(&self) -> Option<Bucket<'_>> {
        self.page.get(self.next)
    }
}
