//! `GET _rollup/data/{pattern}` and `GET {index}/_rollup/data`: what can be asked of what is rolled up.

use axum::http::StatusCode;
use axum::http::request::Parts;

use super::error_answer::{Cause, ErrorAnswer};
use super::{Answer, Face};
use crate::IndexPattern;
use crate::search::JobCaps;

pub(super) fn serve(face: &Face, pattern: &str, request: &Parts) -> Result<Answer, ErrorAnswer> {
    let caps = face.manager.caps(pattern).only(|job| may_see(face, request, job));
    Answer::of(&caps.to_json())
}

pub(super) fn of_index(face: &Face, indices: &str, request: &Parts) -> Result<Answer, ErrorAnswer> {
    let caps = face.manager.index_caps(indices).map_err(|error| {
        ErrorAnswer::new(StatusCode::NOT_FOUND, Cause::new("index_not_found_exception", error.to_string()))
    })?;
    Answer::of(&caps.only(|job| may_see(face, request, job)).to_json())
}

/// Whoever may not read what a job reads or writes does not get to know of it.
fn may_see(face: &Face, request: &Parts, job: &JobCaps) -> bool {
    let may_read = |index: &str| face.authorizer.may_read(request, index);
    may_read(&job.rollup_index) && IndexPattern::new(&job.index_pattern).items().all(may_read)
}
