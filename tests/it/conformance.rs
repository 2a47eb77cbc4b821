//! All engines and stores of the crate pass the suites that strangers' engines and stores are checked by.

#[cfg(feature = "redb")]
use std::sync::Arc;
use std::time::Duration;

use rollup_jobs::engine::MemoryEngine;
#[cfg(feature = "tantivy")]
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::store::MemoryStore;
#[cfg(feature = "redb")]
use rollup_jobs::store::RedbStore;
use rollup_jobs::testing::{MemoryHarness, check_engine, check_store};

#[cfg(all(feature = "tantivy", feature = "redb"))]
use crate::disk::Left;
#[cfg(all(feature = "tantivy", feature = "redb"))]
use crate::ending_harness::EndingHarness;
#[cfg(feature = "tantivy")]
use crate::tantivy_harness::TantivyHarness;

#[test]
fn memory_engine() {
    check_engine(|| Box::new(MemoryHarness::new(MemoryEngine::new())));
}

#[test]
fn memory_engine_without_progress() {
    check_engine(|| Box::new(MemoryHarness::new(MemoryEngine::without_progress())));
}

#[cfg(feature = "tantivy")]
#[test]
fn tantivy_engine_in_ram() {
    check_engine(|| Box::new(TantivyHarness::in_ram()));
}

#[cfg(feature = "tantivy")]
#[test]
fn tantivy_engine_on_disk() {
    check_engine(|| Box::new(TantivyHarness::on_disk()));
}

/// On a disk that ends, in every state in which that can leave it.
#[cfg(all(feature = "tantivy", feature = "redb"))]
#[test]
fn tantivy_engine_that_is_interrupted() {
    for left in [Left::Everything, Left::Nothing, Left::Removals, Left::Additions] {
        check_engine(|| Box::new(EndingHarness::new(left)));
    }
}

/// With next to no memory a scan needs many passes, and a writer gives up nearly everything at a stop, which must not
/// show; with a little more it keeps some.
#[cfg(feature = "tantivy")]
#[test]
fn tantivy_engine_with_a_tiny_budget() {
    for writer_memory in [1 << 14, 1 << 19] {
        check_engine(|| {
            Box::new(TantivyHarness::with(TantivyEngine::in_ram_with(
                TantivyOptions::new().memory_budget(1).writer_memory(writer_memory).writer_threads(2),
            )))
        });
    }
}

#[test]
fn memory_store() {
    check_store(MemoryStore::new, |store| store);
    check_store(|| MemoryStore::new().leased_for(Duration::from_secs(30)), |store| store);
}

#[cfg(feature = "redb")]
#[test]
fn redb_store() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let count = std::cell::Cell::new(0);
    let path = || folder.path().join(format!("{}.redb", count.get()));
    let new = || {
        count.set(count.get() + 1);
        RedbStore::open(path()).unwrap()
    };
    let reopen = |store: RedbStore| {
        drop(store);
        RedbStore::open(path()).unwrap()
    };
    check_store(new, reopen);
}
