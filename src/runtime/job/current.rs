//! The job as engines get it, which only an update of its settings changes.

use std::ops::Deref;

use super::Job;
use crate::engine::JobContext;
use crate::guard::discard;
use crate::job::RollupJobConfig;
use crate::lifecycle::{Refused, Snapshot};
use crate::sync::{Arc, Mutex, MutexGuard, RwLock};

/// A job's configuration, as engines get it. A run keeps the one that it was begun with.
pub(super) struct CurrentContext {
    now: RwLock<Current>,
    changing: Mutex<()>,
}

/// A configuration, and whether the rollup index knows it.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) context: JobContext,
    /// The rollup index has former settings, until the next run tells it.
    pub(super) redefine: bool,
}

impl CurrentContext {
    pub(super) fn new(context: JobContext, redefine: bool) -> Self {
        Self { now: RwLock::new(Current { context, redefine }), changing: Mutex::new(()) }
    }

    /// What it is, for a look: it cannot be changed meanwhile.
    pub(super) fn now(&self) -> impl Deref<Target = Current> {
        self.now.read()
    }

    fn set(&self, current: Current) {
        *self.now.write() = current;
    }

    /// The rollup index knows `context` now. It may have been changed again meanwhile.
    pub(super) fn is_known(&self, context: &JobContext) {
        let mut now = self.now.write();
        if Arc::ptr_eq(now.context.definition(), context.definition()) {
            now.redefine = false;
        }
    }
}

/// A change of a job's settings, under way: nobody else makes one meanwhile.
pub(crate) struct Change<'a> {
    job: &'a Job,
    before: Current,
    _alone: MutexGuard<'a, ()>,
}

impl<'a> Change<'a> {
    pub(super) fn of(job: &'a Job) -> Self {
        let alone = job.current.changing.lock();
        Self { job, before: job.current.now().clone(), _alone: alone }
    }

    /// The configuration before it.
    pub(crate) fn before(&self) -> &RollupJobConfig {
        self.before.context.config()
    }

    /// Makes it, and says what has to be saved. Whatever is saved from now on has the new settings: the order of
    /// revisions is that in which they were in force.
    pub(crate) fn to(&self, config: RollupJobConfig) -> Result<Snapshot, Refused> {
        let context = self.before.context.with_settings(config);
        self.job.current.set(Current { context, redefine: true });
        self.job
            .lifecycle
            .update(&self.job.runtime.revisions)
            .inspect_err(|_| self.job.current.set(self.before.clone()))
    }

    /// It could not be saved. Whether the store has it all the same is not known, so what was before is saved again.
    pub(crate) fn undo(&self) {
        self.job.current.set(self.before.clone());
        discard(self.job.runtime.save_one(&self.job.record_as_it_is()));
    }
}
