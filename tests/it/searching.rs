//! What becomes of a page that comes too late, comes wrong, or does not come, and what of a job's searches is counted.

use std::sync::Mutex;
use std::time::Duration;

use rollup_jobs::JobState;
use rollup_jobs::engine::EngineError;
use rollup_jobs::rollup::Page;

use crate::answering::Answering;
use crate::support::{Heard, JoinInTime, PATIENCE, World, hold, loaded};

/// A started job, whose runs are one turn, and get these answers.
fn world(answer: impl Fn(usize, Page) -> Result<Page, EngineError> + Send + Sync + 'static) -> World {
    let wrap = |engine| Answering::new(engine).searches(answer);
    let (world, _) = World::wrapped(loaded(), wrap, |builder| builder.turn_time(Duration::MAX));
    world.put_started("sensor");
    world
}

/// The errors of the job, and how many searches have failed.
fn failures(world: &World) -> (Vec<String>, u64) {
    let status = world.status("sensor");
    (status.last_errors().iter().map(ToString::to_string).collect(), status.stats().search_failures())
}

#[test]
fn every_search_and_every_page_counts() {
    let world = world(|_, page| Ok(page));
    world.run("sensor");
    let status = world.status("sensor");
    let stats = status.stats();
    // The last search finds nothing.
    assert_eq!((stats.search_total(), stats.pages_processed(), stats.processing_total()), (9, 9, 8));
    assert_eq!((stats.documents_processed(), stats.rollups_indexed(), stats.index_total()), (60, 30, 8));
    assert_eq!(failures(&world), (Vec::new(), 0));
    world.manager.shutdown(PATIENCE).unwrap();
    let turns = world.watcher.heard().into_iter().filter(|heard| matches!(heard, Heard::Turn(..))).count();
    assert_eq!(turns, 1, "there is time for all of them");
}

#[test]
fn a_page_that_comes_after_the_stop_is_not_wanted() {
    let (hold, inside, leave) = hold();
    let world = world(move |n, page| {
        if n == 3 {
            hold();
        }
        Ok(page)
    });
    world.manager.trigger("sensor").unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let stop = world.stop_in_thread("sensor", PATIENCE);
    world.wait_for_state("sensor", JobState::Stopping);
    leave.send(()).unwrap();
    assert!(stop.join_in_time().unwrap().is_at_rest());
    let status = world.status("sensor");
    assert_eq!((status.stats().pages_processed(), status.stats().search_total()), (2, 2));
    assert_eq!(world.documents().len(), 8, "what was there before is kept");
}

/// The stop is no reason to hide that the engine has failed.
#[test]
fn a_search_that_fails_under_a_stop_is_told_of() {
    let (hold, inside, leave) = hold();
    let world = world(move |_, _| {
        hold();
        Err(EngineError::rejected("planned refusal"))
    });
    world.manager.trigger("sensor").unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let stop = world.stop_in_thread("sensor", PATIENCE);
    world.wait_for_state("sensor", JobState::Stopping);
    leave.send(()).unwrap();
    assert!(stop.join_in_time().unwrap().is_at_rest());
    let (errors, failures) = failures(&world);
    assert_eq!((errors.len(), failures), (1, 1));
    assert!(errors[0].contains("planned refusal"), "{errors:?}");
}

/// Nobody has asked for it: the run would otherwise ask again for ever, at full speed.
#[test]
fn a_search_that_is_given_up_without_a_stop_has_failed() {
    let world = world(|n, page| if n == 1 { Err(EngineError::cancelled()) } else { Ok(page) });
    let run = world.manager.trigger("sensor").unwrap().run();
    world.let_pauses_pass_until_end_of_run(run);
    assert_eq!(failures(&world).1, 1);
}

#[test]
fn what_was_written_before_a_search_failed_is_kept() {
    let first: Mutex<Option<Page>> = Mutex::default();
    let again = move |n: usize, page: Page| {
        let mut first = first.lock().unwrap();
        let first = first.get_or_insert_with(|| page.clone());
        Ok(if n == 3 { first.clone() } else { page })
    };
    let refuse = |n: usize, page: Page| if n == 3 { Err(EngineError::rejected("planned refusal")) } else { Ok(page) };
    for (world, reason) in [(world(again), "out of order"), (world(refuse), "planned refusal")] {
        world.run("sensor");
        let (errors, failures) = failures(&world);
        assert_eq!((errors.len(), failures), (1, 1), "{reason}");
        assert!(errors[0].contains(reason), "{errors:?}");
        assert_eq!(world.documents().len(), 8, "{reason}");
    }
}
