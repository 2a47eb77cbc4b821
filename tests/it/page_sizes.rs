//! A source to which a page as configured is too much asks for fewer buckets, and the status says for how many.

use std::sync::Arc;

use rollup_jobs::IndexPattern;
use rollup_jobs::engine::{
    Engine, EngineError, JobContext, PageStream, PageStreamAdapter, RollupIndex, RollupIndexAdapter, ScanRequest,
    Source, SourceAdapter, StopSignal,
};
use rollup_jobs::rollup::Page;

use crate::support::{World, loaded};

#[derive(Clone, Debug)]
struct Small(Arc<dyn Engine>);

impl SourceAdapter for Small {
    fn source(&self) -> &dyn Source {
        &*self.0
    }

    fn scan(
        &self,
        job: &JobContext,
        pattern: &IndexPattern,
        request: ScanRequest,
        stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        Ok(Box::new(Halved { stream: self.0.scan(job, pattern, request, stop)?, pages: 0 }))
    }
}

impl RollupIndexAdapter for Small {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &*self.0
    }
}

/// Its first page is asked for with half as many buckets.
struct Halved {
    stream: Box<dyn PageStream>,
    pages: usize,
}

impl PageStreamAdapter for Halved {
    fn stream(&self) -> &dyn PageStream {
        &*self.stream
    }

    fn stream_mut(&mut self) -> &mut dyn PageStream {
        &mut *self.stream
    }

    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        self.pages += 1;
        self.stream.next_page(stop)
    }

    fn reduced_page_size(&self) -> Option<usize> {
        (self.pages == 1).then_some(2)
    }
}

#[test]
fn the_status_says_how_many_buckets_a_page_is_asked_for_with() {
    let (world, _) = World::wrapped(loaded(), Small, |builder| builder);
    world.put_started("sensor");
    assert_eq!(world.status("sensor").reduced_page_size(), None);
    world.gates.search().close();
    world.manager.trigger("sensor").unwrap();
    world.gates.search().let_through(1);
    world.wait_for("sensor", "its first page", |status| status.stats().pages_processed() == 1);
    assert_eq!(world.status("sensor").reduced_page_size(), Some(2));
    world.gates.search().open();
    world.wait_for("sensor", "its last page", |status| status.stats().rollups_indexed() == 30);
    assert_eq!(world.status("sensor").reduced_page_size(), None, "once pages are as configured again");
}
