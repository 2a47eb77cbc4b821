//! One request of many is struck: refused, its answer lost, or the last that the host sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rollup_jobs::cluster::{Cluster, ClusterOptions};

use crate::scripted::{Reply, Scripted};

/// What befalls one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Refused,
    AnswerLost,
    /// The host sends it no more.
    EndBefore,
    /// The host sends it, and nothing after it.
    EndAfter,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Refused, Self::AnswerLost, Self::EndBefore, Self::EndAfter];

    pub(crate) fn ends_the_host(self) -> bool {
        matches!(self, Self::EndBefore | Self::EndAfter)
    }

    fn is_seen_by_the_server(self) -> bool {
        matches!(self, Self::AnswerLost | Self::EndAfter)
    }
}

/// How many requests there were, and which one of them is struck.
#[derive(Default)]
struct Requests {
    count: AtomicUsize,
    /// None if it is 0.
    struck: AtomicUsize,
}

/// What stands before a server, and strikes.
pub(crate) struct Striking {
    proxy: Scripted,
    requests: Arc<Requests>,
}

impl Striking {
    /// Says `ended` when the host is at its end.
    pub(crate) fn before(node: &str, fault: Fault, ended: impl Fn() + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Requests::default());
        let counted = Arc::clone(&requests);
        let proxy = Scripted::before(node, move |forward, request| {
            let number = counted.count.fetch_add(1, Ordering::SeqCst) + 1;
            let struck = counted.struck.load(Ordering::SeqCst);
            let is_struck = number == struck;
            let is_over = fault.ends_the_host() && (1..number).contains(&struck);
            if is_struck && fault.ends_the_host() {
                ended();
            }
            if is_struck && fault.is_seen_by_the_server() {
                forward.bytes(request);
                return Some(Reply::Last(Vec::new()));
            }
            (is_struck || is_over).then(|| Reply::json(503, "{}"))
        });
        Self { proxy, requests }
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::new(ClusterOptions::new([self.proxy.url.clone()])).unwrap()
    }

    /// Strikes this request from now on, none if it is 0.
    pub(crate) fn arm(&self, number: usize) {
        self.requests.count.store(0, Ordering::SeqCst);
        self.requests.struck.store(number, Ordering::SeqCst);
    }

    /// Whether there was a request of this number since then.
    pub(crate) fn has_come_to(&self, number: usize) -> bool {
        self.requests.count.load(Ordering::SeqCst) >= number
    }
}
