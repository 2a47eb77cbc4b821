//! What is read rolled up is replaced or removed between two scans of a search, and the engine holds no moment of it.

use std::sync::{Arc, Mutex};

use rollup_jobs::engine::{
    Engine, EngineError, JobContext, MemoryEngine, PageStream, RolledUpSnapshot, RollupIndex, RollupIndexAdapter,
    ScanRequest, Source, SourceAdapter, SourceDocument, StopSignal,
};
use rollup_jobs::search::{Bucket, MetricAggregation, SearchRequest, SearchResponse, TermsAggregation, Tier};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{DeleteOptions, RollupJobManager, RollupReader};

use crate::support::{HOUR, PATIENCE, config, instants, readings, waiting};

type Act = Box<dyn FnOnce() + Send>;

/// Each of its scans sees what is rolled up when it begins.
#[derive(Clone)]
struct Momentless {
    engine: MemoryEngine,
    /// What happens just before a scan of what is rolled up, of the last of them first.
    before_scans: Arc<Mutex<Vec<Option<Act>>>>,
}

impl std::fmt::Debug for Momentless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Momentless").finish_non_exhaustive()
    }
}

impl SourceAdapter for Momentless {
    fn source(&self) -> &dyn Source {
        &self.engine
    }
}

impl RollupIndexAdapter for Momentless {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.engine
    }

    fn snapshot_rolled_up(&self, _: &JobContext, _: &StopSignal) -> Result<Option<RolledUpSnapshot>, EngineError> {
        Ok(None)
    }

    fn scan_rolled_up(
        &self,
        job: &JobContext,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let act = self.before_scans.lock().unwrap().pop().flatten();
        if let Some(act) = act {
            act();
        }
        self.engine.scan_rolled_up(job, request, stop)
    }
}

struct World {
    engine: Momentless,
    manager: Arc<RollupJobManager>,
    reader: RollupReader,
}

impl World {
    /// Ten hours are rolled up.
    fn new() -> Self {
        let engine = Momentless { engine: MemoryEngine::without_progress(), before_scans: Arc::default() };
        engine.engine.extend("sensor-1", readings());
        let (shared, store): (Arc<dyn Engine>, _) = (Arc::new(engine.clone()), Arc::new(MemoryStore::new()));
        let open = || RollupJobManager::builder(Arc::clone(&shared), Arc::clone(&store) as _);
        let world = Self { manager: Arc::new(open().open().unwrap()), reader: open().open_reader(), engine };
        world.manager.put(config("sensor").build().unwrap()).unwrap();
        world.manager.start("sensor").unwrap();
        world.manager.trigger("sensor").unwrap();
        let reached = || world.manager.get("sensor").unwrap().rolled_up_until();
        while reached().is_none_or(|until| until < instants(0..10).end) {
            std::thread::yield_now();
        }
        world
    }

    /// The answers of the manager and of a reader, whose second scan sees what was done before it.
    fn answers(act: fn(&RollupJobManager, &MemoryEngine)) -> [SearchResponse; 2] {
        [true, false].map(|asks_manager| {
            let world = Self::new();
            let request =
                SearchRequest::new("sensor-*").aggregation("count", MetricAggregation::value_count("temperature"));
            let request = request.aggregation("nodes", TermsAggregation::new("node"));
            let (manager, engine) = (Arc::clone(&world.manager), world.engine.engine.clone());
            let acts: Vec<Option<Act>> = vec![Some(Box::new(move || act(&manager, &engine))), None];
            *world.engine.before_scans.lock().unwrap() = acts;
            let answer = if asks_manager { world.manager.search(&request) } else { world.reader.search(&request) };
            assert_eq!(world.engine.before_scans.lock().unwrap().len(), 0, "both scans were made");
            answer.unwrap()
        })
    }
}

/// Once as one aggregation says it and once as the other does.
fn totals(answer: &SearchResponse) -> (f64, u64) {
    let nodes = answer.buckets("nodes").unwrap();
    (answer.value("count").unwrap().unwrap(), nodes.iter().map(Bucket::doc_count).sum())
}

#[test]
fn what_a_deleted_job_leaves_for_a_moment_is_no_answer() {
    let answers = World::answers(|manager, _| {
        let options = DeleteOptions::new().stop(waiting()).delete_data(true);
        manager.delete_with("sensor", options).unwrap();
        manager.put(config("sensor").build().unwrap()).unwrap();
    });
    for answer in answers {
        assert_eq!(totals(&answer), (60.0, 60));
        assert_eq!(answer.plan().parts.iter().map(|part| part.tier).collect::<Vec<_>>(), [Tier::Raw]);
    }
}

#[test]
fn what_is_replaced_meanwhile_is_read_anew() {
    let answers = World::answers(|manager, engine| {
        let late =
            SourceDocument::new().date("timestamp", 7 * HOUR / 2).keyword("node", "b").double("temperature", 1.0);
        engine.add("sensor-1", late);
        manager.refresh("sensor", instants(3..4)).unwrap().wait(PATIENCE).unwrap();
    });
    for answer in answers {
        assert_eq!(totals(&answer), (61.0, 61));
    }
}
