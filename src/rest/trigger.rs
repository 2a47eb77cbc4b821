//! `POST _rollup/job/{id}/_trigger`: a verb of our own, in Elasticsearch's style.

use super::error_answer::{Cause, ErrorAnswer, upper_case};
use super::{Answer, Face};
use crate::TriggerError;
use axum::http::StatusCode;

pub(super) fn serve(face: &Face, job_id: &str) -> Result<Answer, ErrorAnswer> {
    let triggered = face.manager.trigger(job_id).map_err(|error| failure(&error, job_id))?;
    let members = [("triggered", true.into()), ("run", triggered.run().into()), ("new", triggered.is_new().into())];
    Ok(Answer::object(members))
}

fn failure(error: &TriggerError, job_id: &str) -> ErrorAnswer {
    match error {
        TriggerError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        TriggerError::NotStarted { state, .. } => {
            let state = upper_case(*state);
            let reason = format!("Cannot trigger task for Rollup Job [{job_id}] because state was [{state}]");
            ErrorAnswer::new(StatusCode::CONFLICT, Cause::new("status_exception", reason))
        }
        TriggerError::Unreadable { .. } => ErrorAnswer::internal(Cause::of(error)),
        TriggerError::Store { .. } | TriggerError::LostOwnership { .. } | TriggerError::ShutDown { .. } => {
            ErrorAnswer::unavailable(error)
        }
    }
}
