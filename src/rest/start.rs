//! `POST _rollup/job/{id}/_start`.

use serde_json::{Value, json};

use super::Face;
use super::failure::{Cause, Failure};
use crate::StartError;

pub(super) async fn serve(face: &Face, job_id: &str) -> Result<Value, Failure> {
    let (manager, id) = (face.manager.clone(), job_id.to_owned());
    face.gate.call(move || manager.start(&id)).await?.map_err(|error| failure(&error, job_id))?;
    Ok(json!({ "started": true }))
}

fn failure(error: &StartError, job_id: &str) -> Failure {
    let wrong_state = |state: &str| {
        let reason = format!("Cannot start task for Rollup Job [{job_id}] because state was [{state}]");
        Failure::internal(Cause::new("exception", reason))
    };
    match error {
        StartError::NotFound { .. } => Failure::job_not_found(job_id),
        StartError::Stopping { .. } => wrong_state("STOPPING"),
        StartError::Aborting { .. } => wrong_state("ABORTING"),
        StartError::Store { source, .. } => {
            let reason = format!("Error while updating state for rollup job [{job_id}] to [STARTED].");
            Failure::internal(Cause::new("exception", reason).caused_by(Cause::of(source)))
        }
        StartError::Unreadable { .. } => Failure::internal(Cause::of(error)),
        StartError::LostOwnership { .. } | StartError::ShutDown { .. } => Failure::unavailable(error),
    }
}
