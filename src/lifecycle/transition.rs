//! Which state comes next: a pure function, and the whole truth about it.

use crate::job::JobState;

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody starts it.
    Start,
    /// Somebody stops it, or a start could not be saved.
    Stop,
    /// Its schedule, or somebody, asks for a run.
    Trigger,
    /// A run ended, by whatever way, and that is saved.
    RunEnded,
    /// A stop is at rest and durable.
    StopSaved,
    /// Somebody deletes it.
    Delete,
    /// The record could not be removed.
    DeleteFailed,
}

/// The state after `event`, or `None` if it is refused.
pub(crate) const fn next(state: JobState, event: Event) -> Option<JobState> {
    use JobState::{Aborting, Indexing, Started, Stopped, Stopping};
    match (state, event) {
        (Stopped | Started, Event::Start) => Some(Started),
        (Indexing, Event::Start) | (Started, Event::Trigger) => Some(Indexing),
        (Started | Indexing | Stopping, Event::Stop) | (Stopping, Event::RunEnded) => Some(Stopping),
        (Indexing, Event::RunEnded) => Some(Started),
        (Stopped, Event::Stop) | (Stopping, Event::StopSaved) | (Aborting, Event::DeleteFailed) => Some(Stopped),
        (Stopped, Event::Delete) => Some(Aborting),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_states_and_all_events() {
        use JobState::{Aborting, Indexing, Started, Stopped, Stopping};
        let events = [
            Event::Start,
            Event::Stop,
            Event::Trigger,
            Event::RunEnded,
            Event::StopSaved,
            Event::Delete,
            Event::DeleteFailed,
        ];
        let table = [
            (Stopped, [Some(Started), Some(Stopped), None, None, None, Some(Aborting), None]),
            (Started, [Some(Started), Some(Stopping), Some(Indexing), None, None, None, None]),
            (Indexing, [Some(Indexing), Some(Stopping), None, Some(Started), None, None, None]),
            (Stopping, [None, Some(Stopping), None, Some(Stopping), Some(Stopped), None, None]),
            (Aborting, [None, None, None, None, None, None, Some(Stopped)]),
        ];
        assert_eq!(table.map(|(state, _)| state), JobState::ALL);
        for (state, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(next(state, event), expected, "{state} {event:?}");
            }
        }
    }
}
