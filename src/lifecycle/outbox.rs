//! What observers were not told yet: bounded, since an observer may never return.

use std::collections::VecDeque;

use crate::observer::Event;

/// So many events are kept of a job; of more the oldest go, and observers are told how many.
const MAX_EVENTS: usize = 1_024;

/// The events of one job, in their order.
#[derive(Default)]
pub(super) struct Outbox {
    events: VecDeque<Event>,
    /// How many had to go since observers were told last.
    missed: u64,
    /// Somebody tells the observers at this moment.
    delivering: bool,
    /// Somebody will.
    is_queued: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            // Plain data, unlike what else is dropped of a job.
            self.events.pop_front();
            self.missed += 1;
        }
        self.events.push_back(event);
    }

    /// Whether somebody has to be found who tells the observers. It is asked for once.
    pub(super) fn wants_delivery(&mut self) -> bool {
        !self.events.is_empty() && !self.delivering && !std::mem::replace(&mut self.is_queued, true)
    }

    /// Takes everything, unless somebody else is telling it; that one calls with `continuing`, until there is nothing
    /// more.
    pub(super) fn take(&mut self, continuing: bool) -> Vec<Event> {
        self.is_queued = false;
        if self.delivering && !continuing {
            return Vec::new();
        }
        let missed = std::mem::take(&mut self.missed);
        let lagged = (missed > 0).then_some(Event::Lagged(missed));
        let events: Vec<_> = lagged.into_iter().chain(std::mem::take(&mut self.events)).collect();
        self.delivering = !events.is_empty();
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(run: u64) -> Event {
        Event::Lagged(run)
    }

    #[test]
    fn somebody_is_looked_for_once_and_only_if_there_is_something_to_tell() {
        let mut outbox = Outbox::default();
        assert!(!outbox.wants_delivery(), "there is nothing to tell");
        outbox.push(event(1));
        assert!(outbox.wants_delivery());
        assert!(!outbox.wants_delivery(), "somebody will");
        assert_eq!(outbox.take(false).len(), 1);
        outbox.push(event(2));
        assert!(!outbox.wants_delivery(), "somebody does");
        assert!(outbox.take(false).is_empty(), "nobody else does");
        assert_eq!(outbox.take(true).len(), 1);
        assert!(outbox.take(true).is_empty());
        outbox.push(event(3));
        assert!(outbox.wants_delivery(), "the telling has ended");
    }
}
