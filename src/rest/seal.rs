//! `GET {index}/_rollup/_safe_to_drop`, `POST {index}/_rollup/_seal` and `POST {index}/_rollup/_raw_dropped`: verbs of
//! our own, in Elasticsearch's style.

use axum::http::StatusCode;

use super::change;
use super::error_answer::{Cause, ErrorAnswer};
use super::json::{Json, Members};
use super::{Answer, Face};
use crate::SealError;

pub(super) async fn safe_to_drop(face: &Face, index: &str) -> Result<Answer, ErrorAnswer> {
    let name = index.to_owned();
    let safe = face.call(move |manager| manager.safe_to_drop_before(&name)).await?;
    let safe = safe.map_err(|error| ErrorAnswer::unavailable(&error))?;
    let before = safe.before.map(|before| ("before".to_owned(), Json::Scalar(before.as_millisecond().into())));
    let needed_by = ("needed_by".to_owned(), safe.needed_by.to_string().as_str().into());
    Answer::of(&Json::Object(before.into_iter().chain([needed_by]).collect::<Members>()))
}

pub(super) async fn seal(face: &Face, index: &str, body: &[u8]) -> Result<Answer, ErrorAnswer> {
    let (name, before) = (index.to_owned(), change::before(body)?);
    face.call(move |manager| manager.seal_before(&name, before)).await?.map_err(|error| failure(&error))?;
    Ok(Answer::object([("acknowledged", true.into())]))
}

pub(super) async fn raw_dropped(face: &Face, index: &str) -> Result<Answer, ErrorAnswer> {
    let name = index.to_owned();
    face.call(move |manager| manager.raw_dropped(&name)).await?.map_err(|error| failure(&error))?;
    Ok(Answer::object([("acknowledged", true.into())]))
}

fn failure(error: &SealError) -> ErrorAnswer {
    match error {
        SealError::Index { .. } => ErrorAnswer::bad_request(error.to_string()),
        SealError::NotSafe { .. } | SealError::NotRight { .. } => {
            ErrorAnswer::new(StatusCode::CONFLICT, Cause::new("status_exception", error.to_string()))
        }
        SealError::Engine { .. } | SealError::Store { .. } => ErrorAnswer::unavailable(error),
    }
}
