//! `GET _rollup/job/{id}`.

use serde_json::{Map, Value, json};

use super::Face;
use super::error_answer::ErrorAnswer;
use crate::{JobError, JobStatus};

pub(super) async fn serve(face: &Face, job_id: &str) -> Result<Value, ErrorAnswer> {
    let jobs = match job_id {
        "" | "*" | "_all" => face.list(job).await?,
        id => face.manager.get(id).iter().map(job).collect(),
    };
    Ok(json!({ "jobs": jobs }))
}

fn job(status: &JobStatus) -> Value {
    // A record that cannot be read has at least an id.
    let config = status.config().map_or_else(|| json!({ "id": status.id() }), |config| config.to_json());
    let mut state = json!({ "job_state": status.state().as_str() });
    if let Some(position) = status.position() {
        state["current_position"] = position.to_json();
    }
    // The last four are not Elasticsearch's.
    json!({
        "config": config,
        "status": state,
        "stats": status.stats().to_json(),
        "health": health(status),
        "last_errors": status.last_errors().iter().map(error).collect::<Vec<_>>(),
        "rolled_up_until": status.rolled_up_until().map(|time| time.to_string()),
        "next_run": status.next_run().map(|time| time.to_string()),
    })
}

fn health(status: &JobStatus) -> Value {
    let mut health = Map::from_iter([("color".to_owned(), status.health().color().to_string().into())]);
    if let Some(reason) = status.health().reason() {
        health.insert("reason".to_owned(), reason.into());
    }
    Value::Object(health)
}

fn error(error: &JobError) -> Value {
    json!({
        "at": error.at().to_string(),
        "run": error.run(),
        "phase": error.phase().to_string(),
        "transient": error.is_transient(),
        "reason": error.message(),
        "causes": error.causes(),
    })
}
