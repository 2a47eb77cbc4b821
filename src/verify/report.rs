use std::fmt;
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

use crate::job::LastVerification;
use crate::rollup::RolledUpRow;
use crate::search::SearchCancel;

/// What is verified, and what comes of it: [`RollupJobManager::verify`](crate::RollupJobManager::verify).
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct VerifyOptions {
    pub(crate) range: Option<Range<Timestamp>>,
    pub(crate) repair: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: Option<SearchCancel>,
}

impl VerifyOptions {
    /// All that is rolled up; nothing is changed, and there is no time limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the date buckets that have an instant in this range. Default: all.
    pub fn range(mut self, range: Range<Timestamp>) -> Self {
        self.range = Some(range);
        self
    }

    /// Whether what is not right is rolled up again, by a run that begins for it; of a stopped job when it is started.
    /// Where there are fewer raw documents than were rolled up, that is as if the job [trusted](
    /// crate::LateData::trust_deletes) deletions. Default: no.
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }

    /// How long it may take. Default: as long as it takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// By what it can be ended from another thread. Default: by nothing.
    pub fn cancel(mut self, cancel: SearchCancel) -> Self {
        self.cancel = Some(cancel);
        self
    }
}

/// What has come of holding rolled-up documents against the raw ones, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Verification {
    /// Groups that are rolled up as they should.
    pub right: u64,
    /// Groups that are rolled up, and not as they should.
    pub different: u64,
    /// Groups that have raw documents, and are not rolled up.
    pub missing: u64,
    /// Groups that are rolled up, and have no raw documents.
    pub too_many: u64,
    /// The first of those that are different.
    pub first_different: Vec<Mismatch>,
    /// The first of those that are missing.
    pub first_missing: Vec<Mismatch>,
    /// The first of those that are too many.
    pub first_too_many: Vec<Mismatch>,
    /// The date buckets with groups that are not right, in order, in milliseconds since 1970; it may be more where they
    /// are many.
    pub not_right: Vec<Range<i64>>,
    /// The date buckets that were not looked at, in order: they are known to have changed, or raw documents of them are
    /// gone.
    pub not_verified: Vec<Range<i64>>,
}

impl Verification {
    /// Whether all that was looked at is right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.different + self.missing + self.too_many == 0
    }

    /// What is remembered of it.
    pub(crate) fn ended(&self, at: Timestamp) -> LastVerification {
        let Self { right, different, missing, too_many, .. } = *self;
        LastVerification { at, right, different, missing, too_many }
    }
}

/// Such as `12 groups are right, 1 is different, 0 are missing, 0 are too many`.
impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let are = |number: u64| if number == 1 { "is" } else { "are" };
        write!(f, "{} {} {} right", self.right, if self.right == 1 { "group" } else { "groups" }, are(self.right))?;
        for (number, what) in [(self.different, "different"), (self.missing, "missing"), (self.too_many, "too many")] {
            write!(f, ", {number} {} {what}", are(number))?;
        }
        Ok(())
    }
}

/// A group that is not rolled up as it should.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Mismatch {
    /// What its raw documents come to; `None` if there are none.
    pub raw: Option<RolledUpRow>,
    /// What is rolled up; `None` if nothing is.
    pub rolled_up: Option<RolledUpRow>,
}
