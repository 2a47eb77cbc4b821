use jiff::Timestamp;

/// What the last [verification](crate::RollupJobManager::verify) of a job has found, in groups, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastVerification {
    /// When it ended.
    pub at: Timestamp,
    /// They were rolled up as they should.
    pub right: u64,
    /// They were rolled up, and not as they should.
    pub different: u64,
    /// They had raw documents, and were not rolled up.
    pub missing: u64,
    /// They were rolled up, and had no raw documents.
    pub too_many: u64,
}
