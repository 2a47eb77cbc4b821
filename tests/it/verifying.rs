//! Is what is rolled up what the raw documents come to? What is not is told of, and mended if that is wanted.

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::search::SearchCancel;
use rollup_jobs::store::change_ledger;
use rollup_jobs::{JobUpdate, LateData, RepairWhen, VerifyError, VerifyOptions};

use crate::changes::{raw_hours, total};
use crate::support::{HOUR, World, instants, readings, waiting};

fn late(hour: i64, node: &str) -> SourceDocument {
    SourceDocument::new().date("timestamp", hour * HOUR + 1).keyword("node", node).double("temperature", 7.5)
}

fn rolled_up_on(data: MemoryEngine) -> World {
    data.extend("sensor-1", readings());
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_repairing(RepairWhen::AfterRun);
    world.run("sensor");
    world
}

/// A value changes that no count tells of, a group comes, and another one goes: nobody has said a word.
fn spoilt(data: MemoryEngine) -> World {
    let world = rolled_up_on(data);
    let mut has_changed = false;
    let value = |document: &SourceDocument| document.fields().find(|(field, _)| *field == "temperature").is_some();
    world.data.retain("sensor-1", |document| {
        let is_first = value(document) && !std::mem::replace(&mut has_changed, true);
        !is_first
    });
    world
        .data
        .add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("temperature", -7.0));
    world.data.extend("sensor-1", [late(3, "b"), late(4, "new")]);
    world.data.retain("sensor-1", |document| {
        let of =
            |name: &str| document.fields().find(|(field, _)| *field == name).map(|(_, values)| format!("{values:?}"));
        !(of("node").unwrap().contains("\"c\"") && {
            let date = of("timestamp").unwrap();
            date.contains(&format!("({})", 8 * HOUR + 2 * HOUR / 6))
                || date.contains(&format!("({})", 8 * HOUR + 5 * HOUR / 6))
        })
    });
    world
}

#[test]
fn what_is_right_is_right() {
    for data in [MemoryEngine::new(), MemoryEngine::without_progress()] {
        let world = rolled_up_on(data);
        let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
        assert_eq!((found.right, found.is_right()), (30, true), "{found:?}");
        assert_eq!(found.to_string(), "30 groups are right, 0 are different, 0 are missing, 0 are too many");
        let found = world.manager.verify("sensor", &VerifyOptions::new().range(instants(2..4))).unwrap();
        assert_eq!((found.right, found.not_verified.len()), (6, 0));
    }
}

#[test]
fn what_is_not_is_told_of_and_mended() {
    for data in [MemoryEngine::new(), MemoryEngine::without_progress()] {
        let world = spoilt(data);
        let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
        assert_eq!((found.right, found.different, found.missing, found.too_many), (27, 2, 1, 1), "{found:?}");
        assert_eq!(found.not_right, [0..HOUR, 3 * HOUR..5 * HOUR, 8 * HOUR..9 * HOUR]);
        let different = &found.first_different[0];
        let (raw, rolled_up) = (different.raw.as_ref().unwrap(), different.rolled_up.as_ref().unwrap());
        assert_eq!((raw.min("temperature"), rolled_up.min("temperature")), (Some(-7.0), Some(0.0)));
        assert_eq!(found.first_missing[0].raw.as_ref().unwrap().text("node"), Some("new"));
        assert_eq!((&found.first_missing[0].rolled_up, &found.first_too_many[0].raw), (&None, &None));
        assert_eq!(raw_hours(&world), [], "nothing was changed");
        let found = world.manager.verify("sensor", &VerifyOptions::new().repair(true)).unwrap();
        assert!(!found.is_right());
        world.watcher.wait_for(&world.manager, "a repair", || {
            let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
            (found.is_right() && found.not_verified.is_empty()).then_some(())
        });
        assert_eq!(total(&world), 60);
    }
}

#[test]
fn what_is_known_to_have_changed_or_to_be_gone_is_left_out() {
    let world = spoilt(MemoryEngine::new());
    world.manager.note_change("sensor-1", instants(3..5)).unwrap();
    change_ledger(&*world.store, "sensor-1", |ledger| ledger.seals.push(0..HOUR)).unwrap();
    let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
    assert_eq!((found.different, found.missing, found.too_many), (0, 0, 1), "{found:?}");
    assert_eq!(found.not_verified, [0..HOUR, 3 * HOUR..5 * HOUR]);
    // An index is not there any more.
    assert!(world.data.remove_index("sensor-1"));
    let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
    assert_eq!((found.right, found.not_verified.len()), (0, 1), "{found:?}");
}

#[test]
fn of_a_stopped_job_it_is_repaired_when_it_is_started() {
    let world = spoilt(MemoryEngine::new());
    assert!(world.manager.stop("sensor", waiting()).unwrap().is_at_rest());
    let found = world.manager.verify("sensor", &VerifyOptions::new().repair(true)).unwrap();
    assert_eq!(found.different, 2);
    assert_eq!((total(&world), raw_hours(&world)), (60, vec![(0, 1), (3, 5), (8, 9)]), "and is read raw until then");
    world.manager.start("sensor").unwrap();
    world.run("sensor");
    assert!(world.manager.verify("sensor", &VerifyOptions::new()).unwrap().is_right());
}

#[test]
fn it_ends_when_nobody_wants_it_any_more() {
    let world = rolled_up_on(MemoryEngine::new());
    let cancel = SearchCancel::new();
    cancel.cancel();
    let ended = world.manager.verify("sensor", &VerifyOptions::new().cancel(cancel)).unwrap_err();
    assert!(matches!(ended, VerifyError::Cancelled { .. }), "{ended}");
    let ended = world.manager.verify("sensor", &VerifyOptions::new().timeout(std::time::Duration::ZERO)).unwrap_err();
    assert_eq!(ended.to_string(), "could not verify rollup job [sensor] in the time that was given");
    assert!(matches!(world.manager.verify("nobody", &VerifyOptions::new()), Err(VerifyError::NotFound { .. })));
}

/// A sum may be added up in another order, and is the same all the same.
#[test]
fn a_sum_in_another_order_is_right() {
    let data = MemoryEngine::new();
    let value = |at: i64, value: f64| {
        SourceDocument::new().date("timestamp", at).keyword("node", "a").double("temperature", value)
    };
    data.extend("sensor-1", (0..1_000_u32).map(|n| value(i64::from(n), 0.1 + f64::from(n) * 1e-7)));
    let world = World::on(data, |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    world.data.retain("sensor-1", |_| false);
    world.data.extend("sensor-1", (0..1_000_u32).rev().map(|n| value(i64::from(n), 0.1 + f64::from(n) * 1e-7)));
    let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
    assert_eq!((found.right, found.different), (1, 0));
    world.data.add("sensor-1", value(5, 1e-9));
    world.data.retain("sensor-1", |document| {
        !format!("{document:?}").contains("Date(5)") || format!("{document:?}").contains("1e-9")
    });
    assert!(!world.manager.verify("sensor", &VerifyOptions::new()).unwrap().is_right());
}

/// The embedded engine has no rollup index before there is something in it.
#[cfg(feature = "tantivy")]
#[test]
fn what_has_not_run_yet_is_not_wrong() {
    let engine = rollup_jobs::engine::tantivy::TantivyEngine::in_ram();
    engine.register("sensor-1", &crate::tantivy_harness::sensor_index(readings())).unwrap();
    let store = std::sync::Arc::new(rollup_jobs::store::MemoryStore::new());
    let manager = rollup_jobs::RollupJobManager::builder(std::sync::Arc::new(engine), store).open().unwrap();
    manager.put(crate::support::config("sensor").build().unwrap()).unwrap();
    let found = manager.verify("sensor", &VerifyOptions::new()).unwrap();
    assert_eq!(found, rollup_jobs::Verification::default());
}

/// A part with each run, until everything was held against raw documents.
#[test]
fn every_run_verifies_a_part() {
    let world = spoilt(MemoryEngine::new());
    let wrong = |world: &World| {
        let found = world.manager.verify("sensor", &VerifyOptions::new()).unwrap();
        found.different + found.missing + found.too_many
    };
    let mut left = vec![wrong(&world)];
    let late_data = LateData::new().repair(RepairWhen::AfterRun).verify_one_in(10);
    world.manager.update("sensor", JobUpdate::new().late_data(late_data.clone())).unwrap();
    for _ in 0..10 {
        world.run("sensor");
        left.push(wrong(&world));
    }
    assert!(left.is_sorted_by(|before, after| before >= after) && left[10] == 0, "{left:?}");
    left.dedup();
    // They are in four of ten hours.
    assert_eq!(left.len(), 5, "{left:?}");
    let notice = world.manager.get("sensor").unwrap().notice().unwrap().text().to_owned();
    assert!(notice.starts_with("a part was verified, and is rolled up again: "), "{notice}");

    let none = JobUpdate::new().late_data(late_data.verify_one_in(0));
    let error = world.manager.update("sensor", none).unwrap_err().to_string();
    assert!(error.contains("[verify_one_in] has to be at least 1"), "{error}");
}
