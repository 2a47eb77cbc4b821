//! The seeded data, as a tantivy index and as plain columns for the others.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, INDEXED, STRING, Schema, Term,
};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, TantivyDocument};

use crate::shapes::{DataSet, data_set};

const BEGIN: i64 = 1_735_689_600_000;
const SPAN: u64 = 90 * 86_400_000;

/// One document. A value of a metric that is missing is NaN.
struct Document {
    millis: i64,
    terms: Vec<u64>,
    integer: i64,
    /// All of the first metric, then all of the next.
    values: Vec<f64>,
    is_deleted: bool,
}

fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// The n-th document of a set. Over 90 days and nearly in the order of time, but for `shuffled` and `distinct`.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn document(name: &str, number: u64, documents: u64) -> Document {
    let mut draws = 0;
    let mut random = |below: u64| {
        draws += 1;
        mixed(number * 64 + draws) % below
    };
    let place = if name == "shuffled" { random(documents) } else { number };
    let millis = BEGIN + (place * SPAN / documents + random(10_000)).cast_signed();
    let reading = |random: &mut dyn FnMut(u64) -> u64| {
        vec![random(4_000) as f64 / 100.0, random(5_000) as f64 / 1_000.0, random(1_000) as f64 / 10.0]
    };
    let plain = |terms, values| Document { millis, terms, integer: 0, values, is_deleted: false };
    match name {
        // 50,000 users, of whom some come often; every third has not paid.
        "users" => {
            let user = random(50_000).min(random(50_000));
            let paid = if random(3) == 0 { f64::NAN } else { random(10_000) as f64 / 100.0 };
            plain(vec![user], vec![paid, random(3_600) as f64])
        }
        // 100 hosts in 4 regions; 9 in 10 requests succeed.
        "wide" => {
            let host = random(100);
            let status = if random(10) == 0 { 1 + random(4) } else { 0 };
            plain(vec![host, status, random(4)], (0..8).map(|_| random(100_000) as f64 / 100.0).collect())
        }
        // None in three of ten documents, in the others one, two or three.
        "several" => {
            let node = random(200).min(random(200));
            let mut values = Vec::with_capacity(6);
            for _ in 0..2 {
                let count = if random(10) < 3 { 0 } else { 1 + random(3) };
                values.extend((0..3).map(|at| if at < count { random(4_000) as f64 / 100.0 } else { f64::NAN }));
            }
            plain(vec![node], values)
        }
        // Every document in a group of its own, all in one hour: as many groups as there can be, and no order in them.
        "distinct" => {
            let millis = BEGIN + random(3_600_000).cast_signed();
            let values = reading(&mut random);
            Document { millis, integer: mixed(number).cast_signed(), ..plain(vec![0], values) }
        }
        // 200 nodes on 8 floors.
        _ => {
            let node = random(200).min(random(200));
            let mut values = reading(&mut random);
            if name == "missing" {
                values.iter_mut().filter(|_| random(20) == 0).for_each(|value| *value = f64::NAN);
            }
            let is_deleted = name == "deleted" && random(5) == 0;
            Document { integer: (node % 8 + 1).cast_signed(), is_deleted, ..plain(vec![node], values) }
        }
    }
}

/// The columns of a folder, as they were written there.
fn read(folder: &Path, set: &DataSet) -> impl ExactSizeIterator<Item = Document> {
    let column = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect::<Vec<_>>()
    };
    let timestamp = column("timestamp");
    let terms: Vec<_> = set.terms.iter().map(|name| column(name)).collect();
    let integer = set.integer.as_ref().map(|name| column(name));
    let metrics: Vec<_> = set.metrics.iter().map(|name| column(name)).collect();
    let deleted = set.deletes.then(|| column("deleted"));
    let values = set.values;
    (0..timestamp.len()).map(move |at| Document {
        millis: timestamp[at].cast_signed(),
        terms: terms.iter().map(|column| column[at]).collect(),
        integer: integer.as_ref().map_or(0, |column| column[at].cast_signed()),
        values: metrics
            .iter()
            .flat_map(|column| column[at * values..(at + 1) * values].iter().copied().map(f64::from_bits))
            .collect(),
        is_deleted: deleted.as_ref().is_some_and(|column| column[at] != 0),
    })
}

/// Writes the columns as little-endian numbers, where a missing value is NaN, and the index.
pub(crate) fn generate(folder: &Path, name: &str, documents: u64) {
    let set = data_set(name);
    std::fs::create_dir_all(folder).unwrap();
    let create = |name: &str| BufWriter::new(File::create(folder.join(name)).unwrap());
    let mut timestamp = create("timestamp");
    let mut terms: Vec<_> = set.terms.iter().map(|name| create(name)).collect();
    let mut integer = set.integer.as_deref().map(create);
    let mut metrics: Vec<_> = set.metrics.iter().map(|name| create(name)).collect();
    let mut deleted = set.deletes.then(|| create("deleted"));
    for document in (0..documents).map(|number| document(name, number, documents)) {
        timestamp.write_all(&document.millis.to_le_bytes()).unwrap();
        for (column, term) in terms.iter_mut().zip(&document.terms) {
            column.write_all(&term.to_le_bytes()).unwrap();
        }
        if let Some(column) = &mut integer {
            column.write_all(&document.integer.to_le_bytes()).unwrap();
        }
        for (column, values) in metrics.iter_mut().zip(document.values.chunks(set.values)) {
            for value in values {
                column.write_all(&value.to_le_bytes()).unwrap();
            }
        }
        if let Some(column) = &mut deleted {
            column.write_all(&u64::from(document.is_deleted).to_le_bytes()).unwrap();
        }
    }
    drop((timestamp, terms, integer, metrics, deleted));
    index(folder, name, folder, set.segments);
}

/// Makes the index of the columns in a folder: as a writer leaves it, or in so many segments.
pub(crate) fn index(columns: &Path, name: &str, folder: &Path, segments: Option<usize>) {
    let set = data_set(name);
    std::fs::create_dir_all(folder.join("index")).unwrap();
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let terms: Vec<_> = set.terms.iter().map(|name| (name, schema.add_text_field(name, STRING | FAST))).collect();
    let integer = set.integer.as_ref().map(|name| schema.add_i64_field(name, FAST));
    let metrics: Vec<_> = set.metrics.iter().map(|name| schema.add_f64_field(name, FAST)).collect();
    let deleted = set.deletes.then(|| schema.add_u64_field("deleted", INDEXED));
    let index = Index::create_in_dir(folder.join("index"), schema.build()).unwrap();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 256 << 20).unwrap();
    if segments.is_some() {
        writer.set_merge_policy(Box::new(NoMergePolicy));
    }
    let documents = read(columns, set);
    let per_segment = segments.map(|segments| documents.len().div_ceil(segments));
    for (number, given) in documents.enumerate() {
        if per_segment.is_some_and(|some| number > 0 && number.is_multiple_of(some)) {
            writer.commit().unwrap();
        }
        let mut document = TantivyDocument::default();
        document.add_date(timestamp, DateTime::from_timestamp_millis(given.millis));
        for ((name, field), term) in terms.iter().zip(given.terms) {
            document.add_text(*field, format!("{name}-{term:03}"));
        }
        if let Some(field) = integer {
            document.add_i64(field, given.integer);
        }
        for (field, values) in metrics.iter().zip(given.values.chunks(set.values)) {
            values.iter().filter(|value| !value.is_nan()).for_each(|value| document.add_f64(*field, *value));
        }
        if let Some(field) = deleted {
            document.add_u64(field, u64::from(given.is_deleted));
        }
        writer.add_document(document).unwrap();
    }
    writer.commit().unwrap();
    if let Some(field) = deleted {
        writer.delete_term(Term::from_field_u64(field, 1));
        writer.commit().unwrap();
    }
    writer.wait_merging_threads().unwrap();
}
