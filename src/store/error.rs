use std::error::Error;
use std::fmt;

/// A failed store call. Adapters build it, callers ask it.
///
/// It can be cloned, since every waiter of a stop whose save was refused gets it.
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: std::sync::Arc<dyn Error + Send + Sync>,
}

/// What kind of failure a [`StoreError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It may work again later.
    Unavailable,
    /// It will not work, however often it is tried.
    Rejected,
    /// There is a record of this id.
    AlreadyExists,
    /// There is no record of this id (any more).
    Gone,
    /// What is stored cannot be read.
    Damaged,
    /// Somebody else owns the store now.
    LostOwnership,
}

impl StoreError {
    fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: source.into().into() }
    }

    /// The store cannot do it now.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, source)
    }

    /// The store will not do it.
    pub fn rejected(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Rejected, source)
    }

    /// There is a record of this id.
    pub fn already_exists(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::AlreadyExists, source)
    }

    /// There is no record of this id.
    pub fn gone(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Gone, source)
    }

    /// What is stored cannot be read.
    pub fn damaged(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Damaged, source)
    }

    /// Somebody else owns the store now.
    pub fn lost_ownership(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::LostOwnership, source)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind == StoreErrorKind::Unavailable
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the job store is not available",
            StoreErrorKind::Rejected => "the job store rejected the request",
            StoreErrorKind::AlreadyExists => "the job store has a record of this job",
            StoreErrorKind::Gone => "the job store has no record of this job",
            StoreErrorKind::Damaged => "the job store is damaged",
            StoreErrorKind::LostOwnership => "the job store has another owner",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
