//! The rolled-up documents of a minute, written with tantivy's own writer.

use std::path::Path;

use rollup_jobs::engine::tantivy::tantivy::indexer::LogMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{FAST, Field, STORED, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, doc};

use crate::minutely::{BEGIN, MINUTE, REGIONS};

pub(crate) struct ByHand {
    indices: Vec<Index>,
    minutes: i64,
}

impl ByHand {
    pub(crate) fn new(folder: &Path, count: usize) -> Self {
        let mut schema = Schema::builder();
        schema.add_date_field("timestamp", FAST);
        schema.add_text_field("region", STRING | FAST | STORED);
        for name in ["min", "max", "sum", "value_count"] {
            schema.add_f64_field(name, FAST);
        }
        let schema = schema.build();
        let create = |number| {
            let folder = folder.join(format!("{number}"));
            std::fs::create_dir_all(&folder).unwrap();
            Index::create_in_dir(folder, schema.clone()).unwrap()
        };
        Self { indices: (0..count).map(create).collect(), minutes: 0 }
    }

    pub(crate) fn round(&mut self) {
        for index in &self.indices {
            let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
            writer.set_merge_policy(Box::<LogMergePolicy>::default());
            let schema = index.schema();
            let fields: Vec<Field> = schema.fields().map(|(field, _)| field).collect();
            let [timestamp, region, min, max, sum, count] = fields[..] else { panic!("six fields") };
            for name in REGIONS {
                let at = DateTime::from_timestamp_millis(BEGIN + self.minutes * MINUTE);
                let document =
                    doc!(timestamp => at, region => name, min => 0.0, max => 1e3, sum => 1e6, count => 1_388.0);
                writer.add_document(document).unwrap();
            }
            writer.commit().unwrap();
            writer.wait_merging_threads().unwrap();
        }
        self.minutes += 1;
    }
}
