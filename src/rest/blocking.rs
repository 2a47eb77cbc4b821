//! The gate before calls that can block: a few at once, on threads that the runtime keeps for that.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::failure::{Cause, Failure};

/// Lets a few calls at a time through to engine and store, so that however many requests come, few threads are held.
pub(super) struct Gate {
    places: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }

    /// Makes the call. A request that goes away while it waits here has asked for nothing; once made, a call is made to its end,
    /// and holds its place until then.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let called = tokio::task::spawn_blocking(move || {
            let _place = place;
            call()
        });
        called.await.map_err(|error| {
            let reason = if error.is_panic() { "the call panicked" } else { "the runtime is shutting down" };
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Cause::new("exception", reason))
        })
    }
}
