//! How is a job printed? As Elasticsearch's get API does it, in its order, with what that lacks behind it.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::stats::Printed as Stats;
use super::{Health, JobError, JobStatus, RollupJobConfig};

#[derive(Serialize)]
struct Job<'a> {
    config: Config<'a>,
    status: State<'a>,
    stats: Stats,
    health: Color<'a>,
    last_errors: Vec<Trouble<'a>>,
    rolled_up_until: Option<String>,
    several_values: Option<&'a BTreeSet<String>>,
    next_run: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Config<'a> {
    Read(&'a RollupJobConfig),
    /// A record that cannot be read has at least an id.
    Unreadable {
        id: &'a str,
    },
}

#[derive(Serialize)]
struct State<'a> {
    job_state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_position: Option<Value>,
}

#[derive(Serialize)]
struct Color<'a> {
    color: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Trouble<'a> {
    at: String,
    run: u64,
    phase: String,
    transient: bool,
    reason: &'a str,
    causes: &'a [String],
}

impl<'a> From<&'a Health> for Color<'a> {
    fn from(health: &'a Health) -> Self {
        Self { color: health.color().to_string(), reason: health.reason() }
    }
}

impl<'a> From<&'a JobError> for Trouble<'a> {
    fn from(error: &'a JobError) -> Self {
        Self {
            at: error.at().to_string(),
            run: error.run(),
            phase: error.phase().to_string(),
            transient: error.is_transient(),
            reason: error.message(),
            causes: error.causes(),
        }
    }
}

/// As [`to_json`](JobStatus::to_json), with members in Elasticsearch's order.
impl Serialize for JobStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let job = Job {
            config: self.config().map_or(Config::Unreadable { id: self.id() }, Config::Read),
            status: State {
                job_state: self.state().as_str(),
                current_position: self.position().map(super::Position::to_json),
            },
            stats: self.stats().printed(),
            health: self.health().into(),
            last_errors: self.last_errors().iter().map(Into::into).collect(),
            rolled_up_until: self.rolled_up_until().map(|time| time.to_string()),
            several_values: self.several_values(),
            next_run: self.next_run().map(|time| time.to_string()),
        };
        job.serialize(serializer)
    }
}
