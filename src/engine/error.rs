use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::guard::guarded;
use crate::scan::ScanRequestError;

/// A failed engine call. Adapters build it, callers ask it.
///
/// ```
/// use rollup_jobs::engine::EngineError;
///
/// let error = EngineError::unavailable("connection refused");
/// assert!(error.is_transient());
/// ```
#[derive(Debug)]
pub struct EngineError {
    kind: EngineErrorKind,
    retry_after: Option<Duration>,
    refusal: Option<Refusal>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why exactly a request was rejected, where somebody decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NotRollup,
    Name,
}

/// What kind of failure an [`EngineError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// It may work again later: busy, overloaded, not reachable.
    Unavailable,
    /// What was being read is not there any more: whoever begins anew reads what there is now.
    Moved,
    /// The request itself cannot work.
    Rejected,
    /// The engine has no way to do what was asked, which others may have.
    Unsupported,
    /// An index does not exist.
    NotFound,
    /// The job is known with another definition or with data.
    AlreadyExists,
    /// Given up because of a stop.
    Cancelled,
}

impl EngineError {
    fn new(kind: EngineErrorKind, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, retry_after: None, refusal: None, source }
    }

    /// The engine cannot do it now; the call is tried again.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(EngineErrorKind::Unavailable, Some(source.into()))
    }

    /// What was being read is gone: an index was removed, or the moment of it is kept no longer. A run opens what it
    /// reads again, and a search begins anew.
    pub fn moved(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(EngineErrorKind::Moved, Some(source.into()))
    }

    /// The engine will not do it, however often it is asked.
    pub fn rejected(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(EngineErrorKind::Rejected, Some(source.into()))
    }

    /// The engine has no way to do this. The text says what it is, and what helps.
    pub fn unsupported(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(EngineErrorKind::Unsupported, Some(source.into()))
    }

    /// An index that was named does not exist.
    pub fn not_found(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(EngineErrorKind::NotFound, Some(source.into()))
    }

    /// The rollup index knows the job already.
    pub fn already_exists(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(EngineErrorKind::AlreadyExists, Some(source.into()))
    }

    /// The index is there, and is no rollup index: nothing can be added to it.
    pub fn not_rollup(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { refusal: Some(Refusal::NotRollup), ..Self::rejected(source) }
    }

    /// The engine cannot keep an index, or a job, of that name. The text says which, and the rule.
    pub fn invalid_name(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { refusal: Some(Refusal::Name), ..Self::rejected(source) }
    }

    /// The call was given up because its [`StopSignal`](super::StopSignal) was raised.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(EngineErrorKind::Cancelled, None)
    }

    /// The engine has asked not to be tried again before so long: a run waits at least that. Default: as long as its
    /// back-off says.
    #[must_use]
    pub fn after(mut self, retry_after: impl Into<Option<Duration>>) -> Self {
        self.retry_after = retry_after.into();
        self
    }

    /// How long the engine has asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> EngineErrorKind {
        self.kind
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, EngineErrorKind::Unavailable | EngineErrorKind::Moved)
    }

    /// Whether an index that is no rollup index was to become one.
    #[must_use]
    pub fn is_not_rollup(&self) -> bool {
        self.refusal == Some(Refusal::NotRollup)
    }

    /// Whether the name of an index, or of a job, is one that the engine cannot keep.
    #[must_use]
    pub fn is_invalid_name(&self) -> bool {
        self.refusal == Some(Refusal::Name)
    }

    /// Whether it was given up because of a stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind == EngineErrorKind::Cancelled
    }
}

/// Calls an engine in a caller's thread. One that panics has refused.
pub(crate) fn call<T>(call: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    guarded(call).unwrap_or_else(|panic| Err(EngineError::rejected(format!("the engine panicked: {panic}"))))
}

impl From<ScanRequestError> for EngineError {
    fn from(error: ScanRequestError) -> Self {
        Self::rejected(error)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            EngineErrorKind::Unavailable => "the engine is not available",
            EngineErrorKind::Moved => "what the engine was reading is not there any more",
            EngineErrorKind::Rejected => "the engine rejected the request",
            EngineErrorKind::Unsupported => "the engine cannot do what was asked",
            EngineErrorKind::NotFound => "the engine did not find an index",
            EngineErrorKind::AlreadyExists => "the engine knows the job already",
            EngineErrorKind::Cancelled => "the engine call was given up because of a stop",
        })
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}
