//! What has changed is rolled up again: as if it had been so from the beginning, in one step, and only where it has to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{MemoryEngine, SourceDocument, SourceValue};
use rollup_jobs::store::{JobStore, MemoryStore, change_ledger};
use rollup_jobs::testing::{EngineFault, ManualClock, StoreCall, StoreFault, documents_of};
use rollup_jobs::{
    Clock, HealthColor, JobState, JobUpdate, LateData, Phase, RefreshError, RepairWhen, RollupJobManager,
};
use serde_json::Value;

use crate::changes::{raw_hours, rolled_up_with, total};
use crate::support::{HOUR, NOW, Watcher, World, config, instants, readings, undisturbed, waiting};

/// What a job that begins now rolls up of the same documents.
fn anew(world: &World) -> BTreeMap<String, Value> {
    let (data, watcher) = (world.data.snapshot(), Arc::<Watcher>::default());
    let clock = Arc::new(ManualClock::at(world.clock.now()));
    let manager = RollupJobManager::builder(Arc::new(data.clone()), Arc::new(MemoryStore::new()));
    let manager = manager.clock(clock).observer(Arc::clone(&watcher) as _).open().unwrap();
    manager.put(config("sensor").rollup_index("anew").build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    watcher.wait_for(&manager, "a run from the beginning", || {
        (manager.get("sensor").unwrap().state() == JobState::Started).then_some(())
    });
    documents_of(&data, "anew")
}

fn late(hour: i64, node: &str) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR + 1).keyword("node", node).double("temperature", 7.5)
}

fn date_of(document: &SourceDocument) -> i64 {
    let date = document.fields().find_map(|(field, values)| match (field, values) {
        ("timestamp", [SourceValue::Date(at)]) => Some(*at),
        _ => None,
    });
    date.unwrap()
}

fn both_engines(test: impl Fn(MemoryEngine)) {
    for data in [MemoryEngine::new(), MemoryEngine::without_progress()] {
        data.extend("sensor-1", readings());
        test(data);
    }
}

fn world_on(data: MemoryEngine) -> World {
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_repairing(RepairWhen::AfterRun);
    world.run("sensor");
    world
}

#[test]
fn what_was_noted_is_rolled_up_again_and_nothing_else() {
    both_engines(|data| {
        let world = world_on(data);
        world.data.extend("sensor-1", [late(3, "b"), late(3, "d"), late(7, "a"), late(-5_000, "a")]);
        for (from, until) in [(3, 4), (7, 8), (-5_000, -4_999)] {
            world.manager.note_change("sensor-1", instants(from..until)).unwrap();
        }
        let before = world.status("sensor");
        world.run("sensor");
        assert_eq!(world.documents(), anew(&world));
        assert_eq!((total(&world), raw_hours(&world)), (64, vec![]));
        let after = world.status("sensor");
        assert_eq!(after.position(), before.position());
        assert_eq!(after.rolled_up_until(), before.rolled_up_until());
        // And it is done once, and then forgotten.
        world.run("sensor");
        assert_eq!(world.store.ledger("sensor-1").unwrap().notes, []);
        let revision = world.store.ledger("sensor-1").unwrap().revision;
        let searches = world.gates.search().arrived();
        world.run("sensor");
        assert_eq!(world.gates.search().arrived(), searches, "nothing is read again");
        assert_eq!(world.store.ledger("sensor-1").unwrap().revision, revision);
    });
}

#[test]
fn a_group_whose_documents_are_gone_goes_too() {
    both_engines(|data| {
        let world = world_on(data);
        world.data.retain("sensor-1", |document| {
            let is_a = document.fields().any(|(_, values)| *values == [SourceValue::Keyword("a".into())]);
            !(is_a && (3 * HOUR..5 * HOUR).contains(&date_of(document)))
        });
        world.manager.note_change("sensor-1", instants(3..5)).unwrap();
        world.run("sensor");
        assert_eq!(world.documents().len(), 28);
        assert_eq!(world.documents(), anew(&world));
        // All of a bucket as well.
        world.data.retain("sensor-1", |document| !(2 * HOUR..3 * HOUR).contains(&date_of(document)));
        world.manager.note_change("sensor-1", instants(2..3)).unwrap();
        world.run("sensor");
        assert_eq!(world.documents().len(), 25);
        assert_eq!(world.documents(), anew(&world));
    });
}

#[test]
fn what_is_changed_at_this_moment_waits_until_it_is_done() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    let change = world.manager.begin_change("sensor-1", instants(3..4)).unwrap();
    world.data.add("sensor-1", late(3, "b"));
    world.run("sensor");
    assert_eq!((world.documents(), raw_hours(&world)), (undisturbed("sensor"), vec![(3, 4)]));
    change.done().unwrap();
    world.run("sensor");
    assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]));
}

/// The end of a change has a number of its own: what was rolled up again before does not have it.
#[test]
fn a_change_that_ends_during_a_repair_is_repaired_after_it() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    let change = world.manager.begin_change("sensor-1", instants(3..4)).unwrap();
    world.data.add("sensor-1", late(4, "b"));
    world.manager.note_change("sensor-1", instants(4..5)).unwrap();
    world.gates.commit().close();
    let run = world.manager.trigger("sensor").unwrap().run();
    world.gates.commit().wait_for_waiting(1);
    world.data.add("sensor-1", late(3, "b"));
    world.data.add("sensor-1", late(4, "c"));
    world.manager.note_change("sensor-1", instants(4..5)).unwrap();
    change.done().unwrap();
    world.gates.commit().open();
    world.wait_for_end_of_run("sensor", run);
    assert_eq!((total(&world), raw_hours(&world)), (63, vec![(3, 5)]));
    world.run("sensor");
    assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]));
}

#[test]
fn a_stop_gives_a_repair_up_and_a_later_run_does_it() {
    both_engines(|data| {
        let world = world_on(data);
        world.data.extend("sensor-1", [late(3, "b"), late(3, "d"), late(3, "e"), late(3, "f")]);
        world.manager.note_change("sensor-1", instants(3..4)).unwrap();
        world.gates.search().close();
        world.manager.trigger("sensor").unwrap();
        // The second of two pages.
        world.gates.search().let_through(1);
        world.gates.search().wait_for_waiting(1);
        world.wait_for_phase("sensor", Phase::Repairing);
        assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
        world.gates.search().open();
        assert_eq!((total(&world), raw_hours(&world)), (64, vec![(3, 4)]));
        world.manager.start("sensor").unwrap();
        world.run("sensor");
        assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]));
    });
}

/// Old documents or new ones, whatever fails: and what is not repaired is read raw.
fn fail_every_call(data: impl Fn() -> MemoryEngine, fault: EngineFault) {
    let (mut call, mut has_failed) = (1, true);
    while has_failed {
        let data = data();
        data.extend("sensor-1", readings());
        let (world, engine) = World::faulty(data, fault);
        world.put_repairing(RepairWhen::AfterRun);
        world.run("sensor");
        world.data.extend("sensor-1", [late(3, "b"), late(3, "d"), late(7, "a")]);
        world.data.retain("sensor-1", |document| date_of(document) != 3 * HOUR);
        world.manager.note_change("sensor-1", instants(3..8)).unwrap();
        engine.fail_at(call);
        let run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        has_failed = engine.has_failed();
        engine.heal();
        assert_eq!(total(&world), 62, "{fault:?} {call}");
        let run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        assert_eq!(world.documents(), anew(&world), "{fault:?} {call}");
        assert_eq!((total(&world), raw_hours(&world)), (62, vec![]), "{fault:?} {call}");
        call += 1;
    }
    assert!(call > 8, "the whole repair was tried: {call} calls");
}

#[test]
fn faults_at_every_call() {
    for fault in [
        EngineFault::Unavailable,
        EngineFault::Rejected,
        EngineFault::Panic,
        EngineFault::UnavailableAfterwards,
        EngineFault::ItemUnavailable,
    ] {
        if fault != EngineFault::ItemUnavailable {
            fail_every_call(MemoryEngine::new, fault);
        }
        fail_every_call(MemoryEngine::without_progress, fault);
    }
}

/// The store fails at each of its calls: what it has forgotten is repaired again, and nothing else is lost.
#[test]
fn the_store_fails_at_every_call() {
    let (mut call, mut has_failed) = (1, true);
    while has_failed {
        let (world, store) = World::faulty_store();
        world.put_repairing(RepairWhen::AfterRun);
        world.run("sensor");
        world.data.extend("sensor-1", [late(3, "b"), late(7, "a")]);
        world.manager.note_change("sensor-1", instants(3..8)).unwrap();
        store.fail_at(call, StoreFault::Unavailable);
        let run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        has_failed = store.has_failed();
        store.heal();
        assert_eq!(total(&world), 62, "{call}");
        let run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]), "{call}");
        call += 1;
    }
    assert!(call > 3, "{call}");
}

#[test]
fn what_is_sealed_or_without_its_sources_stays_as_it_is() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    world.data.extend("sensor-2", [late(5, "a"), late(6, "a")]);
    world.data.add("sensor-1", late(9, "a"));
    world.manager.note_change("sensor-2", instants(5..7)).unwrap();
    world.run("sensor");
    let known = world.documents();
    assert_eq!((total(&world), raw_hours(&world)), (62, vec![]));
    // A part of what hour 5 was made of is gone.
    assert!(world.data.remove_index("sensor-2"));
    world.data.extend("sensor-1", [late(3, "b"), late(5, "b")]);
    world.manager.note_change("sensor-1", instants(3..6)).unwrap();
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..HOUR)).unwrap();
    world.run("sensor");
    let now = world.documents();
    let changed = now.iter().filter(|(id, document)| known.get(*id) != Some(*document));
    let changed: Vec<_> = changed.map(|(_, document)| document["timestamp.date_histogram.timestamp"].clone()).collect();
    assert_eq!(changed, [Value::from(3 * HOUR)]);
}

/// A note that is about time that is not rolled up yet costs nothing.
#[test]
fn what_is_read_by_an_ordinary_run_is_not_rolled_up_twice() {
    let world = World::new();
    world.manager.note_change("sensor-1", instants(0..10)).unwrap();
    world.put_repairing(RepairWhen::AfterRun);
    world.run("sensor");
    assert_eq!(raw_hours(&world), []);
    let searches = world.gates.search().arrived();
    world.run("sensor");
    assert_eq!(world.gates.search().arrived(), searches);
    world.clock.advance(Duration::from_hours(2));
    let next = NOW.parse::<jiff::Timestamp>().unwrap().as_millisecond() / HOUR;
    world.data.add("sensor-1", late(next, "a"));
    world.manager.note_change("sensor-1", instants(next - 1..next + 1)).unwrap();
    world.run("sensor");
    assert_eq!((total(&world), raw_hours(&world)), (61, vec![]));
    let searches = world.gates.search().arrived();
    world.run("sensor");
    assert_eq!(world.gates.search().arrived(), searches);
}

#[test]
fn a_ledger_that_cannot_be_read_ends_a_run_before_it_reads() {
    let (world, store) = World::faulty_store();
    world.put_repairing(RepairWhen::AfterRun);
    world.run("sensor");
    store.refuse(&[StoreCall::Ledgers]);
    let searches = world.gates.search().arrived();
    let run = world.manager.trigger("sensor").unwrap().run();
    world.let_pauses_pass_until_end_of_run(run);
    assert_eq!(world.gates.search().arrived(), searches);
    store.heal();
    world.run("sensor");
}

/// The default: whoever says that something has changed has it repaired, by a run that begins for it.
#[test]
fn what_has_changed_is_rolled_up_again_at_once() {
    let world = rolled_up_with(RepairWhen::AtOnce);
    world.data.add("sensor-1", late(3, "b"));
    world.manager.note_change("sensor-1", instants(3..4)).unwrap();
    let expected = anew(&world);
    world.watcher.wait_for(&world.manager, "a repair", || (world.documents() == expected).then_some(()));
    let change = world.manager.begin_change("sensor-1", instants(4..5)).unwrap();
    world.data.add("sensor-1", late(4, "b"));
    change.done().unwrap();
    let expected = anew(&world);
    world.watcher.wait_for(&world.manager, "a repair", || (world.documents() == expected).then_some(()));
    // Nobody runs for what is not rolled up, or not read.
    world.wait_for_state("sensor", JobState::Started);
    let run = world.status("sensor").run();
    world.manager.note_change("sensor-1", instants(1_000_000..1_000_001)).unwrap();
    world.manager.note_change("other", instants(3..4)).unwrap();
    assert_eq!((world.state("sensor"), world.status("sensor").run()), (JobState::Started, run));
}

/// What is said while a run is under way may be too late for it: another one follows.
#[test]
fn a_run_follows_the_one_that_was_under_way() {
    let world = rolled_up_with(RepairWhen::AtOnce);
    world.gates.commit().close();
    world.data.add("sensor-1", late(3, "b"));
    world.manager.note_change("sensor-1", instants(3..4)).unwrap();
    world.gates.commit().wait_for_waiting(1);
    world.data.extend("sensor-1", [late(3, "c"), late(5, "c")]);
    world.manager.note_change("sensor-1", instants(3..6)).unwrap();
    world.gates.commit().open();
    let expected = anew(&world);
    world.watcher.wait_for(&world.manager, "two repairs", || (world.documents() == expected).then_some(()));
    world.wait_for_state("sensor", JobState::Started);
    assert_eq!(world.status("sensor").run(), 3);
}

#[test]
fn a_refresh_is_waited_for() {
    both_engines(|data| {
        let world = World::on(data, |engine| engine, |builder| builder);
        world.put_repairing(RepairWhen::WhenAsked);
        world.run("sensor");
        world.data.extend("sensor-1", [late(3, "b"), late(5, "c")]);
        world.manager.note_change("sensor-1", instants(5..6)).unwrap();
        world.run("sensor");
        assert_eq!((total(&world), raw_hours(&world)), (61, vec![(5, 6)]), "nobody has asked");
        world.gates.commit().close();
        let refresh = world.manager.refresh("sensor", instants(3..4)).unwrap();
        world.gates.commit().wait_for_waiting(1);
        assert_eq!((refresh.left(), refresh.is_completed()), (vec![instants(3..4)], false));
        let timeout = refresh.wait(Duration::ZERO).unwrap_err();
        assert!(matches!(timeout, RefreshError::Timeout { .. }), "{timeout}");
        world.gates.commit().open();
        refresh.wait(crate::support::PATIENCE).unwrap();
        assert_eq!((total(&world), raw_hours(&world)), (62, vec![(5, 6)]));
        // However late it is looked at, and by whom.
        world.manager.refresh("sensor", instants(0..10)).unwrap().wait(crate::support::PATIENCE).unwrap();
        assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]));
        world.run("sensor");
        world.run("sensor");
        assert!(refresh.is_completed());
        let store = Arc::clone(&world.store);
        assert_eq!(store.ledger("sensor-1").unwrap().notes, [], "what is done is forgotten");
    });
}

#[test]
fn a_refresh_that_does_not_come_to_its_end_says_why() {
    let world = rolled_up_with(RepairWhen::WhenAsked);
    let refused = |range| world.manager.refresh("sensor", range).map(drop).unwrap_err();
    assert!(matches!(refused(instants(Range { start: 3, end: 3 })), RefreshError::Empty { .. }));
    assert!(matches!(world.manager.refresh("nobody", instants(3..4)), Err(RefreshError::NotFound { .. })));
    // Nothing is rolled up there.
    assert!(world.manager.refresh("sensor", instants(1_000_000..1_000_001)).unwrap().is_completed());
    // It is stopped before.
    world.gates.search().close();
    let refresh = world.manager.refresh("sensor", instants(3..4)).unwrap();
    world.gates.search().wait_for_waiting(1);
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    let not_done = refresh.wait(crate::support::PATIENCE).unwrap_err();
    assert_eq!(not_done.to_string(), "rollup job [sensor] has not rolled everything up again: it is stopped");
    let refused = refused(instants(3..4));
    assert!(matches!(refused, RefreshError::NotStarted { state: JobState::Stopped, .. }), "{refused}");
    // It is not forgotten.
    world.gates.search().open();
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert!(refresh.is_completed());
    // Raw documents are gone.
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..2 * HOUR)).unwrap();
    world.data.add("sensor-1", late(1, "b"));
    let refresh = world.manager.refresh("sensor", instants(0..4)).unwrap();
    let not_done = refresh.wait(crate::support::PATIENCE).unwrap_err();
    assert!(not_done.to_string().ends_with("raw documents are sealed there, or not there any more"), "{not_done}");
    assert_eq!(refresh.left(), [instants(0..2)]);
}

#[test]
fn a_refresh_is_awaited() {
    let world = rolled_up_with(RepairWhen::WhenAsked);
    world.data.add("sensor-1", late(3, "b"));
    let refresh = world.manager.refresh("sensor", instants(3..4)).unwrap();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(refresh).unwrap();
    assert_eq!(world.documents(), anew(&world));
}

#[test]
fn what_new_documents_come_to_is_first_or_last() {
    for (repair, first) in [(RepairWhen::AtOnce, 62), (RepairWhen::AfterRun, 61)] {
        let world = World::new();
        world.put_repairing(RepairWhen::WhenAsked);
        world.run("sensor");
        world.data.extend("sensor-1", [late(3, "b"), late(3, "c")]);
        world.manager.note_change("sensor-1", instants(3..4)).unwrap();
        world.clock.advance(Duration::from_hours(2));
        let next = NOW.parse::<jiff::Timestamp>().unwrap().as_millisecond() / HOUR;
        world.data.add("sensor-1", late(next, "a"));
        world.manager.update("sensor", JobUpdate::new().late_data(LateData::new().repair(repair))).unwrap();
        world.gates.commit().close();
        let before = world.gates.commit().arrived();
        let run = world.manager.trigger("sensor").unwrap().run();
        world.gates.commit().let_through(1);
        crate::support::wait_until("the second commit", || world.gates.commit().arrived() == before + 2);
        let count = |documents: BTreeMap<String, Value>| -> u64 {
            documents.values().map(|document| document["timestamp.date_histogram._count"].as_u64().unwrap()).sum()
        };
        assert_eq!(count(world.documents()), first, "{repair:?}");
        world.gates.commit().open();
        world.wait_for_end_of_run("sensor", run);
        assert_eq!(world.documents(), anew(&world));
    }
}

#[test]
fn a_budget_is_kept() {
    let world = World::new();
    let late_data = LateData::new().repair(RepairWhen::AfterRun).buckets_per_run(3).docs_per_second(10);
    world.manager.put(config("sensor").late_data(late_data).build().unwrap()).unwrap();
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    world.data.extend("sensor-1", (0..10).map(|hour| late(hour, "b")));
    for hours_now in [instants(0..4), instants(6..8)] {
        world.manager.note_change("sensor-1", hours_now).unwrap();
    }
    for left in [vec![(0, 3)], vec![]] {
        let run = world.manager.trigger("sensor").unwrap().run();
        // Twenty documents in hours 3, 6 and 7, and as many in the others: two seconds.
        world.wait_for_phase("sensor", Phase::BackingOff);
        assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
        world.clock.advance(Duration::from_millis(1_900));
        assert_eq!(world.status("sensor").phase(), Phase::BackingOff);
        world.clock.advance(Duration::from_millis(200));
        world.wait_for_end_of_run("sensor", run);
        assert_eq!(raw_hours(&world), left);
    }
    let refused = config("sensor").late_data(LateData::new().buckets_per_run(0)).build().unwrap_err();
    assert_eq!(refused.problems()[0].field(), "late_data.buckets_per_run");
}

#[test]
fn the_setting_is_kept_and_printed_where_it_is_not_the_default() {
    let world = rolled_up_with(RepairWhen::WhenAsked);
    let printed = world.status("sensor").to_json()["config"]["late_data"].clone();
    assert_eq!(printed, serde_json::json!({ "repair": "when_asked" }));
    let update = JobUpdate::from_json(r#"{ "late_data": { "docs_per_second": 7 } }"#).unwrap();
    world.manager.update("sensor", update).unwrap();
    let stored = world.store.record("sensor");
    assert_eq!(*stored.config().late_data(), LateData::new().docs_per_second(7));
    let refused = JobUpdate::from_json(r#"{ "late_data": { "repair": "never" } }"#).unwrap_err();
    assert!(refused.to_string().contains("expected one of `at_once`, `after_run`, `when_asked`"), "{refused}");
}

/// What a process that has ended has left open is as good as noted when the next one opens.
#[test]
fn what_is_open_when_a_manager_opens_is_repaired() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    let change = world.manager.begin_change("sensor-1", instants(3..4)).unwrap();
    world.data.add("sensor-1", late(3, "b"));
    let world = World::on_store(world.data.clone(), Arc::clone(&world.store));
    world.gates.search().open();
    assert_eq!(world.store.ledger("sensor-1").unwrap().open_changes, []);
    world.run("sensor");
    assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]));
    // Whoever was still at it says so.
    world.data.add("sensor-1", late(3, "c"));
    change.done().unwrap();
    assert_eq!((total(&world), raw_hours(&world)), (62, vec![(3, 4)]));
    world.run("sensor");
    assert_eq!((world.documents(), raw_hours(&world)), (anew(&world), vec![]));
}
