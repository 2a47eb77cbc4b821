//! The job indices of an engine: which are open, and how one goes while others read it.

use std::collections::HashMap;

use super::{JobIndex, RollupPlace, RollupStorage, describe, failed};
use crate::engine::{EngineError, JobContext};
use crate::sync::{Arc, Mutex};

/// Each job's index is open once: what is known of its commits is known to all.
pub(in crate::engine::tantivy) struct JobIndices {
    pub(in crate::engine::tantivy) storage: Arc<dyn RollupStorage>,
    in_use: Mutex<HashMap<RollupPlace, InUse>>,
}

enum InUse {
    Open(Arc<JobIndex>),
    /// Its files go at this moment: for everybody else there is none any more.
    BeingRemoved,
}

impl JobIndices {
    pub(in crate::engine::tantivy) fn new(storage: Arc<dyn RollupStorage>) -> Self {
        Self { storage, in_use: Mutex::default() }
    }

    /// The job's index if there is one.
    pub(in crate::engine::tantivy) fn get(&self, place: &RollupPlace) -> Result<Option<Arc<JobIndex>>, EngineError> {
        let mut in_use = self.in_use.lock();
        if let Some(InUse::BeingRemoved) = in_use.get(place) {
            return Ok(None);
        }
        if !self.storage.exists(place) {
            // Somebody may have removed it from outside.
            in_use.remove(place);
            return Ok(None);
        }
        if let Some(InUse::Open(known)) = in_use.get(place) {
            return Ok(Some(Arc::clone(known)));
        }
        let found = Arc::new(JobIndex::open(&*self.storage, place)?);
        in_use.insert(place.clone(), InUse::Open(Arc::clone(&found)));
        Ok(Some(found))
    }

    /// Creates the index of `job`, or checks the one that is there.
    pub(in crate::engine::tantivy) fn prepare(&self, place: RollupPlace, job: &JobContext) -> Result<(), EngineError> {
        if let Some(known) = self.get(&place)? {
            if known.is_prepared_for(job)? {
                return Ok(());
            }
            // It is empty, and of another schema.
            known.close();
        }
        let created = JobIndex::create(&*self.storage, &place, job)?;
        self.in_use.lock().insert(place, InUse::Open(created));
        Ok(())
    }

    /// Removes the index with all that is in it. Whoever is opening what was committed last comes first, and keeps it.
    pub(in crate::engine::tantivy) fn remove(&self, place: &RollupPlace) -> Result<(), EngineError> {
        // While the files go nobody may wait who wants another job's index.
        let known = self.in_use.lock().insert(place.clone(), InUse::BeingRemoved);
        if let Some(InUse::Open(known)) = known {
            known.close();
        }
        let removed = self.storage.remove(place);
        self.in_use.lock().remove(place);
        removed.map_err(|error| failed(&describe(&*self.storage, place), error.into()))
    }
}
