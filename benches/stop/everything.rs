//! From a stop's call to its return, commit and save included, in a run that writes to disk at full speed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::Schema;
use rollup_jobs::engine::tantivy::tantivy::{Index, IndexWriter};
use rollup_jobs::store::RedbStore;
use rollup_jobs::{DeleteOptions, RollupJobManager};

use crate::common::{documents, hourly, sensor_index};
use crate::latencies::Latencies;
use crate::waiting::waiting;

/// Jobs on disk that are put, started, stopped and deleted, one after the other.
struct OnDisk {
    manager: RollupJobManager,
    job: AtomicUsize,
}

impl OnDisk {
    fn new(folder: &Path, source: &Index) -> Self {
        let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
        engine.register("sensor", source).unwrap();
        let store = RedbStore::open(folder.join("jobs.redb")).unwrap();
        let builder = RollupJobManager::builder(Arc::new(engine), Arc::new(store));
        Self { manager: builder.indexer_threads(1).open().unwrap(), job: AtomicUsize::new(0) }
    }

    /// How long the stop takes of a run that has gone on for so long, and how many documents were committed then.
    fn stop_after(&self, page: u32, time: Duration) -> (Duration, u64) {
        let id = format!("job-{}", self.job.fetch_add(1, Ordering::Relaxed));
        self.manager.put(hourly(&id).page_size(page).build().unwrap()).unwrap();
        self.manager.start(&id).unwrap();
        self.manager.trigger(&id).unwrap();
        std::thread::sleep(time);
        let began = Instant::now();
        assert!(self.manager.stop(&id, waiting()).unwrap().is_at_rest());
        let latency = began.elapsed();
        let written = self.manager.get(&id).unwrap().stats().rollups_indexed();
        self.manager.delete_with(&id, DeleteOptions::new().delete_data(true)).unwrap();
        (latency, written)
    }
}

/// What nobody can do without: a commit of tantivy that changes nothing, and a synced write as the store makes one.
fn floor(folder: &Path) -> impl FnMut() -> Duration {
    let folder = folder.join("empty");
    std::fs::create_dir_all(&folder).unwrap();
    let index = Index::create_in_dir(&folder, Schema::builder().build()).unwrap();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    let database = redb::Database::create(folder.join("floor.redb")).unwrap();
    let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("jobs");
    let mut round = 0_u64;
    move || {
        round += 1;
        let began = Instant::now();
        writer
            .prepare_commit()
            .and_then(|mut commit| {
                commit.set_payload(&round.to_string());
                commit.commit()
            })
            .unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(table).unwrap().insert("job", [0; 2_000].as_slice()).unwrap();
        write.commit().unwrap();
        began.elapsed()
    }
}

pub(crate) fn everything(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("everything, run of 424,000 documents");
    group.sample_size(30).measurement_time(Duration::from_secs(20));
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    let source = sensor_index(&source, documents(10_000_000));
    let mut bare = floor(folder.path());
    let mut floors = Latencies::default();
    for page in [1_000, 65_536] {
        let jobs = OnDisk::new(&folder.path().join(page.to_string()), &source);
        let (mut latencies, mut written, mut round) = (Latencies::default(), Vec::new(), 0);
        group.bench_function(format!("stop, page of {page} documents"), |b| {
            b.iter_custom(|count| {
                (0..count)
                    .map(|_| {
                        round += 1;
                        let (latency, documents) =
                            jobs.stop_after(page, Duration::from_micros(20_000 + round * 77_777 % 900_000));
                        latencies.push(latency);
                        written.push(documents);
                        floors.push(bare());
                        latency
                    })
                    .sum()
            });
        });
        latencies.print(&format!("stop, everything counted, page of {page}"));
        written.sort_unstable();
        println!("    documents committed then: {:?} to {:?}", written.first(), written.last());
    }
    floors.print("a commit of tantivy that changes nothing, and one of redb");
    group.finish();
}
