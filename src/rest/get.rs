//! `GET _rollup/job/{id}`.

use serde_json::{Value, json};

use super::Face;
use super::error_answer::ErrorAnswer;
use crate::JobStatus;

pub(super) async fn serve(face: &Face, job_id: &str) -> Result<Value, ErrorAnswer> {
    let jobs = match job_id {
        "" | "*" | "_all" => face.list(JobStatus::to_json).await?,
        id => face.manager.get(id).iter().map(JobStatus::to_json).collect(),
    };
    Ok(json!({ "jobs": jobs }))
}
