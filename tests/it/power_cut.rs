//! The power goes at every change of the disk, and comes back: what had been answered still holds, and the job goes
//! on to the results of an undisturbed one. On tantivy and redb. The same disk plays full, short and unreadable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::tantivy::{RollupPlace, RollupStorage, TantivyEngine, TantivyOptions};
use rollup_jobs::testing::ManualClock;
use rollup_jobs::{Clock, JobState, Position, RetryOptions, RollupJobManager, StopError, Stopped, SystemClock};
use serde_json::Value;

use crate::disk::{Disk, Left};
use crate::support::{HOUR, Heard, Watcher, config, waiting};
use crate::tantivy_harness::{read_rollup, sensor_index};

/// Two nodes over six hours: twelve buckets, four a page, a page a turn.
fn readings() -> impl Iterator<Item = SourceDocument> {
    (0..24_u32).map(|n| {
        let reading = SourceDocument::new().date("timestamp", i64::from(n) * HOUR / 4);
        reading.keyword("node", ["a", "b"][n as usize % 2]).double("temperature", f64::from(n))
    })
}

fn source() -> Index {
    sensor_index(readings())
}

struct Machine {
    manager: RollupJobManager,
    engine: Arc<TantivyEngine>,
    watcher: Arc<Watcher>,
}

impl Machine {
    /// Everything opened on the disk; an error if the power goes meanwhile.
    fn open(disk: &Disk, source: &Index) -> Result<Self, String> {
        Self::open_at(disk, source, Arc::new(SystemClock::new()))
    }

    fn open_at(disk: &Disk, source: &Index, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let engine = Arc::new(TantivyEngine::on(Arc::new(disk.clone()), TantivyOptions::new()));
        engine.register("sensor-1", source).unwrap();
        let store = disk.store().map_err(|error| error.to_string())?;
        let watcher: Arc<Watcher> = Arc::default();
        let manager = RollupJobManager::builder(engine.clone(), Arc::new(store))
            .indexer_threads(1)
            .turn_time(Duration::ZERO)
            .retry(RetryOptions::new().attempts(1))
            .observer(watcher.clone())
            .clock(clock)
            .open()
            .map_err(|error| error.to_string())?;
        Ok(Self { manager, engine, watcher })
    }

    /// Waits until the job has rolled `pages` up, or its run is over.
    fn pages(&self, pages: u64) {
        self.watcher.wait_for(&self.manager, "pages", || {
            let status = self.manager.get("sensor").unwrap();
            let over = status.state() == JobState::Started && status.phase() == rollup_jobs::Phase::Idle;
            (over || status.stats().pages_processed() >= pages).then_some(())
        });
    }

    fn stop(&self) -> Result<Stopped, StopError> {
        self.manager.stop("sensor", waiting())
    }

    /// A run of the started job to its end, and a stop.
    fn run_and_stop(&self) -> Result<Stopped, String> {
        self.manager.start("sensor").map_err(|error| error.to_string())?;
        if self.manager.trigger("sensor").is_ok() {
            self.watcher.wait_for(&self.manager, "the end of the run", || {
                self.watcher.heard().iter().any(|heard| matches!(heard, Heard::Run(..))).then_some(())
            });
        }
        self.stop().map_err(|error| error.to_string())
    }

    fn position(&self) -> Option<Position> {
        self.manager.get("sensor").unwrap().position().cloned()
    }

    fn documents(&self) -> BTreeMap<String, Value> {
        self.engine.rollup_index("rolled", "sensor").unwrap().map(|index| read_rollup(&index)).unwrap_or_default()
    }
}

/// What had been answered last when the power went.
#[derive(Debug, Clone, Default, PartialEq)]
enum Answered {
    #[default]
    Nothing,
    Put,
    /// A call was under way that changes the state: either is right.
    Either,
    Started,
    Stopped(Option<Position>),
}

/// Put, a run that is stopped in the middle, a run to the end, a stop. Ends at the first failure.
fn script(disk: &Disk, source: &Index, answered: &mut Answered) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let machine = Machine::open(disk, source)?;
    machine.manager.put(config("sensor").build().unwrap()).map_err(|error| text(&error))?;
    *answered = Answered::Put;
    for pages in [2, u64::MAX] {
        *answered = Answered::Either;
        machine.manager.start("sensor").map_err(|error| text(&error))?;
        *answered = Answered::Started;
        let _ = machine.manager.trigger("sensor");
        machine.pages(pages);
        *answered = Answered::Either;
        assert!(machine.stop().map_err(|error| text(&error))?.is_at_rest());
        *answered = Answered::Stopped(machine.position());
    }
    Ok(())
}

fn check(disk: &Disk, source: &Index, answered: &Answered, expected: &BTreeMap<String, Value>, what: &str) {
    let machine = Machine::open(disk, source).unwrap_or_else(|error| panic!("{what}: {error}"));
    let status = machine.manager.get("sensor");
    match answered {
        Answered::Nothing => {}
        Answered::Put => assert_eq!(status.as_ref().unwrap().state(), JobState::Stopped, "{what}"),
        Answered::Either => assert!(status.is_some(), "{what}"),
        Answered::Started => {
            assert!(matches!(status.as_ref().unwrap().state(), JobState::Started | JobState::Indexing), "{what}");
        }
        Answered::Stopped(position) => {
            let status = status.as_ref().unwrap();
            assert_eq!((status.state(), status.position()), (JobState::Stopped, position.as_ref()), "{what}");
            let (documents, saved) = (machine.documents().len() as u64, status.stats().rollups_indexed());
            // Tantivy may report a read that failed after a commit was durable: the run has failed then, and the next
            // one asks.
            assert!(
                documents == saved || disk.has_failed_to_read() && documents > saved,
                "{what}: {documents}, {saved}"
            );
        }
    }
    if status.is_none() {
        machine.manager.put(config("sensor").build().unwrap()).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    machine.manager.start("sensor").unwrap_or_else(|error| panic!("{what}: {error}"));
    let _ = machine.manager.trigger("sensor");
    machine.pages(u64::MAX);
    let status = machine.manager.get("sensor").unwrap();
    assert!(status.last_errors().is_empty(), "{what}: {:?}", status.last_errors());
    assert!(machine.stop().unwrap().is_at_rest());
    assert_eq!(&machine.documents(), expected, "{what}");
}

fn undisturbed(source: &Index) -> (BTreeMap<String, Value>, u64) {
    let disk = Disk::default();
    script(&disk, source, &mut Answered::default()).unwrap();
    let documents = Machine::open(&disk.after_cut(Left::Nothing), source).unwrap().documents();
    assert_eq!(documents.len(), 12);
    (documents, disk.changes())
}

/// Every change in turn, and whatever may be left of the unsynced ones.
fn cut_at_every_change(part: u64, parts: u64) {
    let source = source();
    let (expected, changes) = undisturbed(&source);
    assert!(changes > 100, "{changes} changes");
    for cut in (1..=changes).filter(|cut| cut % parts == part) {
        let disk = Disk::default();
        disk.cut_at(cut);
        let mut answered = Answered::default();
        let ended = script(&disk, &source, &mut answered);
        if !disk.is_cut() {
            ended.unwrap();
            continue;
        }
        for left in [Left::Nothing, Left::Everything, Left::Removals, Left::Additions] {
            let what = format!("cut at change {cut} of {changes}, {left:?} left, after {answered:?}");
            check(&disk.after_cut(left), &source, &answered, &expected, &what);
        }
    }
}

#[test]
fn what_was_answered_survives_a_power_cut_at_every_first_change() {
    cut_at_every_change(0, 2);
}

#[test]
fn what_was_answered_survives_a_power_cut_at_every_second_change() {
    cut_at_every_change(1, 2);
}

/// The rollup index is gone, and the power goes at every change of the run that starts over.
#[test]
fn a_run_that_starts_over_survives_a_power_cut_at_every_change() {
    let source = source();
    let (expected, _) = undisturbed(&source);
    let place = RollupPlace { rollup_index: "rolled".to_owned(), job_id: "sensor".to_owned() };
    let emptied = Disk::default();
    script(&emptied, &source, &mut Answered::default()).unwrap();
    emptied.remove(&place).unwrap();
    let run = |disk: &Disk| {
        let machine = Machine::open(disk, &source)?;
        machine.manager.start("sensor").map_err(|error| error.to_string())?;
        let _ = machine.manager.trigger("sensor");
        machine.pages(u64::MAX);
        machine.stop().map_err(|error| error.to_string())
    };
    let changes = cut_in_a_run(&emptied, &run, |_, disk, what| {
        check(&disk, &source, &Answered::Either, &expected, what);
    });
    assert!(changes > 50, "the whole run was tried: {changes} changes");
}

/// Cuts the power at every change of a run, and shows whatever may be left. Says how many changes there were, and one.
fn cut_in_a_run(
    begin: &Disk,
    run: &dyn Fn(&Disk) -> Result<Stopped, String>,
    mut see: impl FnMut(u64, Disk, &str),
) -> u64 {
    for change in 1.. {
        let disk = begin.after_cut(Left::Everything);
        disk.cut_at(change);
        let ended = run(&disk);
        for left in [Left::Nothing, Left::Everything, Left::Removals, Left::Additions] {
            see(change, disk.after_cut(left), &format!("cut at change {change} of the run, {left:?} left"));
        }
        if !disk.is_cut() {
            assert!(ended.unwrap().is_at_rest());
            return change;
        }
    }
    unreachable!("a run ends")
}

/// The right clock is years behind the one that has rolled everything up: half of it is replaced by nothing, and the
/// power goes at every change of that run. Either half of the documents or all of them are there then.
#[test]
fn a_run_that_takes_back_survives_a_power_cut_at_every_change() {
    let source = source();
    let (expected, _) = undisturbed(&source);
    let ahead = Disk::default();
    script(&ahead, &source, &mut Answered::default()).unwrap();
    let run = |disk: &Disk| {
        let clock = Arc::new(ManualClock::at("1970-01-01T03:20:00Z".parse().unwrap()));
        Machine::open_at(disk, &source, clock)?.run_and_stop()
    };
    let mut found = [false; 2];
    let changes = cut_in_a_run(&ahead, &run, |change, disk, what| {
        let documents = Machine::open(&disk, &source).unwrap_or_else(|error| panic!("{what}: {error}")).documents();
        assert!([6, 12].contains(&documents.len()), "{what}: {} documents", documents.len());
        found[documents.len() / 12] = true;
        // The same clock goes on first, half of the time.
        if change % 2 == 0 {
            let stopped = run(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(stopped.is_at_rest(), "{what}");
            let documents = Machine::open(&disk, &source).unwrap().documents();
            assert_eq!(documents.len(), 6, "{what}, and it was run again");
        }
        check(&disk, &source, &Answered::Either, &expected, what);
    });
    assert_eq!(found, [true; 2]);
    assert!(changes > 20, "the whole run was tried: {changes} changes");
}

/// Two nodes over six hours, and what came for two of the hours after they were rolled up.
fn late_source() -> Index {
    let late = [(1, "a"), (1, "new"), (4, "b")];
    let late = late.map(|(hour, node)| SourceDocument::new().date("timestamp", hour * HOUR + 1).keyword("node", node));
    sensor_index(readings().chain(late.map(|reading| reading.double("temperature", 100.0))))
}

/// A disk on which everything is rolled up, what came later, how that is rolled up again, and the documents before and
/// after.
struct Late {
    rolled_up: Disk,
    source: Index,
    former: BTreeMap<String, Value>,
    expected: BTreeMap<String, Value>,
}

impl Late {
    fn new() -> Self {
        let (rolled_up, source) = (Disk::default(), late_source());
        script(&rolled_up, &self::source(), &mut Answered::default()).unwrap();
        let (former, _) = undisturbed(&self::source());
        let anew = Disk::default();
        script(&anew, &source, &mut Answered::default()).unwrap();
        let expected = Machine::open(&anew, &source).unwrap().documents();
        assert_eq!((former.len(), expected.len()), (12, 13));
        Self { rolled_up, source, former, expected }
    }

    /// The run that rolls the two hours up again.
    fn repair(&self, disk: &Disk) -> Result<Stopped, String> {
        Machine::open(disk, &self.source)?.run_and_stop()
    }

    fn documents(&self, disk: &Disk, what: &str) -> BTreeMap<String, Value> {
        Machine::open(disk, &self.source).unwrap_or_else(|error| panic!("{what}: {error}")).documents()
    }

    /// All of the former documents are there, or all that take their place; and the job goes on to the latter.
    fn check(&self, disk: &Disk, what: &str) -> bool {
        let documents = self.documents(disk, what);
        let is_repaired = documents == self.expected;
        assert!(is_repaired || documents == self.former, "{what}: {documents:#?}");
        check(disk, &self.source, &Answered::Either, &self.expected, what);
        is_repaired
    }
}

/// Late documents are rolled up again, and the power goes at every change of that run.
#[test]
fn a_repair_survives_a_power_cut_at_every_change() {
    let late = Late::new();
    let mut repaired = [false; 2];
    let changes = cut_in_a_run(&late.rolled_up, &|disk| late.repair(disk), |_, disk, what| {
        repaired[usize::from(late.check(&disk, what))] = true;
    });
    assert_eq!(repaired, [true; 2], "the power goes before the commit and after it");
    assert!(changes > 20, "the whole run was tried: {changes} changes");
}

/// The disk is full from some change of that run on, until there is room again.
#[test]
fn a_repair_on_a_full_disk_loses_nothing() {
    let late = Late::new();
    for full in 1.. {
        let disk = late.rolled_up.after_cut(Left::Everything);
        disk.full_from(full);
        let ended = late.repair(&disk);
        let was_full = disk.is_full();
        assert!(ended.is_ok() || was_full, "{ended:?}");
        disk.make_room();
        let is_repaired = late.check(&disk, &format!("full from change {full} of the run"));
        if !was_full {
            assert!(full > 20 && is_repaired, "the whole run was tried: {full} changes");
            return;
        }
    }
}

/// A disk that writes only part of what it is given is no failure.
#[test]
fn short_writes_are_written_to_the_end() {
    let source = source();
    let (expected, _) = undisturbed(&source);
    let disk = Disk::default();
    disk.write_short();
    script(&disk, &source, &mut Answered::default()).unwrap();
    assert_eq!(Machine::open(&disk.after_cut(Left::Nothing), &source).unwrap().documents(), expected);
}

/// The disk is full from some change on: a run fails, and says why; a stop that cannot be saved says so. When there
/// is room again and everything is opened again (redb does not write any more after a failure), the job goes on.
#[test]
fn a_full_disk_loses_nothing() {
    let source = source();
    let (expected, changes) = undisturbed(&source);
    for full in (1..=changes).step_by(7) {
        let disk = Disk::default();
        disk.full_from(full);
        let mut answered = Answered::default();
        let ended = script(&disk, &source, &mut answered);
        assert!(ended.is_ok() || disk.is_full(), "{ended:?}");
        disk.make_room();
        check(
            &disk,
            &source,
            &answered,
            &expected,
            &format!("full from change {full} of {changes}, after {answered:?}"),
        );
    }
}

/// A read that fails costs a run, or a call, and no more than that.
#[test]
fn a_read_error_loses_nothing() {
    let source = source();
    let (expected, _) = undisturbed(&source);
    let disk = Disk::default();
    script(&disk, &source, &mut Answered::default()).unwrap();
    let reads = disk.reads();
    assert!(reads > 10, "{reads} reads");
    for unreadable in 1..=reads {
        let disk = Disk::default();
        disk.unreadable_at(unreadable);
        let mut answered = Answered::default();
        let _ = script(&disk, &source, &mut answered);
        // Should the script have come to its end before that read, it must not hit the check.
        disk.never_unreadable();
        check(&disk, &source, &answered, &expected, &format!("read {unreadable} of {reads} fails, after {answered:?}"));
    }
}
