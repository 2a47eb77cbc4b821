//! `POST _rollup/job/{id}/_stop`: waiting holds no thread.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use super::error_answer::{Cause, ErrorAnswer, more, upper_case};
use super::json::Json;
use super::parameters::Parameters;
use super::{Answer, Face};
use crate::{JobSelector, JobState, StopError, StopManyError, StopOptions, Stopped, TimeUnit, TimeValue};
use serde_json::Value;

pub(super) const PARAMETERS: [&str; 3] = ["wait_for_completion", "timeout", "allow_no_match"];

/// However short a caller's time is, a stop may take so long to be saved before it is answered with a timeout.
const MIN_FOR_REQUEST: Duration = Duration::from_secs(1);

/// As long as a caller waits who does not say how long.
const DEFAULT_TIMEOUT: TimeValue = TimeValue::new(30, TimeUnit::Seconds);

/// How long to wait, and how the caller put it.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) timeout: TimeValue,
    since: Instant,
}

impl Patience {
    /// It begins now.
    pub(super) fn new(parameters: &Parameters) -> Result<Self, ErrorAnswer> {
        Ok(Self { timeout: parameters.time("timeout", DEFAULT_TIMEOUT)?, since: Instant::now() })
    }

    /// How long the request itself may take: to save it takes a moment, whoever is in a hurry.
    fn for_request(&self) -> Duration {
        self.left().max(MIN_FOR_REQUEST)
    }

    /// A negative time looks once, like none at all.
    pub(super) fn left(&self) -> Duration {
        self.timeout.to_duration().unwrap_or_default().saturating_sub(self.since.elapsed())
    }
}

pub(super) async fn serve(face: &Face, job_id: &str, parameters: &Parameters) -> Result<Answer, ErrorAnswer> {
    let wait = parameters.switch("wait_for_completion")?;
    let patience = Patience::new(parameters)?;
    if let Some(allow_no_match) = parameters.boolean("allow_no_match")? {
        let selector = JobSelector::from(job_id).allow_no_match(allow_no_match);
        return many(face, job_id, selector, wait, patience).await;
    }
    let stopped = request(face, job_id, patience).await?;
    let state = settle(&stopped, wait, patience).await?;
    Ok(Answer::object([("stopped", true.into()), ("state", state.into())]))
}

/// The state that the job is in, after waiting if that is wanted.
async fn settle(stopped: &Stopped, wait: bool, patience: Patience) -> Result<&'static str, ErrorAnswer> {
    if wait {
        wait_for(stopped, patience).await?;
    }
    let state = if wait || stopped.is_at_rest() { JobState::Stopped } else { JobState::Stopping };
    Ok(state.as_str())
}

/// All are asked before any is waited for, and one that fails keeps no other from being stopped. The status is then
/// that of the first failure.
async fn many(
    face: &Face,
    named: &str,
    selector: JobSelector,
    wait: bool,
    patience: Patience,
) -> Result<Answer, ErrorAnswer> {
    let request = face.stop(move |manager| manager.stop_many(selector, StopOptions::new()));
    let report = tokio::time::timeout(patience.for_request(), request).await;
    let jobs = || format!("jobs [{named}] to stop.");
    let report = report.map_err(|_| ErrorAnswer::internal(timed_out(patience.timeout, &jobs())))??;
    let report = report.map_err(|error| match error {
        StopManyError::NoMatch { .. } => ErrorAnswer::not_found(error.to_string()),
        StopManyError::EmptySelector => ErrorAnswer::bad_request(error.to_string()),
    })?;
    let (mut jobs, mut first_failure) = (Vec::with_capacity(report.len()), None);
    for (id, outcome) in report.outcomes() {
        let outcome = match outcome {
            Ok(stopped) => settle(stopped, wait, patience).await,
            // Whoever allows that says so.
            Err(StopError::NotFound { .. }) => continue,
            Err(error) => Err(failure(error, id, patience.timeout)),
        };
        jobs.push(match outcome {
            Ok(state) => Json::object([("id", id.into()), ("state", state.into())]),
            Err(failure) => {
                first_failure.get_or_insert(failure.status);
                let error = failure.body.member("error").cloned().unwrap_or_else(|| Value::Null.into());
                Json::object([("id", id.into()), ("error", error)])
            }
        });
    }
    let answer = [("stopped", first_failure.is_none().into()), ("jobs", Json::Array(jobs))];
    match first_failure {
        None => Ok(Answer::object(answer)),
        Some(status) => Err(ErrorAnswer::with_body(status, Json::object(answer))),
    }
}

/// The job is at rest, or the time is over.
pub(super) async fn rest(face: &Face, job_id: &str, patience: Patience) -> Result<(), ErrorAnswer> {
    wait_for(&request(face, job_id, patience).await?, patience).await
}

/// The stop is in force. Only one that has something to save takes a thread, for just that.
async fn request(face: &Face, job_id: &str, patience: Patience) -> Result<Stopped, ErrorAnswer> {
    let answer = match face.manager.stop_at_hand(job_id) {
        Some(answer) => answer,
        None => {
            let id = job_id.to_owned();
            let request = face.stop(move |manager| manager.stop(&id, StopOptions::new()));
            match tokio::time::timeout(patience.for_request(), request).await {
                Ok(answer) => answer?,
                Err(_) => return Err(not_in_time(face, job_id, patience)),
            }
        }
    };
    answer.map_err(|error| failure(&error, job_id, patience.timeout))
}

/// The stop is on its way to the store, and stays so.
fn not_in_time(face: &Face, job_id: &str, patience: Patience) -> ErrorAnswer {
    let state = face.manager.get(job_id).map_or(JobState::Stopped, |status| status.state());
    ErrorAnswer::internal(timed_out(patience.timeout, &one(job_id, state)))
}

/// In Elasticsearch's words.
fn timed_out(timeout: TimeValue, jobs: &str) -> Cause {
    Cause::new("timeout_exception", format!("Timed out after [{timeout}] while waiting for rollup {jobs}"))
}

fn one(job_id: &str, state: JobState) -> String {
    format!("job [{job_id}] to stop. State was [{}]", upper_case(state))
}

async fn wait_for(stopped: &Stopped, patience: Patience) -> Result<(), ErrorAnswer> {
    if stopped.is_at_rest() {
        return Ok(());
    }
    let in_time = tokio::time::timeout(patience.left(), stopped.completion()).await;
    // After the time one more look decides, and says where the job is.
    let outcome = in_time.unwrap_or_else(|_| stopped.completion().wait(Duration::ZERO));
    outcome.map_err(|error| failure(&error, stopped.job_id(), patience.timeout))
}

pub(super) fn failure(error: &StopError, job_id: &str, timeout: TimeValue) -> ErrorAnswer {
    match error {
        StopError::NotFound { .. } => ErrorAnswer::job_not_found(job_id),
        StopError::Timeout { job, .. } => {
            let detail = more("detail", job.to_string());
            let cause = timed_out(timeout, &one(job_id, job.state()));
            ErrorAnswer::with_more(StatusCode::INTERNAL_SERVER_ERROR, cause, detail)
        }
        StopError::Store { source, .. } => ErrorAnswer::not_saved(job_id, JobState::Stopped, source),
        StopError::Aborting { .. } => {
            let reason = format!("Cannot stop task for Rollup Job [{job_id}] because state was [ABORTING]");
            ErrorAnswer::internal(Cause::new("exception", reason))
        }
        StopError::Unreadable { .. } => ErrorAnswer::internal(Cause::of(error)),
        StopError::LostOwnership { .. } | StopError::ShutDown { .. } => ErrorAnswer::unavailable(error),
    }
}
