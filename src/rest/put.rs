//! `PUT _rollup/job/{id}`.

use std::error::Error;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Face;
use super::failure::{Cause, Failure};
use crate::engine::EngineErrorKind;
use crate::{ConfigError, ConfigProblem, PutError, PutOptions, RollupJobConfig, RunAs};

pub(super) async fn serve(face: &Face, job_id: &str, run_as: Option<RunAs>, body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        let cause = Cause::new("parse_exception", "request body is required");
        return Err(Failure::new(StatusCode::BAD_REQUEST, cause));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        Failure::new(StatusCode::BAD_REQUEST, Cause::parse(format!("the body is not UTF-8: {error}")))
    })?;
    let config = RollupJobConfig::from_json_with_id(job_id, text).map_err(|error| invalid(&error))?;
    let options = run_as.into_iter().fold(PutOptions::new(), PutOptions::run_as);
    let (manager, put) = (face.manager.clone(), config.clone());
    let outcome = face.gate.call(move || manager.put_with(put, options)).await?;
    outcome.map_err(|error| failure(face, &error, &config))?;
    Ok(json!({ "acknowledged": true }))
}

/// A configuration that cannot be right, wrapped as Elasticsearch's parsers wrap it. All problems are beside it, in the open.
fn invalid(error: &ConfigError) -> Failure {
    let nested = |problem: &&ConfigProblem| layer(problem).is_some();
    // What is inside an object is met before the whole is looked at.
    let Some(first) = error.problems().iter().find(nested).or(error.problems().first()) else {
        return Failure::internal(Cause::of(error));
    };
    let problems = error.problems().iter().map(|problem| {
        let mut members = Map::from_iter([
            ("field".to_owned(), problem.field().into()),
            ("message".to_owned(), problem.message().into()),
        ]);
        members.extend(problem.detail().map(|detail| ("detail".to_owned(), detail.into())));
        Value::Object(members)
    });
    let more = Map::from_iter([("problems".to_owned(), problems.collect())]);
    Failure::with_more(StatusCode::BAD_REQUEST, wrapped(first), more)
}

/// The member of `groups`, or `metrics`, that a problem is in.
fn layer(problem: &ConfigProblem) -> Option<&str> {
    match problem.field().strip_prefix("groups.") {
        Some(inner) => inner.split(['.', '[']).next(),
        None => problem.field().starts_with("metrics[").then_some("metrics"),
    }
}

fn wrapped(problem: &ConfigProblem) -> Cause {
    let message = problem.message();
    if problem.is_syntax() {
        return Cause::parse(message);
    }
    let mut real = Cause::illegal_argument(message);
    if let Some(detail) = problem.detail() {
        let reason = format!("illegal cron expression format [java.lang.IllegalArgumentException: {detail}]");
        real = real.caused_by(Cause::illegal_argument(reason));
    }
    let failed = |parser: &str, field: &str| Cause::parse(format!("[{parser}] failed to parse field [{field}]"));
    let unbuilt = |what: &str| Cause::parse(format!("Failed to build [{what}] after last required field arrived"));
    let (job, is_missing) = ("xpack/rollup/jobconfig", message.starts_with("Required ["));
    match (layer(problem), problem.field()) {
        (Some("metrics"), _) => failed(job, "metrics").caused_by(unbuilt("metrics").caused_by(real)),
        (Some(_), "groups.date_histogram") if is_missing => failed(job, "groups").caused_by(real),
        (Some(group), _) => {
            let group = failed("groups", group).caused_by(unbuilt(group).caused_by(real));
            failed(job, "groups").caused_by(group)
        }
        (None, "timeout") => failed(job, "timeout").caused_by(real),
        (None, _) if is_missing => real,
        (None, _) => unbuilt(job).caused_by(real),
    }
}

fn failure(face: &Face, error: &PutError, config: &RollupJobConfig) -> Failure {
    let id = config.id();
    let conflict = |reason| Failure::new(StatusCode::CONFLICT, Cause::new("status_exception", reason));
    let known_there =
        || format!("Cannot create rollup job [{id}] because job was previously created (existing metadata).");
    match error {
        PutError::Invalid(invalid) => {
            let listed = invalid.problems().iter().enumerate();
            let listed = listed
                .fold(String::new(), |listed, (at, problem)| format!("{listed}{}: {};", at + 1, problem.message()));
            let reason = format!("Validation Failed: {listed}");
            Failure::new(StatusCode::BAD_REQUEST, Cause::new("rollup_action_request_validation_exception", reason))
        }
        PutError::AlreadyExists { .. } => {
            let known = face.manager.get(id).and_then(|status| status.config().cloned());
            match known {
                Some(known) if known.rollup_index() == config.rollup_index() => conflict(known_there()),
                _ => conflict(format!("Cannot create job [{id}] because it has already been created (task exists)")),
            }
        }
        PutError::PreviouslyCreated { .. } => conflict(known_there()),
        PutError::Engine { source, .. } if source.kind() == EngineErrorKind::NotFound => {
            let reason = source.source().map_or_else(|| source.to_string(), ToString::to_string);
            Failure::new(StatusCode::NOT_FOUND, Cause::new("index_not_found_exception", reason))
        }
        PutError::Engine { source, .. } => {
            let reason = format!("Could not create index for rollup job [{id}]");
            Failure::internal(Cause::new("runtime_exception", reason).caused_by(Cause::of(source)))
        }
        PutError::Store { .. } => Failure::internal(Cause::of(error)),
        PutError::ShutDown { .. } => Failure::unavailable(error),
    }
}
