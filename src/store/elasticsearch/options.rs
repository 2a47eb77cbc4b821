//! What a host says of the store.

use std::time::Duration;

/// How the store uses its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ElasticsearchStoreOptions {
    pub(super) index: String,
    pub(super) timeout: Duration,
    pub(super) lease: Duration,
    pub(super) owner: String,
}

impl Default for ElasticsearchStoreOptions {
    fn default() -> Self {
        let host = gethostname::gethostname();
        Self {
            index: ".rollup-jobs".to_owned(),
            timeout: Duration::from_secs(5),
            lease: Duration::from_secs(30),
            owner: format!("process {} on {}", std::process::id(), host.to_string_lossy()),
        }
    }
}

impl ElasticsearchStoreOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The index that the jobs are kept in: a hidden one, which the store creates. It is written to by the alias
    /// `<index>-write`. Default: `.rollup-jobs`.
    pub fn index(mut self, index: impl Into<String>) -> Self {
        self.index = index.into();
        self
    }

    /// How long a call may take, over all nodes and retries; opening a manager takes several. A stop saves in its
    /// caller's thread, and may overrun its own timeout by so much. Default: 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long the manager owns the jobs without renewing. It renews three times as often; if it is gone, whoever
    /// comes next waits for so long. Longer than the cluster takes to get over the loss of a node. Default: 30 s, at
    /// least a tenth of a second.
    pub fn lease(mut self, lease: Duration) -> Self {
        // It is told to others in milliseconds.
        let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.lease = Duration::from_millis(millis.max(100));
        self
    }

    /// Who the owner is, for whoever finds the jobs taken. Default: the process and its host.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }
}
