//! `GET _rollup/job/{id}/_late_data` and `POST _rollup/job/{id}/_verify`: verbs of our own, in Elasticsearch's style.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::change;
use super::error_answer::{Cause, ErrorAnswer};
use super::json::{Json, Members};
use super::parameters::Parameters;
use super::search::CancelOnDrop;
use super::{Answer, Face};
use crate::{LastVerification, LateDataError, LateDataReport, TimeValue, VerifyError, VerifyOptions};

pub(super) const VERIFY_PARAMETERS: [&str; 2] = ["repair", "timeout"];

pub(super) async fn serve(face: &Face, job_id: &str) -> Result<Answer, ErrorAnswer> {
    let id = job_id.to_owned();
    let report = face.call(move |manager| manager.late_data(&id)).await?;
    let report = report.map_err(|error| match error {
        LateDataError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        LateDataError::Unreadable { .. } => ErrorAnswer::internal(Cause::of(&error)),
        LateDataError::Engine { .. } | LateDataError::Store { .. } => ErrorAnswer::unavailable(&error),
    })?;
    Answer::of(&Json::Object(printed(&report)))
}

/// It takes as long as it takes, or until its caller goes away.
pub(super) async fn verify(
    face: &Face,
    job_id: &str,
    parameters: &Parameters,
    body: &[u8],
) -> Result<Answer, ErrorAnswer> {
    let cancel = CancelOnDrop::default();
    let mut options = VerifyOptions::new().repair(parameters.switch("repair")?).cancel(cancel.0.clone());
    if !body.is_empty() {
        options = options.range(change::range(body)?);
    }
    if parameters.text("timeout").is_some() {
        let timeout = parameters.time("timeout", TimeValue::ZERO)?;
        options = options.timeout(timeout.to_duration().unwrap_or_default());
    }
    let (id, manager) = (job_id.to_owned(), Arc::clone(&face.manager));
    let found = face.searches.call(move || manager.verify(&id, &options)).await?;
    let found = found.map_err(|error| match error {
        VerifyError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        VerifyError::Unreadable { .. } => ErrorAnswer::internal(Cause::of(&error)),
        VerifyError::Timeout { .. } => ErrorAnswer::internal(Cause::new("timeout_exception", error.to_string())),
        VerifyError::Cancelled { .. } => {
            ErrorAnswer::internal(Cause::new("task_cancelled_exception", error.to_string()))
        }
        VerifyError::Moved { .. } | VerifyError::Engine { .. } | VerifyError::Store { .. } => {
            ErrorAnswer::unavailable(&error)
        }
    })?;
    Ok(Answer::object([
        ("right", found.right.into()),
        ("different", found.different.into()),
        ("missing", found.missing.into()),
        ("too_many", found.too_many.into()),
        ("not_right", ranges(&found.not_right)),
        ("not_verified", ranges(&found.not_verified)),
    ]))
}

fn printed(report: &LateDataReport) -> Members {
    let late = &report.late_documents;
    let mut lateness = Members::new();
    let quantiles = [("p50", late.lateness.quantile(0.5)), ("p99", late.lateness.quantile(0.99))];
    for (name, late_by) in quantiles.into_iter().chain([("max", late.lateness.max())]) {
        lateness.extend(late_by.map(|late_by| (name.to_owned(), millis(late_by))));
    }
    let counters = Json::object([
        ("noticed", late.noticed.into()),
        ("refused", late.refused.into()),
        ("read_again", late.read_again.into()),
        ("lateness_in_ms", Json::Object(lateness)),
    ]);
    let stretches = |stretches: &[Range<Timestamp>]| {
        let in_ms = |range: &Range<Timestamp>| range.start.as_millisecond()..range.end.as_millisecond();
        ranges(&stretches.iter().map(in_ms).collect::<Vec<_>>())
    };
    let members = [
        ("changed", stretches(&report.changed)),
        ("being_changed", stretches(&report.being_changed)),
        ("lost", stretches(&report.lost)),
        ("shrunk", stretches(&report.shrunk)),
        ("inherited", stretches(&report.inherited)),
        ("late_documents", counters),
    ];
    let delay = report.delay_for_99_percent().map(|delay| ("delay_for_99_percent_in_ms", millis(delay)));
    let verified = report.last_verification.as_ref().map(|found| ("last_verification", last(found)));
    members.into_iter().chain(delay).chain(verified).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn last(found: &LastVerification) -> Json {
    Json::object([
        ("at_in_ms", Json::Scalar(found.at.as_millisecond().into())),
        ("right", found.right.into()),
        ("different", found.different.into()),
        ("missing", found.missing.into()),
        ("too_many", found.too_many.into()),
    ])
}

/// As a refresh and a noted change take them.
fn ranges(ranges: &[Range<i64>]) -> Json {
    let range = |range: &Range<i64>| {
        let instant = |millis: i64| Json::Scalar(millis.into());
        Json::object([("gte", instant(range.start)), ("lt", instant(range.end))])
    };
    Json::Array(ranges.iter().map(range).collect())
}

fn millis(duration: Duration) -> Json {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}
