//! What has changed is rolled up again, whoever meets whom: no note is lost, and none is taken up by what is older.

use super::world::{ID, World, at_rest, check, pause, stop};
use crate::{DeleteError, JobState, SealError, StopOptions};

/// Two hosts' threads note the same range, and one another, while a run goes on.
#[test]
fn notes_during_turns() {
    check(|| {
        let world = World::new(1);
        world.manager.start(ID).unwrap();
        let _ = world.manager.trigger(ID);
        let writers = [world.late(0), world.late(0), world.late(2)];
        for writer in writers {
            writer.join().unwrap();
        }
        world.run_to_the_end();
        assert_eq!(world.counts(), [3, 1, 2]);
        at_rest(stop(&world.manager));
        world.check_stopped();
        world.end();
    });
}

#[test]
fn a_repair_against_a_stop() {
    check(|| {
        let world = World::rolled_up();
        let (writer, stopper) = (world.late(1), world.spawn(|manager| at_rest(stop(manager))));
        writer.join().unwrap();
        stopper.join().unwrap();
        world.check_stopped();
        let counts = world.counts();
        assert!(counts == [1, 1, 1] || counts == [1, 2, 1], "the old documents or the new ones: {counts:?}");
        world.manager.start(ID).unwrap();
        world.run_to_the_end();
        assert_eq!(world.counts(), [1, 2, 1]);
        at_rest(stop(&world.manager));
        world.end();
    });
}

/// What is sealed is rolled up for good: a document that was let in before is in it, and none is let in after.
#[test]
fn a_repair_against_a_seal() {
    check(|| {
        let world = World::rolled_up();
        let host = world.begins_and_ends_a_change(1);
        let sealer = world.spawn(|manager| {
            let before = crate::jiff::Timestamp::from_second(2 * 3_600).unwrap();
            (0..3).any(|_| {
                pause();
                match manager.seal_before("source", before) {
                    Ok(()) => true,
                    Err(SealError::NotSafe { .. } | SealError::NotRight { .. }) => false,
                    Err(other) => panic!("{other}"),
                }
            })
        });
        let is_sealed = sealer.join().unwrap();
        if is_sealed {
            let sealed = world.counts();
            let came = host.join().unwrap();
            assert_eq!(sealed, [1, 1 + u64::from(came), 1], "it was all there when it was sealed");
        } else {
            assert!(host.join().unwrap(), "nobody has sealed");
            world.run_to_the_end();
            assert_eq!(world.counts(), [1, 2, 1]);
        }
        at_rest(stop(&world.manager));
        world.check_stopped();
        // A seal counts in the thread of its caller, beside the job's own: nobody looks at who is at work.
        drop(world);
    });
}

/// Whoever waits for a repair is told how it ends, also when the job is stopped and deleted meanwhile.
#[test]
fn a_refresh_against_a_stop_and_a_delete() {
    check(|| {
        let world = World::rolled_up();
        let waiter = world.spawn(|manager| {
            let at = |hour: i64| crate::jiff::Timestamp::from_second(hour * 3_600).unwrap();
            manager.refresh(ID, at(1)..at(3)).and_then(|refresh| refresh.wait(std::time::Duration::MAX))
        });
        let deleter = world.spawn(|manager| {
            let _ = manager.stop(ID, StopOptions::new());
            manager.delete(ID)
        });
        let _done_or_not = waiter.join().unwrap();
        match deleter.join().unwrap() {
            Ok(()) => assert!(world.manager.get(ID).is_none()),
            Err(DeleteError::NotStopped { .. }) => {
                at_rest(stop(&world.manager));
                assert_eq!(world.manager.get(ID).unwrap().state(), JobState::Stopped);
            }
            Err(other) => panic!("{other}"),
        }
        world.end();
    });
}
