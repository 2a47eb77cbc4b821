//! The seeded sensor data: 200 nodes over 90 days with three metrics, as a tantivy index and as plain columns for the
//! others.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, TantivyDocument};

/// What is different from one set to the next, in the data or in the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nearly in the order of time, by hour and node: 23 documents per bucket of 10 million.
    Ordered,
    /// The same in random order.
    Shuffled,
    /// The same with one value in twenty missing.
    Missing,
    /// Grouped by floor too.
    Histogram,
    /// By two days and node: 1,000 documents per bucket of 10 million.
    Coarse,
    /// Three million flights in the United States in 2001, nearly in the order of time, by hour and airport: 7
    /// documents per bucket.
    Flights,
    /// Every document in a group of its own, all in one date bucket: as many groups as there can be, and no order in
    /// them.
    Distinct,
}

impl Shape {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "ordered" => Self::Ordered,
            "shuffled" => Self::Shuffled,
            "missing" => Self::Missing,
            "histogram" => Self::Histogram,
            "coarse" => Self::Coarse,
            "flights" => Self::Flights,
            "distinct" => Self::Distinct,
            other => panic!("no such shape: {other}"),
        }
    }

    pub(crate) fn metrics(self) -> &'static [&'static str] {
        if self == Self::Flights { &["delay", "distance"] } else { &["temperature", "voltage", "humidity"] }
    }
}

/// One reading.
struct Reading {
    millis: i64,
    node: u64,
    floor: i64,
    values: Vec<Option<f64>>,
}

fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn reading(number: u64, documents: u64, shape: Shape) -> Reading {
    let mut draws = 0;
    let mut random = |below: u64| {
        draws += 1;
        mixed(number * 16 + draws) % below
    };
    let place = if shape == Shape::Shuffled { random(documents) } else { number };
    let millis = 1_735_689_600_000 + place * (90 * 86_400_000) / documents + random(10_000);
    // Unequal rates: low numbers come more often.
    let node = random(200).min(random(200));
    let values = [random(4_000) as f64 / 100.0, random(5_000) as f64 / 1_000.0, random(1_000) as f64 / 10.0];
    let values =
        values.into_iter().map(|value| (shape != Shape::Missing || random(20) != 0).then_some(value)).collect();
    let millis = if shape == Shape::Distinct { 1_735_689_600_000 + random(3_600_000) } else { millis };
    let floor = if shape == Shape::Distinct { mixed(number).cast_signed() } else { (node % 8 + 1).cast_signed() };
    Reading { millis: millis.cast_signed(), node, floor, values }
}

/// The columns of a folder, as they were written there.
fn read(folder: &Path, shape: Shape) -> impl ExactSizeIterator<Item = Reading> {
    let column = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        bytes.as_chunks::<8>().0.to_vec()
    };
    let (timestamp, node, floor) = (column("timestamp"), column("node"), column("floor"));
    let metrics: Vec<_> = shape.metrics().iter().map(|name| column(name)).collect();
    (0..timestamp.len()).map(move |at| Reading {
        millis: i64::from_le_bytes(timestamp[at]),
        node: u64::from_le_bytes(node[at]),
        floor: i64::from_le_bytes(floor[at]),
        values: metrics
            .iter()
            .map(|column| Some(f64::from_le_bytes(column[at])).filter(|value| !value.is_nan()))
            .collect(),
    })
}

/// Writes the columns as little-endian numbers, where a missing value is NaN, and the index.
pub(crate) fn generate(folder: &Path, shape: Shape, documents: u64) {
    std::fs::create_dir_all(folder).unwrap();
    let names = ["timestamp", "node", "floor"].into_iter().chain(shape.metrics().iter().copied());
    let mut columns: Vec<_> = names.map(|name| BufWriter::new(File::create(folder.join(name)).unwrap())).collect();
    for reading in (0..documents).map(|number| reading(number, documents, shape)) {
        let numbers = [reading.millis.to_le_bytes(), reading.node.to_le_bytes(), reading.floor.to_le_bytes()];
        let values = reading.values.iter().map(|value| value.unwrap_or(f64::NAN).to_le_bytes());
        for (column, bytes) in columns.iter_mut().zip(numbers.into_iter().chain(values)) {
            column.write_all(&bytes).unwrap();
        }
    }
    drop(columns);
    index(folder, shape, folder, None);
}

/// Makes the index of the columns in a folder: as a writer leaves it, or in so many segments.
pub(crate) fn index(columns: &Path, shape: Shape, folder: &Path, segments: Option<usize>) {
    std::fs::create_dir_all(folder.join("index")).unwrap();
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let node = schema.add_text_field("node", STRING | FAST);
    let floor = schema.add_i64_field("floor", FAST);
    let metrics: Vec<_> = shape.metrics().iter().map(|name| schema.add_f64_field(name, FAST)).collect();
    let index = Index::create_in_dir(folder.join("index"), schema.build()).unwrap();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 256 << 20).unwrap();
    if segments.is_some() {
        writer.set_merge_policy(Box::new(NoMergePolicy));
    }
    let readings = read(columns, shape);
    let per_segment = segments.map(|segments| readings.len().div_ceil(segments));
    for (number, reading) in readings.enumerate() {
        if per_segment.is_some_and(|some| number > 0 && number.is_multiple_of(some)) {
            writer.commit().unwrap();
        }
        let mut document = TantivyDocument::default();
        document.add_date(timestamp, DateTime::from_timestamp_millis(reading.millis));
        document.add_text(node, format!("node-{:03}", reading.node));
        document.add_i64(floor, reading.floor);
        for (field, value) in metrics.iter().zip(reading.values) {
            if let Some(value) = value {
                document.add_f64(*field, value);
            }
        }
        writer.add_document(document).unwrap();
    }
    writer.commit().unwrap();
    writer.wait_merging_threads().unwrap();
}
