//! From a stop's call to its return, commit and save included, in a run that writes to disk at full speed.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::Schema;
use rollup_jobs::engine::tantivy::tantivy::{Index, IndexWriter};
use rollup_jobs::store::RedbStore;

use crate::latencies::Latencies;
use crate::waiting::Rounds;

/// Rounds of jobs on disk.
fn on_disk(folder: &Path, source: &Index) -> Rounds {
    let engine = TantivyEngine::open(folder.join("rollups")).unwrap();
    engine.register("sensor", source).unwrap();
    Rounds::new(engine, RedbStore::open(folder.join("jobs.redb")).unwrap())
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

pub(crate) fn everything(criterion: &mut Criterion, source: &Index) {
    let folder = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("everything, run of 424,000 documents");
    group.sample_size(30).measurement_time(Duration::from_secs(20));
    let mut bare = floor(folder.path());
    let mut floors = Latencies::default();
    for page in [1_000, 65_536] {
        let rounds = on_disk(&folder.path().join(page.to_string()), source);
        let (mut latencies, mut round) = (Latencies::default(), 0);
        group.bench_function(format!("stop, page of {page} documents"), |b| {
            b.iter_custom(|count| {
                (0..count)
                    .map(|_| {
                        round += 1;
                        let time = Duration::from_micros(20_000 + round * 77_777 % 900_000);
                        let (rest, commit) = rounds.stop_after(page, || std::thread::sleep(time));
                        let latency = rest + commit;
                        latencies.push(latency);
                        floors.push(bare());
                        latency
                    })
                    .sum()
            });
        });
        latencies.print(&format!("stop, everything counted, page of {page}"));
    }
    floors.print("a commit of tantivy that changes nothing, and one of redb");
    group.finish();
}
