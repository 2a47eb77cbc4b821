//! Random sequences of all that can happen to documents, and of all that can be done about it, on three engines: after
//! each step a search says what the raw documents come to, and at the end what is rolled up is the same.
//!
//! `ROLLUP_LATE_CASES` multiplies the number of sequences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::{Engine, FieldType, MemoryEngine, SourceDocument, SourceValue};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, PartReason, SearchRequest};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{
    Change, ChangeError, DateHistogram, JobState, LateData, Metric, RepairWhen, RollupJobConfig, RollupJobManager,
    StopOptions, VerifyOptions,
};

use crate::support::{HOUR, PATIENCE, Watcher, instants};
use crate::tantivy_harness::Written;

const FIELDS: [(&str, FieldType); 3] =
    [("timestamp", FieldType::Date), ("node", FieldType::Keyword), ("value", FieldType::Double)];
/// The hour in which a sequence begins.
const FIRST: i64 = 500_000;
const INDICES: [&str; 2] = ["sensor-1", "sensor-2"];

#[derive(Debug, Clone)]
enum Step {
    /// So many documents, so many hours before now, or after.
    Insert {
        index: usize,
        hours_ago: i64,
        count: usize,
        is_open: bool,
    },
    /// The document of this number, of those that there are. Its host may forget to say so.
    Delete {
        number: usize,
        is_noted: bool,
    },
    /// Another value, in the same minute.
    Update {
        number: usize,
    },
    Merge,
    Note {
        index: usize,
        hours_ago: i64,
        hours: i64,
    },
    Refresh {
        hours_ago: i64,
        hours: i64,
    },
    /// A change is begun that is under way for a while.
    Begin {
        index: usize,
        hours_ago: i64,
    },
    /// All that are under way are done.
    Done,
    Run,
    Stop,
    Start,
    HoursPass(u64),
    /// What is older is sealed, if it can be, and dropped.
    Seal {
        index: usize,
        hours_ago: i64,
    },
    Reopen,
    Verify,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = 0..INDICES.len();
    let step = prop_oneof![
        8 => (index.clone(), -1_i64..40, 1_usize..4, any::<bool>())
            .prop_map(|(index, hours_ago, count, is_open)| Step::Insert { index, hours_ago, count, is_open }),
        2 => (0_usize..1_000, any::<bool>()).prop_map(|(number, is_noted)| Step::Delete { number, is_noted }),
        2 => (0_usize..1_000).prop_map(|number| Step::Update { number }),
        2 => Just(Step::Merge),
        1 => (index.clone(), 0_i64..40, 1_i64..5)
            .prop_map(|(index, hours_ago, hours)| Step::Note { index, hours_ago, hours }),
        1 => (0_i64..40, 1_i64..5).prop_map(|(hours_ago, hours)| Step::Refresh { hours_ago, hours }),
        1 => (index.clone(), 0_i64..40).prop_map(|(index, hours_ago)| Step::Begin { index, hours_ago }),
        1 => Just(Step::Done),
        4 => Just(Step::Run),
        1 => Just(Step::Stop),
        2 => Just(Step::Start),
        2 => (1_u64..5).prop_map(Step::HoursPass),
        1 => (index, 5_i64..40).prop_map(|(index, hours_ago)| Step::Seal { index, hours_ago }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Verify),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Debug, Clone)]
struct Raw {
    id: u64,
    index: usize,
    at: i64,
    node: &'static str,
    value: f64,
    /// Those of one commit are one segment at first.
    commit: u64,
}

impl Raw {
    fn document(&self) -> SourceDocument {
        let document = SourceDocument::new().date("timestamp", self.at).keyword("node", self.node);
        document.double("value", self.value).keyword("id", &self.id.to_string())
    }
}

/// Where the raw documents are.
enum Host {
    Memory(MemoryEngine),
    Tantivy(TantivyEngine, Vec<Written>),
}

impl Host {
    fn tantivy() -> Self {
        Self::Tantivy(TantivyEngine::in_ram(), INDICES.map(|_| Written::new(&FIELDS)).into())
    }

    fn engine(&self) -> Arc<dyn Engine> {
        match self {
            Self::Memory(engine) => Arc::new(engine.clone()),
            Self::Tantivy(engine, _) => Arc::new(engine.clone()),
        }
    }

    /// Whether what is not noted is noticed all the same.
    fn notices(&self) -> bool {
        matches!(self, Self::Tantivy(..))
    }

    fn apply(&mut self, gone: &[Raw], new: &[Raw]) {
        match self {
            Self::Memory(engine) => {
                for raw in gone {
                    let id = SourceValue::Keyword(raw.id.to_string().into());
                    engine.retain(INDICES[raw.index], |document| {
                        !document.fields().any(|(field, values)| field == "id" && *values == [id.clone()])
                    });
                }
                for raw in new {
                    engine.add(INDICES[raw.index], raw.document());
                }
            }
            Self::Tantivy(engine, written) => {
                for (at, written) in written.iter_mut().enumerate() {
                    let of_index =
                        |raws: &[Raw]| raws.iter().filter(|raw| raw.index == at).cloned().collect::<Vec<_>>();
                    let (gone, new) = (of_index(gone), of_index(new));
                    if gone.is_empty() && new.is_empty() {
                        continue;
                    }
                    for raw in gone {
                        written.delete(&raw.id.to_string());
                    }
                    written.commit(new.iter().map(Raw::document));
                    // A new index is there when it has documents.
                    let _is_there = engine.register(INDICES[at], &written.index);
                }
            }
        }
    }

    fn merge(&mut self) {
        if let Self::Tantivy(_, written) = self {
            written.iter_mut().for_each(Written::merge);
        }
    }
}

struct World {
    host: Host,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    watcher: Arc<Watcher>,
    manager: Option<RollupJobManager>,
    raw: Vec<Raw>,
    next_id: u64,
    open: Vec<Change>,
    /// What the hours came to that are sealed.
    sealed: BTreeMap<i64, (u64, f64)>,
    sealed_until: i64,
    /// Sealed while documents of them were missing.
    unknown: BTreeSet<i64>,
}

impl World {
    fn new(host: Host) -> Self {
        let start = Timestamp::from_millisecond(FIRST * HOUR).unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let mut world = Self {
            host,
            store: Arc::default(),
            clock,
            watcher: Arc::default(),
            manager: None,
            raw: Vec::new(),
            next_id: 0,
            open: Vec::new(),
            sealed: BTreeMap::new(),
            sealed_until: i64::MIN,
            unknown: BTreeSet::new(),
        };
        // Jobs want their fields to be known.
        world.insert(0, FIRST - 40, 1);
        world.reopen();
        for (id, interval, repair) in [("hourly", "1h", RepairWhen::AtOnce), ("daily", "1d", RepairWhen::AfterRun)] {
            let config = RollupJobConfig::builder(id).index_pattern("sensor-*").rollup_index(format!("rolled-{id}"));
            let config = config.cron("0 0 0 1 1 ? 2090").page_size(7).terms(["node"]);
            let config = config.date_histogram(DateHistogram::fixed_interval("timestamp", interval));
            let config = config.metric("value", Metric::ALL.iter().copied());
            world.manager().put(config.late_data(LateData::new().repair(repair)).build().unwrap()).unwrap();
            world.manager().start(id).unwrap();
        }
        world
    }

    fn manager(&self) -> &RollupJobManager {
        self.manager.as_ref().unwrap()
    }

    fn hour_now(&self) -> i64 {
        use rollup_jobs::Clock as _;
        self.clock.now().as_millisecond() / HOUR
    }

    fn reopen(&mut self) {
        self.manager = None;
        self.watcher = Arc::default();
        let builder = RollupJobManager::builder(self.host.engine(), Arc::clone(&self.store) as _);
        let builder = builder.clock(Arc::clone(&self.clock) as _).observer(Arc::clone(&self.watcher) as _);
        self.manager = Some(builder.turn_time(Duration::ZERO).open().unwrap());
    }

    fn made(&mut self, index: usize, hour: i64, count: usize) -> Vec<Raw> {
        let commit = self.next_id + 1;
        let made = (0..count).map(|_| {
            self.next_id += 1;
            let id = self.next_id;
            let at = hour * HOUR + i64::try_from(id * 7_919 % 3_600_000).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            Raw {
                id,
                index,
                at,
                node: ["a", "b", "c"][usize::try_from(id % 3).unwrap()],
                value: (id % 17) as f64,
                commit,
            }
        });
        made.collect()
    }

    fn insert(&mut self, index: usize, hour: i64, count: usize) {
        let new = self.made(index, hour, count);
        self.host.apply(&[], &new);
        self.raw.extend(new);
    }

    /// Changes documents as a host does: by notes where nobody notices it. What is sealed is left alone.
    fn change(&mut self, index: usize, hour: i64, is_open: bool, is_noted: bool, change: impl FnOnce(&mut Self)) {
        if hour < self.sealed_until {
            return;
        }
        let range = instants(hour..hour + 1);
        let is_noted = is_noted || !self.host.notices();
        if is_noted && is_open {
            let begun = self.manager().begin_change(INDICES[index], range);
            change(self);
            begun.unwrap().done().unwrap();
        } else {
            change(self);
            if is_noted {
                self.manager().note_change(INDICES[index], range).unwrap();
            }
        }
    }

    fn run(&self, id: &str) {
        if self.manager().trigger(id).is_ok() {
            self.rest(id);
        }
    }

    fn rest(&self, id: &str) {
        self.watcher.wait_for(self.manager(), "a job at rest", || {
            let state = self.manager().get(id).unwrap().state();
            matches!(state, JobState::Started | JobState::Stopped).then_some(())
        });
    }

    fn apply(&mut self, step: &Step) {
        let now = self.hour_now();
        match *step {
            Step::Insert { index, hours_ago, count, is_open } => {
                let hour = now - hours_ago;
                // What is noticed may be noted as well.
                self.change(index, hour, is_open, is_open, |world| world.insert(index, hour, count));
            }
            Step::Delete { number, is_noted } if self.raw.len() > 1 => {
                let at = number % self.raw.len();
                let Raw { index, at: date, .. } = self.raw[at];
                self.change(index, date / HOUR, false, is_noted, |world| {
                    let gone = world.raw.remove(at);
                    world.host.apply(&[gone], &[]);
                });
            }
            Step::Update { number } if !self.raw.is_empty() => {
                let at = number % self.raw.len();
                let Raw { index, at: date, commit, .. } = self.raw[at];
                // A segment that is left by all of its documents goes, as one that is merged: that is not seen.
                let is_alone = self.raw.iter().filter(|raw| raw.commit == commit).count() == 1;
                self.change(index, date / HOUR, false, is_alone, |world| {
                    let old = world.raw[at].clone();
                    world.next_id += 1;
                    let (id, commit) = (world.next_id, world.next_id);
                    let new = Raw { id, commit, value: old.value + 1.0, ..old.clone() };
                    world.host.apply(&[old], std::slice::from_ref(&new));
                    world.raw[at] = new;
                });
            }
            Step::Delete { .. } | Step::Update { .. } => {}
            Step::Merge => {
                // What a merge would hide has been looked at.
                self.check();
                self.host.merge();
            }
            Step::Note { index, hours_ago, hours } => {
                let noted =
                    self.manager().note_change(INDICES[index], instants(now - hours_ago..now - hours_ago + hours));
                assert!(matches!(noted, Ok(()) | Err(ChangeError::Sealed { .. })), "{noted:?}");
            }
            Step::Refresh { hours_ago, hours } => {
                if let Ok(refresh) =
                    self.manager().refresh("hourly", instants(now - hours_ago..now - hours_ago + hours))
                {
                    // Where something is sealed, or being changed, it does not come to its end.
                    let _ = refresh.wait(PATIENCE);
                }
            }
            Step::Begin { index, hours_ago } => {
                let begun = self.manager().begin_change(INDICES[index], instants(now - hours_ago..now - hours_ago + 1));
                self.open.extend(begun);
            }
            Step::Done => {
                for change in self.open.drain(..) {
                    change.done().unwrap();
                }
            }
            Step::Run => {
                for id in ["hourly", "daily"] {
                    self.run(id);
                }
            }
            Step::Stop => {
                let options = StopOptions::new().wait_for_completion(true).timeout(PATIENCE);
                assert!(self.manager().stop("hourly", options).unwrap().is_at_rest());
            }
            Step::Start => self.manager().start("hourly").unwrap(),
            Step::HoursPass(hours) => self.clock.advance(Duration::from_hours(hours)),
            Step::Seal { index, hours_ago } => self.seal(index, now - hours_ago),
            Step::Reopen => {
                self.rest("hourly");
                self.reopen();
                for id in ["hourly", "daily"] {
                    self.rest(id);
                }
            }
            Step::Verify => self.verify(),
        }
    }

    fn seal(&mut self, index: usize, hour: i64) {
        let shrunk = self.hours(PartReason::Shrunk);
        let before = instants(hour..hour + 1).start;
        if self.manager().seal_before(INDICES[index], before).is_err() {
            return;
        }
        for (hour, expected) in self.expected() {
            if hour >= self.sealed_until {
                self.sealed.entry(hour).or_insert(expected);
            }
        }
        self.unknown.extend(shrunk.into_iter().filter(|shrunk| *shrunk < hour));
        self.sealed_until = self.sealed_until.max(hour);
        self.sealed.retain(|sealed, _| *sealed < hour || *sealed < self.sealed_until);
        let (gone, left) = self.raw.drain(..).partition(|raw| raw.index == index && raw.at < hour * HOUR);
        let gone: Vec<Raw> = gone;
        self.raw = left;
        self.host.apply(&gone, &[]);
    }

    /// What the raw documents come to, by hours: where they are sealed, what they came to before.
    fn expected(&self) -> BTreeMap<i64, (u64, f64)> {
        let mut expected: BTreeMap<i64, (u64, f64)> = BTreeMap::new();
        for raw in self.raw.iter().filter(|raw| raw.at.div_euclid(HOUR) >= self.sealed_until) {
            let hour = expected.entry(raw.at.div_euclid(HOUR)).or_default();
            hour.0 += 1;
            hour.1 += raw.value;
        }
        expected.extend(self.sealed.iter().filter(|(hour, _)| **hour < self.sealed_until));
        expected
    }

    /// The hours that are read for a reason.
    fn hours(&self, reason: PartReason) -> BTreeSet<i64> {
        let plan = self.manager().plan(&Self::request()).unwrap();
        let parts = plan.parts.iter().filter(|part| part.reason == reason);
        parts.flat_map(|part| part.from.unwrap() / HOUR..part.until.unwrap() / HOUR).collect()
    }

    fn request() -> SearchRequest {
        let hours =
            DateHistogramAggregation::fixed("timestamp", "1h").aggregation("sum", MetricAggregation::sum("value"));
        SearchRequest::new("sensor-*").aggregation("hours", hours)
    }

    /// A search says what the raw documents come to, where none is missing without a word.
    fn check(&mut self) {
        let response = self.manager().search(&Self::request()).unwrap();
        let buckets = response.buckets("hours").unwrap();
        let found = buckets.iter().filter(|bucket| bucket.doc_count() > 0).map(|bucket| {
            let sum = bucket.value("sum").unwrap().unwrap_or_default();
            (bucket.date().unwrap() / HOUR, (bucket.doc_count(), sum))
        });
        let mut left_out = self.hours(PartReason::Shrunk);
        left_out.extend(&self.unknown);
        let known = |(hour, _): &(i64, (u64, f64))| !left_out.contains(hour);
        let found: BTreeMap<_, _> = found.filter(known).collect();
        let expected: BTreeMap<_, _> = self.expected().into_iter().filter(known).collect();
        assert_eq!(found, expected, "left out: {left_out:?}, sealed until {}", self.sealed_until);
    }

    fn verify(&self) {
        for id in ["hourly", "daily"] {
            let found = self.manager().verify(id, &VerifyOptions::new()).unwrap();
            assert!(found.is_right(), "{id}: {found}: {found:?}");
        }
    }
}

fn sequences(cases: u32, host: impl Fn() -> Host) {
    let times = std::env::var("ROLLUP_LATE_CASES").map_or(1, |times| times.parse().unwrap());
    let config = Config { cases: cases * times, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let run = |steps: Vec<Step>| {
        let mut world = World::new(host());
        for step in &steps {
            world.apply(step);
            world.check();
        }
        // At rest, with nothing under way.
        world.apply(&Step::Done);
        world.apply(&Step::Start);
        for _ in 0..2 {
            world.apply(&Step::Run);
        }
        world.check();
        world.verify();
        assert_eq!(world.hours(PartReason::Changed), BTreeSet::new(), "everything is repaired");
        Ok(())
    };
    TestRunner::new(config).run(&steps(), run).unwrap();
}

#[test]
fn in_memory() {
    sequences(60, || Host::Memory(MemoryEngine::new()));
}

#[test]
fn in_memory_without_progress() {
    sequences(60, || Host::Memory(MemoryEngine::without_progress()));
}

#[test]
fn on_tantivy() {
    sequences(60, Host::tantivy);
}
