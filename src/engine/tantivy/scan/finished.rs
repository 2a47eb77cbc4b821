//! The finished groups of a pass: handed out, or taken away while nobody asks for them.

use super::budget::Holder;
use super::dense::DensePages;
use super::groups::{Begin, HashedPages};
use super::hash_pass::Crowding;
use super::open::{Opened, Question};
use crate::engine::EngineError;
use crate::rollup::Page;
use crate::sync::Mutex;

/// The finished groups of a pass.
pub(super) enum Finished {
    Dense(DensePages),
    Hashed(HashedPages, Crowding),
}

impl Finished {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Dense(pages) => pages.bytes(),
            Self::Hashed(pages, crowding) => pages.bytes() + crowding.bytes(),
        }
    }

    /// How many buckets there are still to come at most.
    pub(super) fn left(&self) -> usize {
        match self {
            Self::Dense(pages) => pages.left(),
            Self::Hashed(pages, _) => pages.left(),
        }
    }

    /// Appends the next buckets to the page, at most `count`. Says the words of the last key, or nothing if there are
    /// no more.
    pub(super) fn take(
        &mut self,
        count: usize,
        opened: &Opened,
        page: &mut Page,
    ) -> Result<Option<Vec<u64>>, EngineError> {
        let Opened { question, terms, .. } = opened;
        match self {
            Self::Dense(pages) => pages.take(count, &question.shape, terms, page),
            Self::Hashed(pages, _) => pages.take(count, &question.shape, &question.measures, terms, page),
        }
    }

    /// Where the next pass begins, if there may be more groups.
    pub(super) fn next(&self, question: &Question) -> Begin {
        let end = match self {
            Self::Dense(pages) => pages.end(question.shape.stride()),
            Self::Hashed(pages, _) => pages.end(),
        };
        end.filter(|end| end[0] < question.window.buckets.end).map(|end| (end, true))
    }

    /// Whether to hand these groups out, and to make documents of them, takes about as long as to make others.
    fn takes_long_to_hand_out(&self) -> bool {
        match self {
            Self::Dense(pages) => pages.takes_long_to_hand_out(),
            // What the next pass is to know of this one is known when it has been handed out.
            Self::Hashed(pages, crowding) => matches!(crowding, Crowding::None) && pages.takes_long_to_hand_out(),
        }
    }
}

/// The finished groups of a scan, which others may take away while it is parked.
#[derive(Default)]
pub(super) struct ParkedGroups {
    /// Those that are handed out. While this is locked nobody takes them away.
    pub(super) current: Mutex<Option<Finished>>,
    /// Those of the next pass.
    ahead: Mutex<Option<Finished>>,
}

impl ParkedGroups {
    /// Where the next pass begins, if a second thread had better make it while these groups are handed out.
    pub(super) fn next_while_handed_out(&self, question: &Question) -> Begin {
        self.current.lock().as_ref().filter(|current| current.takes_long_to_hand_out())?.next(question)
    }

    pub(super) fn keep_ahead(&self, groups: Finished) {
        *self.ahead.lock() = Some(groups);
    }

    pub(super) fn take_ahead(&self) -> Option<Finished> {
        self.ahead.lock().take()
    }
}

impl Holder for ParkedGroups {
    fn held(&self) -> Option<usize> {
        let bytes = |groups: &Option<Finished>| groups.as_ref().map_or(0, Finished::bytes);
        Some(bytes(&*self.current.try_lock()?) + bytes(&*self.ahead.try_lock()?))
    }

    fn release(&self) -> usize {
        let released =
            [&self.current, &self.ahead].map(|groups| groups.try_lock().and_then(|mut groups| groups.take()));
        released.iter().flatten().map(Finished::bytes).sum()
    }
}
