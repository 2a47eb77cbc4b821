//! The jobs of a manager, by id.

use std::collections::HashMap;

use super::Job;
use crate::sync::Arc;

#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) entries: HashMap<Arc<str>, Entry>,
    /// From the first step of a shutdown on nothing is added any more.
    pub(crate) is_closed: bool,
}

#[derive(Clone)]
pub(crate) enum Entry {
    Job(Arc<Job>),
    /// A put is under way.
    Reserved,
    /// There is a record, but no job could be made of it.
    Broken(Arc<Broken>),
}

pub(crate) struct Broken {
    pub(crate) id: String,
    pub(crate) reason: String,
}

impl Registry {
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        let jobs = self.entries.values().filter_map(|entry| match entry {
            Entry::Job(job) => Some(Arc::clone(job)),
            Entry::Reserved | Entry::Broken(_) => None,
        });
        jobs.collect()
    }

    /// Whether there is a job of which nobody knows how far it has come.
    pub(crate) fn has_broken(&self) -> bool {
        self.entries.values().any(|entry| matches!(entry, Entry::Broken(_)))
    }
}
