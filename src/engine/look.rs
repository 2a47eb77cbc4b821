//! Looking for what has changed in source indices.

use std::any::Any;
use std::fmt;
use std::ops::Range;

use super::error::EngineError;
use crate::sync::Arc;

/// A look at source indices: what is to be known of them.
pub struct Look<'a> {
    /// The field with the dates by which changes are told.
    pub date_field: &'a str,
    /// The time by the manager's clock, in milliseconds since 1970.
    pub now: i64,
    marks: &'a dyn Fn(&str) -> Option<SourceMark>,
    before: &'a dyn Fn(&str) -> i64,
}

impl<'a> Look<'a> {
    /// By the dates in this field, at this time; with the mark of the last look at each index, if there is one; and
    /// with the instant before which changes of each index count.
    #[must_use]
    pub fn new(
        date_field: &'a str,
        now: i64,
        marks: &'a dyn Fn(&str) -> Option<SourceMark>,
        before: &'a dyn Fn(&str) -> i64,
    ) -> Self {
        Self { date_field, now, marks, before }
    }

    /// What was remembered of an index when it was looked at last; `None`: it is seen for the first time.
    #[must_use]
    pub fn mark(&self, index: &str) -> Option<SourceMark> {
        (self.marks)(index)
    }

    /// Changes of an index count only where they are before this instant, in milliseconds since 1970.
    #[must_use]
    pub fn before(&self, index: &str) -> i64 {
        (self.before)(index)
    }
}

impl fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look").field("date_field", &self.date_field).finish_non_exhaustive()
    }
}

/// What has changed in a source index since it was looked at last.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Noticed {
    /// Its name.
    pub index: String,
    /// Where documents have come, changed or gone, in the order of time; no two overlap. Of an index that is seen for
    /// the first time: where it has any.
    pub changes: Vec<SourceChange>,
    /// What to hand over with the next look.
    pub mark: SourceMark,
}

/// A stretch of time in which documents of a source index have come, changed or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceChange {
    /// Where, in milliseconds since 1970. It may be more than where something has changed.
    pub range: Range<i64>,
    /// How many more documents there are than before; how many fewer, if negative; 0: as many, but others.
    pub documents: i64,
}

impl SourceChange {
    /// There are so many more documents in this range.
    #[must_use]
    pub fn new(range: Range<i64>, documents: i64) -> Self {
        Self { range, documents }
    }
}

impl Noticed {
    /// This has changed in an index.
    #[must_use]
    pub fn new(index: impl Into<String>, changes: Vec<SourceChange>, mark: SourceMark) -> Self {
        Self { index: index.into(), changes, mark }
    }
}

/// What an engine remembers of a source index, in order to see what has changed since. Clones are the same.
#[derive(Debug, Clone)]
pub struct SourceMark(Arc<dyn Remembered>);

/// What an engine remembers of a source index.
pub trait Remembered: Any + Send + Sync + fmt::Debug {
    /// The form to store, which [`Source::read_mark`](super::Source::read_mark) reads.
    ///
    /// # Errors
    /// Any [`EngineError`]; the mark is stored at another time then.
    fn to_bytes(&self) -> Result<Vec<u8>, EngineError>;
}

impl SourceMark {
    /// Remembers this.
    pub fn new(remembered: impl Remembered) -> Self {
        Self(Arc::new(remembered))
    }

    /// What is remembered, if it is of this type.
    #[must_use]
    pub fn get<T: Remembered>(&self) -> Option<&T> {
        let remembered: &dyn Any = &*self.0;
        remembered.downcast_ref()
    }

    /// The same for clones of each other, as long as there is one.
    pub(crate) fn identity(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    /// The form to store.
    ///
    /// # Errors
    /// Any [`EngineError`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        self.0.to_bytes()
    }
}
