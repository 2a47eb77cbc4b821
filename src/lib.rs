//! Rollup jobs to embed: background indexers, as Elasticsearch has them, that read raw time-series documents from a
//! search engine, group them (date histogram, histogram, terms), compute metrics, and write one small document per
//! group into a rollup index, on a schedule, for years, with a [stop](RollupJobManager::stop) whose answer can be
//! trusted.
//!
//! # Overview
//!
//! The primary type is [`RollupJobManager`]. It owns a few threads and offers [`put`](RollupJobManager::put),
//! [`start`](RollupJobManager::start), [`trigger`](RollupJobManager::trigger), [`stop`](RollupJobManager::stop),
//! [`delete`](RollupJobManager::delete), [`get`](RollupJobManager::get) and [`list`](RollupJobManager::list). A job
//! is a [`RollupJobConfig`], from Rust or from Elasticsearch's JSON. The data is in an [`Engine`](engine::Engine),
//! the jobs survive in a [`JobStore`](store::JobStore).
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use rollup_jobs::engine::{MemoryEngine, SourceDocument};
//! use rollup_jobs::store::MemoryStore;
//! use rollup_jobs::{DateHistogram, Metric, RollupJobConfig, RollupJobManager, StopOptions};
//!
//! let engine = Arc::new(MemoryEngine::new());
//! engine.add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("temperature", 20.5));
//!
//! let manager = RollupJobManager::builder(engine.clone(), Arc::new(MemoryStore::new())).open()?;
//! let config = RollupJobConfig::builder("sensor")
//!     .index_pattern("sensor-*")
//!     .rollup_index("sensor_rollup")
//!     .cron("0 0 * * * ?")
//!     .page_size(1_000)
//!     .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
//!     .terms(["node"])
//!     .metric("temperature", [Metric::Min, Metric::Max, Metric::Avg])
//!     .build()?;
//! manager.put(config)?;
//! manager.start("sensor")?;
//! manager.trigger("sensor")?; // a run in the background, now, instead of at the next full hour
//!
//! let options = StopOptions::new().wait_for_completion(true).timeout(Duration::from_secs(10));
//! let stopped = manager.stop("sensor", options)?;
//! // Nothing is in flight, everything is durable. A run that was under way has ended, and goes on after the next start.
//! assert!(stopped.is_at_rest());
//! manager.delete("sensor")?;
//! # Ok::<(), rollup_jobs::Error>(())
//! ```
//!
//! # Panics, abort and fork
//!
//! A panic in an engine, a store, an observer or a waker ends the call that it is in, is reported as an error of its
//! job, and leaves everything else in order. That needs unwinding: in a program that is built with `panic = "abort"`
//! such a panic ends the process, which the jobs survive as they survive a kill.
//!
//! After `fork` the child has none of the manager's threads, and the files and sockets are the parent's: a manager is
//! opened in the process that uses it, after the fork. In the child of a process that has one, nothing of it may be
//! used or dropped; `exec` is well.
//!
//! # What it is not
//!
//! A query language, a streaming engine, a distributed scheduler or a user database. It owns no async runtime, no
//! logger and no global state. Documents that arrive after their bucket was rolled up are not seen any more
//! ([`DateHistogram::delay`] waits for them), and changes of source documents are not followed, as in Elasticsearch.
//!
//! # Crate features
//!
//! None is needed, and features only add. For real use take `tantivy` and `redb`.
//!
//! * **tantivy**: `TantivyEngine` in [`engine`], the embedded engine. The dependency is re-exported beside it.
//! * **redb**: `RedbStore` in [`store`], jobs in one ACID file.
//! * **elasticsearch**: the module `cluster`, `ElasticsearchEngine` and `ElasticsearchStore`, for data and jobs in an
//!   Elasticsearch or OpenSearch cluster.
//! * **rest**: the module `rest`, Elasticsearch's rollup job APIs as an axum router.
//! * **tracing**: `TracingObserver`, an [`Observer`] that reports through `tracing`.
//! * **testing**: the module `testing`, for authors of engines, stores and hosts: conformance suites, engines that
//!   misbehave on command, a clock that stands still.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(doctest, feature = "rest", feature = "tantivy", feature = "redb"))]
#[doc = include_str!("../README.md")]
struct ReadmeIsTested;

mod adapter;
mod clock;
#[cfg(feature = "elasticsearch")]
pub mod cluster;
#[cfg(any(feature = "tantivy", feature = "redb"))]
mod durable;
pub mod engine;
mod error;
mod exact;
pub mod filter;
mod guard;
mod human;
mod job;
mod lifecycle;
mod manager;
mod measure;
#[cfg(all(test, feature = "testing", any(rollup_shuttle, rollup_loom)))]
#[path = "../tests/model/mod.rs"]
mod model;
mod observer;
mod ownership;
mod ranges;
#[cfg(feature = "rest")]
pub mod rest;
pub mod rollup;
mod runtime;
pub mod scan;
mod schedule;
pub mod search;
mod stop_signal;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;

// The crates whose types are in signatures.
pub use ::{jiff, serde_json};
#[cfg(feature = "rest")]
pub use ::axum;
#[cfg(feature = "redb")]
pub use ::redb;

pub use clock::{Clock, SystemClock, Wake};
pub use error::Error;
pub use job::{
    BucketCursor, CalendarUnit, ConfigError, ConfigProblem, ConfigProblemKind, CronError, CronSchedule, Crossing,
    Cured, DateBucket, DateHistogram, DateInterval, Difference, ForeignJob, GroupKey, Groups, Health, HealthColor,
    Histogram, IndexPattern, JobError, JobRecord, JobState, JobStats, JobStatus, JobUpdate, KeyPart, LastVerification,
    LateData, LateDocuments, Lateness, Ledger, LedgerNote, MAX_PAGE_SIZE, MetricField, Notice, NoticeBy, Phase,
    Position, Progress, RecordError, RepairWhen, RollupJobConfig, RollupJobConfigBuilder, Rounding, RunAs, StoredState,
    Terms, TermsType, TimeUnit, TimeValue, TimeValueError,
};
pub use manager::{
    AdoptError, BusyJob, Change, ChangeError, DeleteError, DeleteOptions, JobSelector, LateDataError, LateDataReport,
    Need, OpenError, PutError, PutOptions, PutOrKeepError, PutOrKeepOptions, PutOutcome, Refresh, RefreshError,
    RemoveDataError, RetryOptions, RolledUpError, RolledUpRows, RollupJobManager, RollupJobManagerBuilder,
    RollupReader, SafeToDrop, SealError, ShutdownError, StartError, StopCompletion, StopError, StopManyError,
    StopOptions, StopReport, Stopped, TriggerError, Triggered, UpdateError, VerifyError,
};
pub use measure::Metric;
#[cfg(feature = "tracing")]
pub use observer::TracingObserver;
pub use observer::{Observer, RunEnded, RunOutcome, StateChange, TurnEnded};
pub use verify::{Mismatch, Verification, VerifyOptions};
