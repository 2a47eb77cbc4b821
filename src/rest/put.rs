//! `PUT _rollup/job/{id}`.

use std::error::Error;

use axum::http::StatusCode;

use super::error_answer::{Cause, ErrorAnswer, more, problems, text};
use super::zones::modern_name;
use super::{Answer, Face};
use super::{percent, place};
use crate::engine::EngineErrorKind;
use crate::{ConfigError, ConfigProblem, ConfigProblemKind, PutError, PutOptions, RollupJobConfig, RunAs};

pub(super) async fn serve(
    face: &Face,
    job_id: &str,
    run_as: Option<RunAs>,
    body: &[u8],
) -> Result<Answer, ErrorAnswer> {
    let text = text(body)?;
    let config = RollupJobConfig::from_json_with_id(job_id, text).map_err(|error| invalid(&error, text))?;
    let options = run_as.into_iter().fold(PutOptions::new(), PutOptions::run_as);
    let put = config.clone();
    let outcome = face.call(move |manager| manager.put_with(put, options)).await?;
    outcome.map_err(|error| failure(face, &error, &config))?;
    let warnings = deprecated_zone(&config).into_iter().chain(face.never_fires(config.id())).collect();
    Ok(Answer::object([("acknowledged", true.into())]).with_warnings(warnings))
}

/// A configuration that cannot be right, wrapped as Elasticsearch's parsers wrap it. All problems are beside it, in
/// the open.
fn invalid(error: &ConfigError, json: &str) -> ErrorAnswer {
    let nested = |problem: &&ConfigProblem| !layers(problem).is_empty();
    // What is inside an object is met before the whole is looked at.
    let Some(first) = error.problems().iter().find(nested).or(error.problems().first()) else {
        return ErrorAnswer::internal(Cause::of(error));
    };
    ErrorAnswer::with_more(StatusCode::BAD_REQUEST, wrapped(first, json), problems(error))
}

/// In Elasticsearch's words.
fn deprecated_zone(config: &RollupJobConfig) -> Option<String> {
    let (id, old) = (config.id(), config.groups().date_histogram().time_zone_id());
    let new = modern_name(old)?;
    Some(format!(
        "Creating Rollup job [{id}] with timezone [{old}], but [{old}] has been deprecated by the IANA.  \
         Use [{new}] instead."
    ))
}

const JOB: &str = "xpack/rollup/jobconfig";

/// The members that a problem is inside of and that have a parser of their own, from the outside in.
fn layers(problem: &ConfigProblem) -> Vec<&str> {
    let field = problem.field();
    if field.starts_with("metrics[") {
        return vec!["metrics"];
    }
    match field.strip_prefix("groups.").map(|inner| inner.split(['.', '[']).next().unwrap_or(inner)) {
        Some(group @ ("date_histogram" | "histogram" | "terms")) => vec!["groups", group],
        Some(_) => vec!["groups"],
        None => Vec::new(),
    }
}

fn wrapped(problem: &ConfigProblem, json: &str) -> Cause {
    let (message, mut layers) = (problem.message(), layers(problem));
    let core = if let Some((line, column)) = problem.location() {
        let text = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
        Cause::parse(format!("[{line}:{column}] [{}] {text}", layers.last().unwrap_or(&JOB)))
    } else {
        let real = illegal(problem);
        if problem.kind() == ConfigProblemKind::Required {
            // It is the parser of the object around it that misses it.
            layers.truncate(1);
            real
        } else if problem.field() == "timeout" {
            layers.push("timeout");
            real
        } else {
            let unbuilt = layers.last().unwrap_or(&JOB);
            Cause::parse(format!("Failed to build [{unbuilt}] after last required field arrived")).caused_by(real)
        }
    };
    (0..layers.len()).rev().fold(core, |core, at| {
        let parser = at.checked_sub(1).map_or(JOB, |above| layers[above]);
        let place = place::end_of(&layers[..=at], json).map(|(line, column)| format!("[{line}:{column}] "));
        let place = place.unwrap_or_default();
        Cause::parse(format!("{place}[{parser}] failed to parse field [{}]", layers[at])).caused_by(core)
    })
}

fn illegal(problem: &ConfigProblem) -> Cause {
    let cause = Cause::illegal_argument(problem.message());
    match problem.detail() {
        Some(detail) => cause.caused_by(Cause::illegal_argument(format!(
            "illegal cron expression format [java.lang.IllegalArgumentException: {detail}]"
        ))),
        None => cause,
    }
}

fn failure(face: &Face, error: &PutError, config: &RollupJobConfig) -> ErrorAnswer {
    let id = config.id();
    let conflict = |reason| ErrorAnswer::new(StatusCode::CONFLICT, Cause::new("status_exception", reason));
    let known_there =
        || format!("Cannot create rollup job [{id}] because job was previously created (existing metadata).");
    match error {
        PutError::Invalid(invalid) => {
            let listed = invalid.problems().iter().enumerate();
            let listed = listed
                .fold(String::new(), |listed, (at, problem)| format!("{listed}{}: {};", at + 1, problem.message()));
            let reason = format!("Validation Failed: {listed}");
            ErrorAnswer::new(StatusCode::BAD_REQUEST, Cause::new("rollup_action_request_validation_exception", reason))
        }
        PutError::AlreadyExists { .. } => {
            let known = face.manager.get(id).and_then(|status| status.config().cloned());
            match known {
                Some(known) if known.rollup_index() == config.rollup_index() => conflict(known_there()),
                _ => conflict(format!("Cannot create job [{id}] because it has already been created (task exists)")),
            }
        }
        PutError::PreviouslyCreated { .. } => {
            let path = percent::encode(id);
            let detail =
                format!("a job that was deleted has left data: DELETE _rollup/job/{path}?delete_data=true removes it");
            let cause = Cause::new("status_exception", known_there());
            ErrorAnswer::with_more(StatusCode::CONFLICT, cause, more("detail", detail))
        }
        PutError::Engine { source, .. } if source.kind() == EngineErrorKind::NotFound => {
            let reason = source.source().map_or_else(|| source.to_string(), ToString::to_string);
            ErrorAnswer::new(StatusCode::NOT_FOUND, Cause::new("index_not_found_exception", reason))
        }
        PutError::Engine { source, .. } => {
            if source.is_not_rollup() {
                let reason = source.source().map_or_else(|| source.to_string(), ToString::to_string);
                return ErrorAnswer::internal(Cause::new("runtime_exception", reason));
            }
            let reason = format!("Could not create index for rollup job [{id}]");
            ErrorAnswer::internal(Cause::new("runtime_exception", reason).caused_by(Cause::of(source)))
        }
        PutError::Store { .. } => ErrorAnswer::internal(Cause::of(error)),
        PutError::LostOwnership { .. } | PutError::ShutDown { .. } => ErrorAnswer::unavailable(error),
    }
}
