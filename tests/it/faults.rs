//! Every engine call of a whole run fails, by every kind of fault, at every n. Afterwards the documents equal those
//! of a run without faults, and the status has told the truth.

use std::time::Duration;

use rollup_jobs::engine::MemoryEngine;
use rollup_jobs::testing::{EngineFault, StoreCall, StoreFault};
use rollup_jobs::{HealthColor, JobError, JobState, RetryOptions};

use crate::support::{World, readings, undisturbed};

fn fail_every_call(data: impl Fn() -> MemoryEngine, fault: EngineFault) {
    let expected = undisturbed("sensor");
    for call in 1.. {
        let data = data();
        data.extend("sensor-1", readings());
        let (world, engine) = World::faulty(data, fault);
        world.put_started("sensor");
        engine.fail_at(call);
        let mut run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        let failed = engine.has_failed();
        let status = world.status("sensor");
        assert_eq!(status.state(), JobState::Started);
        assert_eq!(!status.last_errors().is_empty(), failed, "{fault:?} {call}");
        if !matches!(fault, EngineFault::Panic | EngineFault::ItemUnavailable) {
            let (search, index) = (status.stats().search_failures(), status.stats().index_failures());
            assert_eq!(search + index, u64::from(failed), "{fault:?} {call}");
        }
        if matches!(fault, EngineFault::Rejected | EngineFault::Panic) && failed {
            assert_eq!(status.health().color(), HealthColor::Yellow, "{fault:?} {call}");
        }
        // The next trigger has what is left; after a transient fault nothing is.
        engine.heal();
        run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        assert_eq!(world.documents(), expected, "{fault:?} at call {call}");
        let status = world.status("sensor");
        assert_eq!(status.health().color(), HealthColor::Green);
        assert_eq!(
            (status.stats().documents_processed(), status.stats().rollups_indexed()),
            (60, 30),
            "{fault:?} {call}"
        );
        if !failed {
            assert!(call > 25, "the whole run was tried: {call} calls");
            return;
        }
    }
}

#[test]
fn transient_faults() {
    fail_every_call(MemoryEngine::new, EngineFault::Unavailable);
    fail_every_call(MemoryEngine::without_progress, EngineFault::Unavailable);
}

#[test]
fn permanent_faults() {
    fail_every_call(MemoryEngine::new, EngineFault::Rejected);
    fail_every_call(MemoryEngine::without_progress, EngineFault::Rejected);
}

#[test]
fn panics() {
    fail_every_call(MemoryEngine::new, EngineFault::Panic);
    fail_every_call(MemoryEngine::without_progress, EngineFault::Panic);
}

#[test]
fn commits_that_take_place_and_fail() {
    fail_every_call(MemoryEngine::new, EngineFault::UnavailableAfterwards);
    fail_every_call(MemoryEngine::without_progress, EngineFault::UnavailableAfterwards);
}

#[test]
fn rejected_items() {
    fail_every_call(MemoryEngine::without_progress, EngineFault::ItemUnavailable);
}

/// A store that cannot be reached for a moment is no reason to wait for the next scheduled time.
#[test]
fn a_run_goes_on_after_a_save_that_failed_for_a_moment() {
    for call in 1..=3 {
        let (world, store) = World::faulty_store();
        world.put_started("sensor");
        store.fail_at(call, StoreFault::Unavailable);
        let run = world.manager.trigger("sensor").unwrap().run();
        world.let_pauses_pass_until_end_of_run(run);
        assert!(store.has_failed(), "{call}");
        assert_eq!(world.documents(), undisturbed("sensor"), "{call}");
        let status = world.status("sensor");
        assert!(status.last_errors()[0].is_transient(), "it is noted: {status:?}");
        assert_eq!((status.health().color(), status.run()), (HealthColor::Green, run), "{call}");
        assert_eq!(world.store.record("sensor").progress().position, status.position().cloned(), "{call}");
    }
}

/// What is committed without being saved is redone after a crash: a store that refuses all the time ends the run,
/// however well the engine does.
#[test]
fn a_run_does_not_go_on_for_ever_without_being_saved() {
    let (world, store) = World::faulty_store();
    world.put_started("sensor");
    let run = world.manager.trigger("sensor").unwrap().run();
    store.refuse(&[StoreCall::Update]);
    world.let_pauses_pass_until_end_of_run(run);
    let status = world.status("sensor");
    assert_eq!(status.health().color(), HealthColor::Red, "{status:?}");
    assert!(world.documents().len() < undisturbed("sensor").len(), "it was not at the end");
    store.heal();
    let run = world.manager.trigger("sensor").unwrap().run();
    world.let_pauses_pass_until_end_of_run(run);
    assert_eq!(world.documents(), undisturbed("sensor"));
}

/// Each pause is twice as long as the one before it, up to the longest, and as much as half of it may be left out.
#[test]
fn tries_keep_the_pauses_that_were_asked_for() {
    let retry =
        RetryOptions::new().initial_delay(Duration::from_secs(10)).max_delay(Duration::from_secs(40)).attempts(6);
    let (world, store) = World::faulty_store_with(|builder| builder.retry(retry));
    world.put_started("sensor");
    let run = world.manager.trigger("sensor").unwrap().run();
    store.refuse(&[StoreCall::Update]);
    world.let_pauses_pass_until_end_of_run(run);
    let tries: Vec<_> = world.status("sensor").last_errors().iter().map(JobError::at).collect();
    let pauses = tries.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs());
    let shortest = [5, 10, 20, 20, 20];
    assert_eq!(pauses.len(), shortest.len());
    assert!(pauses.zip(shortest).all(|(pause, shortest)| pause >= shortest), "{tries:?}");
}

#[cfg(feature = "tantivy")]
mod with_tantivy {
    use super::*;
    use crate::support::config;
    use crate::tantivy_harness::TantivyHarness;
    use rollup_jobs::engine::Engine;
    use rollup_jobs::testing::{EngineHarness, FaultyEngine};
    use std::sync::Arc;

    /// The same on tantivy, which adds and never replaces: a document that was there twice would stay.
    #[test]
    fn tantivy() {
        for fault in
            [EngineFault::Unavailable, EngineFault::Rejected, EngineFault::Panic, EngineFault::UnavailableAfterwards]
        {
            for call in 1.. {
                let harness = TantivyHarness::in_ram();
                harness.create_index("sensor-1", &fields());
                harness.add("sensor-1", &readings().collect::<Vec<_>>());
                let engine = FaultyEngine::new(harness.engine.clone() as Arc<dyn Engine>, fault);
                let world = World::on(MemoryEngine::new(), |_| Arc::new(engine.clone()), |builder| builder);
                world.manager.put(config("sensor").page_size(10).build().unwrap()).unwrap();
                world.manager.start("sensor").unwrap();
                engine.fail_at(call);
                for _ in 0..2 {
                    let run = world.manager.trigger("sensor").unwrap().run();
                    world.let_pauses_pass_until_end_of_run(run);
                }
                let index = harness.engine.rollup_index("rolled", "sensor").unwrap().unwrap();
                assert_eq!(
                    crate::tantivy_harness::read_rollup(&index),
                    undisturbed("sensor"),
                    "{fault:?} at call {call}"
                );
                if !engine.has_failed() {
                    assert!(call > 12, "the whole run was tried: {call} calls");
                    break;
                }
            }
        }
    }

    fn fields() -> [(&'static str, rollup_jobs::engine::FieldType); 3] {
        use rollup_jobs::engine::FieldType;
        [("timestamp", FieldType::Date), ("node", FieldType::Keyword), ("temperature", FieldType::Double)]
    }
}
