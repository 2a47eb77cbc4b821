//! Documents that come late, change or go: what a host says of them, and that searches are right from then on.

use std::ops::Range;
use std::sync::Arc;

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{SearchRequest, Tier};
use rollup_jobs::store::{JobStore, MemoryStore, change_ledger};
use rollup_jobs::testing::StoreCall;
use rollup_jobs::{ChangeError, RepairWhen, RollupJobManager, RollupReader};

use crate::support::{HOUR, World, in_thread, instants};

/// Ten hours of readings, six in each, that are rolled up.
fn rolled_up() -> World {
    rolled_up_with(RepairWhen::WhenAsked)
}

pub fn rolled_up_with(repair: RepairWhen) -> World {
    let world = World::new();
    world.put_repairing(repair);
    world.run("sensor");
    world
}

fn late(world: &World) {
    world.data.add("sensor-1", SourceDocument::new().date("timestamp", 3 * HOUR).double("temperature", 7.0));
}

pub fn total(world: &World) -> u64 {
    world.manager.search(&SearchRequest::new("sensor-*")).unwrap().total().unwrap()
}

/// The hours that are read raw of those that are rolled up.
pub fn raw_hours(world: &World) -> Vec<(i64, i64)> {
    let plan = world.manager.plan(&SearchRequest::new("sensor-*")).unwrap();
    let raw = plan.parts.iter().filter(|part| part.tier == Tier::Raw);
    raw.filter_map(|part| Some((part.from? / HOUR, part.until? / HOUR))).collect()
}

#[test]
fn a_range_is_read_raw_from_the_beginning_of_a_change() {
    let world = rolled_up();
    late(&world);
    assert_eq!(total(&world), 60, "nobody has said a word");
    let change = world.manager.begin_change("sensor-1", instants(3..4)).unwrap();
    assert_eq!((total(&world), raw_hours(&world)), (61, vec![(3, 4)]));
    change.done().unwrap();
    assert_eq!((total(&world), raw_hours(&world)), (61, vec![(3, 4)]));
    let ledger = world.store.ledger("sensor-1").unwrap();
    assert_eq!((ledger.open_changes.len(), ledger.notes.len()), (0, 1));
    assert_eq!(ledger.notes[0].range, 3 * HOUR..4 * HOUR);
}

#[test]
fn a_note_is_a_change_that_has_taken_place() {
    let world = rolled_up();
    late(&world);
    // A range of less than a bucket, to the nanosecond: all milliseconds that it touches.
    let at = |nanos: i128| Timestamp::from_nanosecond(i128::from(3 * HOUR) * 1_000_000 + nanos).unwrap();
    world.manager.note_change("sensor-1", at(1)..at(2)).unwrap();
    assert_eq!(world.store.ledger("sensor-1").unwrap().notes[0].range, 3 * HOUR..3 * HOUR + 1);
    assert_eq!((total(&world), raw_hours(&world)), (61, vec![(3, 4)]));
}

#[test]
fn a_change_that_nobody_ends_stays_open() {
    let world = rolled_up();
    late(&world);
    drop(world.manager.begin_change("sensor-1", instants(3..4)));
    assert_eq!((total(&world), raw_hours(&world)), (61, vec![(3, 4)]));
    // And for whoever comes later.
    let reader = RollupJobManager::builder(Arc::new(world.data.clone()), Arc::clone(&world.store) as _).open_reader();
    assert_eq!(reader.search(&SearchRequest::new("sensor-*")).unwrap().total(), Some(61));
}

#[test]
fn what_somebody_else_has_counted_as_done_is_noted_anew() {
    let world = rolled_up();
    let change = world.manager.begin_change("sensor-1", instants(3..4)).unwrap();
    change_ledger(&*world.store, "sensor-1", |ledger| {
        ledger.open_changes.clear();
        ledger.notes.clear();
    })
    .unwrap();
    late(&world);
    change.done().unwrap();
    assert_eq!((total(&world), raw_hours(&world)), (61, vec![(3, 4)]));
}

#[test]
fn an_error_of_the_store_leaves_a_change_open_and_it_can_be_ended_later() {
    let (world, store) = World::faulty_store();
    store.refuse(&[StoreCall::ReplaceLedger]);
    let refused = world.manager.begin_change("sensor-1", instants(3..4)).unwrap_err();
    assert!(matches!(refused, ChangeError::Store { .. }), "{refused}");
    assert_eq!(refused.to_string(), "could not note a change of [sensor-1]");
    store.refuse(&[]);
    let change = world.manager.begin_change("sensor-1", instants(3..4)).unwrap();
    store.refuse(&[StoreCall::ReplaceLedger]);
    assert!(matches!(change.done(), Err(ChangeError::Store { .. })));
    assert_eq!(world.store.ledger("sensor-1").unwrap().open_changes.len(), 1);
    store.refuse(&[]);
    change.done().unwrap();
    change.done().unwrap();
    let ledger = world.store.ledger("sensor-1").unwrap();
    assert_eq!((ledger.open_changes.len(), ledger.notes.len()), (0, 1));
}

#[test]
fn what_is_no_range_of_one_index_is_refused_and_nothing_noted() {
    let world = rolled_up();
    for index in ["", "sensor-*", "sensor-1,sensor-2", "-sensor-1"] {
        let refused = world.manager.note_change(index, instants(3..4)).unwrap_err();
        assert!(matches!(refused, ChangeError::Index { .. }), "{index}: {refused}");
    }
    for until in [3, 2] {
        let range = Range { start: 3, end: until };
        let refused = world.manager.note_change("sensor-1", instants(range)).unwrap_err();
        assert!(matches!(refused, ChangeError::Empty { .. }), "{refused}");
    }
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..4 * HOUR)).unwrap();
    for refused in [
        world.manager.note_change("sensor-1", instants(3..5)).unwrap_err(),
        world.manager.begin_change("sensor-1", instants(0..1)).map(drop).unwrap_err(),
    ] {
        let text = "its documents from [1970-01-01T00:00:00Z] until [1970-01-01T04:00:00Z] are sealed";
        assert!(refused.to_string().ends_with(text), "{refused}");
    }
    world.manager.note_change("sensor-1", instants(4..5)).unwrap();
    let ledger = world.store.ledger("sensor-1").unwrap();
    assert_eq!((ledger.revision, ledger.notes.len(), ledger.open_changes.len()), (2, 1, 0));
}

#[test]
fn many_say_it_at_once() {
    let store = Arc::new(MemoryStore::new());
    let reader = || -> RollupReader {
        RollupJobManager::builder(Arc::new(MemoryEngine::new()), Arc::clone(&store) as _).open_reader()
    };
    let threads: Vec<_> = (0..8)
        .map(|number: i64| {
            let reader = reader();
            in_thread(move || {
                let change = reader.begin_change("sensor-1", instants(2 * number..2 * number + 1)).unwrap();
                reader.note_change("sensor-1", instants(100..101)).unwrap();
                change.done().unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let ledger = store.ledger("sensor-1").unwrap();
    let mut noted: Vec<i64> = ledger.notes.iter().map(|note| note.range.start / HOUR).collect();
    noted.sort_unstable();
    assert_eq!(noted, [0, 2, 4, 6, 8, 10, 12, 14, 100]);
    assert!(ledger.open_changes.is_empty());
}

/// Two jobs roll the same up, and the first of them has not begun.
#[test]
fn a_job_that_has_nothing_yet_keeps_no_other_from_serving() {
    let world = rolled_up();
    world.manager.put(crate::support::config("a-new-one").rollup_index("new").build().unwrap()).unwrap();
    let plan = world.manager.plan(&SearchRequest::new("sensor-*")).unwrap();
    assert_eq!(plan.job_id.as_deref(), Some("sensor"));
    assert_eq!(plan.parts[0].tier, Tier::RolledUp);
}
