//! `POST {index}/_rollup/_note_change`: a verb of our own, in Elasticsearch's style.

use std::ops::Range;

use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::error_answer::{Cause, ErrorAnswer};
use super::{Answer, Face};
use crate::ChangeError;

pub(super) async fn serve(face: &Face, index: &str, body: &[u8]) -> Result<Answer, ErrorAnswer> {
    let range = range(body)?;
    let name = index.to_owned();
    face.call(move |manager| manager.note_change(&name, range)).await?.map_err(|error| failure(&error))?;
    Ok(Answer::object([("acknowledged", true.into())]))
}

/// `{ "range": { "gte": .., "lt": .. } }`
pub(super) fn range(body: &[u8]) -> Result<Range<Timestamp>, ErrorAnswer> {
    let body = json(body)?;
    let whole = only(&body, "body", &["range"])?;
    let range = only(whole.get("range").unwrap_or(&Value::Null), "range", &["gte", "lt"])?;
    Ok(instant(range, "gte", "range.gte")?..instant(range, "lt", "range.lt")?)
}

/// `{ "before": .. }`
pub(super) fn before(body: &[u8]) -> Result<Timestamp, ErrorAnswer> {
    instant(only(&json(body)?, "body", &["before"])?, "before", "before")
}

fn json(body: &[u8]) -> Result<Value, ErrorAnswer> {
    let parsed = |error: serde_json::Error| {
        let cause = Cause::parse(format!("the body is no JSON: {error}"));
        ErrorAnswer::new(StatusCode::BAD_REQUEST, cause)
    };
    if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body).map_err(parsed) }
}

fn only<'a>(value: &'a Value, name: &str, known: &[&str]) -> Result<&'a Map<String, Value>, ErrorAnswer> {
    let wanted = || known.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(" and ");
    let Some(members) = value.as_object() else {
        return Err(ErrorAnswer::bad_request(format!("[{name}] has to be an object with {}", wanted())));
    };
    match members.keys().find(|member| !known.contains(&member.as_str())) {
        Some(unknown) => {
            let text = format!("[{name}] unknown field [{unknown}]: it has {}", wanted());
            Err(ErrorAnswer::bad_request(text))
        }
        None => Ok(members),
    }
}

/// Milliseconds since 1970, or a text; without a zone it is in UTC.
fn instant(members: &Map<String, Value>, name: &str, place: &str) -> Result<Timestamp, ErrorAnswer> {
    let read = match members.get(name) {
        Some(Value::Number(millis)) => millis.as_i64().and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        Some(Value::String(text)) => text.parse().ok().or_else(|| {
            let local: DateTime = text.parse().ok()?;
            TimeZone::UTC.to_timestamp(local).ok()
        }),
        _ => None,
    };
    read.ok_or_else(|| {
        let found = members.get(name).map_or_else(|| "is missing".to_owned(), |found| format!("was {found}"));
        ErrorAnswer::bad_request(format!(
            "[{place}] has to be an instant, such as [2026-01-01T00:00:00Z], or milliseconds since 1970, but \
             {found}"
        ))
    })
}

fn failure(error: &ChangeError) -> ErrorAnswer {
    match error {
        ChangeError::Index { .. } | ChangeError::Empty { .. } => ErrorAnswer::bad_request(error.to_string()),
        ChangeError::Sealed { .. } => {
            ErrorAnswer::new(StatusCode::CONFLICT, Cause::new("status_exception", error.to_string()))
        }
        ChangeError::Store { .. } => ErrorAnswer::unavailable(error),
    }
}
