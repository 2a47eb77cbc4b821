use std::fmt;
use std::time::Duration;

/// Where a cluster is, and how to speak to it.
///
/// ```
/// use rollup_jobs::cluster::{ClusterOptions, Credentials};
///
/// let options = ClusterOptions::new(["https://search-1:9200", "https://search-2:9200"])
///     .credentials(Credentials::basic("rollup", "secret"))
///     .certificate_authority(b"-----BEGIN CERTIFICATE----- ...".to_vec());
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct ClusterOptions {
    pub(super) nodes: Vec<String>,
    pub(super) credentials: Option<Credentials>,
    pub(super) certificate_authority: Option<Vec<u8>>,
    pub(super) client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) run_as_header: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) response_limit: usize,
    pub(super) memory_budget: usize,
}

impl ClusterOptions {
    /// A cluster with these nodes: `http://` or `https://`, host, port, and a path if there is a proxy that wants
    /// one. Any of them is asked; one that does not answer is left out for a while.
    pub fn new<S: Into<String>>(nodes: impl IntoIterator<Item = S>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Into::into).collect(),
            credentials: None,
            certificate_authority: None,
            client_certificate: None,
            run_as_header: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_secs(30),
            response_limit: 64 << 20,
            memory_budget: 256 << 20,
        }
    }

    /// Who asks. Default: nobody in particular.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The certificates (PEM) that the nodes' own have to come from, and no others. Default: those that the system
    /// trusts.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificate_authority = Some(pem.into());
        self
    }

    /// Shows the nodes this certificate, with its chain and key (PEM). Default: none.
    pub fn client_certificate(mut self, chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.client_certificate = Some((chain_pem.into(), key_pem.into()));
        self
    }

    /// The header that says with each request of a job whom it runs as (`PutOptions::run_as`), such as
    /// `es-security-runas-user`. Default: it goes with none.
    pub fn run_as_header(mut self, name: impl Into<String>) -> Self {
        self.run_as_header = Some(name.into());
        self
    }

    /// How long connecting to a node may take. Default: 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request may take, over all nodes that are asked for it. Default: 60 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a connection may be without use before it is closed. Default: 30 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The largest response that is taken, in bytes once it is unpacked. Default: 64 MiB.
    pub fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }

    /// How many bytes all responses together may take that are being read or looked at. Default: 256 MiB.
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = bytes;
        self
    }
}

/// Nothing secret: neither credentials nor keys, nor what an URL may have of them.
impl fmt::Debug for ClusterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterOptions")
            .field("nodes", &self.nodes.len())
            .field("credentials", &self.credentials)
            .field("has_client_certificate", &self.client_certificate.is_some())
            .finish_non_exhaustive()
    }
}

/// Who asks the cluster.
#[derive(Clone)]
pub struct Credentials {
    kind: &'static str,
    pub(super) authorization: String,
}

impl Credentials {
    /// A user with a password.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Self { kind: "basic", authorization: format!("Basic {encoded}") }
    }

    /// An API key, encoded as the cluster gave it out.
    #[must_use]
    pub fn api_key(encoded: &str) -> Self {
        Self { kind: "api key", authorization: format!("ApiKey {encoded}") }
    }

    /// A bearer token.
    #[must_use]
    pub fn bearer(token: &str) -> Self {
        Self { kind: "bearer", authorization: format!("Bearer {token}") }
    }
}

/// The kind alone.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.kind)
    }
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterOptionsError {
    /// There has to be at least one node.
    #[error("no nodes are given: name at least one, as in `http://localhost:9200`")]
    NoNodes,
    /// A node's URL is none. It is named by its place, because it may hold a password.
    #[error("node {place}: {problem}")]
    Node {
        /// Its place, from 1 on.
        place: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A header that cannot be sent.
    #[error("{what} cannot be sent in a header: it has characters that are not allowed there")]
    Header {
        /// What it was given as.
        what: &'static str,
    },
    /// A certificate or key that cannot be used.
    #[error("the {what} cannot be used: give PEM")]
    Certificate {
        /// What it was given as.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thread that speaks to the cluster cannot be had.
    #[error("the thread that speaks to the cluster could not be started")]
    Thread(#[from] std::io::Error),
    /// The HTTP client cannot be made.
    #[error("the HTTP client could not be made")]
    Client {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
