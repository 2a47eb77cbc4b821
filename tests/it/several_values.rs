//! Whether a grouped field ever had several values: noted with the progress, for good.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{
    Engine, EngineError, JobContext, PageStream, PageStreamAdapter, RollupIndex, RollupIndexAdapter, ScanRequest,
    Source, SourceAdapter, SourceDocument, StopSignal,
};
use rollup_jobs::{IndexPattern, JobStatus};

use crate::support::{HOUR, World, loaded, now};

fn known(status: &JobStatus) -> Option<Vec<&str>> {
    status.several_values().map(|fields| fields.iter().map(String::as_str).collect())
}

fn next_hour(world: &World, document: SourceDocument) {
    world.data.add("sensor-1", document);
    world.clock.advance(Duration::from_hours(1));
    world.run("sensor");
}

fn reading(at: i64, nodes: &[&str]) -> SourceDocument {
    nodes.iter().fold(SourceDocument::new().date("timestamp", at), |document, node| document.keyword("node", node))
}

#[test]
fn what_was_seen_once_stays() {
    let world = World::new();
    world.put_started("sensor");
    assert_eq!(known(&world.status("sensor")), None, "nothing is rolled up yet");
    world.run("sensor");
    assert_eq!(known(&world.status("sensor")), Some(vec![]));
    assert_eq!(world.status("sensor").to_json()["several_values"], serde_json::json!([]));
    next_hour(&world, reading(now(), &["a", "b"]));
    next_hour(&world, reading(now() + HOUR, &["a"]));
    assert_eq!(known(&world.status("sensor")), Some(vec!["node"]));
    let twice = reading(now() + 2 * HOUR, &["a"]).date("timestamp", now() + 2 * HOUR + 1);
    next_hour(&world, twice);
    assert_eq!(known(&world.status("sensor")), Some(vec!["node", "timestamp"]));
    let after = world.after_crash();
    assert_eq!(known(&after.status("sensor")), Some(vec!["node", "timestamp"]));
}

#[test]
fn what_is_not_rolled_up_does_not_count() {
    let world = World::new();
    world.data.add("sensor-1", reading(now(), &["a", "b"]));
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(known(&world.status("sensor")), Some(vec![]), "its hour is not over");
}

/// An engine that cannot say at first, and can later.
#[derive(Debug, Clone)]
struct Silent(Arc<dyn Engine>);

struct SilentStream(Box<dyn PageStream>);

impl PageStreamAdapter for SilentStream {
    fn stream(&self) -> &dyn PageStream {
        &*self.0
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.0
    }

    fn several_values(&self) -> Option<BTreeSet<String>> {
        None
    }
}

impl SourceAdapter for Silent {
    fn source(&self) -> &dyn Source {
        &*self.0
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let stream = self.0.scan(job, pattern, request.clone(), stop)?;
        let is_first = request.times.ranges().first().is_some_and(|range| range.start == i64::MIN);
        Ok(if is_first { Box::new(SilentStream(stream)) } else { stream })
    }
}

impl RollupIndexAdapter for Silent {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.0
    }
}

#[test]
fn what_is_not_known_of_some_is_not_known_of_all() {
    let world = World::on(loaded(), |engine| Arc::new(Silent(engine)), |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(known(&world.status("sensor")), None);
    next_hour(&world, reading(now(), &["a"]));
    assert_eq!(known(&world.status("sensor")), None, "of what was rolled up before nobody knows");
}
