//! Searches while documents are added, runs go on, and jobs are stopped, deleted and put anew: each answer is that of
//! the raw documents of one moment.
#![expect(clippy::cast_possible_wrap, clippy::cast_precision_loss, reason = "numbers are small here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rollup_jobs::engine::{FieldType, SourceDocument};
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{
    DateHistogramAggregation, MetricAggregation, SearchError, SearchRequest, SearchResponse, TermsAggregation, Tier,
};
use rollup_jobs::store::{MemoryStore, change_ledger};
use rollup_jobs::testing::{EngineHarness, ManualClock};
use rollup_jobs::{DateHistogram, DeleteOptions, Metric, RollupJobConfig, RollupJobManager, StopOptions};
use serde_json::Value;

use super::oracle;

const HOUR: i64 = 3_600_000;

/// How many documents there are in the end, some hundred hours of them.
const DOCUMENTS: usize = 2_000;
const MINUTES: i64 = 7;
/// Searches in each of the threads that search, before all begins anew.
const SEARCHES: usize = 400;
const SEARCHERS: u64 = 3;

/// Document after document is later, or of the same minute.
fn document(number: usize) -> SourceDocument {
    let at = number as i64 / 3 * MINUTES * 60_000 * 3;
    let document = SourceDocument::new().date("timestamp", at).double("temperature", (number % 97) as f64);
    document.keyword("node", ["a", "b", "c", "d"][number * number % 4])
}

fn date(number: usize) -> Timestamp {
    let documents = document(number);
    let (_, values) = documents.fields().find(|(name, _)| *name == "timestamp").unwrap();
    match values[0] {
        rollup_jobs::engine::SourceValue::Date(at) => Timestamp::from_millisecond(at).unwrap(),
        ref other => panic!("{other:?}"),
    }
}

fn config(page_size: u32) -> RollupJobConfig {
    let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
    let config = config.cron("0 0 0 1 1 ? 2099").page_size(page_size).terms(["node"]);
    let config = config.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    config.metric("temperature", Metric::ALL.iter().copied()).build().unwrap()
}

/// Numbers that are the same each time.
struct Random(TestRng);

impl Random {
    fn of(seed: u64) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat()))
    }

    fn below(&mut self, most: u64) -> i64 {
        i64::try_from(self.0.next_u64() % most).unwrap()
    }
}

/// One of some requests.
fn request(random: &mut Random) -> SearchRequest {
    let stats = || MetricAggregation::stats("temperature");
    let by_node = || TermsAggregation::new("node").aggregation("stats", stats());
    let by_day = || DateHistogramAggregation::calendar("timestamp", "1d").time_zone("Europe/Berlin");
    let request = SearchRequest::new("sensor-*");
    let request = match random.below(4) {
        0 => request,
        1 => request.filter(Filter::term("node", "a")),
        2 => request.filter(Filter::range("timestamp", FilterRange::new().at_least(random.below(50) * HOUR))),
        _ => {
            let from = random.below(90_000) * 1_000;
            request.filter(Filter::range("timestamp", FilterRange::new().at_least(from).below(from + 40 * HOUR)))
        }
    };
    match random.below(4) {
        0 => request.aggregation("stats", stats()),
        1 => request.aggregation("nodes", by_node()),
        2 => request.aggregation("days", by_day().aggregation("nodes", by_node())),
        _ => request.aggregation("nodes", by_node().aggregation("days", by_day())).aggregation("days", by_day()),
    }
}

struct World {
    manager: RollupJobManager,
    store: Arc<MemoryStore>,
    data: Data,
    clock: Arc<ManualClock>,
    documents: Vec<SourceDocument>,
    /// How many of them have begun to come, and how many are there for certain.
    coming: AtomicUsize,
    there: AtomicUsize,
    answered: AtomicUsize,
    dropped: AtomicUsize,
    is_over: AtomicBool,
}

/// Where the documents are.
pub struct Data {
    pub harness: Box<dyn EngineHarness + Send + Sync>,
    /// Takes an index away.
    pub drop: Box<dyn Fn(&str) + Send + Sync>,
    /// How many documents come at a time.
    pub batch: usize,
    /// How many there are in an index, if indices come and go.
    pub in_an_index: Option<usize>,
    /// How many groups a job rolls up at a time.
    pub page_size: u32,
    /// How many answers there are at least between two stops: where runs are slow, none would come to its end.
    pub answers_between: usize,
    /// Whether there is no answer at times: the shards of an index that has just come are not there at once.
    pub may_be_unavailable: bool,
}

impl World {
    fn new(data: Data) -> Arc<Self> {
        let (clock, store) = (Arc::new(ManualClock::at(date(0))), Arc::new(MemoryStore::new()));
        data.harness.create_index("sensor-0", &FIELDS);
        let builder = RollupJobManager::builder(data.harness.engine(), Arc::clone(&store) as _);
        let manager = builder.indexer_threads(2).turn_time(Duration::ZERO).clock(clock.clone()).open().unwrap();
        manager.put(config(data.page_size)).unwrap();
        manager.start("sensor").unwrap();
        let documents = (0..DOCUMENTS).map(document).collect();
        let [coming, there, answered, dropped] = [0; 4].map(AtomicUsize::new);
        Arc::new(Self {
            manager,
            store,
            data,
            clock,
            documents,
            coming,
            there,
            answered,
            dropped,
            is_over: AtomicBool::new(false),
        })
    }

    /// Documents come one after the other, each when its time has come, as long as somebody searches.
    fn add(&self) {
        let Data { harness, batch, in_an_index, .. } = &self.data;
        let index_of = |number: usize| in_an_index.map_or(0, |documents| number / documents);
        let mut newest = 0;
        for from in (0..DOCUMENTS).step_by(*batch) {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let until = (from + batch).min(DOCUMENTS);
            if index_of(from) > newest {
                newest = index_of(from);
                // The one before is still written to, as it were.
                if newest > 1 && !self.drop_sealed(newest - 2, from) {
                    return;
                }
                harness.create_index(&format!("sensor-{newest}"), &FIELDS);
            }
            self.coming.store(until, Ordering::SeqCst);
            harness.add(&format!("sensor-{newest}"), &self.documents[from..until]);
            self.there.store(until, Ordering::SeqCst);
            self.clock.set_wall_clock(date(until - 1));
        }
    }

    /// Takes an index away whose documents, all before this one, are rolled up by then, and says so before. `false` if
    /// nobody searches any more.
    fn drop_sealed(&self, index: usize, before: usize) -> bool {
        let name = format!("sensor-{index}");
        let documents = self.data.in_an_index.unwrap_or_default();
        let end = (date(before - documents).as_millisecond() / HOUR + 1) * HOUR;
        let rolled_up = || self.manager.get("sensor").unwrap().rolled_up_until();
        while rolled_up().is_none_or(|until| until.as_millisecond() < end) {
            if self.is_over.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::yield_now();
        }
        change_ledger(&*self.store, &name, |ledger| ledger.seals.push(0..end)).unwrap();
        (self.data.drop)(&name);
        self.dropped.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Runs, stops and begins anew, all the time.
    fn meddle(&self) {
        let mut random = Random::of(7);
        let waiting = || StopOptions::new().wait_for_completion(true).timeout(Duration::from_mins(1));
        let mut next = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            if self.answered.load(Ordering::SeqCst) < next {
                std::thread::yield_now();
                continue;
            }
            next = self.answered.load(Ordering::SeqCst) + self.data.answers_between;
            match random.below(40) {
                // What was dropped could not be rolled up anew.
                0 if self.data.in_an_index.is_none() => {
                    let _ = self.manager.stop("sensor", waiting()).unwrap();
                    self.manager.delete_with("sensor", DeleteOptions::new().delete_data(true)).unwrap();
                    self.manager.put(config(self.data.page_size)).unwrap();
                }
                1..5 => drop(self.manager.stop("sensor", waiting()).unwrap()),
                5..8 => drop(self.manager.stop("sensor", StopOptions::new()).unwrap()),
                _ => {}
            }
            // One that is stopping is not started, and is not triggered.
            let _ = self.manager.start("sensor");
            let _ = self.manager.trigger("sensor");
            std::thread::yield_now();
        }
    }

    /// Says how many answers had something rolled up in them.
    fn search(&self, seed: u64, searches: usize) -> usize {
        let mut random = Random::of(seed);
        let mut served = 0;
        let mut done = 0;
        // Some of them after an index has gone, if any goes.
        while done < searches || self.data.in_an_index.is_some() && self.dropped.load(Ordering::SeqCst) == 0 {
            done += 1;
            let request = request(&mut random);
            let least = self.there.load(Ordering::SeqCst);
            let answer = self.manager.search(&request);
            let most = self.coming.load(Ordering::SeqCst);
            self.answered.fetch_add(1, Ordering::SeqCst);
            match answer {
                Ok(response) => {
                    self.check(&request, &response, least..=most);
                    served += usize::from(response.plan().parts.iter().any(|part| part.tier == Tier::RolledUp));
                }
                // There is no job for a moment.
                Err(SearchError::NoJob { .. }) => {}
                Err(SearchError::Engine { source, .. }) if source.is_transient() && self.data.may_be_unavailable => {}
                // A bound in the middle of what was dropped.
                Err(SearchError::NotServed { raw, .. }) if self.data.in_an_index.is_some() => {
                    let reasons = ["sealed are gone", "were dropped", "not there any more"];
                    assert!(reasons.iter().any(|reason| raw.contains(reason)), "{raw}");
                }
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
            }
        }
        served
    }

    /// The answer is that of so many documents as were there at some moment between the two.
    fn check(&self, request: &SearchRequest, response: &SearchResponse, between: std::ops::RangeInclusive<usize>) {
        let found = oracle::without_texts(response.to_json()["aggregations"].clone());
        let mut last = Value::Null;
        for count in between.clone().rev() {
            let (total, expected) = oracle::answer(&self.documents[..count], request);
            if expected == found && response.total().is_none_or(|known| known == total) {
                return;
            }
            last = expected;
        }
        panic!("{request:#?}\n{:#?}\n{found}\nof {between:?} documents, and not\n{last}", response.plan());
    }
}

pub const FIELDS: [(&str, FieldType); 3] =
    [("timestamp", FieldType::Date), ("node", FieldType::Keyword), ("temperature", FieldType::Double)];

fn in_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name("test".to_owned()).spawn(body).unwrap()
}

/// So many searches in each of three threads.
pub fn each_answer_is_that_of_one_moment(searches: usize, make: impl Fn() -> Data) {
    let (mut asked, mut served, mut dropped, mut comes_and_goes) = (0, 0, 0, false);
    while asked < searches {
        let some = SEARCHES.min(searches - asked);
        let world = World::new(make());
        let begin = |work: fn(&World)| {
            let world = Arc::clone(&world);
            in_thread(move || work(&world))
        };
        let (adding, meddling) = (begin(World::add), begin(World::meddle));
        let searching: Vec<_> = (0..SEARCHERS)
            .map(|seed| {
                let world = Arc::clone(&world);
                in_thread(move || world.search(seed + asked as u64, some))
            })
            .collect();
        served += searching.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>();
        world.is_over.store(true, Ordering::SeqCst);
        adding.join().unwrap();
        meddling.join().unwrap();
        dropped += world.dropped.load(Ordering::SeqCst);
        comes_and_goes = world.data.in_an_index.is_some();
        asked += some;
    }
    assert_eq!(dropped > 0, comes_and_goes, "{dropped} indices were dropped");
    assert!(served * 10 > asked, "{served} answers of {asked} in each thread have something rolled up");
}
