use super::*;

fn job(state: JobState) -> (Lifecycle<()>, Revisions) {
    (Lifecycle::new(state, Progress::default(), 0, Duration::ZERO, false), Revisions::default())
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
