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
    let printed = match job_id {
        "" | "*" | "_all" => face.list(to_raw_value::<JobStatus>).await?,
        id => face.manager.get(id).iter().map(to_raw_value).collect(),
    };
    let jobs = printed.into_iter().collect::<Result<_, _>>().map_err(|error| ErrorAnswer::unprintable(&error))?;
    Answer::of(&Jobs { jobs })
}
