//! What every job store has to do.

use crate::store::{Acquired, JobStore, Lease, LoadedRecord, Ownership, StoreError, StoreErrorKind, change_ledger};
use crate::{DateHistogram, JobRecord, Ledger, RollupJobConfig, StoredState};

/// Checks a job store for everything that [`JobStore`] promises. `new` makes an empty store; `reopen` closes one and
/// opens it again, as a restart would.
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
    one_record_twice_in_a_batch(&new);
    a_lost_record_keeps_no_other_from_being_saved(&new);
    the_longest_id(&new, &reopen);
    an_older_epoch_has_lost(&new);
    an_earlier_owner_has_lost(&new);
    records_from_another_store(&new);
    ledgers(&new, &reopen);
    marks(&new, &reopen);
    a_ledger_is_nobodys(&new);
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
    for record in &records {
        let found = store.get(record.id()).expect("a record").map(whole);
        assert_eq!(found.as_ref(), Some(record), "one by itself is the one among all");
    }
    assert!(store.get("nobody").expect("no record").is_none());
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

/// Two saves of one job can be in one batch, in any order.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn one_record_twice_in_a_batch<S: JobStore>(new: &impl Fn() -> S) {
    for revisions in [[2, 3], [3, 2]] {
        let store = new();
        store.insert(&record("a", 1, 0, StoredState::Stopped)).unwrap();
        let saves = revisions.map(|revision| record("a", revision, 0, StoredState::Started));
        let outcomes = store.update(&saves);
        assert!(outcomes.len() == 2 && outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(load(&store)[0].revision(), 3, "{revisions:?}: the newer one wins");
    }
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn a_lost_record_keeps_no_other_from_being_saved<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    store.insert(&record("a", 1, 5, StoredState::Stopped)).unwrap();
    store.insert(&record("b", 1, 0, StoredState::Stopped)).unwrap();
    let outcomes = store.update(&[record("a", 9, 4, StoredState::Started), record("b", 2, 0, StoredState::Started)]);
    assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), StoreErrorKind::LostOwnership);
    assert!(outcomes[1].is_ok(), "{outcomes:?}");
    let revisions: Vec<_> = load(&store).iter().map(JobRecord::revision).collect();
    assert_eq!(revisions, [1, 2]);
}

/// The longest that a configuration allows.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn the_longest_id<S: JobStore>(new: &impl Fn() -> S, reopen: &impl Fn(S) -> S) {
    let store = new();
    let ids = ["é".repeat(244), "x".repeat(489)];
    for id in &ids {
        store.insert(&record(id, 1, 0, StoredState::Stopped)).unwrap();
        store.update(&[record(id, 2, 0, StoredState::Started)]).remove(0).unwrap();
    }
    store.remove(&ids[1]).unwrap();
    let left = load(&reopen(store));
    assert_eq!(left, [record(&ids[0], 2, 0, StoredState::Started)], "one is removed, and the other stays");
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

/// Whoever comes next has a higher epoch, and what the first one saves is refused from then on.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn an_earlier_owner_has_lost<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    let Acquired::Owned(first) = store.acquire(None).unwrap() else { panic!("a new store has no owner") };
    store.insert(&record("a", 1, first.epoch, StoredState::Stopped)).unwrap();
    store.renew(&first).unwrap();
    let second = match store.acquire(None).unwrap() {
        Acquired::Owned(second) => second,
        Acquired::Held(lease) => taken_over(&store, first, lease),
    };
    if second == first {
        // A store that has one owner by construction.
        return;
    }
    assert!(second.epoch > first.epoch);
    let lost = |answer: Result<(), StoreError>| {
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::LostOwnership);
    };
    lost(store.update(&[record("a", 9, first.epoch, StoredState::Started)]).remove(0));
    lost(store.insert(&record("b", 9, first.epoch, StoredState::Preparing)));
    if store.lease_duration().is_some() {
        lost(store.renew(&first));
    }
    assert_eq!(load(&store).len(), 1, "what was refused has left nothing");
    assert!(store.update(&[record("a", 2, second.epoch, StoredState::Stopped)]).remove(0).is_ok());
    store.renew(&second).unwrap();
    store.release(&first).unwrap();
    store.renew(&second).unwrap();
    store.release(&second).unwrap();
    let Acquired::Owned(third) = store.acquire(None).unwrap() else { panic!("a store that was released has no owner") };
    assert!(third.epoch > second.epoch);
}

#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn ledgers<S: JobStore>(new: &impl Fn() -> S, reopen: &impl Fn(S) -> S) {
    let store = new();
    assert_eq!(store.ledger("sensor-1").unwrap(), Ledger::default(), "nothing was said of it");
    let (first, number) = change_ledger(&store, "sensor-1", |ledger| ledger.note(0..10)).unwrap();
    assert_eq!((first.revision, number), (1, 1));
    assert_eq!(store.ledger("sensor-1").unwrap(), first);
    let several = store.ledgers(&["sensor-2", "sensor-1", "sensor-3"]).unwrap();
    assert_eq!(
        several,
        [Ledger::default(), first.clone(), Ledger::default()],
        "in the order in which they are asked for"
    );
    assert_eq!(store.ledgers(&[]).unwrap(), []);
    assert_eq!(store.ledger("sensor-2").unwrap(), Ledger::default(), "another index has another");
    let (second, number) = change_ledger(&store, "sensor-1", |ledger| ledger.note(-5..5)).unwrap();
    assert_eq!((second.revision, number), (2, 2));
    let notes: Vec<_> = second.notes.iter().map(|note| (note.number, note.range.clone())).collect();
    assert_eq!(notes, [(1, 5..10), (2, -5..5)], "a later note takes the place of an earlier one where both are");
    // Whoever has read what is not there any more has to read again.
    let mut late = first;
    late.revision += 1;
    late.note(20..30);
    assert!(!store.replace_ledger("sensor-1", &late).unwrap());
    let mut early = second.clone();
    early.revision += 2;
    assert!(!store.replace_ledger("sensor-1", &early).unwrap(), "nor is one left out");
    assert_eq!(store.ledger("sensor-1").unwrap(), second);
    let store = reopen(store);
    assert_eq!(store.ledger("sensor-1").unwrap(), second, "a call that returned is durable");
    assert!(load(&store).is_empty(), "it is no job");
}

/// A store need not keep marks; one that does keeps the last ones.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn marks<S: JobStore>(new: &impl Fn() -> S, reopen: &impl Fn(S) -> S) {
    let store = new();
    assert_eq!(store.mark("sensor-1").unwrap(), None);
    let mark = |name: &str, byte| (name.to_owned(), vec![byte; 3]);
    store.put_marks(&[mark("sensor-1", 1), mark("sensor-2", 2)]).unwrap();
    store.put_marks(&[mark("sensor-2", 3)]).unwrap();
    store.put_marks(&[]).unwrap();
    let kept = store.mark("sensor-1").unwrap();
    let store = reopen(store);
    assert_eq!(store.mark("sensor-1").unwrap(), kept);
    if let Some(kept) = kept {
        assert_eq!((kept, store.mark("sensor-2").unwrap()), (vec![1; 3], Some(vec![3; 3])));
    }
}

/// Neither saves of jobs nor owners that come and go touch it, and a former owner can still write it.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn a_ledger_is_nobodys<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    change_ledger(&store, "in", |ledger| ledger.note(0..10)).unwrap();
    let Acquired::Owned(first) = store.acquire(None).unwrap() else { panic!("a new store has no owner") };
    store.insert(&record("a", 1, first.epoch, StoredState::Preparing)).unwrap();
    change_ledger(&store, "in", |ledger| ledger.note(20..30)).unwrap();
    store.update(&[record("a", 2, first.epoch, StoredState::Stopped)]).remove(0).unwrap();
    store.release(&first).unwrap();
    let Acquired::Owned(_) = store.acquire(None).unwrap() else { panic!("a store that was released has no owner") };
    change_ledger(&store, "in", |ledger| ledger.note(40..50)).unwrap();
    store.remove("a").unwrap();
    let ledger = store.ledger("in").unwrap();
    assert_eq!((ledger.revision, ledger.notes.len()), (3, 3));
}

/// Whoever becomes the owner can save them, whatever their epoch: the other store's clock may have been ahead.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn records_from_another_store<S: JobStore>(new: &impl Fn() -> S) {
    let store = new();
    let ahead = Ownership::after(0).epoch + 3_600;
    store.insert(&record("a", 1, ahead, StoredState::Stopped)).unwrap();
    let Acquired::Owned(owner) = store.acquire(None).unwrap() else { panic!("a new store has no owner") };
    if owner != Ownership::SOLE {
        store.update(&[record("a", 2, owner.epoch, StoredState::Stopped)]).remove(0).unwrap();
    }
}

/// An ownership is taken over only if it has not been renewed since it was seen.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
fn taken_over(store: &dyn JobStore, first: Ownership, seen: Lease) -> Ownership {
    assert_eq!((seen.epoch, Some(seen.duration)), (first.epoch, store.lease_duration()));
    assert_eq!(store.acquire(None).unwrap(), Acquired::Held(seen.clone()), "looking changes nothing");
    store.renew(&first).unwrap();
    let Acquired::Held(again) = store.acquire(Some(&seen)).unwrap() else {
        panic!("its owner has shown that it lives")
    };
    assert_ne!(again, seen, "a renewal can be seen");
    let Acquired::Owned(second) = store.acquire(Some(&again)).unwrap() else { panic!("it has run out") };
    assert!(matches!(store.acquire(Some(&again)).unwrap(), Acquired::Held(lease) if lease.epoch == second.epoch));
    second
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
