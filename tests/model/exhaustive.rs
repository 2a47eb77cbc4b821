//! The lifecycle alone, under every interleaving (loom): the smallest three scenarios.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use loom::thread;

use crate::SystemClock;
use crate::clock::Deadline;
use crate::job::{JobState, Progress};
use crate::lifecycle::{EndOfTurn, Lifecycle, Published, Revisions, Stop, Ticket, WaitOutcome, WakerKey};
use crate::observer::RunOutcome;

struct Job {
    lifecycle: Lifecycle<()>,
    revisions: Revisions,
}

/// A job whose run an indexer thread has taken.
fn indexing() -> Arc<Job> {
    let lifecycle = Lifecycle::new(JobState::Stopped, Arc::default(), 0, Duration::ZERO, false);
    let job = Job { lifecycle, revisions: Revisions::default() };
    start_and_trigger(&job);
    job.lifecycle.take_turn(Duration::ZERO).unwrap();
    Arc::new(job)
}

fn start_and_trigger(job: &Job) {
    let _ = job.lifecycle.start(&job.revisions);
    let _run = job.lifecycle.trigger(Duration::ZERO, |_, _| ());
}

/// The end of a turn on an indexer thread; the store takes everything.
fn end_turn(job: &Job) {
    let end = EndOfTurn::Over(RunOutcome::Finished);
    loop {
        let (_, is_stop) = job.lifecycle.end_of_turn(end, Some(&Progress::default()), Duration::ZERO, &job.revisions);
        if !matches!(job.lifecycle.publish((), end, is_stop, &Ok(()), Duration::ZERO), Published::Again(())) {
            return;
        }
    }
}

/// Asks for a stop, and finishes it if that is for the caller to do. The ticket is of one that somebody else finishes.
fn request(job: &Job) -> Option<Ticket> {
    let Stop { ticket, .. } = job.lifecycle.stop(Duration::ZERO, &job.revisions).ok().unwrap();
    if !ticket.ends_elsewhere {
        job.lifecycle.stop_saved(ticket, &Ok(()), Duration::ZERO);
    }
    ticket.ends_elsewhere.then_some(ticket)
}

fn stop_and_wait(job: &Job) {
    if let Some(ticket) = request(job) {
        let outcome = job.lifecycle.wait_for_stop(ticket, &SystemClock::new(), Deadline::NEVER);
        assert!(matches!(outcome, WaitOutcome::Completed));
    }
}

#[test]
fn a_stop_meets_the_end_of_a_turn() {
    loom::model(|| {
        let job = indexing();
        let indexer = thread::spawn({
            let job = Arc::clone(&job);
            move || end_turn(&job)
        });
        stop_and_wait(&job);
        indexer.join().unwrap();
        assert_eq!(job.lifecycle.view().state, JobState::Stopped);
    });
}

#[test]
fn two_stoppers_of_which_one_restarts() {
    loom::model(|| {
        let job = indexing();
        let indexer = thread::spawn({
            let job = Arc::clone(&job);
            move || end_turn(&job)
        });
        let other = thread::spawn({
            let job = Arc::clone(&job);
            move || stop_and_wait(&job)
        });
        stop_and_wait(&job);
        start_and_trigger(&job);
        indexer.join().unwrap();
        other.join().unwrap();
    });
}

/// A stop as a future, without the manager around it.
struct Completion(Arc<Job>, Ticket, Option<WakerKey>);

impl Future for Completion {
    type Output = WaitOutcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<WaitOutcome> {
        let Self(job, ticket, key) = self.get_mut();
        job.lifecycle.poll_stop(*ticket, key, context.waker().clone()).map_or(Poll::Pending, Poll::Ready)
    }
}

#[test]
fn a_task_awaits_a_stop_while_the_turn_ends() {
    loom::model(|| {
        let job = indexing();
        let ticket = request(&job);
        let indexer = thread::spawn({
            let job = Arc::clone(&job);
            move || end_turn(&job)
        });
        let outcome = loom::future::block_on(Completion(Arc::clone(&job), ticket.unwrap(), None));
        assert!(matches!(outcome, WaitOutcome::Completed));
        indexer.join().unwrap();
    });
}
