//! What comes between a client and a cluster: connections that are closed, reset or cut off, answers that dawdle, a
//! proxy's own pages, and storms of refusals. Each at a search, a bulk and a look at the rollup index, over plain
//! connections and TLS; and each with a stop at that very moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollup_jobs::cluster::{Cluster, ClusterOptions};
use rollup_jobs::engine::SourceDocument;
use rollup_jobs::engine::elasticsearch::{ElasticsearchEngine, ElasticsearchOptions};
use rollup_jobs::{JobState, RollupJobConfig, RunOutcome, StopOptions};

use crate::authority::Authority;
use crate::scripted::{Forward, Reply, Scripted, Seen};
use crate::server::{Kind, Server};
use crate::world::{World, assert_same, expected, job, load, readings, rolled_up_into};

/// What is done to some requests, and whether the run goes on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// As by a port at which nobody listens any more.
    Closed,
    Reset,
    CutOff,
    Dawdle,
    Html,
    Status(u16),
}

const FAULTS: [Fault; 10] = [
    Fault::Closed,
    Fault::Reset,
    Fault::CutOff,
    Fault::Dawdle,
    Fault::Html,
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(503),
];

impl Fault {
    fn passes(self) -> bool {
        !matches!(self, Self::Status(401 | 403))
    }

    /// How many requests it befalls.
    fn storm(self) -> usize {
        match self {
            // Each costs a time-out, or the second that it asks for.
            Self::Dawdle | Self::Status(429) => 2,
            _ => 3,
        }
    }

    fn reply(self, forward: &Forward, request: &Seen) -> Reply {
        let half = || {
            let mut bytes = forward.bytes(request);
            bytes.truncate(bytes.len() / 2);
            bytes
        };
        match self {
            Self::Closed => Reply::Last(Vec::new()),
            Self::Reset => Reply::Reset(half()),
            Self::CutOff => Reply::Last(half()),
            Self::Dawdle => Reply::Trickle,
            Self::Html => Reply::with(200, &[("content-type", "text/html")], b"<html>We will be back soon</html>"),
            Self::Status(429) => Reply::with(429, &[("retry-after", "1")], b"<html>Slow down</html>"),
            Self::Status(status) => Reply::with(status, &[], b"<html>No</html>"),
        }
    }
}

/// Which requests it befalls.
#[derive(Debug, Clone, Copy)]
enum At {
    Search,
    Bulk,
    Look,
}

impl At {
    fn is(self, request: &Seen) -> bool {
        match self {
            Self::Search => request.line.starts_with("POST /_search?"),
            Self::Bulk => request.line.contains("/_bulk?"),
            Self::Look => request.line.starts_with("GET /rolled-"),
        }
    }
}

/// A cluster behind a proxy.
struct Behind {
    server: Server,
    world: World,
    fault: Arc<Mutex<(Fault, At)>>,
    /// How many of the requests pass before the fault, and how many it befalls.
    pass: Arc<AtomicUsize>,
    befall: Arc<AtomicUsize>,
    struck: Receiver<()>,
}

fn source() -> Vec<SourceDocument> {
    readings(600, true)
}

fn config(number: usize) -> RollupJobConfig {
    let job = job(&format!("sensor-{number}")).rollup_index(format!("rolled-{number}"));
    job.page_size(30).build().unwrap()
}

impl Behind {
    fn new(is_secure: bool) -> Self {
        let server = Server::empty(Kind::OpenSearch);
        load(&server, &source());
        let forward = Forward::to(&server.nodes[0]);
        let fault = Arc::new(Mutex::new((Fault::Closed, At::Search)));
        let (pass, befall) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (strike, struck) = channel();
        let (told, passing, left) = (Arc::clone(&fault), Arc::clone(&pass), Arc::clone(&befall));
        let strike = Mutex::new(strike);
        let take = |count: &AtomicUsize| {
            count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
        };
        let reply = move |request: &Seen| {
            let (fault, at) = *told.lock().unwrap();
            if !at.is(request) || take(&passing) || !take(&left) {
                return Reply::Bytes(forward.bytes(request));
            }
            let reply = fault.reply(&forward, request);
            let _ = strike.lock().unwrap().send(());
            reply
        };
        let authority = Authority::new();
        let proxy = if is_secure { authority.server(reply) } else { Scripted::new(reply) };
        let (certificate, key) = authority.sign("client");
        let mut options = ClusterOptions::new([proxy.url.clone()]).request_timeout(Duration::from_secs(1));
        if is_secure {
            options = options.certificate_authority(authority.certificate.pem());
            options = options.client_certificate(certificate.pem(), key.serialize_pem());
        }
        let cluster = Cluster::new(options).unwrap();
        let options = ElasticsearchOptions::new().bulk_timeout(Duration::from_secs(1));
        let world = World::new(Arc::new(ElasticsearchEngine::with_options(cluster, options)));
        Self { server, world, fault, pass, befall, struck }
    }

    /// Lets the fault strike at the third of those requests, for a while.
    fn arm(&self, fault: Fault, at: At) {
        *self.fault.lock().unwrap() = (fault, at);
        self.struck.try_iter().for_each(drop);
        self.befall.store(fault.storm(), Ordering::SeqCst);
        self.pass.store(2, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.befall.store(0, Ordering::SeqCst);
    }

    fn assert_whole(&self, config: &RollupJobConfig, what: &str) {
        println!("{what}");
        let found = rolled_up_into(&self.server, config.rollup_index());
        assert_same(&found, &expected(&source(), std::slice::from_ref(config)));
    }
}

/// Every fault at every kind of request, numbered.
fn cases() -> impl Iterator<Item = (usize, Fault, At)> {
    let all = FAULTS.into_iter().flat_map(|fault| [At::Search, At::Bulk, At::Look].map(|at| (fault, at)));
    all.enumerate().map(|(number, (fault, at))| (number, fault, at))
}

fn a_run_goes_on_or_ends_with_the_reason(is_secure: bool) {
    let behind = Behind::new(is_secure);
    for (number, fault, at) in cases() {
        let (config, what) = (config(number), format!("{fault:?} at {at:?}"));
        behind.world.put(&config);
        behind.arm(fault, at);
        let (outcome, status) = behind.world.run(config.id());
        behind.struck.try_recv().unwrap_or_else(|_| panic!("{what} has not struck"));
        let expected = if fault.passes() { RunOutcome::Finished } else { RunOutcome::Failed };
        assert_eq!(outcome, expected, "{what}: {status:#?}");
        assert_eq!(status.last_errors().last().unwrap().is_transient(), fault.passes(), "{what}: {status:#?}");
        if let Fault::Status(code) = fault {
            let said = status.last_errors().iter().any(|error| error.to_string().contains(&code.to_string()));
            assert!(said, "{what}: {status:#?}");
        }
        behind.heal();
        behind.world.run_well(config.id());
        behind.assert_whole(&config, &what);
        let _ = behind.world.manager.stop(config.id(), StopOptions::new()).unwrap();
    }
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_run_survives_what_comes_between() {
    a_run_goes_on_or_ends_with_the_reason(false);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_run_survives_what_comes_between_over_tls() {
    a_run_goes_on_or_ends_with_the_reason(true);
}

#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn a_stop_at_that_moment_is_answered() {
    let behind = Behind::new(true);
    for (number, fault, at) in cases() {
        let (config, what) = (config(number), format!("{fault:?} at {at:?}"));
        behind.world.put(&config);
        behind.arm(fault, at);
        behind.world.manager.trigger(config.id()).unwrap();
        behind.struck.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|_| panic!("{what} has not struck"));
        // A bulk, and a look of a commit, is waited for until it times out; there may be two of them.
        let stop = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
        let stopped = behind.world.manager.stop(config.id(), stop);
        assert!(
            stopped.is_ok_and(|stopped| stopped.is_at_rest()),
            "{what}: {:#?}",
            behind.world.manager.get(config.id())
        );
        assert_eq!(behind.world.manager.get(config.id()).unwrap().state(), JobState::Stopped, "{what}");
        behind.world.end();
        behind.heal();
        behind.world.manager.start(config.id()).unwrap();
        behind.world.run_well(config.id());
        behind.assert_whole(&config, &what);
        let _ = behind.world.manager.stop(config.id(), StopOptions::new()).unwrap();
    }
}
