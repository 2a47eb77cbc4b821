//! The job store in a cluster: the conformance suite, two hosts, answers that are lost, and what else may be found in
//! its index.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::store::{
    Acquired, ElasticsearchStore, ElasticsearchStoreOptions, JobStore, LoadedRecord, MemoryStore, Ownership,
    StoreError, StoreErrorKind,
};
use rollup_jobs::testing::check_store;
use rollup_jobs::{JobRecord, StoredState};
use serde_json::json;

use crate::scripted::{Reply, Scripted};
use crate::server::{BOTH, Kind, Server};
use crate::world::{job, text};

fn store_at(cluster: Cluster, owner: &str) -> ElasticsearchStore {
    ElasticsearchStore::with_options(cluster, ElasticsearchStoreOptions::new().owner(owner))
}

fn record(id: &str, revision: u64, epoch: u64, state: StoredState) -> JobRecord {
    let json = json!({
        "format": 1, "config": job(id).build().unwrap().to_json(), "terms_types": [], "state": state,
        "checkpoint": { "position": [["timestamp.date_histogram", { "date": revision }]], "stats": {} },
        "run": 3, "revision": revision, "epoch": epoch
    });
    JobRecord::from_json(json.to_string().as_bytes()).unwrap()
}

fn update(store: &dyn JobStore, record: &JobRecord) -> Result<(), StoreError> {
    store.update(std::slice::from_ref(record)).remove(0)
}

fn owned(acquired: Result<Acquired, StoreError>) -> Ownership {
    match acquired.unwrap() {
        Acquired::Owned(ownership) => ownership,
        Acquired::Held(lease) => panic!("{lease:?}"),
    }
}

fn records(store: &dyn JobStore) -> Vec<JobRecord> {
    let whole = |loaded| match loaded {
        LoadedRecord::Job(record) => *record,
        other => panic!("{other:?}"),
    };
    store.load().unwrap().into_iter().map(whole).collect()
}

fn passes_the_suite(kind: Kind) {
    let server = Server::empty(kind);
    let number = Cell::new(0);
    let open = || {
        let options = ElasticsearchStoreOptions::new().index(format!(".jobs-{}", number.get()));
        ElasticsearchStore::with_options(server.cluster(), options)
    };
    let new = || {
        number.set(number.get() + 1);
        open()
    };
    check_store(new, |_| open());
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn opensearch_passes_the_store_suite() {
    passes_the_suite(Kind::OpenSearch);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn elasticsearch_passes_the_store_suite() {
    passes_the_suite(Kind::Elasticsearch);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_former_owner_can_do_nothing_and_is_told_whose_the_jobs_are() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let (first, second) = (store_at(server.cluster(), "the old pod"), store_at(server.cluster(), "the new pod"));
        let former = owned(first.acquire(None));
        for id in ["a", "b"] {
            first.insert(&record(id, 1, former.epoch, StoredState::Stopped)).unwrap();
        }
        let Acquired::Held(lease) = second.acquire(None).unwrap() else { panic!("it has an owner") };
        assert_eq!(lease.owner, "the old pod");
        let owner = owned(second.acquire(Some(&lease)));

        let late = record("a", 2, former.epoch, StoredState::Started);
        let new = record("c", 3, former.epoch, StoredState::Preparing);
        for refused in [update(&first, &late), first.insert(&new), first.remove("b"), first.renew(&former)] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::LostOwnership);
            assert!(text(&error).contains("belongs to the new pod"), "{}", text(&error));
        }
        first.release(&former).unwrap();
        second.renew(&owner).unwrap();
        assert_eq!(records(&second).iter().map(JobRecord::revision).collect::<Vec<_>>(), [1, 1]);
        update(&second, &record("a", 2, owner.epoch, StoredState::Stopped)).unwrap();
        second.remove("b").unwrap();
    }
}

/// The cluster does what it is told, and its answer is lost, at each of the first requests of every call.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn an_answer_that_is_lost_is_looked_up() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let countdown = Arc::clone(&left);
        let proxy = Scripted::before(&server.nodes[0], move |forward, request| {
            let bytes = forward.bytes(request);
            let is_lost = countdown.fetch_sub(1, Ordering::SeqCst) == 0;
            Some(if is_lost { Reply::Last(Vec::new()) } else { Reply::Bytes(bytes) })
        });
        let store = store_at(Cluster::new(ClusterOptions::new([proxy.url.clone()])).unwrap(), "somebody");
        let lose = |number: usize| left.store(number, Ordering::SeqCst);
        for number in 0..8 {
            lose(number);
            let ownership = owned(store.acquire(None));
            lose(number);
            store.renew(&ownership).unwrap();
            lose(number);
            store.insert(&record("a", 1, ownership.epoch, StoredState::Preparing)).unwrap();
            let newest = record("a", 2, ownership.epoch, StoredState::Started);
            lose(number);
            update(&store, &newest).unwrap();
            lose(usize::MAX);
            assert_eq!(records(&store), [newest], "{number}");
            lose(number);
            store.remove("a").unwrap();
            lose(number);
            store.release(&ownership).unwrap();
            lose(usize::MAX);
            assert_eq!(records(&store), []);
        }
        let Ownership { epoch, .. } = owned(store.acquire(None));
        store.insert(&record("a", 1, epoch, StoredState::Preparing)).unwrap();
        lose(1);
        let another = store.insert(&record("a", 2, epoch, StoredState::Preparing));
        assert_eq!(another.unwrap_err().kind(), StoreErrorKind::AlreadyExists);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
#[expect(clippy::disallowed_methods, reason = "that a call ends in time is its promise; the bound is far away")]
fn a_call_that_gets_no_answer_ends_in_time_and_may_be_repeated() {
    let server = Server::empty(Kind::OpenSearch);
    let hangs = Arc::new(AtomicUsize::new(0));
    let hanging = Arc::clone(&hangs);
    let proxy =
        Scripted::before(&server.nodes[0], move |_, _| (hanging.load(Ordering::SeqCst) > 0).then_some(Reply::Hang));
    let cluster = Cluster::new(ClusterOptions::new([proxy.url.clone()])).unwrap();
    let options = ElasticsearchStoreOptions::new().timeout(Duration::from_millis(500));
    let store = ElasticsearchStore::with_options(cluster, options);
    let patient = store_at(server.cluster(), "a test");
    // Creating the index may take longer than that.
    patient.release(&owned(patient.acquire(None))).unwrap();
    let ownership = owned(store.acquire(None));
    store.insert(&record("a", 1, ownership.epoch, StoredState::Stopped)).unwrap();
    hangs.store(1, Ordering::SeqCst);
    let saved = record("a", 2, ownership.epoch, StoredState::Started);
    let fresh = Cluster::new(ClusterOptions::new([proxy.url.clone()])).unwrap();
    let options = ElasticsearchStoreOptions::new().timeout(Duration::from_millis(500));
    let fresh = ElasticsearchStore::with_options(fresh, options);
    let began = Instant::now();
    for failed in [
        update(&store, &saved),
        store.renew(&ownership),
        store.remove("a"),
        store.load().map(drop),
        fresh.acquire(None).map(drop),
    ] {
        assert!(failed.unwrap_err().is_transient());
    }
    // A request of its own would take a minute.
    assert!(began.elapsed() < Duration::from_secs(30));
    hangs.store(0, Ordering::SeqCst);
    store.renew(&ownership).unwrap();
    update(&store, &saved).unwrap();
    assert_eq!(records(&store), [saved]);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn records_that_cannot_be_read_do_not_hide_the_others() {
    for kind in BOTH {
        let server = Server::empty(kind);
        let store = store_at(server.cluster(), "somebody");
        let ownership = owned(store.acquire(None));
        store.insert(&record("a", 1, ownership.epoch, StoredState::Stopped)).unwrap();
        let mut newer = record("c", 1, 1, StoredState::Stopped).to_json();
        newer["format"] = json!(9);
        for (id, text) in [("b", "{ no JSON"), ("c", &newer.to_string())] {
            let document = json!({ "id": id, "epoch": 1, "revision": 1, "record": text });
            server.put(&format!(".rollup-jobs/_doc/job:{id}"), document);
        }
        let mut unreadable = Vec::new();
        for loaded in store.load().unwrap() {
            if let LoadedRecord::Unreadable { id, error } = loaded {
                unreadable.push((id, text(&error)));
            }
        }
        assert_eq!(unreadable.len(), 2, "{unreadable:?}");
        assert!(unreadable[1].1.contains("upgrade rollup-jobs"), "{unreadable:?}");
        store.release(&ownership).unwrap();
        // Whoever comes next claims them like any other, and may delete them.
        owned(store.acquire(None));
        assert_eq!(store.load().unwrap().len(), 3);
        store.remove("b").unwrap();
        store.remove("c").unwrap();
        assert_eq!(records(&store).len(), 1);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn more_records_than_a_search_may_have() {
    const COUNT: usize = 10_100;
    let server = Server::empty(Kind::OpenSearch);
    let store = store_at(server.cluster(), "somebody");
    let ownership = owned(store.acquire(None));
    let sample = record("sample", 7, 1, StoredState::Stopped).to_json().to_string();
    let mut lines = String::new();
    for number in 0..COUNT {
        let (id, text) = (format!("job-{number:05}"), sample.replace("sample", &format!("job-{number:05}")));
        lines.push_str(&json!({ "create": { "_id": format!("job:{id}") } }).to_string());
        lines.push('\n');
        lines.push_str(&json!({ "id": id, "epoch": 1, "revision": 7, "record": text }).to_string());
        lines.push('\n');
    }
    let (status, answer) = server.try_ask(Method::POST, ".rollup-jobs/_bulk", Some(lines));
    assert!(status == 200 && answer["errors"] == false, "{status} {answer}");
    store.release(&ownership).unwrap();
    let ownership = owned(store.acquire(None));
    let loaded = records(&store);
    assert_eq!(loaded.len(), COUNT);
    let stopped: Vec<_> =
        loaded.iter().take(1_000).map(|loaded| record(loaded.id(), 8, ownership.epoch, StoredState::Started)).collect();
    assert!(store.update(&stopped).iter().all(Result::is_ok));
    assert_eq!(records(&store).iter().filter(|record| record.state() == StoredState::Started).count(), 1_000);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn an_index_that_is_no_job_store_is_left_alone_and_one_that_is_gone_is_not_made_anew() {
    for kind in BOTH {
        let server = Server::empty(kind);
        server.create_index("taken", &[]);
        let options = ElasticsearchStoreOptions::new().index("taken");
        let error = ElasticsearchStore::with_options(server.cluster(), options).acquire(None).unwrap_err();
        assert!(text(&error).contains("index [taken]: it is there, and is no job store"), "{}", text(&error));

        let store = store_at(server.cluster(), "somebody");
        let ownership = owned(store.acquire(None));
        store.insert(&record("a", 1, ownership.epoch, StoredState::Stopped)).unwrap();
        server.ask(Method::DELETE, ".rollup-jobs", None);
        for failed in [
            update(&store, &record("a", 2, ownership.epoch, StoredState::Started)),
            store.insert(&record("b", 3, ownership.epoch, StoredState::Preparing)),
            store.remove("a"),
            store.renew(&ownership),
        ] {
            let error = failed.unwrap_err();
            assert!(text(&error).contains("no such index"), "{}", text(&error));
        }
        assert_eq!(server.try_ask(Method::GET, ".rollup-jobs", None).0, 404);
        assert_eq!(server.try_ask(Method::GET, ".rollup-jobs-write", None).0, 404);
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn ids_are_kept_as_they_are() {
    let server = Server::empty(Kind::Elasticsearch);
    let store = store_at(server.cluster(), "somebody");
    let longest = format!("{}x", "é".repeat(244));
    for id in ["...", "a/b?c#d", "lease", "job:lease", " ", &longest] {
        store.insert(&record(id, 1, 0, StoredState::Stopped)).unwrap();
    }
    let reference = MemoryStore::new();
    for record in records(&store) {
        reference.insert(&record).unwrap();
        store.remove(record.id()).unwrap();
    }
    assert_eq!(records(&reference).len(), 6);
    assert!(records(&store).is_empty());
}
