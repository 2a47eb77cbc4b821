//! Source indices that come late, or are gone: a run says when it reads fewer than the one before.

use rollup_jobs::engine::{MemoryEngine, SourceDocument};
use rollup_jobs::{HealthColor, JobState};

use std::time::Duration;

use crate::support::{Heard, World, loaded, now, undisturbed};

/// Two indices of five hours each.
fn halves() -> MemoryEngine {
    let engine = MemoryEngine::new();
    for (n, reading) in crate::support::readings().enumerate() {
        engine.add(if n < 30 { "sensor-old" } else { "sensor-new" }, reading);
    }
    engine
}

#[test]
fn a_manager_that_is_opened_paused_waits_for_its_sources() {
    let world = World::new();
    world.put_indexing("sensor");
    world.gates.search().let_through(1);
    world.wait_for("sensor", "its first page to be saved", |status| status.stats().pages_processed() == 1);
    let after = world.after_crash_with(|builder| builder.indexer_threads(1).paused(true));
    assert!(after.manager.is_paused());
    let status = after.status("sensor");
    assert_eq!((status.state(), status.health().color()), (JobState::Indexing, HealthColor::Yellow));
    after.put_started("other");
    after.manager.trigger("other").unwrap();
    after.watcher.wait_for(&after.manager, "the thread to have nothing to do but to tell", || {
        let told = |heard: &Heard| match heard {
            Heard::State(id, change) => id == "other" && change.to == JobState::Indexing,
            _ => false,
        };
        after.watcher.heard().iter().any(told).then_some(())
    });
    assert!(after.manager.stop("other", crate::support::waiting()).unwrap().is_at_rest(), "what waits can be stopped");
    assert_eq!(after.gates.search().arrived(), 0, "nothing runs");
    after.gates.search().open();
    after.manager.resume();
    assert!(!after.manager.is_paused());
    after.wait_for_state("sensor", JobState::Started);
    assert_eq!(after.documents(), undisturbed("sensor"));
    assert_eq!(after.status("sensor").health().color(), HealthColor::Green);
}

#[test]
fn a_run_says_which_indices_are_gone_and_stays_green() {
    let world = World::on(halves(), |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert_eq!(world.status("sensor").notice(), None);
    assert!(world.data.remove_index("sensor-old"));
    world.clock.advance(Duration::from_hours(1));
    world.run("sensor");
    let status = world.status("sensor");
    let notice = status.notice().expect("a notice").text();
    assert_eq!(notice, "source indices that were there before are gone: sensor-old");
    assert_eq!(status.health().color(), HealthColor::Green);
    // It is news once.
    let run = status.notice().unwrap().run();
    world.clock.advance(Duration::from_hours(1));
    world.run("sensor");
    assert_eq!(world.status("sensor").notice().unwrap().run(), run);
}

/// Of many it names ten.
#[test]
fn a_run_that_misses_many_indices_names_some_and_counts_the_others() {
    for (many, text) in [(10, "sensor-08, sensor-09"), (12, "sensor-08, sensor-09 and 2 more")] {
        let world = World::new();
        let names: Vec<_> = (0..many).map(|n| format!("sensor-{n:02}")).collect();
        for name in &names {
            world.data.add(name, SourceDocument::new().date("timestamp", 0).keyword("node", "a"));
        }
        world.put_started("sensor");
        world.run("sensor");
        for name in &names {
            assert!(world.data.remove_index(name));
        }
        world.clock.advance(Duration::from_hours(1));
        world.run("sensor");
        let notice = world.status("sensor").notice().expect("a notice").text().to_owned();
        assert!(notice.ends_with(text), "{notice}");
    }
}

#[test]
fn which_indices_there_were_is_known_after_a_restart() {
    let world = World::on(halves(), |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.data.remove_index("sensor-old"));
    let after = world.after_crash();
    after.gates.search().open();
    after.clock.advance(Duration::from_hours(1));
    after.run("sensor");
    assert!(after.status("sensor").notice().unwrap().text().ends_with("sensor-old"));
}

#[test]
fn a_pattern_that_means_no_index_any_more_is_yellow() {
    let world = World::on(loaded(), |engine| engine, |builder| builder);
    world.put_started("sensor");
    world.run("sensor");
    assert!(world.data.remove_index("sensor-1"));
    world.clock.advance(Duration::from_hours(1));
    for _ in 0..2 {
        world.run("sensor");
        let status = world.status("sensor");
        assert_eq!(status.health().color(), HealthColor::Yellow);
        let reason = "the index pattern [sensor-*] means no index any more: nothing can be rolled up";
        assert_eq!(status.health().reason(), Some(reason));
    }
    world.data.add("sensor-2", SourceDocument::new().date("timestamp", now()).keyword("node", "a"));
    world.run("sensor");
    assert_eq!(world.status("sensor").health().color(), HealthColor::Green);
    assert_eq!(world.documents().len(), 31);
}
