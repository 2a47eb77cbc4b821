//! An index of a day's readings, to which each minute adds.

use std::path::Path;

use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, Field, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, doc};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const BEGIN: i64 = 1_735_689_600_000;
pub(crate) const MINUTES_OF_A_DAY: i64 = 1_440;
pub(crate) const REGIONS: [&str; 5] = ["africa", "america", "asia", "australia", "europe"];

pub(crate) struct Host {
    pub(crate) index: Index,
    writer: IndexWriter,
    timestamp: Field,
    region: Field,
    value: Field,
    minutes: i64,
    per_minute: i64,
}

impl Host {
    /// A day of readings in 48 segments.
    pub(crate) fn new(folder: &Path, documents: u64) -> Self {
        let mut schema = Schema::builder();
        let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
        let timestamp = schema.add_date_field("timestamp", date);
        let region = schema.add_text_field("region", STRING | FAST);
        let value = schema.add_f64_field("value", FAST);
        std::fs::create_dir_all(folder).unwrap();
        let index = Index::create_in_dir(folder, schema.build()).unwrap();
        let writer: IndexWriter = index.writer_with_num_threads(1, 128 << 20).unwrap();
        writer.set_merge_policy(Box::new(NoMergePolicy));
        let per_minute = documents.cast_signed() / MINUTES_OF_A_DAY;
        let mut host = Self { index, writer, timestamp, region, value, minutes: 0, per_minute };
        for half_hour in 1..=MINUTES_OF_A_DAY / 30 {
            (30 * (half_hour - 1)..30 * half_hour).for_each(|_| host.add_readings());
            host.writer.commit().unwrap();
        }
        host
    }

    fn add_readings(&mut self) {
        for (number, region) in (0..self.per_minute).zip(REGIONS.into_iter().cycle()) {
            let at = DateTime::from_timestamp_millis(BEGIN + self.minutes * MINUTE + number * MINUTE / self.per_minute);
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let value = (number * 7 % 1_000) as f64;
            self.writer.add_document(doc!(self.timestamp => at, self.region => region, self.value => value)).unwrap();
        }
        self.minutes += 1;
    }

    /// The next minute's readings, committed.
    pub(crate) fn add_minute(&mut self) {
        self.add_readings();
        self.writer.commit().unwrap();
    }

    pub(crate) fn documents(&self) -> u64 {
        (self.minutes * self.per_minute).cast_unsigned()
    }
}
