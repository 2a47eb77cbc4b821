//! What comes before every operation on a job: the job is found, it is still this manager's, and a shutdown waits for
//! those that change it.

use super::calls::Call;
use super::{Entry, RollupJobManager};
use crate::job::JobState;
use crate::lifecycle::Refused;
use crate::runtime::Job;
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::Arc;

/// An operation that changes a job, until it is dropped.
pub(super) struct Operation<'a> {
    pub(super) job: Arc<Job>,
    _call: Call<'a>,
}

/// Why an operation does not take place, whichever it is.
pub(super) enum Refusal {
    NotFound,
    Unreadable(String),
    /// The store has refused a save.
    Store(StoreError),
    LostOwnership(StoreError),
    ShutDown,
    /// A job in this state does not do it.
    State(JobState),
}

/// The error of an operation.
pub(super) trait OperationError {
    fn refused(job_id: String, refusal: Refusal) -> Self;
}

/// An error that has a variant for each refusal, by its name; `$of_state` is what it makes of a state.
macro_rules! operation_error {
    ($error:ident, $of_state:expr) => {
        impl crate::manager::operation::OperationError for $error {
            fn refused(job_id: String, refusal: Refusal) -> Self {
                match refusal {
                    Refusal::NotFound => Self::NotFound { job_id },
                    Refusal::Unreadable(reason) => Self::Unreadable { job_id, reason },
                    Refusal::Store(source) => Self::Store { job_id, source },
                    Refusal::LostOwnership(source) => Self::LostOwnership { job_id, source },
                    Refusal::ShutDown => Self::ShutDown { job_id },
                    Refusal::State(state) => {
                        let of_state: fn(String, crate::job::JobState) -> Self = $of_state;
                        of_state(job_id, state)
                    }
                }
            }
        }
    };
}

pub(super) use operation_error;

impl Refusal {
    pub(super) fn of<E: OperationError>(self, job_id: &str) -> E {
        E::refused(job_id.to_owned(), self)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone => Self::NotFound,
            Refused::ShutDown => Self::ShutDown,
            Refused::State(state) => Self::State(state),
        }
    }
}

/// What the store says of a job's record.
impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Gone => Self::NotFound,
            StoreErrorKind::LostOwnership => Self::LostOwnership(error),
            _ => Self::Store(error),
        }
    }
}

impl RollupJobManager {
    /// Begins an operation that changes a job.
    pub(super) fn begin(&self, job_id: &str) -> Result<Operation<'_>, Refusal> {
        let job = self.find(job_id)?;
        let call = self.calls.begin().ok_or(Refusal::ShutDown)?;
        self.is_owner()?;
        Ok(Operation { job, _call: call })
    }

    pub(super) fn find(&self, job_id: &str) -> Result<Arc<Job>, Refusal> {
        match self.registry.read().entries.get(job_id) {
            Some(entry) => entry.job(),
            None => Err(Refusal::NotFound),
        }
    }

    /// A job to read of. The error says why its record cannot be read, if it is there.
    pub(super) fn find_to_read(&self, job_id: &str) -> Result<Arc<Job>, Option<String>> {
        self.find(job_id).map_err(|refusal| match refusal {
            Refusal::Unreadable(reason) => Some(reason),
            Refusal::NotFound
            | Refusal::Store(_)
            | Refusal::LostOwnership(_)
            | Refusal::ShutDown
            | Refusal::State(_) => None,
        })
    }

    /// Whether the jobs are still this manager's, as far as is known here. What is saved finds out for certain.
    pub(super) fn is_owner(&self) -> Result<(), Refusal> {
        self.runtime.owner.lost().map_or(Ok(()), |lost| Err(Refusal::LostOwnership(lost)))
    }
}

impl Entry {
    pub(super) fn job(&self) -> Result<Arc<Job>, Refusal> {
        match self {
            Self::Job(job) => Ok(Arc::clone(job)),
            Self::Broken(broken) => Err(Refusal::Unreadable(broken.reason.clone())),
            Self::Reserved => Err(Refusal::NotFound),
        }
    }
}
