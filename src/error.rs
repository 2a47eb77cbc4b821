//! The umbrella over the operations' errors.

/// Any error of the manager's operations and of what they are given, for callers that do not tell operations apart.
/// Opening a store or an engine, and reading a stored record, have errors of their own.
///
/// ```
/// use rollup_jobs::{Error, RollupJobManager, StopOptions};
///
/// fn stop_and_delete(manager: &RollupJobManager, id: &str) -> Result<(), Error> {
///     let _ = manager.stop(id, StopOptions::new().wait_for_completion(true))?;
///     manager.delete(id)?;
///     Ok(())
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration is not valid; all its problems are listed.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// A cron expression is not valid.
    #[error(transparent)]
    Cron(#[from] crate::CronError),
    /// A manager could not be opened.
    #[error(transparent)]
    Open(#[from] crate::OpenError),
    /// A job could not be put.
    #[error(transparent)]
    Put(#[from] crate::PutError),
    /// A job could not be adopted.
    #[error(transparent)]
    Adopt(#[from] crate::AdoptError),
    /// A job could not be started.
    #[error(transparent)]
    Start(#[from] crate::StartError),
    /// A job could not be triggered.
    #[error(transparent)]
    Trigger(#[from] crate::TriggerError),
    /// A stop was not completed.
    #[error(transparent)]
    Stop(#[from] crate::StopError),
    /// A selector of jobs to stop was refused.
    #[error(transparent)]
    StopMany(#[from] crate::StopManyError),
    /// A job could not be deleted.
    #[error(transparent)]
    Delete(#[from] crate::DeleteError),
    /// The data of a job that is gone could not be removed.
    #[error(transparent)]
    RemoveData(#[from] crate::RemoveDataError),
    /// What a job has rolled up could not be read.
    #[error(transparent)]
    RolledUp(#[from] crate::RolledUpError),
    /// A time value is not valid.
    #[error(transparent)]
    TimeValue(#[from] crate::TimeValueError),
    /// A manager could not be shut down in time.
    #[error(transparent)]
    Shutdown(#[from] crate::ShutdownError),
    /// An engine call failed.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// A job store call failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
