//! What every job store has to do.

use crate::store::{JobStore, LoadedRecord, StoreErrorKind};
use crate::{DateHistogram, JobRecord, RollupJobConfig, StoredState};

/// Checks a job store for everything that [`JobStore`] promises. `new` makes an empty store; `reopen` closes one and opens it
/// again, as a restart would.
///
/// ```
/// use rollup_jobs::store::MemoryStore;
/// use rollup_jobs::testing::check_store;
///
/// check_store(|| MemoryStore::new(), |store| store);
/// ```
///
/// # Panics
/// If the store does not keep one of its promises.
pub fn check_store<S: JobStore>(new: impl Fn() -> S, reopen: impl Fn(S) -> S) {
    insert_and_load(&new, &reopen);
    the_highest_revision_wins(&new, &reopen);
    outcomes_are_per_record(&new);
    an_older_epoch_has_lost(&new);
    an_earlier_owner_has_lost(&new);
    remove(&new, &reopen);
    a_new_store_is_empty(&new);
}

#[expect(clippy::expect_used, reason = "the suite's own records are valid")]
fn record(id: &str, revision: u64, epoch: u64, state: StoredState) -> JobRecord {
    let config = RollupJobConfig::builder(id)
        .index_pattern("in")
        .rollup_index("out")
        .cron("0 0 * * * ?")
        .page_size(10)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .build()
        .expect("a valid configuration");
    let json = serde_json::json!({
        "format": 1, "config": config.to_json(), "terms_types": [], "state": state,
        "checkpoint": { "position": [["timestamp.date_histogram", { "date": revision }]], "stats": {} },
        "run": 3, "revision": revision, "epoch": epoch
    });
    JobRecord::from_json(json.to_string().as_bytes()).expect("a valid record")
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn load(store: &dyn JobStore) -> Vec<JobRecord> {
    let mut records: Vec<_> = store.load().expect("loads").into_iter().map(whole).collect();
    records.sort_by(|a, b| a.id().cmp(b.id()));
    records
}

fn whole(loaded: LoadedRecord) -> JobRecord {
    match loaded {
        LoadedRecord::Job(record) => *record,
        LoadedRecord::Unreadable { id, error } => panic!("record [{id}] cannot be read: {error}"),
    }
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn insert_and_load<S: JobStore>(new: &impl Fn() -> S, reopen: &impl Fn(S) -> S) {
    let store = new();
    let records = [record("a", 1, 0, StoredState::Preparing), record("é/b c", 2, 0, StoredState::Started)];
    for record in &records {
        store.insert(record).unwrap();
    }
    assert_eq!(
        store.insert(&record("a", 9, 0, StoredState::Stopped)).unwrap_err().kind(),
        StoreErrorKind::AlreadyExists
    );
    assert_eq!(load(&store), records);
    assert_eq!(load(&reopen(store)), records, "a call that returned is durable");
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn the_highest_revision_wins<S: JobStore>(new: &impl Fn() -> S, reopen: &impl Fn(S) -> S) {
    let store = new();
    store.insert(&record("a", 1, 0, StoredState::Preparing)).unwrap();
    let newest = record("a", 3, 0, StoredState::Stopped);
    for save in [&newest, &record("a", 2, 0, StoredState::Indexing)] {
        assert!(
            store.update(std::slice::from_ref(save)).remove(0).is_ok(),
            "an older save that comes late is a success"
        );
    }
    assert_eq!(load(&store), std::slice::from_ref(&newest));
    assert_eq!(load(&reopen(store)), [newest]);
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn outcomes_are_per_record<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    for id in ["a", "b"] {
        store.insert(&record(id, 1, 0, StoredState::Stopped)).unwrap();
    }
    let saves = ["a", "gone", "b"].map(|id| record(id, 5, 0, StoredState::Started));
    let outcomes = store.update(&saves);
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), StoreErrorKind::Gone);
    assert!(load(&store).iter().all(|record| record.revision() == 5));
    assert!(store.update(&[]).is_empty());
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn an_older_epoch_has_lost<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    store.insert(&record("a", 10, 1, StoredState::Stopped)).unwrap();
    let successor = record("a", 2, 2, StoredState::Started);
    assert!(
        store.update(std::slice::from_ref(&successor)).remove(0).is_ok(),
        "a newer epoch counts more than a revision"
    );
    let lost = store.update(&[record("a", 11, 1, StoredState::Stopped)]).remove(0);
    assert_eq!(lost.unwrap_err().kind(), StoreErrorKind::LostOwnership);
    assert_eq!(load(&store), [successor]);
}

/// Where the store lets a second owner in, the first one's saves are refused from then on.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn an_earlier_owner_has_lost<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    let first = store.acquire().unwrap();
    store.insert(&record("a", 1, first.epoch, StoredState::Stopped)).unwrap();
    let Ok(second) = store.acquire() else { return };
    if second.epoch > first.epoch {
        let late = store.update(&[record("a", 9, first.epoch, StoredState::Started)]).remove(0);
        assert_eq!(late.unwrap_err().kind(), StoreErrorKind::LostOwnership);
        assert!(store.update(&[record("a", 2, second.epoch, StoredState::Stopped)]).remove(0).is_ok());
    }
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn remove<S: JobStore>(new: &impl Fn() -> S, reopen: &impl Fn(S) -> S) {
    let store = new();
    store.insert(&record("a", 1, 0, StoredState::Stopped)).unwrap();
    store.remove("a").unwrap();
    store.remove("a").unwrap();
    assert_eq!(
        store.update(&[record("a", 2, 0, StoredState::Stopped)]).remove(0).unwrap_err().kind(),
        StoreErrorKind::Gone
    );
    let store = reopen(store);
    assert!(load(&store).is_empty());
    store.insert(&record("a", 3, 0, StoredState::Preparing)).unwrap();
}

fn a_new_store_is_empty<S: JobStore>(new: &impl Fn() -> S) {
    assert!(load(&new()).is_empty());
}
