//! `POST _rollup/job/{id}/_update`: a verb of our own, in Elasticsearch's style.

use super::error_answer::{Cause, ErrorAnswer, problems, text};
use super::{Answer, Face};
use crate::{ConfigError, ConfigProblemKind, JobUpdate, UpdateError};
use axum::http::StatusCode;

pub(super) async fn serve(face: &Face, job_id: &str, body: &[u8]) -> Result<Answer, ErrorAnswer> {
    let update = JobUpdate::from_json(text(body)?).map_err(|error| invalid(&error))?;
    let id = job_id.to_owned();
    face.call(move |manager| manager.update(&id, update)).await?.map_err(|error| failure(&error, job_id))?;
    Ok(Answer::object([("acknowledged", true.into())]).with_warnings(face.never_fires(job_id).into_iter().collect()))
}

fn invalid(error: &ConfigError) -> ErrorAnswer {
    let Some(first) = error.problems().first() else { return ErrorAnswer::internal(Cause::of(error)) };
    let cause = match first.kind() {
        ConfigProblemKind::Syntax => Cause::parse(first.message()),
        _ => Cause::illegal_argument(first.message()),
    };
    ErrorAnswer::with_more(StatusCode::BAD_REQUEST, cause, problems(error))
}

fn failure(error: &UpdateError, job_id: &str) -> ErrorAnswer {
    match error {
        UpdateError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        UpdateError::Invalid(error) => invalid(error),
        UpdateError::Aborting { .. } => {
            let reason = format!("Cannot update Rollup Job [{job_id}] because state was [ABORTING]");
            ErrorAnswer::new(StatusCode::CONFLICT, Cause::new("status_exception", reason))
        }
        UpdateError::Unreadable { .. } | UpdateError::Store { .. } => ErrorAnswer::internal(Cause::of(error)),
        UpdateError::Engine { .. } | UpdateError::LostOwnership { .. } | UpdateError::ShutDown { .. } => {
            ErrorAnswer::unavailable(error)
        }
    }
}
