//! `GET _rollup/job/{id}`.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::error_answer::ErrorAnswer;
use super::{Answer, Face};
use crate::JobStatus;

#[derive(Serialize)]
struct Jobs {
    jobs: Vec<Box<RawValue>>,
}

pub(super) async fn serve(face: &Face, job_id: &str) -> Result<Answer, ErrorAnswer> {
    let jobs = match job_id {
        "" | "*" | "_all" => face.list(print).await?.into_iter().collect(),
        id => face.manager.get(id).iter().map(print).collect(),
    };
    let jobs: Result<_, _> = jobs;
    Answer::of(&Jobs { jobs: jobs.map_err(|error| ErrorAnswer::unprintable(&error))? })
}

fn print(status: &JobStatus) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(status)
}
