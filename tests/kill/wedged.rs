//! An engine call that never returns: a stop says where it is stuck, the other jobs go on, a shutdown names it in
//! time, and the process ends.

use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::{
    EngineError, JobContext, MemoryEngine, PageStream, RollupIndex, RollupIndexAdapter, ScanRequest, Source,
    SourceAdapter, SourceDocument, StopSignal,
};
use rollup_jobs::rollup::Page;
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{
    DateHistogram, HealthColor, IndexPattern, JobState, Phase, RollupJobConfig, RollupJobManager, ShutdownError,
    StopError, StopOptions,
};

use crate::child_process::{report, start, task};

/// Never comes back from a search of the job `stuck`.
#[derive(Debug)]
struct Wedged(MemoryEngine);

struct Never;

impl PageStream for Never {
    fn next_page(&mut self, _: &StopSignal) -> Result<Page, EngineError> {
        loop {
            std::thread::park();
        }
    }
}

impl SourceAdapter for Wedged {
    fn source(&self) -> &dyn Source {
        &self.0
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        if job.id() == "stuck" { Ok(Box::new(Never)) } else { self.0.scan(job, pattern, request, stop) }
    }
}

impl RollupIndexAdapter for Wedged {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.0
    }
}

#[test]
fn child() {
    if task().is_none() {
        return;
    }
    let data = MemoryEngine::new();
    data.add("source", SourceDocument::new().date("timestamp", 0));
    let manager = RollupJobManager::builder(Arc::new(Wedged(data.clone())), Arc::new(MemoryStore::new()))
        .indexer_threads(1)
        .wedged_after(Duration::from_millis(50))
        .open()
        .unwrap();
    for id in ["stuck", "sensor"] {
        let config = RollupJobConfig::builder(id).index_pattern("source").rollup_index("rolled").page_size(10);
        let config = config.cron("0 0 0 1 1 ? 2090").date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        manager.put(config.build().unwrap()).unwrap();
        manager.start(id).unwrap();
        manager.trigger(id).unwrap();
    }
    // The only thread is stuck; another one takes its place.
    while data.rolled_up("rolled").is_empty() {
        std::thread::yield_now();
    }
    let timeout = Duration::from_millis(100);
    let options = StopOptions::new().wait_for_completion(true).timeout(timeout);
    let Err(StopError::Timeout { waited, job }) = manager.stop("stuck", options.clone()) else { panic!("a timeout") };
    assert_eq!((waited, job.state(), job.phase()), (timeout, JobState::Stopping, Phase::Searching));
    assert!(job.in_phase_for() >= timeout);
    let status = manager.get("stuck").unwrap();
    assert_eq!(status.health().color(), HealthColor::Red);
    assert!(status.last_errors()[0].to_string().contains("indexer thread is lost"), "{:?}", status.last_errors());
    assert!(manager.stop("sensor", options).unwrap().is_at_rest());

    let ShutdownError::Timeout { left, .. } = manager.shutdown(timeout).unwrap_err() else { panic!("a timeout") };
    assert_eq!(left.iter().map(rollup_jobs::BusyJob::job_id).collect::<Vec<_>>(), ["stuck"]);
    drop(manager);
    report("dropped");
}

#[test]
fn the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let child = start("wedged::child", folder.path(), "wedged");
    assert_eq!(child.next(), "dropped");
    child.finish();
}
