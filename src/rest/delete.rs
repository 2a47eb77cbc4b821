//! `DELETE _rollup/job/{id}`.

use std::time::Duration;

use axum::http::StatusCode;

use super::error_answer::{Cause, ErrorAnswer, upper_case};
use super::json::Json;
use super::parameters::Parameters;
use super::stop::{self, Patience};
use super::{Answer, Face};
use crate::{DeleteError, DeleteOptions, StopError, StopOptions};

/// Elasticsearch has none of these.
pub(super) const PARAMETERS: [&str; 3] = ["wait_for_completion", "timeout", "delete_data"];

pub(super) async fn serve(face: &Face, job_id: &str, parameters: &Parameters) -> Result<Answer, ErrorAnswer> {
    let stop_first = parameters.switch("wait_for_completion")?;
    let patience = Patience::new(parameters)?;
    let mut options = DeleteOptions::new().delete_data(parameters.switch("delete_data")?);
    if stop_first {
        options = options.stop(StopOptions::new().timeout(Duration::ZERO));
    }
    loop {
        let (id, options) = (job_id.to_owned(), options.clone());
        match face.call(move |manager| manager.delete_with(&id, options)).await? {
            Ok(()) => return Ok(Answer::object([("acknowledged", true.into())])),
            // The stop is in force. It is waited for without a thread; then the delete stops and looks once more, for
            // somebody may have started the job in between.
            Err(DeleteError::Stop { source: StopError::Timeout { .. }, .. }) => {
                stop::rest(face, job_id, patience).await?;
            }
            Err(error) => return Err(failure(&error, job_id, patience)),
        }
    }
}

fn failure(error: &DeleteError, job_id: &str, patience: Patience) -> ErrorAnswer {
    match error {
        DeleteError::NotFound { .. } => ErrorAnswer::not_found(format!("the task with id [{job_id}] doesn't exist")),
        DeleteError::NotStopped { state, .. } => {
            let state = upper_case(*state);
            let reason = format!(
                "Could not delete job [{job_id}] because indexer state is [{state}].  Job must be [STOPPED] before deletion."
            );
            not_stopped(&reason)
        }
        DeleteError::Stop { source, .. } => stop::failure(source, job_id, patience.timeout),
        DeleteError::Engine { .. } | DeleteError::Store { .. } => ErrorAnswer::internal(Cause::of(error)),
        DeleteError::LostOwnership { .. } | DeleteError::ShutDown { .. } => ErrorAnswer::unavailable(error),
    }
}

/// Elasticsearch has a body of its own for this one. There is no task and no node here: their members are there for
/// clients.
fn not_stopped(reason: &str) -> ErrorAnswer {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let task_failure = Json::object([
        ("task_id", 0.into()),
        ("node_id", "_local".into()),
        ("status", "INTERNAL_SERVER_ERROR".into()),
        ("reason", Json::object([("type", "illegal_state_exception".into()), ("reason", reason.into())])),
    ]);
    let failures = Json::Array(vec![task_failure]);
    ErrorAnswer::with_body(status, Json::object([("task_failures", failures), ("acknowledged", false.into())]))
}
