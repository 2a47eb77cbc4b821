//! The connections, on a thread of their own.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Response, Url};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};

use super::answer::{Received, no_memory, too_large};
use super::budget::Budget;
use super::failure::{Cause, Failure};
use super::nodes::Nodes;
use super::options::{ClusterOptions, ClusterOptionsError};
use super::pending::Pending;
use super::request::Request;
use super::tls;
use crate::clock::{Clock, SystemClock};
use crate::guard::texts_of;
use crate::sync::{Arc, JoinHandle, Mutex};

/// The longest pause that a node may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);
/// How long the last requests may take when everybody else has gone.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// The thread and what runs on it.
pub(super) struct Transport {
    connections: Arc<Connections>,
    runtime: Handle,
    /// Each request has a clone of it until it is done.
    underway: Option<mpsc::Sender<()>>,
    /// Dropped to end the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Connections {
    client: Client,
    urls: Vec<Url>,
    nodes: Mutex<Nodes>,
    run_as_header: Option<HeaderName>,
    request_timeout: Duration,
    response_limit: usize,
    budget: Arc<Budget>,
    clock: SystemClock,
}

impl Transport {
    pub(super) fn new(options: &ClusterOptions) -> Result<Self, ClusterOptionsError> {
        let urls =
            options.nodes.iter().zip(1..).map(|(node, place)| url(node, place)).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(ClusterOptionsError::NoNodes);
        }
        let run_as_header = options.run_as_header.as_ref().map(|name| name.parse());
        let run_as_header = run_as_header.transpose().map_err(|_| header("the name of run_as_header"))?;
        let connections = Arc::new(Connections {
            client: client(options, urls.iter().any(|url| url.scheme() == "https"))?,
            nodes: Mutex::new(Nodes::new(urls.len())),
            urls,
            run_as_header,
            request_timeout: options.request_timeout,
            response_limit: options.response_limit,
            budget: Budget::new(options.memory_budget),
            clock: SystemClock::new(),
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        let (underway, mut all_done) = mpsc::channel(1);
        let thread = std::thread::Builder::new().name("rollup-cluster".to_owned()).spawn(move || {
            runtime.block_on(async {
                // The end of the sender is what is waited for.
                let _ = ended.await;
                // What nobody waits for, such as the closing of a point in time, should still be sent.
                let _ = tokio::time::timeout(LAST_REQUESTS, all_done.recv()).await;
            });
            // A name that is being looked up is on a thread that cannot be waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { connections, runtime: handle, underway: Some(underway), end: Some(end), thread: Some(thread) })
    }

    pub(super) fn send(&self, request: Request) -> Pending {
        let (pending, reply) = Pending::new();
        let (connections, underway) = (Arc::clone(&self.connections), self.underway.clone());
        let task = self.runtime.spawn(async move {
            let _underway = underway;
            let timeout = request.timeout.unwrap_or(connections.request_timeout);
            if let Some(undo) = reply.give(connections.perform(&request, timeout).await) {
                let _ = connections.perform(&undo, timeout).await;
            }
        });
        pending.by(task.abort_handle())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        drop((self.underway.take(), self.end.take()));
        if let Some(thread) = self.thread.take() {
            // No task has a clone of the cluster, so this is another thread; it has nothing to say.
            let _ = thread.join();
        }
    }
}

impl Connections {
    /// Asks one node, and another one if that breaks off. One that says nothing has all the time there is.
    async fn perform(&self, request: &Request, timeout: Duration) -> Result<Received, Failure> {
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let mut tried = Vec::new();
        let mut silences = String::new();
        loop {
            let next = self.nodes.lock().next(&tried, self.clock.monotonic());
            let Some(node) = next else { return Err(unavailable(&format!("no node answers:{silences}"))) };
            tried.push(node);
            let asked = self.clock.monotonic();
            let answer = tokio::select! {
                answer = self.attempt(node, request) => Some(answer),
                () = &mut deadline => None,
            };
            if let Some(Ok(received)) = answer {
                self.nodes.lock().answered(node);
                return received;
            }
            self.nodes.lock().was_silent(node, asked, self.clock.monotonic());
            let Some(Err(silence)) = answer else {
                return Err(unavailable(&format!("no answer within {timeout:?}")));
            };
            let may_have_been_done = !silence.is_connect();
            // Not the URL, which may hold a password.
            let causes = texts_of(&silence.without_url());
            let _ = write!(silences, " node {}: {};", node + 1, causes.join(": "));
            if may_have_been_done && !request.is_repeatable {
                return Err(unavailable(&format!("the answer was lost:{silences}")));
            }
        }
    }

    async fn attempt(&self, node: usize, request: &Request) -> Result<Result<Received, Failure>, reqwest::Error> {
        let mut url = self.urls[node].clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut builder = self.client.request(request.method.clone(), url);
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.bytes.clone());
            if body.is_packed {
                builder = builder.header(CONTENT_ENCODING, "gzip");
            }
        }
        if let (Some(name), Some(run_as)) = (&self.run_as_header, &request.run_as) {
            let Ok(mut value) = HeaderValue::from_str(run_as.expose()) else {
                let text = "whom the job runs as cannot be sent in a header";
                return Ok(Err(Failure::new(Cause::Refused, text)));
            };
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        self.receive(builder.send().await?).await
    }

    async fn receive(&self, mut response: Response) -> Result<Result<Received, Failure>, reqwest::Error> {
        let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let is_packed = text(CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
        let retry_after = text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let retry_after = retry_after.map(|pause| pause.min(MAX_RETRY_AFTER));
        let (status, limit) = (response.status().as_u16(), self.response_limit);
        let (mut bytes, mut charge) = (Vec::new(), self.budget.nothing());
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Ok(Err(too_large(limit)));
            }
            if !charge.grow(chunk.len()) {
                return Ok(Err(no_memory()));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Ok(Received { status, is_packed, retry_after, bytes, charge, limit }))
    }
}

fn unavailable(text: &str) -> Failure {
    Failure::new(Cause::Unavailable, text)
}

fn url(node: &str, place: usize) -> Result<Url, ClusterOptionsError> {
    let unusable = |problem: String| ClusterOptionsError::Node { place, problem };
    let mut url =
        Url::parse(node).map_err(|error| unusable(format!("it is no URL ({error}): give `http://host:port`")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(unusable("it has to begin with `http://` or `https://` and a host".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable("credentials belong into `ClusterOptions::credentials`".to_owned()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn header(what: &'static str) -> ClusterOptionsError {
    ClusterOptionsError::Header { what }
}

fn client(options: &ClusterOptions, uses_tls: bool) -> Result<Client, ClusterOptionsError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    if let Some(credentials) = &options.credentials {
        let value = HeaderValue::from_str(&credentials.authorization);
        let mut value = value.map_err(|_| header("what the credentials are made of"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let builder = Client::builder()
        .tls_backend_preconfigured(tls::config(options, uses_tls)?)
        .default_headers(headers)
        .user_agent(concat!("rollup-jobs/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(options.idle_timeout)
        .tcp_nodelay(true)
        .no_proxy();
    builder.build().map_err(|error| ClusterOptionsError::Client { source: error.into() })
}
