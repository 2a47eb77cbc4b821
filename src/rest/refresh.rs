//! `POST _rollup/job/{id}/_refresh`: a verb of our own, in Elasticsearch's style. Waiting holds no thread.

use axum::http::StatusCode;

use super::change;
use super::error_answer::{Cause, ErrorAnswer, upper_case};
use super::parameters::Parameters;
use super::stop::Patience;
use super::{Answer, Face};
use crate::RefreshError;

pub(super) const PARAMETERS: [&str; 2] = ["wait_for_completion", "timeout"];

pub(super) async fn serve(
    face: &Face,
    job_id: &str,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Answer, ErrorAnswer> {
    let wait = parameters.switch("wait_for_completion")?;
    let patience = Patience::new(parameters)?;
    let (id, range) = (job_id.to_owned(), change::range(body)?);
    let refresh = face.call(move |manager| manager.refresh(&id, range)).await?;
    let refresh = refresh.map_err(|error| failure(&error, job_id))?;
    if wait {
        let in_time = tokio::time::timeout(patience.left(), refresh.clone()).await;
        // After the time one more look decides.
        let outcome = in_time.unwrap_or_else(|_| refresh.wait(std::time::Duration::ZERO));
        outcome.map_err(|error| failure(&error, job_id))?;
    }
    Ok(Answer::object([("acknowledged", true.into()), ("completed", refresh.is_completed().into())]))
}

fn failure(error: &RefreshError, job_id: &str) -> ErrorAnswer {
    let conflict = |reason| ErrorAnswer::new(StatusCode::CONFLICT, Cause::new("status_exception", reason));
    match error {
        RefreshError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        RefreshError::NotStarted { state, .. } => {
            let state = upper_case(*state);
            conflict(format!("Cannot refresh Rollup Job [{job_id}] because state was [{state}]"))
        }
        RefreshError::Empty { .. } => ErrorAnswer::bad_request(error.to_string()),
        RefreshError::NotDone { .. } => conflict(error.to_string()),
        RefreshError::Timeout { .. } => ErrorAnswer::internal(Cause::new("timeout_exception", error.to_string())),
        RefreshError::Unreadable { .. } => ErrorAnswer::internal(Cause::of(error)),
        RefreshError::LostOwnership { .. } | RefreshError::Store { .. } | RefreshError::ShutDown { .. } => {
            ErrorAnswer::unavailable(error)
        }
    }
}
