//! The rollup side: one tantivy index per job, whose commits carry the job's definition and progress.

mod columnar;
mod commit;
mod directory;
mod folder;
mod ids;
mod indices;
mod merge;
mod packed;
mod replaced;
mod segment;
mod storage;
mod writer;

use ::tantivy::{Index, IndexSettings, Segment, TantivyError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failed;
use super::scan::ScanSource;
use super::schema::rollup_schema;
use super::segments::Segments;
use crate::engine::{CommittedProgress, EngineError, JobContext};
use crate::job::Progress;
use crate::sync::{Arc, Mutex, RwLock};
use directory::RollupDirectory;
pub(super) use indices::JobIndices;
use segment::EmptyFiles;
pub(super) use storage::{Folders, Memory};
pub use storage::{RollupPlace, RollupStorage};
pub(super) use writer::{TantivyWriter, WriterOptions};

/// What a commit carries besides documents. It plays the part of Elasticsearch's `_meta._rollup.<id>`.
#[derive(Serialize, Deserialize)]
struct Payload {
    /// The first format did not say so.
    #[serde(default = "first_format")]
    format: u32,
    rollup: Value,
    /// `checkpoint` in the first format.
    #[serde(alias = "checkpoint")]
    progress: Option<Progress>,
}

/// What any format says first.
#[derive(Deserialize)]
struct Version {
    #[serde(default = "first_format")]
    format: u32,
}

/// The format of payloads. An index with a higher one was written by a newer crate and is left alone.
const FORMAT: u32 = 2;

fn first_format() -> u32 {
    1
}

fn describe(storage: &dyn RollupStorage, place: &RollupPlace) -> String {
    let RollupPlace { rollup_index, job_id } = place;
    format!("rollup index [{rollup_index}] of rollup job [{job_id}], {}", storage.describe(place))
}

/// The file that says what an index is made of.
pub(super) const META: &str = "meta.json";

/// For how many segments at a time room is made on tantivy's list of files, which is written anew for that.
const RESERVED: usize = 8;

/// A job's index, open.
pub(super) struct JobIndex {
    index: Index,
    directory: RollupDirectory,
    described: String,
    empty_files: Mutex<Option<Arc<EmptyFiles>>>,
    /// Segments that are not written yet, whose files are on the list already.
    reserved: Mutex<Vec<Segment>>,
    segments: Arc<Segments>,
    /// The progress of the last commit, if it is known: nobody else commits to the index.
    progress: Mutex<Option<CommittedProgress>>,
    is_closed: RwLock<bool>,
}

impl JobIndex {
    fn new(index: Index, directory: RollupDirectory, described: String) -> Self {
        Self {
            index,
            directory,
            described,
            empty_files: Mutex::default(),
            reserved: Mutex::default(),
            segments: Arc::default(),
            progress: Mutex::default(),
            is_closed: RwLock::new(false),
        }
    }
}

impl JobIndex {
    /// Opens an index that exists.
    pub(super) fn open(storage: &dyn RollupStorage, place: &RollupPlace) -> Result<Self, EngineError> {
        let described = describe(storage, place);
        let open = || -> Result<(Index, RollupDirectory), TantivyError> {
            let directory = RollupDirectory::new(storage.open(place)?);
            Ok((Index::open(directory.clone())?, directory))
        };
        let (index, directory) = open().map_err(|error| failed(&described, error))?;
        Ok(Self::new(index, directory, described))
    }

    /// Creates the index for `job`.
    fn create(storage: &dyn RollupStorage, place: &RollupPlace, job: &JobContext) -> Result<Arc<Self>, EngineError> {
        let schema = rollup_schema(job.layout())?;
        let described = describe(storage, place);
        let create = || -> Result<(Index, RollupDirectory), TantivyError> {
            // Whatever is there is empty, or what a crash left of an earlier try.
            storage.remove(place)?;
            let directory = RollupDirectory::new(storage.create(place)?);
            Ok((Index::create(directory.clone(), schema, IndexSettings::default())?, directory))
        };
        let (index, directory) = create().map_err(|error| failed(&described, error))?;
        let created = Arc::new(Self::new(index, directory, described));
        created.record(job, None)?;
        Ok(created)
    }

    /// Makes an index that is empty, or was left empty by a crash, that of `job`. `false` if it has other fields.
    fn is_prepared_for(&self, job: &JobContext) -> Result<bool, EngineError> {
        let payload = self.payload()?;
        let other = payload.as_ref().is_some_and(|payload| !job.is_same_job(&payload.rollup));
        let has_data = payload.as_ref().is_some_and(|payload| payload.progress.is_some());
        if other || has_data {
            let what = if has_data { "data" } else { "another definition" };
            return Err(EngineError::already_exists(format!("{} holds {what} of that job", self.described)));
        }
        if self.index.schema() != rollup_schema(job.layout())? {
            return Ok(false);
        }
        if payload.is_none_or(|payload| payload.rollup != job.config().to_json()) {
            self.record(job, None)?;
        }
        Ok(true)
    }

    /// Reads the index's files. Once it is closed there may be another one in its place, and there is nothing to read.
    pub(super) fn read<T>(&self, read: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
        let is_closed = self.is_closed.read();
        if *is_closed {
            return Err(EngineError::not_found(format!("{} was removed", self.described)));
        }
        read()
    }

    /// Nobody begins to read it from now on.
    fn close(&self) {
        *self.is_closed.write() = true;
    }

    /// What a scan of the job's documents reads.
    pub(super) fn to_scan(&self) -> ScanSource {
        let (described, index) = (self.described.clone(), self.index.clone());
        ScanSource { described, index, segments: Arc::clone(&self.segments) }
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    fn failed(&self, error: TantivyError) -> EngineError {
        match self.directory.take_failure() {
            Some(reason) => failed(&format!("{}: {reason}", self.described), error),
            None => failed(&self.described, error),
        }
    }

    fn payload(&self) -> Result<Option<Payload>, EngineError> {
        let metas = self.read(|| self.index.load_metas().map_err(|error| self.failed(error)))?;
        let damaged =
            |error| EngineError::rejected(format!("{}: the progress in it is damaged: {error}", self.described));
        let Some(payload) = metas.payload else { return Ok(None) };
        let Version { format } = serde_json::from_str(&payload).map_err(damaged)?;
        if format > FORMAT {
            return Err(EngineError::rejected(format!(
                "{}: it has format {format}, this version reads up to {FORMAT}: upgrade rollup-jobs",
                self.described
            )));
        }
        serde_json::from_str(&payload).map(Some).map_err(damaged)
    }

    pub(super) fn progress(&self) -> Result<Option<Progress>, EngineError> {
        let mut known = self.progress.lock();
        if let Some(CommittedProgress::Kept(progress)) = &*known {
            return Ok(progress.clone());
        }
        let progress = self.payload()?.and_then(|payload| payload.progress);
        *known = Some(CommittedProgress::Kept(progress.clone()));
        Ok(progress)
    }

    /// Commits the job's definition with the progress that is there, and no document.
    pub(super) fn redefine(&self, job: &JobContext) -> Result<(), EngineError> {
        self.record(job, self.progress()?.as_ref())
    }

    fn record(&self, job: &JobContext, progress: Option<&Progress>) -> Result<(), EngineError> {
        let committed = self.committer(None).and_then(|committer| self.commit(committer, Vec::new(), job, progress));
        committed.map(drop).map_err(|error| self.failed(error))
    }

    /// Whether documents of this job have a place here.
    fn check_schema(&self, job: &JobContext) -> Result<(), EngineError> {
        if self.index.schema() != rollup_schema(job.layout())? {
            let text = format!("{}: its fields are not those of the job, or another version made it", self.described);
            return Err(EngineError::rejected(text));
        }
        Ok(())
    }

    /// A segment with its empty files.
    fn begin_segment(&self, empty: &EmptyFiles) -> Result<Segment, TantivyError> {
        empty.begin(self.new_segment(empty))
    }

    fn new_segment(&self, empty: &EmptyFiles) -> Segment {
        let mut reserved = self.reserved.lock();
        reserved.pop().unwrap_or_else(|| {
            let segment = self.index.new_segment();
            reserved.extend((1..RESERVED).map(|_| self.index.new_segment()));
            for segment in reserved.iter().chain([&segment]) {
                self.directory.expect(empty.of_segment(segment));
            }
            segment
        })
    }

    /// The files of a segment that are the same in all.
    fn empty_files(&self) -> Result<Arc<EmptyFiles>, TantivyError> {
        let mut known = self.empty_files.lock();
        if let Some(known) = &*known {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(EmptyFiles::of(self.index.schema())?);
        *known = Some(Arc::clone(&made));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::Batch;
    use std::io::{self, BufWriter, Write};
    use std::path::Path;

    use ::tantivy::directory::RamDirectory;
    use ::tantivy::directory::error::OpenWriteError;
    use ::tantivy::directory::{AntiCallToken, Directory, TerminatingWrite, WritePtr};

    use super::directory::pass_on_to_inner;
    use super::*;
    use crate::engine::{RollupWriter, StopSignal};
    use crate::job::{DateHistogram, KeyPart, RollupJobConfig};
    use crate::measure::Metric;
    use crate::rollup::{MetricValues, Page, RolledUpPage};
    use crate::sync::{AtomicBool, Ordering};

    /// A directory whose disk can be full.
    #[derive(Clone, Debug)]
    struct Disk {
        inner: RamDirectory,
        full: Arc<AtomicBool>,
    }

    struct DiskFile(WritePtr, Arc<AtomicBool>);

    impl Write for DiskFile {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            if self.1.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write(data) }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl TerminatingWrite for DiskFile {
        fn terminate_ref(&mut self, token: AntiCallToken) -> io::Result<()> {
            self.0.terminate_ref(token)
        }
    }

    impl Directory for Disk {
        pass_on_to_inner!();

        fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
            let file = self.inner.open_write(path)?;
            Ok(BufWriter::new(Box::new(DiskFile(file, Arc::clone(&self.full)))))
        }

        fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
            if self.full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.inner.atomic_write(path, data)
        }
    }

    #[test]
    fn a_full_disk_is_a_transient_error_that_says_so_and_the_commit_works_when_there_is_room() {
        let config = RollupJobConfig::builder("sensor")
            .index_pattern("in")
            .rollup_index("out")
            .cron("0 0 * * * ?")
            .page_size(10)
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
            .metric("temperature", [Metric::Min]);
        let job = JobContext::new(config.build().unwrap(), &[]);
        let full = Arc::new(AtomicBool::new(false));
        let directory = RollupDirectory::new(Box::new(Disk { inner: RamDirectory::create(), full: Arc::clone(&full) }));
        let schema = rollup_schema(job.layout()).unwrap();
        let index = Index::create(directory.clone(), schema, IndexSettings::default()).unwrap();
        let index = Arc::new(JobIndex::new(index, directory, "the rollup index".to_owned()));
        index.record(&job, None).unwrap();
        let mut page = Page::new(job.layout());
        page.push([KeyPart::Date(0)], 1, [MetricValues::default()]);
        let page = RolledUpPage::new(Arc::clone(job.layout()), page, vec![0]);
        let commit = || {
            let mut writer = Box::new(TantivyWriter::begin(
                Arc::clone(&index),
                &job,
                WriterOptions { threads: 1, memory: 1 << 20 },
                &Batch::Append,
            )?);
            writer.write(page.documents(), &StopSignal::never())?;
            let position = Some(crate::job::Position::of(job.config(), &[KeyPart::Date(0)]));
            writer.commit(&Progress { position, ..Progress::default() })
        };
        full.store(true, Ordering::SeqCst);
        let error = commit().unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("the rollup index: no storage space"), "{text}");
        assert_eq!(index.progress().unwrap(), None);
        full.store(false, Ordering::SeqCst);
        commit().unwrap();
        assert!(index.progress().unwrap().is_some());
    }
}
