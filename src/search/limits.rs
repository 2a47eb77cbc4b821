//! How long a search may take, and whether anybody still waits for it.

use std::time::Duration;

use super::error::{SearchError, SearchFault};
use super::request::{SearchCancel, SearchRequest};
use crate::clock::Clock;
use crate::engine::StopSignal;
use crate::sync::Arc;

#[derive(Clone)]
pub(crate) struct Limits {
    clock: Arc<dyn Clock>,
    deadline: Option<Duration>,
    cancel: Option<SearchCancel>,
}

impl Limits {
    /// Those of a search that begins now.
    pub(crate) fn of(request: &SearchRequest, clock: &Arc<dyn Clock>) -> Self {
        Self::new(request.timeout, request.cancel.clone(), clock)
    }

    /// From now on.
    pub(crate) fn new(timeout: Option<Duration>, cancel: Option<SearchCancel>, clock: &Arc<dyn Clock>) -> Self {
        let deadline = timeout.map(|timeout| clock.monotonic().saturating_add(timeout));
        Self { clock: Arc::clone(clock), deadline, cancel }
    }

    /// What ends the engines' work.
    pub(crate) fn stop(&self) -> StopSignal {
        if self.deadline.is_none() && self.cancel.is_none() {
            return StopSignal::never();
        }
        let limits = self.clone();
        StopSignal::raised_when(move || limits.is_cancelled() || limits.is_over())
    }

    /// What a search ends with that had this fault.
    pub(crate) fn error(&self, fault: SearchFault, request: &SearchRequest) -> SearchError {
        let indices = || request.indices.as_str().to_owned();
        // What else has failed has failed because of it, or does not matter any more.
        if self.is_cancelled() {
            SearchError::Cancelled { indices: indices() }
        } else if self.is_over() {
            SearchError::Timeout { indices: indices() }
        } else {
            fault.of(request)
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(SearchCancel::is_cancelled)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.clock.monotonic() >= deadline)
    }
}
