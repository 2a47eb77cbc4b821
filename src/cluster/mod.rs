//! How is a cluster spoken to? One HTTP client for the engine and the store of feature `elasticsearch`.
//!
//! [`Cluster`] is what a host makes of [`ClusterOptions`]; engine and store take it, and may share one. It owns one
//! thread, `rollup-cluster`, on which the connections live; whoever asks something waits for its answer elsewhere,
//! and may give it up at any moment, which closes its connection.

mod answer;
mod budget;
mod failure;
mod nodes;
mod options;
mod pending;
mod product;
mod request;
mod shards;
mod tls;
mod transport;

use std::fmt;
use std::time::Duration;

pub use options::{ClusterOptions, ClusterOptionsError, Credentials};

pub(crate) use answer::{Answer, Parsed};
pub(crate) use failure::{Cause, Failure, item_status};
pub(crate) use pending::Pending;
pub(crate) use product::{Kind, Product};
pub(crate) use request::{Request, add_write_alias, time_value};
pub(crate) use shards::Shards;

use crate::stop_signal::StopSignal;
use crate::sync::{Arc, Mutex};
use shards::OfShards;
use transport::Transport;

/// An Elasticsearch or OpenSearch cluster, to be spoken to from any thread.
///
/// Cloning is cheap: all clones share connections, memory budget and thread, which end with the last one.
///
/// ```no_run
/// use rollup_jobs::cluster::{Cluster, ClusterOptions};
///
/// let cluster = Cluster::new(ClusterOptions::new(["http://localhost:9200"]))?;
/// # Ok::<(), rollup_jobs::cluster::ClusterOptionsError>(())
/// ```
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<ClusterClient>,
}

struct ClusterClient {
    transport: Transport,
    /// What kind of cluster it is, once it has said so.
    product: Mutex<Option<Product>>,
}

impl Cluster {
    /// Takes the options, and starts the thread. Nothing is sent before there is something to ask.
    ///
    /// # Errors
    /// [`ClusterOptionsError`] for options that cannot be used, or a thread that cannot be had.
    pub fn new(options: ClusterOptions) -> Result<Self, ClusterOptionsError> {
        let transport = Transport::new(&options)?;
        Ok(Self { shared: Arc::new(ClusterClient { transport, product: Mutex::new(None) }) })
    }

    /// Sends a request.
    pub(crate) fn send(&self, request: Request) -> Pending {
        self.shared.transport.send(request)
    }

    /// Sends a request, and waits for the answer: what it says, if it says that all went well.
    pub(crate) fn ask(&self, request: Request, stop: &StopSignal) -> Result<Answer, Failure> {
        self.send(request).answer(stop)
    }

    /// Makes everything visible in an index that was written. A copy that was not refreshed would answer without it.
    pub(crate) fn refresh(&self, request: Request, stop: &StopSignal) -> Result<(), Failure> {
        // Copies that are not assigned are not counted among those that failed, and answer nothing.
        self.ask(request, stop)?.read::<OfShards>()?.shards.all_answered()
    }

    /// What kind of cluster it is.
    pub(crate) fn product(&self, stop: &StopSignal) -> Result<Product, Failure> {
        self.product_by(Request::get([]), stop)
    }

    /// The same, with a time-out of the caller's own.
    pub(crate) fn product_within(&self, timeout: Duration) -> Result<Product, Failure> {
        self.product_by(Request::get([]).timeout(timeout), &StopSignal::never())
    }

    fn product_by(&self, request: Request, stop: &StopSignal) -> Result<Product, Failure> {
        if let Some(product) = *self.shared.product.lock() {
            return Ok(product);
        }
        let answer = self.ask(request, stop)?;
        let answer = answer.json()?;
        let product = Product::of(&answer)?;
        Ok(*self.shared.product.lock().insert(product))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let product = self.shared.product.try_lock().and_then(|product| *product);
        f.debug_struct("Cluster").field("product", &product).finish_non_exhaustive()
    }
}
