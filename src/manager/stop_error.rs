//! Why a stop was not answered as one likes.

use std::time::Duration;

use super::busy::BusyJob;
use super::operation::{Refusal, operation_error};
use crate::human;
use crate::store::{StoreError, StoreErrorKind};

/// A stop was not answered with [`Stopped`](super::Stopped).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// There is no such job (404 in Elasticsearch).
    #[error("rollup job [{job_id}] not found")]
    NotFound {
        /// The job.
        job_id: String,
    },
    /// The time to wait ran out. The stop stays in force: the job still reaches `stopped`, and the call may be
    /// repeated.
    #[error(
        "timed out after {} while waiting for rollup job [{}] to stop: it is {}; the stop stays in force",
        human::duration(*waited), job.job_id(), job.details()
    )]
    Timeout {
        /// How long was waited: the `timeout` of the call.
        waited: Duration,
        /// Where the job was then.
        job: Box<BusyJob>,
    },
    /// The job store refused the save. The run ends all the same. If its end could not be saved either, the job is
    /// `stopping`, with red health, and the manager saves it again, with growing pauses, until it gets through; so does
    /// the next stop. Until then a crash may bring the job back as it was saved last. Only a job whose record is gone
    /// ([`StoreErrorKind::Gone`](crate::store::StoreErrorKind::Gone)) is `stopped` all the same, since nothing brings
    /// it back; it can be deleted.
    #[error("could not save the stop of rollup job [{job_id}]")]
    Store {
        /// The job.
        job_id: String,
        /// Why.
        source: StoreError,
    },
    /// Somebody else owns the jobs now: another process, or another manager. Ask there; here nothing of them runs any
    /// more.
    #[error("could not stop rollup job [{job_id}]: somebody else owns the rollup jobs")]
    LostOwnership {
        /// The job.
        job_id: String,
        /// What the store says.
        source: StoreError,
    },
    /// The job is being deleted at this moment.
    #[error("cannot stop rollup job [{job_id}] because it is being deleted")]
    Aborting {
        /// The job.
        job_id: String,
    },
    /// The job's stored record cannot be read. Nothing of it runs, but a stop could not be stored; it can only be
    /// deleted.
    #[error("cannot stop rollup job [{job_id}] because its record cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job_id: String,
        /// Why.
        reason: String,
    },
    /// The manager is shut down. If the stop was asked for before that, it is durable.
    #[error("could not stop rollup job [{job_id}]: the manager is shut down")]
    ShutDown {
        /// The job.
        job_id: String,
    },
}

operation_error!(StopError, |job_id, _aborting| StopError::Aborting { job_id });

/// The store has refused to save a stop. A job without a record is stopped all the same; that it is not found would
/// hide that.
pub(super) fn refused(job_id: &str, source: StoreError) -> StopError {
    match source.kind() {
        StoreErrorKind::Gone => Refusal::Store(source).of(job_id),
        _ => Refusal::from(source).of(job_id),
    }
}
