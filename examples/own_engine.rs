//! An engine of one's own: a service that has its readings in a plain list, and wants them rolled up into a map.
//!
//! It keeps no checkpoints and replaces documents by id, as a remote engine does. The rest is two questions: which rows
//! are there, and where do documents go. An engine for real use should pass
//! `rollup_jobs::testing::check_engine`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rollup_jobs::engine::{
    Batch, CommitReport, CommittedProgress, EngineError, FieldCapabilities, FieldType, JobContext, PageStream,
    RollupIndex, RollupWriter, Source, StopSignal, WriteReport,
};
use rollup_jobs::filter::FilterField;
use rollup_jobs::rollup::{Page, RolledUpDocument, RolledUpDocuments};
use rollup_jobs::scan::{Fold, Pages, RolledUpFields, ScanRequest, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{
    DateHistogram, IndexPattern, KeyPart, Metric, Observer, Progress, RollupJobConfig, RollupJobManager, RunEnded,
};

/// The service's own data.
#[derive(Debug, Clone)]
struct Reading {
    millis: i64,
    room: &'static str,
    watts: f64,
}

#[derive(Debug, Clone, Default)]
struct House {
    readings: Arc<Vec<Reading>>,
    rolled_up: Arc<Mutex<BTreeMap<String, RolledUpDocument>>>,
}

impl Source for House {
    fn field_capabilities(
        &self,
        _job: &JobContext,
        pattern: &IndexPattern,
        fields: &[&str],
    ) -> Result<FieldCapabilities, EngineError> {
        let names = pattern.resolve(["power"].into_iter());
        let names = names.map_err(|name| EngineError::not_found(format!("no such index [{name}]")))?;
        let mut capabilities = FieldCapabilities::new(names.iter().map(ToString::to_string).collect());
        let known = [("at", FieldType::Date), ("room", FieldType::Keyword), ("watts", FieldType::Double)];
        for (field, field_type) in known.into_iter().filter(|(field, _)| fields.contains(field)) {
            capabilities.add(field, "power", field_type, true, 0);
        }
        Ok(capabilities)
    }

    fn scan(
        &self,
        _job: &JobContext,
        _pattern: &IndexPattern,
        request: ScanRequest,
        _stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let mut fold = Fold::new(request)?;
        fold.holding(&|field| match field {
            "at" => Some(FilterField::Date),
            "room" => Some(FilterField::Text),
            "watts" => Some(FilterField::Double),
            _ => None,
        })?;
        for Reading { millis, room, watts } in self.readings.iter() {
            fold.add(&SourceDocument::new().date("at", *millis).keyword("room", room).double("watts", *watts));
        }
        Ok(Box::new(Groups(fold.into_pages())))
    }
}

impl RollupIndex for House {
    fn prepare(&self, job: &JobContext) -> Result<(), EngineError> {
        let rolled_up = self.rolled_up.lock().unwrap_or_else(PoisonError::into_inner);
        if rolled_up.values().any(|document| document.layout().job_id() == job.id()) {
            return Err(EngineError::already_exists(format!("there are documents of job [{}]", job.id())));
        }
        Ok(())
    }

    fn begin(&self, job: &JobContext, batch: &Batch) -> Result<Box<dyn RollupWriter>, EngineError> {
        let (house, job_id, batch) = (self.clone(), job.id().to_owned(), batch.clone());
        Ok(Box::new(Turn { house, job_id, batch, documents: Vec::new() }))
    }

    fn scan_rolled_up(
        &self,
        job: &JobContext,
        request: ScanRequest,
        _stop: &StopSignal,
    ) -> Result<Box<dyn PageStream>, EngineError> {
        let fields = RolledUpFields::of(job.layout(), &request)?;
        let mut fold = Fold::of_rolled_up(request, &fields)?;
        let rolled_up = self.rolled_up.lock().unwrap_or_else(PoisonError::into_inner);
        let of_job = rolled_up.values().filter(|document| document.layout().job_id() == job.id());
        of_job.for_each(|document| fold.add_rolled_up(&fields, document));
        Ok(Box::new(Groups(fold.into_pages())))
    }

    fn committed_progress(&self, _job: &JobContext) -> Result<CommittedProgress, EngineError> {
        Ok(CommittedProgress::NotKept)
    }

    fn remove(&self, job: &JobContext) -> Result<(), EngineError> {
        let mut rolled_up = self.rolled_up.lock().unwrap_or_else(PoisonError::into_inner);
        rolled_up.retain(|_, document| document.layout().job_id() != job.id());
        Ok(())
    }
}

struct Groups(Pages);

impl PageStream for Groups {
    fn next_page(&mut self, stop: &StopSignal) -> Result<Page, EngineError> {
        if stop.is_stopped() {
            return Err(EngineError::cancelled());
        }
        Ok(self.0.next_page())
    }

    fn several_values(&self) -> Option<BTreeSet<String>> {
        Some(self.0.several_values().clone())
    }
}

struct Turn {
    house: House,
    job_id: String,
    batch: Batch,
    documents: Vec<RolledUpDocument>,
}

impl RollupWriter for Turn {
    fn write(&mut self, documents: RolledUpDocuments<'_>, _stop: &StopSignal) -> Result<WriteReport, EngineError> {
        self.documents.extend(documents.iter());
        Ok(WriteReport::accepted(documents.len()))
    }

    fn commit(self: Box<Self>, _checkpoint: &Progress) -> Result<CommitReport, EngineError> {
        let mut rolled_up = self.house.rolled_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Batch::Replace(buckets) = &self.batch {
            let is_replaced = |document: &RolledUpDocument| match document.key()[0] {
                KeyPart::Date(start) => document.layout().job_id() == self.job_id && buckets.contain(start, start),
                _ => false,
            };
            rolled_up.retain(|_, document| !is_replaced(document));
        }
        rolled_up.extend(self.documents.into_iter().map(|document| (document.id().to_owned(), document)));
        Ok(CommitReport::default())
    }
}

struct End(SyncSender<()>);

impl Observer for End {
    fn run_ended(&self, _job_id: &str, _run: &RunEnded) {
        let _ = self.0.try_send(());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let room = |n: i32| ["kitchen", "study"][usize::from(n % 3 == 0)];
    let readings =
        (0..2_880).map(|n| Reading { millis: i64::from(n) * 60_000, room: room(n), watts: f64::from(n % 200) });
    let house = House { readings: Arc::new(readings.collect()), ..House::default() };

    let (sender, end) = sync_channel(1);
    let builder = RollupJobManager::builder(Arc::new(house.clone()), Arc::new(MemoryStore::new()));
    let manager = builder.observer(Arc::new(End(sender))).open()?;
    manager.put(
        RollupJobConfig::builder("power-by-day")
            .index_pattern("power")
            .rollup_index("power_daily")
            .cron("0 0 1 * * ?")
            .page_size(100)
            .date_histogram(DateHistogram::calendar_interval("at", "1d"))
            .terms(["room"])
            .metric("watts", [Metric::Max, Metric::Avg])
            .build()?,
    )?;
    manager.start("power-by-day")?;
    manager.trigger("power-by-day")?;
    end.recv()?;
    for document in house.rolled_up.lock().unwrap_or_else(PoisonError::into_inner).values() {
        println!("{}", document.to_json());
    }
    Ok(())
}
