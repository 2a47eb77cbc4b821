//! The embedded engine: registering, reopening, sharing memory, and errors that name what is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollup_jobs::engine::tantivy::tantivy::collector::Count;
use rollup_jobs::engine::tantivy::tantivy::query::{AllQuery, TermQuery};
use rollup_jobs::engine::tantivy::tantivy::schema::IndexRecordOption;
use rollup_jobs::engine::tantivy::tantivy::{Index, IndexWriter, Term};
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyEngineError, TantivyOptions};
use rollup_jobs::engine::{
    Batch, EngineErrorKind, FieldType, JobContext, RollupIndex, Source, SourceDocument, StopSignal,
};
use rollup_jobs::rollup::{MetricValues, Page, roll_up};
use rollup_jobs::scan::Times;
use rollup_jobs::store::{MemoryStore, RedbStore};
use rollup_jobs::{DateHistogram, HealthColor, JobUpdate, KeyPart, Progress, PutError, RollupJobManager, TermsType};

use crate::support::{HOUR, Heard, Watcher, config, delay_until, readings, undisturbed, waiting};
use crate::tantivy_harness::{FIELDS, TantivyHarness, add_to_index, read_rollup, sensor_index, source_schema};

fn source() -> Index {
    sensor_index(readings())
}

struct Host {
    engine: Arc<TantivyEngine>,
    manager: RollupJobManager,
    watcher: Arc<Watcher>,
}

impl Host {
    fn open(folder: &Path, source: &Index) -> Self {
        let engine = Arc::new(TantivyEngine::open(folder.join("rollups")).unwrap());
        engine.register("sensor-1", source).unwrap();
        let store = Arc::new(RedbStore::open(folder.join("jobs.redb")).unwrap());
        let watcher: Arc<Watcher> = Arc::default();
        let manager = RollupJobManager::builder(engine.clone(), store).observer(watcher.clone()).open().unwrap();
        Self { engine, manager, watcher }
    }

    fn run(&self, id: &str) {
        let before = self.watcher.heard().len();
        self.manager.trigger(id).unwrap();
        self.watcher.wait_for(&self.manager, "the run", || {
            self.watcher.heard()[before..].iter().any(|heard| matches!(heard, Heard::Run(..))).then_some(())
        });
    }

    fn rollup(&self, id: &str) -> Index {
        self.engine.rollup_index("rolled", id).unwrap().expect("a rollup index")
    }
}

#[test]
fn rollup_indices_survive_a_restart_and_are_searched_with_plain_tantivy() {
    let (folder, source) = (tempfile::tempdir().unwrap(), source());
    let host = Host::open(folder.path(), &source);
    let date = DateHistogram::fixed_interval("timestamp", "1h").delay(delay_until(10));
    host.manager.put(config("sensor").date_histogram(date).build().unwrap()).unwrap();
    host.manager.start("sensor").unwrap();
    host.run("sensor");
    assert_eq!(read_rollup(&host.rollup("sensor")), undisturbed("sensor"));
    host.manager.update("sensor", JobUpdate::new().no_delay()).unwrap();
    drop(host);

    let host = Host::open(folder.path(), &source);
    add_to_index(&source, &[SourceDocument::new().date("timestamp", 20 * HOUR).keyword("node", "a")]);
    host.run("sensor");
    let index = host.rollup("sensor");
    let searcher = index.reader().unwrap().searcher();
    assert_eq!(searcher.search(&AllQuery, &Count).unwrap(), 31, "what was there before is not there twice");
    let node = index.schema().get_field("node.terms.value").unwrap();
    let query = TermQuery::new(Term::from_field_text(node, "a"), IndexRecordOption::Basic);
    assert_eq!(searcher.search(&query, &Count).unwrap(), 11);
    assert!(host.manager.get("sensor").unwrap().last_errors().is_empty());
}

#[test]
fn source_indices_come_and_go_while_jobs_run() {
    let harness = TantivyHarness::in_ram();
    let engine = &harness.engine;
    let first = source();
    engine.register("sensor-1", &first).unwrap();
    assert!(matches!(engine.register("sensor-1", &first), Err(TantivyEngineError::Registered { .. })));
    for bad in ["", "a,b", "a*", "-a"] {
        assert!(matches!(engine.register(bad, &first), Err(TantivyEngineError::Name { .. })), "{bad:?}");
    }
    let job = context("sensor");
    let mut stream = engine.scan(&job, job.config().index_pattern(), job.scan_request(), &StopSignal::never()).unwrap();
    assert!(engine.unregister("sensor-1"));
    assert!(!engine.unregister("sensor-1"));
    assert_eq!(stream.next_page(&StopSignal::never()).unwrap().len(), 4, "a run under way goes on with it");
    let nothing = engine.scan(&job, job.config().index_pattern(), job.scan_request(), &StopSignal::never());
    assert!(nothing.unwrap().next_page(&StopSignal::never()).unwrap().is_empty());
}

#[test]
fn a_name_is_a_source_index_or_a_rollup_index_and_never_both() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), &source());
    host.manager.put(config("sensor").build().unwrap()).unwrap();
    assert!(matches!(host.engine.register("rolled", &source()), Err(TantivyEngineError::IsRollupIndex { .. })));
    host.engine.register("taken", &source()).unwrap();
    let put = host.manager.put(config("other").rollup_index("taken").build().unwrap());
    assert!(matches!(put, Err(PutError::Engine { source, .. }) if source.kind() == EngineErrorKind::Rejected));
    drop(host);
    let engine = TantivyEngine::open(folder.path().join("rollups")).unwrap();
    assert!(
        matches!(engine.register("rolled", &source()), Err(TantivyEngineError::IsRollupIndex { .. })),
        "after a restart too"
    );
}

#[test]
fn deleted_documents_are_not_rolled_up() {
    let harness = TantivyHarness::in_ram();
    let index = source();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    writer.delete_term(Term::from_field_text(index.schema().get_field("node").unwrap(), "b"));
    writer.commit().unwrap();
    harness.engine.register("sensor-1", &index).unwrap();
    let job = context("sensor");
    let request = job.scan_request();
    let mut stream = harness.engine.scan(&job, job.config().index_pattern(), request, &StopSignal::never()).unwrap();
    let mut buckets = Page::default();
    loop {
        let page = stream.next_page(&StopSignal::never()).unwrap();
        if page.is_empty() {
            break;
        }
        buckets.append(page);
    }
    assert_eq!(buckets.len(), 20);
    assert_eq!(buckets.iter().map(|bucket| bucket.doc_count).sum::<u64>(), 40);
}

fn context(id: &str) -> JobContext {
    JobContext::new(config(id).build().unwrap(), &[TermsType::Keyword])
}

#[test]
fn a_field_that_has_changed_its_type_ends_the_run_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), &source());
    host.manager.put(config("sensor").build().unwrap()).unwrap();
    host.manager.start("sensor").unwrap();
    let other = Index::create_in_ram(source_schema(&[("timestamp", FieldType::Date), ("node", FieldType::Long)]));
    host.engine.register("sensor-2", &other).unwrap();
    host.run("sensor");
    let status = host.manager.get("sensor").unwrap();
    let error = status.last_errors()[0].to_string();
    assert!(error.contains("field [node] of source index [sensor-2] is [long], where a keyword is needed"), "{error}");
    assert_eq!(status.health().color(), HealthColor::Yellow);
}

#[test]
fn a_locked_and_a_damaged_rollup_index_are_errors_that_name_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), &source());
    host.manager.put(config("sensor").build().unwrap()).unwrap();
    let writer: IndexWriter = host.rollup("sensor").writer_with_num_threads(1, 15_000_000).unwrap();
    let error = host.engine.begin(&context("sensor"), &Batch::Append).err().unwrap();
    assert!(error.is_transient(), "whoever holds the lock may let go of it");
    assert!(chain(&error).contains("rollups/rolled/sensor"), "{}", chain(&error));
    drop(writer);
    drop(host);
    fs::write(folder.path().join("rollups/rolled/sensor/meta.json"), "{").unwrap();
    let engine = TantivyEngine::open(folder.path().join("rollups")).unwrap();
    let error = engine.begin(&context("sensor"), &Batch::Append).err().unwrap();
    assert!(!error.is_transient());
    assert!(chain(&error).contains("rollups/rolled/sensor"), "{}", chain(&error));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(TantivyEngine::open(file.join("below")), Err(TantivyEngineError::Folder { .. })));
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn a_rollup_index_that_was_deleted_is_rolled_up_anew() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(folder.path(), &source());
    host.manager.put(config("sensor").build().unwrap()).unwrap();
    host.manager.start("sensor").unwrap();
    host.run("sensor");
    fs::remove_dir_all(folder.path().join("rollups/rolled")).unwrap();
    host.run("sensor");
    assert_eq!(read_rollup(&host.rollup("sensor")), undisturbed("sensor"));
    assert!(host.manager.get("sensor").unwrap().notice().unwrap().text().contains("rolling up from the start"));
}

#[test]
fn many_small_segments_are_merged_and_the_checkpoint_stays() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(TantivyEngine::open(folder.path()).unwrap());
    engine.register("sensor-1", &source()).unwrap();
    let watcher: Arc<Watcher> = Arc::default();
    let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new()))
        .turn_time(std::time::Duration::ZERO)
        .observer(watcher.clone())
        .open()
        .unwrap();
    manager.put(config("sensor").page_size(1).build().unwrap()).unwrap();
    manager.start("sensor").unwrap();
    manager.trigger("sensor").unwrap();
    watcher.wait_for(&manager, "the run", || {
        watcher.heard().iter().any(|heard| matches!(heard, Heard::Run(..))).then_some(())
    });
    let index = engine.rollup_index("rolled", "sensor").unwrap().unwrap();
    let segments = index.searchable_segment_metas().unwrap().len();
    assert!(segments < 12, "30 commits have left {segments} segments");
    assert_eq!(read_rollup(&index), undisturbed("sensor"));
    let position = manager.get("sensor").unwrap().position().cloned();
    let kept = engine.committed_progress(&context_of(&manager)).unwrap();
    let rollup_jobs::engine::CommittedProgress::Kept(Some(kept)) = kept else { panic!("kept") };
    assert_eq!(kept.position, position);
    assert!(manager.get("sensor").unwrap().last_errors().is_empty());
    let _ = manager.stop("sensor", waiting()).unwrap();
}

/// Of each segment how many documents it has, and how many of them are deleted.
fn deleted(index: &Index) -> Vec<(u32, u32)> {
    let segments = index.searchable_segment_metas().unwrap();
    segments.iter().map(|segment| (segment.max_doc(), segment.num_deleted_docs())).collect()
}

/// Twenty-one hours with a document each.
fn hourly(engine: &TantivyEngine) -> (JobContext, Page) {
    let job = JobContext::new(config("sensor").build().unwrap(), &[TermsType::Keyword]);
    engine.prepare(&job).unwrap();
    let mut page = Page::new(job.layout());
    for hour in 0..21 {
        page.push([KeyPart::Date(hour * HOUR), KeyPart::Text("a".into())], 1, [MetricValues::default()]);
    }
    (job, page)
}

fn write(engine: &TantivyEngine, job: &JobContext, batch: &Batch, page: Page) -> bool {
    let mut writer = engine.begin(job, batch).unwrap();
    writer.write(roll_up(page, job.layout()).unwrap().documents(), &StopSignal::never()).unwrap();
    writer.commit(&Progress::default()).unwrap().wants_merge
}

#[test]
fn after_a_merge_few_documents_of_a_rollup_index_are_deleted() {
    let engine = TantivyEngine::in_ram();
    let (job, page) = hourly(&engine);
    assert!(!write(&engine, &job, &Batch::Append, page.clone()));
    let index = engine.rollup_index("rolled", "sensor").unwrap().unwrap();
    let replace = |hours: i64| {
        let batch = Batch::Replace(Times::buckets_between(0..hours * HOUR));
        write(&engine, &job, &batch, page.slice(0..usize::try_from(hours).unwrap()))
    };
    assert!(!replace(5), "a quarter is borne");
    assert!(deleted(&index).contains(&(21, 5)), "{:?}", deleted(&index));
    assert!(replace(8), "more is not");
    engine.merge(&job, &StopSignal::never()).unwrap();
    for (documents, deleted) in deleted(&index) {
        assert!(f64::from(deleted) <= 0.3 * f64::from(documents), "{deleted} of {documents}");
    }
    assert_eq!(read_rollup(&index).len(), 21);
}

/// The names of the files of a job's index.
fn files(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(job_folder(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort_unstable();
    names
}

fn job_folder(folder: &Path) -> PathBuf {
    folder.join("rolled").join("sensor")
}

fn segment_files(folder: &Path) -> Vec<String> {
    files(folder).into_iter().filter(|name| name != "meta.json").collect()
}

/// Of few documents this crate makes one segment, of many tantivy does.
#[test]
fn segments_are_merged_into_one_whether_they_are_small_or_large() {
    for documents in [3, 7_000] {
        let folder = tempfile::tempdir().unwrap();
        let engine = TantivyEngine::open(folder.path()).unwrap();
        let (job, _) = hourly(&engine);
        let mut wants_merge = false;
        // In no order, and so that some have no text.
        for commit in [3, 1, 4, 0, 5, 9, 2, 6, 8, 7, 10] {
            let mut page = Page::new(job.layout());
            for hour in commit * documents..(commit + 1) * documents {
                let text = if hour % 5 == 0 { KeyPart::Null } else { KeyPart::Text(format!("{}", hour % 7).into()) };
                page.push([KeyPart::Date(hour * HOUR), text], 1, [MetricValues::default()]);
            }
            wants_merge = write(&engine, &job, &Batch::Append, page);
        }
        assert!(wants_merge, "of eleven segments of a size");
        let index = engine.rollup_index("rolled", "sensor").unwrap().unwrap();
        let (before, kept) = (read_rollup(&index), engine.committed_progress(&job).unwrap());
        let cancelled = engine.merge(&job, &StopSignal::raised()).unwrap_err();
        assert!(cancelled.is_cancelled(), "{cancelled}");
        assert_eq!(index.searchable_segment_metas().unwrap().len(), 11);
        engine.merge(&job, &StopSignal::never()).unwrap();
        assert_eq!(deleted(&index), [(u32::try_from(11 * documents).unwrap(), 0)]);
        assert_eq!(segment_files(folder.path()).len(), 6, "those of one segment");
        assert_eq!(read_rollup(&index), before);
        assert_eq!(engine.committed_progress(&job).unwrap(), kept);
    }
}

/// To create files and to sync them is most of what a small commit costs.
#[cfg(unix)]
#[test]
fn files_that_are_alike_are_one_file() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let engine = TantivyEngine::open(folder.path()).unwrap();
    let (job, page) = hourly(&engine);
    let inodes = || {
        let files = segment_files(folder.path());
        let inode = |file| fs::metadata(job_folder(folder.path()).join(file)).unwrap().ino();
        files.iter().map(inode).collect::<BTreeSet<_>>().len()
    };
    for hour in 0..3 {
        write(&engine, &job, &Batch::Append, page.slice(hour..hour + 1));
    }
    assert_eq!((segment_files(folder.path()).len(), inodes()), (18, 10));
    // The one whose names the others are may go: a restart knows no last one, and a merge removes it.
    drop(engine);
    let engine = TantivyEngine::open(folder.path()).unwrap();
    for hour in 3..12 {
        if write(&engine, &job, &Batch::Append, page.slice(hour..hour + 1)) {
            engine.merge(&job, &StopSignal::never()).unwrap();
        }
    }
    let index = engine.rollup_index("rolled", "sensor").unwrap().unwrap();
    assert_eq!(read_rollup(&index).len(), 12);
}

/// Its segments are many megabytes in a long run, and no commit comes where the disk is full.
#[test]
fn a_writer_that_is_given_up_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let engine = TantivyEngine::open_with(folder.path(), TantivyOptions::new().writer_memory(1)).unwrap();
    let (job, page) = hourly(&engine);
    write(&engine, &job, &Batch::Append, page.clone());
    let files = || files(folder.path());
    let before = files();
    let batches = [Batch::Append, Batch::Replace(Times::all())];
    for (batch, is_stopped) in batches.iter().flat_map(|batch| [(batch, false), (batch, true)]) {
        let mut writer = engine.begin(&job, batch).unwrap();
        for _ in 0..3 {
            writer.write(roll_up(page.clone(), job.layout()).unwrap().documents(), &StopSignal::never()).unwrap();
        }
        assert!(files().len() > before.len(), "segments are written meanwhile");
        if is_stopped {
            let given_up = writer.settle(&StopSignal::raised()).unwrap();
            assert_eq!(given_up.expect("nothing was marked").progress(), None);
        }
        drop(writer);
        assert_eq!(files(), before);
    }
}

fn context_of(manager: &RollupJobManager) -> JobContext {
    JobContext::new(manager.get("sensor").unwrap().config().unwrap().clone(), &[TermsType::Keyword])
}

/// A hundred scans are open at once, each in the middle of its pages: together they stay inside the engine's one
/// budget.
#[test]
fn a_hundred_open_scans_share_one_memory_budget() {
    const BUDGET: usize = 32 << 20;
    let engine = TantivyEngine::in_ram_with(TantivyOptions::new().memory_budget(BUDGET));
    let index = Index::create_in_ram(source_schema(&FIELDS));
    let documents: Vec<_> = (0..40_000_i64)
        .map(|n| SourceDocument::new().date("timestamp", n * 60_000).keyword("node", &format!("n{}", n * 7919 % 5_000)))
        .collect();
    // Several segments number their terms each for itself: the common numbering takes memory too.
    for part in documents.chunks(10_000) {
        add_to_index(&index, part);
    }
    engine.register("sensor-1", &index).unwrap();
    let job = JobContext::new(config("sensor").page_size(1_000).build().unwrap(), &[TermsType::Keyword]);
    let request = job.scan_request();
    let mut scans: Vec<_> = (0..100)
        .map(|_| engine.scan(&job, job.config().index_pattern(), request.clone(), &StopSignal::never()).unwrap())
        .collect();
    let mut found = vec![Vec::new(); scans.len()];
    let mut open = scans.len();
    while open > 0 {
        for (scan, found) in scans.iter_mut().zip(&mut found) {
            let page = scan.next_page(&StopSignal::never()).unwrap();
            open -= usize::from(page.is_empty() && !found.is_empty());
            found.extend(page.iter().map(|bucket| (bucket.key.to_vec(), bucket.doc_count)));
        }
        // A scan that has ended goes on saying so.
        if found.iter().all(|found| found.len() == 40_000) {
            break;
        }
    }
    assert!(found.iter().all(|buckets| *buckets == found[0]) && found[0].len() == 40_000);
    let (now, most) = engine.memory_used();
    assert!(most <= BUDGET, "{most} bytes were used at most, {BUDGET} were allowed");
    assert!(most > BUDGET / 2, "{most} bytes: the budget is made use of");
    drop(scans);
    assert_eq!(engine.memory_used().0, 0, "{now} bytes were held before the scans were dropped");
}

/// One index under two names counted each of its documents twice, whether the two were clones or opened apart.
#[test]
fn an_index_counts_once_whatever_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = Index::create_in_dir(folder.path(), source_schema(&FIELDS)).unwrap();
    add_to_index(&on_disk, &readings().collect::<Vec<_>>());
    let (in_ram, again) = (source(), Index::open_in_dir(folder.path()).unwrap());
    for (first, second) in [(&in_ram, &in_ram), (&on_disk, &again)] {
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", first).unwrap();
        engine.register("sensor-2", second).unwrap();
        let job = context("sensor");
        let pattern = job.config().index_pattern();
        let mut stream = engine.scan(&job, pattern, job.scan_request(), &StopSignal::never()).unwrap();
        let counted: u64 = (0..8)
            .map(|_| stream.next_page(&StopSignal::never()).unwrap().iter().map(|bucket| bucket.doc_count).sum::<u64>())
            .sum();
        assert_eq!(counted, 60);
    }
}

/// Two engines on one folder took the same job, each for its own store.
#[test]
fn a_folder_belongs_to_one_engine() {
    let folder = tempfile::tempdir().unwrap();
    let first = TantivyEngine::open(folder.path()).unwrap();
    let clone = first.clone();
    let error = TantivyEngine::open(folder.path()).unwrap_err();
    assert!(matches!(&error, TantivyEngineError::InUse { path } if path == folder.path()));
    assert!(error.to_string().ends_with("is open already: only one engine can have it"), "{error}");
    drop(first);
    assert!(TantivyEngine::open(folder.path()).is_err(), "a clone still has it");
    drop(clone);
    TantivyEngine::open(folder.path()).unwrap();
}
