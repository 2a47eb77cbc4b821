use super::*;
use crate::clock::{Deadline, SystemClock};

fn job(state: JobState) -> (Lifecycle<()>, Revisions) {
    (Lifecycle::new(state, Arc::default(), 0, Duration::ZERO, false), Revisions::default())
}

/// Somebody has found the job before it was deleted, and gets to it afterwards.
#[test]
fn a_job_that_was_deleted_meanwhile_does_nothing_any_more() {
    let (job, revisions) = job(JobState::Stopped);
    job.delete(Duration::ZERO).unwrap();
    job.deleted();
    assert_eq!(job.start(&revisions).err(), Some(Refused::Gone));
    assert_eq!(job.trigger(Duration::ZERO, |_, _| ()).err(), Some(Refused::Gone));
    assert_eq!(job.delete(Duration::ZERO).err(), Some(Refused::Gone));
    assert_eq!(job.update(&revisions).err(), Some(Refused::Gone));
    assert_eq!(job.stop(Duration::ZERO, &revisions).err(), Some(Refused::Gone));
    assert!(job.stop_at_rest().is_none());
}

/// The manager goes while a turn is under way: whatever the run wants to do next, it is parked as it is.
#[test]
fn a_run_goes_no_further_than_its_turn_in_a_shutdown() {
    for end in [EndOfTurn::Continue, EndOfTurn::BackOff] {
        let (job, revisions) = at_work();
        job.shut_down(&revisions, Duration::ZERO);
        let published = end_turn_with(end, &job, &revisions, &Ok(()));
        assert!(matches!(published, Published::Over(())), "{end:?}");
        assert_eq!((job.view().state, job.view().phase), (JobState::Indexing, Phase::Idle), "{end:?}");
    }
}

/// A stop ends the run: it was stopped, unless it has failed by itself before it could be.
#[test]
fn a_run_that_fails_while_it_is_stopped_has_failed() {
    for (end, outcome) in [
        (EndOfTurn::Continue, RunOutcome::Stopped),
        (EndOfTurn::Over(RunOutcome::Finished), RunOutcome::Stopped),
        (EndOfTurn::Over(RunOutcome::Failed), RunOutcome::Failed),
    ] {
        let revisions = Revisions::default();
        let job = Lifecycle::new(JobState::Started, Arc::default(), 0, Duration::ZERO, true);
        begin_turn(&job);
        let _ticket = stop(&job, &revisions).ticket;
        end_turn_with(end, &job, &revisions, &Ok(()));
        let ended = job.next_events(false).into_iter().find_map(|event| match event {
            Event::Run(ended) => Some(ended.outcome),
            _ => None,
        });
        assert_eq!(ended, Some(outcome), "{end:?}");
    }
}

/// A turn has come to no end, by a bug: whoever waits for it hears so, and the job can be stopped again.
#[test]
fn a_turn_that_was_lost_keeps_nobody_waiting() {
    let (job, revisions) = at_work();
    job.turn_was_lost(Duration::ZERO);
    assert_eq!((job.view().state, job.view().phase), (JobState::Started, Phase::Idle));
    begin_turn(&job);
    let stopping = stop(&job, &revisions);
    job.turn_was_lost(Duration::ZERO);
    assert!(matches!(outcome(&job, stopping.ticket), WaitOutcome::Refused(_)));
    let retry = job.retry_stop(Duration::ZERO, &revisions).expect("it was not saved");
    job.stop_saved(retry.ticket, &Ok(()), Duration::ZERO);
    assert_eq!(job.view().state, JobState::Stopped);
}

/// The manager goes: what is at rest can be stopped, and nothing begins.
#[test]
fn nothing_begins_during_a_shutdown() {
    for state in [JobState::Stopped, JobState::Started] {
        let (job, revisions) = job(state);
        job.shut_down(&revisions, Duration::ZERO);
        assert_eq!(job.start(&revisions).err(), Some(Refused::ShutDown));
        assert_eq!(job.trigger(Duration::ZERO, |_, _| ()).err(), Some(Refused::ShutDown));
        assert_eq!(job.delete(Duration::ZERO).err(), Some(Refused::ShutDown));
        assert!(job.stop(Duration::ZERO, &revisions).is_ok());
    }
}

/// The store refuses to save the end of a stop: one retry is planned for it, however many look.
#[test]
fn a_refused_stop_is_planned_to_be_saved_again_once() {
    let (job, revisions) = job(JobState::Started);
    assert!(!job.has_unsaved_stop());
    assert_eq!(job.plan_retry(), None);
    let refused = Err(StoreError::unavailable("planned refusal"));
    for in_a_row in 1..3 {
        let stop = if in_a_row == 1 {
            job.stop(Duration::ZERO, &revisions).ok()
        } else {
            job.retry_stop(Duration::ZERO, &revisions)
        };
        assert!(!job.has_unsaved_stop(), "somebody saves it");
        job.stop_saved(stop.unwrap().ticket, &refused, Duration::ZERO);
        assert!(job.has_unsaved_stop());
        assert_eq!(job.plan_retry(), Some(in_a_row));
        assert_eq!(job.plan_retry(), None, "it is planned");
    }
    let stop = job.retry_stop(Duration::ZERO, &revisions).unwrap();
    job.stop_saved(stop.ticket, &Ok(()), Duration::ZERO);
    assert!(!job.has_unsaved_stop() && job.retry_stop(Duration::ZERO, &revisions).is_none());
    assert_eq!(job.plan_retry(), None);
}

/// A job whose run an indexer thread has.
fn at_work() -> (Lifecycle<()>, Revisions) {
    let (job, revisions) = job(JobState::Started);
    begin_turn(&job);
    (job, revisions)
}

fn begin_turn(job: &Lifecycle<()>) {
    job.trigger(Duration::ZERO, |_, _| ()).unwrap();
    job.take_turn(Duration::ZERO).expect("the run waits for a thread");
}

fn end_turn(job: &Lifecycle<()>, revisions: &Revisions, saved: &Result<(), StoreError>) {
    end_turn_with(EndOfTurn::Continue, job, revisions, saved);
}

fn end_turn_with(
    end: EndOfTurn,
    job: &Lifecycle<()>,
    revisions: &Revisions,
    saved: &Result<(), StoreError>,
) -> Published<()> {
    let (_, is_stop) = job.end_of_turn(end, Some(&Progress::default()), Duration::ZERO, revisions);
    job.publish((), end, is_stop, saved, Duration::ZERO)
}

/// A timer that was set for a run that is over fires while the next one backs off.
#[test]
fn the_back_off_of_a_former_run_does_not_end_that_of_the_next() {
    let (job, revisions) = at_work();
    end_turn_with(EndOfTurn::BackOff, &job, &revisions, &Ok(()));
    let stopped = stop(&job, &revisions);
    job.stop_saved(stopped.ticket, &Ok(()), Duration::ZERO);
    let start = job.start(&revisions).unwrap().expect("it was stopped");
    job.start_saved(start.number);
    begin_turn(&job);
    end_turn_with(EndOfTurn::BackOff, &job, &revisions, &Ok(()));
    assert!(!job.end_back_off(1, Duration::ZERO), "it is over");
    assert!(job.end_back_off(2, Duration::ZERO));
    assert!(!job.end_back_off(2, Duration::ZERO), "it is queued");
}

fn stop(job: &Lifecycle<()>, revisions: &Revisions) -> Stop<()> {
    job.stop(Duration::ZERO, revisions).unwrap_or_else(|refused| panic!("{refused:?}"))
}

fn outcome(job: &Lifecycle<()>, ticket: Ticket) -> WaitOutcome {
    job.wait_for_stop(ticket, &SystemClock::new(), Deadline::since(Duration::ZERO, Duration::ZERO))
}

/// What an earlier stop has saved is no reason to save a later one not.
#[test]
fn each_stop_is_made_durable_once() {
    let (job, revisions) = at_work();
    for _ in 0..2 {
        let first = stop(&job, &revisions);
        assert!(first.ticket.ends_elsewhere && first.save.is_some());
        assert!(stop(&job, &revisions).save.is_some(), "nobody knows yet whether that one is saved");
        job.stop_saved(first.ticket, &Ok(()), Duration::ZERO);
        assert!(stop(&job, &revisions).save.is_none());
        end_turn(&job, &revisions, &Ok(()));
        job.start(&revisions).unwrap();
        begin_turn(&job);
    }
}

/// A stop of a job at rest has nothing to say of what was started since.
#[test]
fn a_stop_at_rest_does_not_end_a_later_run() {
    let (job, revisions) = job(JobState::Stopped);
    let at_rest = stop(&job, &revisions);
    assert!(!at_rest.ticket.ends_elsewhere && at_rest.save.is_none());
    job.start(&revisions).unwrap();
    job.trigger(Duration::ZERO, |_, _| ()).unwrap();
    for saved in [Ok(()), Err(StoreError::unavailable("planned refusal"))] {
        job.stop_saved(at_rest.ticket, &saved, Duration::ZERO);
    }
    assert_eq!(job.view().state, JobState::Indexing);
    assert!(job.take_turn(Duration::ZERO).is_some());
}

/// Whoever joins a stop while its save is tried again waits for that, and does not hear of the refusal before.
#[test]
fn a_waiter_hears_only_of_refusals_after_its_own_request() {
    let (job, revisions) = at_work();
    let first = stop(&job, &revisions);
    end_turn(&job, &revisions, &Err(StoreError::unavailable("planned refusal")));
    assert!(matches!(outcome(&job, first.ticket), WaitOutcome::Refused(_)));
    let retry = job.retry_stop(Duration::ZERO, &revisions).expect("a retry");
    let joined = stop(&job, &revisions);
    assert!(joined.ticket.ends_elsewhere);
    assert!(matches!(outcome(&job, joined.ticket), WaitOutcome::TimedOut));
    job.stop_saved(retry.ticket, &Ok(()), Duration::ZERO);
    for ticket in [first.ticket, joined.ticket] {
        assert!(matches!(outcome(&job, ticket), WaitOutcome::Completed));
    }
}

/// The manager's threads are gone: nobody completes a stop any more.
#[test]
fn after_a_shutdown_nothing_is_promised() {
    let (job, revisions) = at_work();
    let under_way = stop(&job, &revisions);
    job.close();
    assert!(matches!(outcome(&job, under_way.ticket), WaitOutcome::ShutDown));
    assert_eq!(job.stop_at_hand().map(Result::err), Some(Some(Refused::ShutDown)));
    assert_eq!(job.stop(Duration::ZERO, &revisions).err(), Some(Refused::ShutDown));
}

/// Who tells the observers is looked for once, and not at all where there are none.
#[test]
fn delivery_is_asked_for_once() {
    for observed in [false, true] {
        let job = Lifecycle::<()>::new(JobState::Stopped, Arc::default(), 0, Duration::ZERO, observed);
        assert!(!job.wants_delivery());
        job.start(&Revisions::default()).unwrap();
        assert_eq!([job.wants_delivery(), job.wants_delivery()], [observed, false]);
    }
}

/// The alarm of a run that was stopped meanwhile does not end the back-off of a later one.
#[test]
fn a_back_off_ends_with_its_own_alarm() {
    let (job, revisions) = at_work();
    let back_off = || {
        end_turn_with(EndOfTurn::BackOff, &job, &revisions, &Ok(()));
        job.view().run
    };
    let first = back_off();
    let stopped = stop(&job, &revisions);
    job.stop_saved(stopped.ticket, &Ok(()), Duration::ZERO);
    job.start(&revisions).unwrap();
    begin_turn(&job);
    let second = back_off();
    assert!(!job.end_back_off(first, Duration::ZERO));
    assert_eq!(job.view().phase, Phase::BackingOff);
    assert!(job.end_back_off(second, Duration::ZERO));
    assert_eq!(job.view().phase, Phase::Queued);
}
