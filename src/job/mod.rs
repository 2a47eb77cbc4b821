//! What is a job? Plain data: no thread, no lock, no clock, no I/O.

mod builder;
mod config;
mod cron;
mod cured;
mod definition;
mod dirty;
mod foreign;
mod groups;
mod identity;
mod interval;
mod last_verification;
mod late_data;
mod late_documents;
mod ledger;
mod metrics;
mod names;
mod notice_by;
mod object;
mod pattern;
mod position;
mod printed;
mod problem;
mod progress;
mod record;
mod refinement;
mod retention;
mod rounding;
mod source_index;
mod state;
mod stats;
mod status;
mod time_value;
mod update;
mod validation;
mod versioned;

pub use builder::RollupJobConfigBuilder;
pub use config::RollupJobConfig;
pub use cron::{CronError, CronSchedule};
pub use cured::Cured;
pub(crate) use definition::JobDefinition;
pub use definition::{RunAs, TermsType};
pub(crate) use dirty::{Dirty, not_comparable};
pub use foreign::ForeignJob;
pub use groups::{DateHistogram, Groups, Histogram, Terms};
pub use identity::Difference;
pub use interval::{CalendarUnit, DateInterval};
pub(crate) use interval::{calendar_grid, interval_grid, zone_rules};
pub use last_verification::LastVerification;
pub use late_data::{LateData, RepairWhen};
pub use late_documents::{LateDocuments, Lateness};
pub use ledger::{Ledger, LedgerNote};
pub use metrics::MetricField;
pub use notice_by::NoticeBy;
pub use pattern::IndexPattern;
pub use position::{GroupKey, KeyPart, Position};
pub use problem::{ConfigError, ConfigProblem, ConfigProblemKind};
pub use progress::Progress;
pub use record::{JobRecord, StoredState};
pub use refinement::Crossing;
pub(crate) use rounding::OUT_OF_RANGE;
pub use rounding::{BucketCursor, DateBucket, Rounding};
pub use source_index::SourceIndex;
pub use state::JobState;
pub use stats::JobStats;
pub use status::{Health, HealthColor, JobError, JobStatus, Notice, Phase};
pub use time_value::{TimeUnit, TimeValue, TimeValueError};
pub use update::JobUpdate;

pub(crate) use groups::number_json;
pub(crate) use identity::Identity;
pub(crate) use pattern::wildcard_match;
pub(crate) use status::StatusParts;
pub use validation::MAX_PAGE_SIZE;
pub use versioned::RecordError;

/// What cannot fail: maps with text as keys, finite numbers, and nothing else.
fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_else(|error| panic!("a job cannot be printed as JSON: {error}"))
}
