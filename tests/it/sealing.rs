//! Raw documents that may be dropped, and those that were: what was rolled up of them stays, and answers the same.

use rollup_jobs::engine::SourceDocument;
use rollup_jobs::jiff::Timestamp;
use rollup_jobs::search::{DateHistogramAggregation, SearchRequest};
use rollup_jobs::store::JobStore;
use rollup_jobs::{ChangeError, Need, RepairWhen, SealError};

use crate::changes::{rolled_up_with, total};
use crate::support::{HOUR, World, config, instants, now, waiting};

fn at(hour: i64) -> Timestamp {
    Timestamp::from_millisecond(hour * HOUR).unwrap()
}

fn late(hour: i64) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR + 1).keyword("node", "b").double("temperature", 7.5)
}

fn per_hour(world: &World) -> Vec<(Option<i64>, u64)> {
    let hours = DateHistogramAggregation::fixed("timestamp", "1h");
    let response = world.manager.search(&SearchRequest::new("sensor-*").aggregation("hours", hours)).unwrap();
    let buckets = response.buckets("hours").unwrap();
    buckets.iter().map(|bucket| (bucket.date(), bucket.doc_count())).collect()
}

fn drop_before(world: &World, hour: i64) {
    world.data.retain("sensor-1", |document| {
        let date = document.fields().find(|(field, _)| *field == "timestamp").unwrap().1;
        !matches!(date, [rollup_jobs::engine::SourceValue::Date(date)] if *date < hour * HOUR)
    });
}

#[test]
fn what_is_rolled_up_may_go_and_the_answer_stays() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    let safe = world.manager.safe_to_drop_before("sensor-1").unwrap();
    assert_eq!(safe.before.unwrap().as_millisecond(), now());
    assert_eq!(safe.needed_by, Need::NotRolledUp { job_id: "sensor".into() });
    let before = per_hour(&world);
    world.manager.seal_before("sensor-1", at(6)).unwrap();
    drop_before(&world, 6);
    assert_eq!((total(&world), per_hour(&world)), (60, before));
    let refused = world.manager.begin_change("sensor-1", instants(5..7)).map(drop).unwrap_err();
    assert!(matches!(refused, ChangeError::Sealed { .. }), "{refused}");
    // What is beside goes on.
    world.data.add("sensor-1", late(7));
    world.manager.note_change("sensor-1", instants(6..8)).unwrap();
    world.run("sensor");
    assert_eq!(total(&world), 61);
    // It is said again, and further.
    world.manager.seal_before("sensor-1", at(3)).unwrap();
    world.manager.seal_before("sensor-1", at(8)).unwrap();
    assert_eq!(world.store.ledger("sensor-1").unwrap().seals, vec![i64::MIN..8 * HOUR; 1]);
}

#[test]
fn what_is_needed_is_not_sealed_and_it_is_said_by_whom() {
    let world = rolled_up_with(RepairWhen::WhenAsked);
    let refused = |before| match world.manager.seal_before("sensor-1", before).unwrap_err() {
        SealError::NotSafe { safe, .. } => safe,
        other => panic!("{other}"),
    };
    let needed = refused(at(now() / HOUR + 1));
    assert_eq!(
        (needed.before, needed.needed_by),
        (Some(at(now() / HOUR)), Need::NotRolledUp { job_id: "sensor".into() })
    );
    // Changed, and not repaired; being changed.
    world.manager.note_change("sensor-1", instants(4..5)).unwrap();
    assert_eq!(refused(at(5)).before, Some(at(4)));
    let change = world.manager.begin_change("sensor-1", instants(2..3)).unwrap();
    let needed = refused(at(5));
    assert_eq!((needed.before, needed.needed_by), (Some(at(2)), Need::Changed { job_id: "sensor".into() }));
    world.manager.seal_before("sensor-1", at(2)).unwrap();
    drop(change);
    // Another job has not begun.
    world.manager.put(config("other").build().unwrap()).unwrap();
    assert_eq!(refused(at(1)).needed_by, Need::NotRolledUp { job_id: "other".into() });
    assert_eq!(world.manager.safe_to_drop_before("elsewhere").unwrap().needed_by, Need::NoJob);
    let text = world.manager.seal_before("elsewhere", at(1)).unwrap_err().to_string();
    assert_eq!(
        text,
        "cannot seal [elsewhere] before [1970-01-01T01:00:00Z]: none may go: no rollup job reads the index"
    );
}

/// Nobody has said a word of what came late, and this engine notices nothing: it is counted.
#[test]
fn what_came_without_a_word_is_not_lost_by_a_seal() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    world.data.add("sensor-1", late(4));
    world.manager.seal_before("sensor-1", at(4)).unwrap();
    let refused = world.manager.seal_before("sensor-1", at(5)).unwrap_err();
    assert!(matches!(refused, SealError::NotRight { .. }), "{refused}");
    assert!(
        refused.to_string().ends_with("not right: 2 groups are right, 1 is different, 0 are missing, 0 are too many")
    );
    world.manager.note_change("sensor-1", instants(4..5)).unwrap();
    world.run("sensor");
    world.manager.seal_before("sensor-1", at(5)).unwrap();
    drop_before(&world, 5);
    assert_eq!(total(&world), 61);
}

#[test]
fn an_index_that_was_dropped_is_sealed_where_it_was_rolled_up() {
    let world = World::new();
    world.data.extend("sensor-2", [late(3), late(5)]);
    world.put_repairing(RepairWhen::AfterRun);
    world.run("sensor");
    assert_eq!(total(&world), 62);
    let open = world.manager.begin_change("sensor-2", instants(4..5)).unwrap();
    assert!(world.data.remove_index("sensor-2"));
    world.manager.raw_dropped("sensor-2").unwrap();
    let ledger = world.store.ledger("sensor-2").unwrap();
    assert_eq!((ledger.seals, ledger.open_changes.len()), (vec![3 * HOUR + 1..5 * HOUR + 2; 1], 0));
    drop(open);
    assert_eq!(total(&world), 62);
    // What the other index has there changes without being rolled up again.
    world.data.add("sensor-1", late(4));
    world.manager.note_change("sensor-1", instants(4..5)).unwrap();
    world.run("sensor");
    assert_eq!(total(&world), 62);
}

/// A job that is put later has no part of what is gone.
#[test]
fn what_is_sealed_before_it_is_rolled_up_is_not_rolled_up_in_part() {
    let world = rolled_up_with(RepairWhen::AfterRun);
    world.manager.seal_before("sensor-1", Timestamp::from_millisecond(4 * HOUR + HOUR / 2).unwrap()).unwrap();
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    world.manager.put(config("later").rollup_index("later").build().unwrap()).unwrap();
    world.manager.start("later").unwrap();
    world.run("later");
    let first = world.manager.rolled_up("later").unwrap().next().unwrap().unwrap();
    assert_eq!(first.date(), 5 * HOUR);
    assert_eq!(world.store.record("later").progress().rolled_up_from, Some(5 * HOUR));
}

#[test]
fn a_store_that_fails_seals_nothing_or_all() {
    let (world, store) = World::faulty_store();
    world.put_started("sensor");
    world.run("sensor");
    store.refuse(&[rollup_jobs::testing::StoreCall::ReplaceLedger]);
    assert!(matches!(world.manager.seal_before("sensor-1", at(3)), Err(SealError::Store { .. })));
    assert!(matches!(world.manager.raw_dropped("sensor-1"), Err(SealError::Store { .. })));
    store.heal();
    assert_eq!(world.store.ledger("sensor-1").unwrap().seals, []);
}
