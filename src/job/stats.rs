use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::late_documents::LateDocuments;

/// What a job has done so far: Elasticsearch's counters, saved with the progress of every turn (Elasticsearch loses
/// them in a restart), so that a page that has to be redone is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobStats {
    pub(crate) pages_processed: u64,
    pub(crate) documents_processed: u64,
    pub(crate) documents_skipped: u64,
    pub(crate) rollups_indexed: u64,
    pub(crate) trigger_count: u64,
    pub(crate) index_time: Duration,
    pub(crate) index_total: u64,
    pub(crate) index_failures: u64,
    pub(crate) search_time: Duration,
    pub(crate) search_total: u64,
    pub(crate) search_failures: u64,
    pub(crate) processing_time: Duration,
    pub(crate) processing_total: u64,
    /// Most jobs have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<Box<LateDocuments>>,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl JobStats {
            $($(#[$doc])* #[must_use] pub const fn $name(&self) -> $type { self.$name })*
        }
    };
}

getters! {
    /// Pages that a search delivered, the empty one that ends a run included.
    pages_processed: u64,
    /// Source documents in the buckets that were rolled up. A multi-valued document counts in each of its buckets.
    documents_processed: u64,
    /// Source documents without a date, or with one whose bucket cannot be kept, seen and left out by the newest
    /// scan. A gauge, not a sum.
    documents_skipped: u64,
    /// Rolled-up documents that the engine accepted. Elasticsearch counts rejected ones too.
    rollups_indexed: u64,
    /// Triggers that began a run.
    trigger_count: u64,
    /// Time spent in writing calls.
    index_time: Duration,
    /// Pages that were written, or begun to be.
    index_total: u64,
    /// Writing calls that failed, and items that were rejected.
    index_failures: u64,
    /// Time spent in searches.
    search_time: Duration,
    /// Searches that delivered a page.
    search_total: u64,
    /// Searches that failed, and pages that could not be converted.
    search_failures: u64,
    /// Time spent in turning buckets into documents.
    processing_time: Duration,
    /// Pages turned into documents.
    processing_total: u64,
}

/// As Elasticsearch prints them.
#[derive(Serialize)]
pub(super) struct Printed {
    pages_processed: u64,
    documents_processed: u64,
    rollups_indexed: u64,
    trigger_count: u64,
    index_time_in_ms: u64,
    index_total: u64,
    index_failures: u64,
    search_time_in_ms: u64,
    search_total: u64,
    search_failures: u64,
    processing_time_in_ms: u64,
    processing_total: u64,
}

impl JobStats {
    /// The `stats` member of Elasticsearch's get API.
    #[must_use]
    pub fn to_json(&self) -> Value {
        super::json(&self.printed())
    }

    /// Documents that came after their time was rolled up, as far as that is saved;
    /// [`JobStatus::late_documents`](crate::JobStatus::late_documents) has the last of them too. Elasticsearch has no
    /// such counters.
    #[must_use]
    pub fn late_documents(&self) -> &LateDocuments {
        self.late.as_deref().unwrap_or(LateDocuments::none())
    }

    /// The same, and those that no run has counted yet.
    pub(crate) fn late_documents_with(&self, more: Option<&LateDocuments>) -> LateDocuments {
        let mut late = self.late_documents().clone();
        late.merge(more.unwrap_or(LateDocuments::none()));
        late
    }

    pub(crate) fn add_late(&mut self, late: &LateDocuments) {
        if !late.is_empty() {
            self.late.get_or_insert_default().merge(late);
        }
    }

    /// The same, with members in Elasticsearch's order.
    pub(super) fn printed(&self) -> Printed {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Printed {
            pages_processed: self.pages_processed,
            documents_processed: self.documents_processed,
            rollups_indexed: self.rollups_indexed,
            trigger_count: self.trigger_count,
            index_time_in_ms: millis(self.index_time),
            index_total: self.index_total,
            index_failures: self.index_failures,
            search_time_in_ms: millis(self.search_time),
            search_total: self.search_total,
            search_failures: self.search_failures,
            processing_time_in_ms: millis(self.processing_time),
            processing_total: self.processing_total,
        }
    }

    /// Reads what [`to_json`](Self::to_json) prints, or Elasticsearch; what is not there is 0.
    pub(crate) fn from_json(json: &Value) -> Self {
        let count = |name: &str| json[name].as_u64().unwrap_or(0);
        let time = |name: &str| Duration::from_millis(count(name));
        Self {
            pages_processed: count("pages_processed"),
            documents_processed: count("documents_processed"),
            documents_skipped: 0,
            rollups_indexed: count("rollups_indexed"),
            trigger_count: count("trigger_count"),
            index_time: time("index_time_in_ms"),
            index_total: count("index_total"),
            index_failures: count("index_failures"),
            search_time: time("search_time_in_ms"),
            search_total: count("search_total"),
            search_failures: count("search_failures"),
            processing_time: time("processing_time_in_ms"),
            processing_total: count("processing_total"),
            late: None,
        }
    }

    /// `earlier`, with the counters that only ever tell of trouble or triggers as they are now: work that is redone
    /// counts once, its failures count each time.
    pub(crate) fn rolled_back_to(&self, earlier: &Self) -> Self {
        Self {
            search_failures: self.search_failures,
            index_failures: self.index_failures,
            trigger_count: self.trigger_count,
            documents_skipped: self.documents_skipped,
            late: self.late.clone(),
            ..earlier.clone()
        }
    }
}
