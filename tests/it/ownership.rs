//! Two hosts, one store: who owns the jobs, who waits for them, and who has lost them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rollup_jobs::engine::{Engine, MemoryEngine};
use rollup_jobs::store::{Acquired, JobStore, JobStoreAdapter, Lease, MemoryStore, Ownership, StoreError};
use rollup_jobs::testing::{FaultyStore, GatedEngine, ManualClock, StoreCall, StoreFault, documents_of};
use rollup_jobs::{
    DeleteError, HealthColor, JobState, OpenError, Phase, PutError, RemoveDataError, RollupJobManager, RunOutcome,
    ShutdownError, StartError, StopError, StopOptions, StoredState, TriggerError,
};

use crate::support::{Heard, JoinInTime, NOW, PATIENCE, Watcher, config, in_thread, loaded, records, undisturbed};

const LEASE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// What a store was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To be owned, and it was not.
    InVain,
    /// The same, and it gave no answer.
    Refused,
    Renewed,
    Released,
}

/// Tells of each look and each renewal, after it, and of a release before it, which waits until nobody holds it.
#[derive(Debug)]
struct Told {
    store: Arc<dyn JobStore>,
    tell: Mutex<Sender<Asked>>,
    hold: Arc<Mutex<()>>,
}

impl Told {
    fn tell(&self, asked: Asked) {
        // A test may have heard enough.
        let _ = self.tell.lock().unwrap().send(asked);
    }
}

impl JobStoreAdapter for Told {
    fn store(&self) -> &dyn JobStore {
        &*self.store
    }

    fn acquire(&self, lapsed: Option<&Lease>) -> Result<Acquired, StoreError> {
        let acquired = self.store.acquire(lapsed);
        match acquired {
            Ok(Acquired::Owned(_)) => {}
            Ok(Acquired::Held(_)) => self.tell(Asked::InVain),
            Err(_) => self.tell(Asked::Refused),
        }
        acquired
    }

    fn renew(&self, ownership: &Ownership) -> Result<(), StoreError> {
        let renewed = self.store.renew(ownership);
        self.tell(Asked::Renewed);
        renewed
    }

    fn release(&self, ownership: &Ownership) -> Result<(), StoreError> {
        self.tell(Asked::Released);
        drop(self.hold.lock().unwrap());
        self.store.release(ownership)
    }
}

/// A store that several managers can reach, the data, and a clock for all.
struct Shared {
    store: MemoryStore,
    data: MemoryEngine,
    clock: Arc<ManualClock>,
    /// Held, it keeps a release from taking place.
    hold: Arc<Mutex<()>>,
}

impl Shared {
    fn new() -> Self {
        let store = MemoryStore::new().leased_for(LEASE);
        Self { store, data: loaded(), clock: Arc::new(ManualClock::at(NOW.parse().unwrap())), hold: Arc::default() }
    }

    /// Opens a manager in a thread of its own, and says what its store is asked.
    fn open(&self, patience: Duration) -> (JoinHandle<Result<RollupJobManager, OpenError>>, Receiver<Asked>) {
        self.open_on(Arc::new(self.store.clone()), patience)
    }

    /// The same, with something before the store.
    fn open_on(
        &self,
        store: Arc<dyn JobStore>,
        patience: Duration,
    ) -> (JoinHandle<Result<RollupJobManager, OpenError>>, Receiver<Asked>) {
        let (sender, asked) = channel();
        let hold = Arc::clone(&self.hold);
        let store = Arc::new(Told { store, tell: Mutex::new(sender), hold });
        let builder = RollupJobManager::builder(Arc::new(self.data.clone()), store).clock(self.clock.clone());
        (in_thread(move || builder.wait_for_ownership(patience).open()), asked)
    }

    /// Lets a second pass, and waits for the look that a host takes once a second, so that time does not run away from
    /// it.
    fn let_it_look<T>(&self, host: &JoinHandle<T>, looks: &Receiver<Asked>) {
        self.clock.advance(SECOND);
        while looks.try_recv().is_err() && !host.is_finished() {
            std::thread::yield_now();
        }
    }

    /// Takes the jobs over from a manager that does not renew.
    fn take_over(&self) -> Ownership {
        let Ok(Acquired::Held(lease)) = self.store.acquire(None) else { panic!("nobody owns the store") };
        let Ok(Acquired::Owned(ownership)) = self.store.acquire(Some(&lease)) else { panic!("it was renewed") };
        ownership
    }
}

/// A manager whose store can be out of reach.
struct Host {
    shared: Shared,
    store: FaultyStore,
    gates: GatedEngine,
    watcher: Arc<Watcher>,
    manager: Arc<RollupJobManager>,
}

impl Host {
    fn new() -> Self {
        let shared = Shared::new();
        let store = FaultyStore::new(Arc::new(shared.store.clone()));
        let gates = GatedEngine::new(Arc::new(shared.data.clone()));
        let watcher: Arc<Watcher> = Arc::default();
        let engine: Arc<dyn Engine> = Arc::new(gates.clone());
        let builder = RollupJobManager::builder(engine, Arc::new(store.clone())).clock(shared.clock.clone());
        let builder = builder.indexer_threads(1).turn_time(Duration::ZERO).observer(watcher.clone());
        let manager = Arc::new(builder.open().unwrap());
        manager.put(config("sensor").build().unwrap()).unwrap();
        Self { shared, store, gates, watcher, manager }
    }

    fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    fn wait_for(&self, what: &str, done: impl Fn(&rollup_jobs::JobStatus) -> bool) {
        let done = || done(&self.manager.get("sensor").unwrap()).then_some(());
        self.watcher.wait_for(&self.manager, what, done);
    }

    /// Its renewal does not return until the store is healed.
    fn hang_in_renewal(&self) {
        self.store.fail_at(1, StoreFault::Hang);
        self.advance(LEASE / 3);
        self.wait_for("the renewal", |_| self.store.has_failed());
    }

    /// Somebody else takes the jobs over, and the host notices when it renews.
    fn lose(&self) {
        self.shared.take_over();
        self.advance(LEASE);
        self.wait_for("the loss", |status| status.phase() == Phase::LostOwnership);
    }
}

/// The first second may pass before the host notes when it has seen the lease, and one more while it ends.
fn is_about(passed: Duration, expected: Duration) -> bool {
    (expected..=expected + 2 * SECOND).contains(&passed)
}

fn waiting() -> StopOptions {
    StopOptions::new().wait_for_completion(true).timeout(Duration::MAX)
}

#[test]
fn a_put_may_be_the_first_to_find_out() {
    let host = Host::new();
    host.shared.take_over();
    let put = host.manager.put(config("other").build().unwrap());
    assert!(matches!(put, Err(PutError::LostOwnership { .. })), "{put:?}");
}

#[test]
fn a_second_host_fails_when_the_first_one_shows_that_it_lives() {
    let shared = Shared::new();
    let (first, renewals) = shared.open(Duration::ZERO);
    let _first = first.join_in_time().unwrap();
    let (second, looks) = shared.open(Duration::ZERO);
    assert_eq!(looks.recv_timeout(PATIENCE), Ok(Asked::InVain));
    shared.clock.advance(LEASE / 3);
    assert_eq!(renewals.recv_timeout(PATIENCE), Ok(Asked::Renewed));
    // It may have looked before the renewal.
    shared.clock.advance(SECOND);
    let Err(OpenError::Owned { owner }) = second.join_in_time() else { panic!("the first one lives") };
    assert_eq!(owner, "a manager in this process");
}

#[test]
fn a_host_that_died_is_succeeded_after_a_whole_lease() {
    let shared = Shared::new();
    let Ok(Acquired::Owned(dead)) = shared.store.acquire(None) else { panic!("a new store") };
    let (second, looks) = shared.open(Duration::ZERO);
    assert_eq!(looks.recv_timeout(PATIENCE), Ok(Asked::InVain));
    let mut passed = Duration::ZERO;
    while !second.is_finished() {
        assert!(passed < 3 * LEASE, "nobody renews");
        shared.let_it_look(&second, &looks);
        passed += SECOND;
    }
    second.join_in_time().unwrap();
    assert!(is_about(passed, LEASE), "{passed:?}");
    assert!(shared.store.renew(&dead).is_err());
}

#[test]
fn who_waits_is_let_in_by_a_clean_shutdown() {
    let shared = Shared::new();
    let (first, renewals) = shared.open(Duration::ZERO);
    let first = first.join_in_time().unwrap();
    let (second, looks) = shared.open(Duration::MAX);
    assert_eq!(looks.recv_timeout(PATIENCE), Ok(Asked::InVain));
    for _ in 0..6 {
        shared.clock.advance(LEASE / 3);
        assert_eq!(renewals.recv_timeout(PATIENCE), Ok(Asked::Renewed));
        assert_eq!(looks.recv_timeout(PATIENCE), Ok(Asked::InVain));
    }
    first.shutdown(Duration::MAX).unwrap();
    shared.clock.advance(SECOND);
    second.join_in_time().unwrap();
}

#[test]
fn a_second_shutdown_waits_until_the_next_owner_is_let_in() {
    let shared = Shared::new();
    let (manager, asked) = shared.open(Duration::ZERO);
    let manager = Arc::new(manager.join_in_time().unwrap());
    let held = shared.hold.lock().unwrap();
    let first = in_thread({
        let manager = Arc::clone(&manager);
        move || manager.shutdown(Duration::MAX)
    });
    assert_eq!(asked.recv_timeout(PATIENCE), Ok(Asked::Released));
    assert!(manager.shutdown(Duration::ZERO).is_err(), "it is not over yet");
    drop(held);
    manager.shutdown(Duration::MAX).unwrap();
    assert!(matches!(shared.store.acquire(None), Ok(Acquired::Owned(_))));
    first.join_in_time().unwrap();
}

#[test]
fn who_waits_waits_for_the_store_too() {
    let shared = Shared::new();
    let store = FaultyStore::new(Arc::new(shared.store.clone()));
    let builder = |patience| {
        let builder = RollupJobManager::builder(Arc::new(shared.data.clone()), Arc::new(store.clone()));
        builder.clock(shared.clock.clone()).wait_for_ownership(patience)
    };
    let clocks = Arc::strong_count(&shared.clock);
    store.fail_at(1, StoreFault::Unavailable);
    assert!(matches!(builder(Duration::ZERO).open(), Err(OpenError::Store(_))), "it has no time");
    assert_eq!(Arc::strong_count(&shared.clock), clocks, "a thread has been left that looks at it");
    store.fail_at(1, StoreFault::Unavailable);
    let waiting = builder(Duration::MAX);
    let opened = in_thread(move || waiting.open());
    while !opened.is_finished() {
        shared.clock.advance(SECOND);
        std::thread::yield_now();
    }
    opened.join_in_time().unwrap();
    assert!(store.has_failed());
}

/// Its owner is dead, and the store cannot be reached while somebody watches its lease: for a moment, or for long.
#[test]
fn who_watches_a_lease_bears_with_the_store_for_another_one() {
    for is_down_for_long in [false, true] {
        let shared = Shared::new();
        let Ok(Acquired::Owned(_dead)) = shared.store.acquire(None) else { panic!("a new store") };
        let store = FaultyStore::new(Arc::new(shared.store.clone()));
        let (opened, asked) = shared.open_on(Arc::new(store.clone()), Duration::ZERO);
        assert_eq!(asked.recv_timeout(PATIENCE), Ok(Asked::InVain));
        if is_down_for_long {
            store.refuse(&[StoreCall::Acquire]);
        } else {
            store.fail_at(1, StoreFault::Unavailable);
        }
        let mut passed = Duration::ZERO;
        while !opened.is_finished() {
            shared.let_it_look(&opened, &asked);
            passed += SECOND;
        }
        match opened.join_in_time() {
            Ok(_) => assert!(!is_down_for_long && store.has_failed()),
            Err(OpenError::Store(_)) => assert!(is_down_for_long && is_about(passed, 2 * LEASE), "{passed:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn jobs_pause_while_the_ownership_has_run_out_and_go_on_when_it_is_back() {
    let host = Host::new();
    host.manager.start("sensor").unwrap();
    host.gates.search().close();
    host.manager.trigger("sensor").unwrap();
    host.gates.search().wait_for_waiting(1);
    host.store.refuse(&[StoreCall::Renew]);
    host.advance(LEASE);
    let status = host.manager.get("sensor").unwrap();
    assert_eq!(status.health().color(), HealthColor::Yellow);
    assert!(status.health().reason().unwrap().starts_with("paused for 0s"), "{:?}", status.health());
    // The page that comes now is not written: somebody else may own the jobs.
    host.gates.search().open();
    host.wait_for("the pause", |status| status.phase() == Phase::Queued);
    assert_eq!(documents_of(&host.shared.data, "rolled").len(), 0);

    let why = |status: &rollup_jobs::JobStatus| status.health().reason().unwrap().ends_with("planned fault");
    host.wait_for("the reason", why);
    host.store.heal();
    host.advance(LEASE / 10);
    let finished = |heard: &Heard| matches!(heard, Heard::Run(_, run) if run.outcome == RunOutcome::Finished);
    let is_over = || host.watcher.heard().iter().any(finished).then_some(());
    host.watcher.wait_for(&host.manager, "the end of the run", is_over);
    assert_eq!(documents_of(&host.shared.data, "rolled"), undisturbed("sensor"));
    assert_eq!(host.manager.get("sensor").unwrap().run(), 1);
    assert_eq!(host.manager.get("sensor").unwrap().health().color(), HealthColor::Green);
}

#[test]
fn a_paused_job_is_stopped_in_the_callers_thread() {
    let host = Host::new();
    host.manager.start("sensor").unwrap();
    host.store.refuse(&[StoreCall::Renew]);
    host.advance(LEASE);
    host.manager.trigger("sensor").unwrap();
    assert!(host.manager.stop("sensor", waiting()).unwrap().is_at_rest(), "the store has not another owner");
    host.manager.delete("sensor").unwrap();
}

#[test]
fn who_has_lost_the_jobs_says_so_to_everybody() {
    let host = Host::new();
    host.manager.put(config("running").build().unwrap()).unwrap();
    host.manager.start("running").unwrap();
    host.gates.search().close();
    host.manager.trigger("running").unwrap();
    host.gates.search().wait_for_waiting(1);
    host.lose();

    let manager = &host.manager;
    assert!(matches!(manager.stop("sensor", waiting()), Err(StopError::LostOwnership { .. })), "even a stopped job");
    assert!(matches!(manager.stop_at_hand("sensor"), Some(Err(StopError::LostOwnership { .. }))));
    assert!(matches!(manager.start("sensor"), Err(StartError::LostOwnership { .. })));
    assert!(matches!(manager.trigger("sensor"), Err(TriggerError::LostOwnership { .. })));
    assert!(matches!(manager.delete("sensor"), Err(DeleteError::LostOwnership { .. })));
    let put = manager.put(config("other").build().unwrap());
    assert!(matches!(put, Err(PutError::LostOwnership { .. })));
    let removed = manager.remove_data("rolled", "former");
    assert!(matches!(removed, Err(RemoveDataError::LostOwnership { .. })));
    let report = manager.stop_many(rollup_jobs::JobSelector::all(), waiting()).unwrap();
    assert!(report.outcomes().all(|(_, answer)| matches!(answer, Err(StopError::LostOwnership { .. }))));

    let status = manager.get("sensor").unwrap();
    assert_eq!((status.state(), status.phase()), (JobState::Stopped, Phase::LostOwnership));
    assert_eq!(status.health().color(), HealthColor::Red);
    assert_eq!(status.next_run(), None);
    assert_eq!(manager.get("running").unwrap().next_run(), None);
    assert_eq!(manager.list().len(), 2);
    // The search was given up, not the gate opened; and nothing was written.
    let over =
        |heard: &Heard| matches!(heard, Heard::Run(id, run) if id == "running" && run.outcome == RunOutcome::Failed);
    host.watcher.wait_for(manager, "the end of the run", || host.watcher.heard().iter().any(over).then_some(()));
    assert_eq!(documents_of(&host.shared.data, "rolled").len(), 0);

    manager.shutdown(Duration::MAX).unwrap();
    let Ok(Acquired::Held(_)) = host.shared.store.acquire(None) else { panic!("it was not theirs to give away") };
}

#[test]
fn who_waits_for_a_stop_is_told_that_the_jobs_are_lost() {
    let host = Host::new();
    host.manager.start("sensor").unwrap();
    host.gates.commit().close();
    host.manager.trigger("sensor").unwrap();
    host.gates.commit().wait_for_waiting(1);
    let (manager, completion) =
        (host.manager.clone(), host.manager.stop("sensor", StopOptions::new()).unwrap().completion());
    let stop = in_thread(move || manager.stop("sensor", waiting()));
    host.lose();
    host.gates.commit().open();
    assert!(matches!(completion.wait(PATIENCE), Err(StopError::LostOwnership { .. })));
    assert!(matches!(stop.join_in_time(), Err(StopError::LostOwnership { .. })));
}

#[test]
fn a_host_that_has_handed_over_does_not_say_that_it_pauses() {
    let host = Host::new();
    host.manager.shutdown(Duration::MAX).unwrap();
    host.advance(LEASE);
    let status = host.manager.get("sensor").unwrap();
    assert_eq!((status.phase(), status.health().color()), (Phase::Idle, HealthColor::Green));
    assert!(host.manager.stop("sensor", waiting()).unwrap().is_at_rest());
}

/// Who may still renew must not let anybody else in.
#[test]
fn a_shutdown_that_gives_up_on_a_renewal_hands_nothing_over() {
    let host = Host::new();
    host.hang_in_renewal();
    assert!(matches!(host.manager.shutdown(Duration::ZERO), Err(ShutdownError::Timeout { .. })));
    let Ok(Acquired::Held(_)) = host.shared.store.acquire(None) else { panic!("it is still being renewed") };
    let Host { shared, store, manager, .. } = host;
    store.heal();
    drop(manager);
    let next = in_thread(move || {
        while !matches!(shared.store.acquire(None), Ok(Acquired::Owned(_))) {
            std::thread::yield_now();
        }
    });
    next.join_in_time();
}

#[test]
fn a_shutdown_waits_for_a_renewal_and_then_hands_over() {
    let host = Host::new();
    host.hang_in_renewal();
    let manager = Arc::clone(&host.manager);
    let shutdown = in_thread(move || manager.shutdown(Duration::MAX));
    // Long enough for all that does not wait for the renewal.
    for _ in 0..10_000 {
        assert!(!shutdown.is_finished(), "it is still being renewed");
        std::thread::yield_now();
    }
    host.store.heal();
    shutdown.join_in_time().unwrap();
    let Ok(Acquired::Owned(_)) = host.shared.store.acquire(None) else { panic!("a clean shutdown hands over") };
}

/// When its time runs out all other threads have ended, most of the time.
#[test]
fn a_shutdown_that_waits_for_nothing_but_a_renewal_hands_nothing_over_either() {
    let host = Host::new();
    host.hang_in_renewal();
    let manager = Arc::clone(&host.manager);
    let shutdown = in_thread(move || manager.shutdown(SECOND));
    (0..10_000).for_each(|_| std::thread::yield_now());
    while !shutdown.is_finished() {
        host.advance(SECOND);
        std::thread::yield_now();
    }
    assert!(matches!(shutdown.join_in_time(), Err(ShutdownError::Timeout { .. })));
    assert!(matches!(host.shared.store.acquire(None), Ok(Acquired::Held(_))));
    host.store.heal();
}

/// Once a shutdown has waited for callers' threads, none begins anything more: the jobs may be handed over.
#[test]
fn who_comes_while_the_jobs_are_handed_over_is_too_late() {
    let host = Host::new();
    host.manager.start("sensor").unwrap();
    host.hang_in_renewal();
    let manager = Arc::clone(&host.manager);
    let shutdown = in_thread(move || manager.shutdown(Duration::MAX));
    host.watcher.wait_for(&host.manager, "the end of all calls", || {
        let removed = host.manager.remove_data("rolled", "nobody");
        matches!(removed, Err(RemoveDataError::ShutDown { .. })).then_some(())
    });
    assert!(matches!(host.manager.stop("sensor", waiting()), Err(StopError::ShutDown { .. })));
    let report = host.manager.stop_many("sensor", waiting()).unwrap();
    assert!(report.outcomes().all(|(_, answer)| matches!(answer, Err(StopError::ShutDown { .. }))));
    host.store.heal();
    shutdown.join_in_time().unwrap();
    assert_eq!(records(&host.shared.store)[0].state(), StoredState::Started);
}

#[test]
fn the_jobs_are_handed_over_once_and_only_by_their_owner() {
    for is_lost in [false, true] {
        let shared = Shared::new();
        let (host, asked) = shared.open(Duration::ZERO);
        let host = host.join_in_time().unwrap();
        if is_lost {
            shared.take_over();
            shared.clock.advance(LEASE / 3);
            assert_eq!(asked.recv_timeout(PATIENCE), Ok(Asked::Renewed), "it hears of it");
        }
        host.shutdown(Duration::MAX).unwrap();
        drop(host);
        let released = asked.into_iter().filter(|asked| *asked == Asked::Released).count();
        assert_eq!(released, usize::from(!is_lost));
    }
}

/// What waits for the ownership holds the job, and that the manager's innards.
#[test]
fn a_manager_that_is_dropped_while_it_pauses_leaves_nothing() {
    let host = Host::new();
    host.manager.start("sensor").unwrap();
    host.store.refuse(&[StoreCall::Renew]);
    host.advance(LEASE);
    host.manager.trigger("sensor").unwrap();
    let Host { shared, manager, watcher, store, gates } = host;
    let observers = Arc::downgrade(&watcher);
    drop((watcher, store, gates));
    Arc::into_inner(manager).expect("nobody else has it").shutdown(Duration::MAX).unwrap();
    assert!(observers.upgrade().is_none(), "the observers are let go of");
    let Ok(Acquired::Owned(_)) = shared.store.acquire(None) else { panic!("a clean shutdown hands over") };
}

/// A lease that has run out may have a new owner, who may have started what was stopped here. The store is asked
/// then: `at rest` and `Ok` were answered out of memory.
#[test]
fn while_the_ownership_is_in_doubt_nothing_is_answered_from_memory() {
    for has_successor in [false, true] {
        let host = Host::new();
        let manager = &host.manager;
        manager.put(config("started").build().unwrap()).unwrap();
        manager.start("started").unwrap();
        host.store.refuse(&[StoreCall::Renew, StoreCall::Update]);
        if has_successor {
            host.shared.take_over();
        }
        host.advance(LEASE);
        // Nobody can say.
        assert!(manager.stop_at_hand("sensor").is_none());
        assert!(matches!(manager.stop("sensor", waiting()), Err(StopError::Store { .. })));
        assert!(matches!(manager.start("started"), Err(StartError::Store { .. })));
        assert!(matches!(manager.trigger("started"), Err(TriggerError::Store { .. })));
        let removed = manager.remove_data("rolled", "former");
        assert!(matches!(removed, Err(RemoveDataError::LostOwnership { .. })), "what is lost, or may be");
        let report = manager.stop_many("sensor", waiting()).unwrap();
        assert!(report.outcomes().all(|(_, answer)| matches!(answer, Err(StopError::Store { .. }))));
        // The store can.
        host.store.refuse(&[StoreCall::Renew]);
        let stopped = manager.stop("sensor", waiting());
        let started = manager.start("started");
        if has_successor {
            assert!(matches!(stopped, Err(StopError::LostOwnership { .. })), "{stopped:?}");
            assert!(matches!(started, Err(StartError::LostOwnership { .. })), "{started:?}");
        } else {
            assert!(stopped.unwrap().is_at_rest());
            started.unwrap();
        }
    }
}
