//! What another system has rolled up: nobody knows whether its raw documents are still whole.

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{
    CommittedProgress, EngineError, JobContext, MemoryEngine, RolledUpSnapshot, RollupIndex, RollupIndexAdapter,
    SourceDocument, StopSignal,
};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{Bucket, PartReason, SearchRequest};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{
    DateHistogram, ForeignJob, HealthColor, JobState, JobUpdate, LateData, Metric, RefreshError, RepairWhen,
    RollupJobConfig, RollupJobManager, TimeValue, VerifyOptions,
};
use serde_json::json;

use crate::noticing::run;
use crate::support::{HOUR, NOW, PATIENCE, Watcher, instants, loaded, readings, waiting};

/// A job of another system that has rolled up ten hours; here there are the raw documents of some of them.
struct World {
    source: MemoryEngine,
    rollups: MemoryEngine,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    manager: RollupJobManager,
    watcher: Arc<Watcher>,
}

impl World {
    fn new(raw_hours: std::ops::Range<usize>) -> Self {
        let rollups = loaded();
        let clock = Arc::new(ManualClock::at(NOW.parse().unwrap()));
        let there = {
            let (there, watcher) = open(&rollups, &rollups, &Arc::default(), &clock);
            there.put(job()).unwrap();
            there.start("sensor").unwrap();
            run(&there, &watcher);
            assert!(there.stop("sensor", waiting()).unwrap().is_at_rest());
            ForeignJob::from(&there.get("sensor").unwrap())
        };
        let source = MemoryEngine::new();
        source.extend("sensor-1", readings().skip(raw_hours.start * 6).take(raw_hours.len() * 6));
        let store = Arc::new(MemoryStore::new());
        let (manager, watcher) = open(&source, &rollups, &store, &clock);
        manager.adopt(&there).unwrap();
        manager.start("sensor").unwrap();
        run(&manager, &watcher);
        Self { source, rollups, store, clock, manager, watcher }
    }

    fn run(&self) {
        run(&self.manager, &self.watcher);
    }

    /// A document comes in this hour, and its host says so.
    fn late(&self, hour: i64) {
        self.source.add("sensor-1", late(hour));
        self.manager.note_change("sensor-1", instants(hour..hour + 1)).unwrap();
    }

    fn total(&self) -> u64 {
        // Whether a document had several dates is not known: what is counted by the hour is known all the same.
        let found = self.manager.search(&hourly()).unwrap();
        found.buckets("hours").unwrap().iter().map(Bucket::doc_count).sum()
    }

    /// The hours that are read rolled up, or raw, for a reason; the first one begins with the first document.
    fn hours(&self, reason: PartReason) -> Vec<(i64, i64)> {
        let plan = self.manager.plan(&hourly()).unwrap();
        let hour = |at: Option<i64>, other: i64| at.map_or(other, |at| at.div_euclid(HOUR));
        let parts = plan.parts.iter().filter(|part| part.reason == reason);
        parts.map(|part| (hour(part.from, 0).max(0), hour(part.until, i64::MAX).min(10))).collect()
    }

    fn changed(&self) -> Vec<std::ops::Range<Timestamp>> {
        self.manager.late_data("sensor").unwrap().changed
    }

    /// Another manager on the same store.
    fn reopen(&mut self) {
        assert!(self.manager.stop("sensor", waiting()).unwrap().is_at_rest());
        self.manager.shutdown(PATIENCE).unwrap();
        (self.manager, self.watcher) = open(&self.source, &self.rollups, &self.store, &self.clock);
        self.manager.start("sensor").unwrap();
    }
}

/// As a cluster does, it keeps documents and not how far a job has come.
#[derive(Debug)]
struct Documents(MemoryEngine);

impl RollupIndexAdapter for Documents {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.0
    }

    fn committed_progress(&self, _: &JobContext) -> Result<CommittedProgress, EngineError> {
        Ok(CommittedProgress::NotKept)
    }

    fn snapshot_rolled_up(&self, _: &JobContext, _: &StopSignal) -> Result<Option<RolledUpSnapshot>, EngineError> {
        Ok(None)
    }
}

fn open(
    source: &MemoryEngine,
    rollups: &MemoryEngine,
    store: &Arc<MemoryStore>,
    clock: &Arc<ManualClock>,
) -> (RollupJobManager, Arc<Watcher>) {
    let watcher: Arc<Watcher> = Arc::default();
    let store = Arc::clone(store) as Arc<dyn JobStore>;
    let builder = RollupJobManager::builder_of(Arc::new(source.clone()), Arc::new(Documents(rollups.clone())), store);
    (builder.clock(Arc::clone(clock) as _).observer(Arc::clone(&watcher) as _).open().unwrap(), watcher)
}

/// Without terms.
fn job() -> RollupJobConfig {
    let job = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    let job = job.cron("0 0 0 1 1 ? 2090").page_size(4);
    let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    job.metric("temperature", Metric::ALL.iter().copied()).build().unwrap()
}

/// How many documents there are in each hour.
fn hourly() -> SearchRequest {
    let hours = json!({ "field": "timestamp", "fixed_interval": "1h", "min_doc_count": 1 });
    SearchRequest::from_json("sensor-*", &json!({ "aggs": { "hours": { "date_histogram": hours } } })).unwrap()
}

fn late(hour: i64) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR + 1).keyword("node", "b").double("temperature", 7.5)
}

/// Whose raw documents were deleted years ago is served from what is rolled up, whatever comes there.
#[test]
fn an_adopted_job_whose_raw_data_was_deleted_before() {
    let warn_after = TimeValue::parse("1h", "warn_after").unwrap();
    let mut world = World::new(7..10);
    let late_data = LateData::new().repair(RepairWhen::AfterRun).warn_after(warn_after);
    world.manager.update("sensor", JobUpdate::new().late_data(late_data)).unwrap();
    assert_eq!(world.total(), 60);
    assert_eq!(world.hours(PartReason::Inherited), [(0, 10)]);
    world.late(3);
    world.late(8);
    // What is noted may be a part of what there was: it is not read raw.
    assert_eq!((world.total(), world.hours(PartReason::Changed)), (60, vec![]));
    assert_eq!(world.changed(), [instants(3..4), instants(8..9)]);
    world.run();
    let notice = world.manager.get("sensor").unwrap().notice().unwrap().text().to_owned();
    assert!(notice.contains("another system has rolled up more than there are"), "{notice}");
    // One was whole, and is the job's own now.
    assert_eq!(world.total(), 61);
    assert_eq!((world.changed(), world.hours(PartReason::Inherited)), (vec![instants(3..4)], vec![(0, 8), (9, 10)]));

    // It is told of for as long as it is so, and nothing may go without a word.
    world.run();
    world.clock.advance(Duration::from_hours(1));
    let status = world.manager.get("sensor").unwrap();
    assert_eq!(status.health().color(), HealthColor::Yellow, "{:?}", status.health());
    let safe = world.manager.safe_to_drop_before("sensor-1").unwrap();
    assert_eq!(safe.before, Some(instants(3..4).start), "{safe:?}");
    world.reopen();
    world.run();
    assert_eq!((world.total(), world.hours(PartReason::Inherited)), (61, vec![(0, 8), (9, 10)]));
    let refused = world.manager.refresh("sensor", instants(2..4)).unwrap().wait(PATIENCE).unwrap_err();
    assert!(matches!(refused, RefreshError::NotDone { .. }), "{refused}");
    assert_eq!(world.total(), 61);
}

#[test]
fn what_is_verified_is_inherited_no_more() {
    let mut world = World::new(2..10);
    let inherited = |world: &World| world.manager.late_data("sensor").unwrap().inherited;
    assert_eq!(inherited(&world)[0].end, instants(9..10).end);
    let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
    assert_eq!((found.right, found.too_many), (8, 2));
    world.watcher.wait_for(&world.manager, "a run that saves it", || {
        (inherited(&world).iter().all(|range| range.end <= instants(2..3).start)).then_some(())
    });
    assert_eq!(world.hours(PartReason::Inherited), [(0, 2)]);
    world.watcher.wait_for(&world.manager, "the end of the run", || {
        (world.manager.get("sensor").unwrap().state() == JobState::Started).then_some(())
    });
    world.reopen();
    assert_eq!(world.hours(PartReason::Inherited), [(0, 2)]);
    // From now on it is read raw where it changes.
    world.late(5);
    assert_eq!(world.total(), 61);
}

/// What is inherited and whole is mended by a verification as anything else; what is not stays.
#[test]
fn a_verification_mends_what_has_as_many_documents() {
    let world = World::new(2..10);
    world.source.add("sensor-1", late(4));
    world.source.add("sensor-1", late(1));
    let found = world.manager.verify("sensor", &VerifyOptions::new().repair(true)).unwrap();
    assert_eq!((found.different, found.too_many), (2, 1));
    world.watcher.wait_for(&world.manager, "a repair", || (world.total() == 61).then_some(()));
    world.watcher.wait_for(&world.manager, "the end of the run", || {
        (world.manager.get("sensor").unwrap().state() == JobState::Started).then_some(())
    });
    world.run();
    assert_eq!(world.total(), 61, "the one that came where others are gone is in no answer");
}
