//! `POST _rollup/job/{id}/_start`.

use super::error_answer::{Cause, ErrorAnswer, upper_case};
use super::{Answer, Face};
use crate::{JobState, StartError};

pub(super) async fn serve(face: &Face, job_id: &str) -> Result<Answer, ErrorAnswer> {
    let id = job_id.to_owned();
    face.call(move |manager| manager.start(&id)).await?.map_err(|error| failure(&error, job_id))?;
    Ok(Answer::object([("started", true.into())]).with_warnings(face.never_fires(job_id).into_iter().collect()))
}

fn failure(error: &StartError, job_id: &str) -> ErrorAnswer {
    let wrong_state = |state| {
        let state = upper_case(state);
        let reason = format!("Cannot start task for Rollup Job [{job_id}] because state was [{state}]");
        ErrorAnswer::internal(Cause::new("exception", reason))
    };
    match error {
        StartError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        StartError::Stopping { .. } => wrong_state(JobState::Stopping),
        StartError::Aborting { .. } => wrong_state(JobState::Aborting),
        StartError::Store { source, .. } => ErrorAnswer::not_saved(job_id, JobState::Started, source),
        StartError::Unreadable { .. } => ErrorAnswer::internal(Cause::of(error)),
        StartError::LostOwnership { .. } | StartError::ShutDown { .. } => ErrorAnswer::unavailable(error),
    }
}
