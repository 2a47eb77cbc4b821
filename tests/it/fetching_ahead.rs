//! When a stream is told that its next page will be wanted soon, when that the run has to wait, and how many threads
//! it may use.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::engine::{
    Engine, EngineError, JobContext, PageStream, PageStreamAdapter, RollupIndex, RollupIndexAdapter, ScanRequest,
    Source, SourceAdapter, StopSignal,
};
use rollup_jobs::rollup::Page;
use rollup_jobs::store::{MemoryStore, StoreError};
use rollup_jobs::testing::GatedEngine;
use rollup_jobs::{IndexPattern, RollupJobManager, RollupJobManagerBuilder};

use crate::support::{World, config, loaded};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    NextPage,
    FetchAhead,
    Park,
}
use Told::{FetchAhead, NextPage, Park};

/// Writes down what the streams of the job `sensor` are told.
#[derive(Debug, Clone)]
struct Listening {
    engine: Arc<dyn Engine>,
    told: Arc<Mutex<Vec<Told>>>,
    lent: Arc<Mutex<Vec<usize>>>,
}

impl Listening {
    fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, told: Arc::default(), lent: Arc::default() }
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }
}

impl SourceAdapter for Listening {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let stream = self.engine.scan(job, pattern, request, stop)?;
        if job.id() != "sensor" {
            return Ok(stream);
        }
        Ok(Box::new(Stream { stream, listening: self.clone() }))
    }
}

impl RollupIndexAdapter for Listening {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }
}

struct Stream {
    stream: Box<dyn PageStream>,
    listening: Listening,
}

impl PageStreamAdapter for Stream {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        self.listening.told.lock().unwrap().push(NextPage);
        self.stream.next_page(stop)
    }

    fn lend_threads(&mut self, threads: usize) {
        self.listening.lent.lock().unwrap().push(threads);
        self.stream.lend_threads(threads);
    }

    fn fetch_ahead(&mut self) {
        self.listening.told.lock().unwrap().push(FetchAhead);
        self.stream.fetch_ahead();
    }

    fn park(&mut self) {
        self.listening.told.lock().unwrap().push(Park);
        self.stream.park();
    }
}

/// Eight pages, each a turn of its own, on one thread.
fn world() -> (World, Listening) {
    World::wrapped(loaded(), Listening::new, |builder| builder.indexer_threads(1))
}

#[test]
fn a_run_that_nobody_waits_behind_has_its_next_page_fetched_ahead() {
    let (world, listening) = world();
    world.put_started("sensor");
    world.run("sensor");
    // After the last page an empty one says that there is no more.
    assert_eq!(listening.told(), [[NextPage, FetchAhead].repeat(8), vec![NextPage]].concat());
}

#[test]
fn within_a_turn_pages_are_fetched_ahead_whoever_waits() {
    let options = |builder: RollupJobManagerBuilder| builder.indexer_threads(1).turn_time(Duration::MAX);
    let (world, listening) = World::wrapped(loaded(), Listening::new, options);
    world.put_indexing("sensor");
    world.put_started("other");
    world.manager.trigger("other").unwrap();
    world.gates.search().open();
    world.wait_for_end_of_run("sensor", 1);
    assert_eq!(listening.told(), [[NextPage, FetchAhead].repeat(8), vec![NextPage, Park]].concat());
}

#[test]
fn a_run_that_makes_way_for_another_one_fetches_nothing_ahead() {
    let (world, listening) = world();
    world.put_indexing("sensor");
    world.put_started("other");
    world.manager.trigger("other").unwrap();
    world.gates.search().open();
    world.wait_for_end_of_run("sensor", 1);
    world.wait_for_end_of_run("other", 1);
    assert_eq!(listening.told(), [[NextPage, Park].repeat(8), vec![NextPage, Park]].concat());
}

#[test]
fn a_run_that_pauses_holds_no_page() {
    let (world, listening) = world();
    world.put_started("sensor");
    world.store.refuse_once(StoreError::unavailable("planned refusal"));
    let run = world.manager.trigger("sensor").unwrap().run();
    world.let_pauses_pass_until_end_of_run(run);
    assert_eq!(listening.told()[..5], [NextPage, FetchAhead, Park, NextPage, FetchAhead]);
}

#[test]
fn a_run_may_use_the_threads_that_nobody_else_does() {
    let gates = GatedEngine::new(Arc::new(loaded()));
    gates.commit().close();
    let listening = Listening::new(Arc::new(gates.clone()));
    let builder = RollupJobManager::builder(Arc::new(listening.clone()), Arc::new(MemoryStore::new()));
    let manager = builder.indexer_threads(5).open().unwrap();
    for (n, id) in ["other", "another", "sensor"].iter().enumerate() {
        manager.put(config(id).build().unwrap()).unwrap();
        manager.start(id).unwrap();
        manager.trigger(id).unwrap();
        gates.commit().wait_for_waiting(n + 1);
    }
    let lent = listening.lent.lock().unwrap()[0];
    gates.commit().open();
    assert_eq!(lent, 3, "its own, and two of five");
}
