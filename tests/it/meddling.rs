//! An engine that does something to the job it works for, from inside a call.

use std::sync::{Arc, OnceLock, Weak};

use rollup_jobs::engine::{
    Batch, CommitReport, Engine, EngineError, JobContext, RejectedItem, RollupIndex, RollupIndexAdapter, RollupWriter,
    RollupWriterAdapter, Source, SourceAdapter, StopSignal, WriteReport,
};
use rollup_jobs::rollup::RolledUpDocuments;
use rollup_jobs::{Progress, RollupJobManager};

use crate::support::waiting;

#[derive(Debug)]
pub struct Meddling {
    pub engine: Arc<dyn Engine>,
    pub manager: Arc<OnceLock<Weak<RollupJobManager>>>,
    pub act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    StopInWrite,
    StopInCommit,
    /// Rejects the first document of every write, for the time being.
    RejectFirst,
}

impl SourceAdapter for Meddling {
    fn source(&self) -> &dyn Source {
        &*self.engine
    }
}

impl RollupIndexAdapter for Meddling {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.engine
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        let (writer, manager, act) = (self.engine.begin(job, batch)?, self.manager.clone(), self.act);
        Ok(Box::new(MeddlingWriter { writer, manager, act, job: job.id().to_owned() }))
    }
}

struct MeddlingWriter {
    writer: Box<dyn RollupWriter>,
    manager: Arc<OnceLock<Weak<RollupJobManager>>>,
    act: Act,
    job: String,
}

impl MeddlingWriter {
    fn stop(&self) {
        let stopped = self.manager.get().unwrap().upgrade().unwrap().stop(&self.job, waiting()).unwrap();
        assert!(!stopped.is_at_rest(), "the call is still under way");
    }
}

impl RollupWriterAdapter for MeddlingWriter {
    fn writer(&mut self) -> &mut dyn RollupWriter {
        &mut *self.writer
    }

    fn into_writer(self: Box<Self>) -> Box<dyn RollupWriter> {
        self.writer
    }

    fn write(&mut self, documents: RolledUpDocuments<'_>, stop: &StopSignal) -> Result<WriteReport, EngineError> {
        match self.act {
            Act::StopInWrite => {}
            Act::StopInCommit => return self.writer.write(documents, stop),
            Act::RejectFirst => {
                let error = EngineError::unavailable("planned rejection");
                return Ok(WriteReport::with_rejected(documents.len(), vec![RejectedItem::new(0, error)]));
            }
        }
        let half = documents.len() / 2;
        self.writer.write(documents.slice(0..half), stop)?;
        self.stop();
        assert!(stop.is_stopped());
        Ok(WriteReport::accepted(half))
    }

    fn commit(self: Box<Self>, progress: &Progress) -> Result<CommitReport, EngineError> {
        if self.act == Act::StopInCommit {
            self.stop();
        }
        self.writer.commit(progress)
    }
}
