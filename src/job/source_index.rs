use std::ops::Range;

/// A source index that a stream reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceIndex {
    /// Its own name.
    pub name: String,
    /// Where its documents are that are read, in milliseconds since 1970; it may be more than where they are. When the
    /// index is gone one day, nothing can be read there that was rolled up.
    pub dates: Range<i64>,
    /// What tells it from another one that takes its name one day: without the documents of this one. `None`: nothing
    /// does, and it counts as the same.
    pub identity: Option<String>,
}

impl SourceIndex {
    /// One whose documents may be anywhere.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), dates: i64::MIN..i64::MAX, identity: None }
    }

    /// Its documents are there. An empty range: none is read.
    #[must_use]
    pub fn dates(mut self, dates: Range<i64>) -> Self {
        self.dates = dates;
        self
    }

    /// This tells it from another one of its name.
    #[must_use]
    pub fn identity(mut self, identity: Option<String>) -> Self {
        self.identity = identity;
        self
    }
}
