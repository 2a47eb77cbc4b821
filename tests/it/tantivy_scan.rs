//! Scans of the embedded engine, whichever way they group: by place or hashed, on one thread or several, in one pass or many.

use std::sync::Arc;

use rollup_jobs::engine::tantivy::tantivy::Index;
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{Engine, FieldType, JobContext, ScanRequest, SourceDocument, StopSignal};
use rollup_jobs::{GroupKey, Histogram, TermsType};

use crate::support::{HOUR, config};
use crate::tantivy_harness::{add_to_index, source_schema};

/// What has to be exactly the same: key, document count, and count, least and greatest value of the metric.
type Exact = (GroupKey, u64, u64, u64, u64);

/// What a scan delivers, and the sums of the metric.
fn all_buckets(engine: &TantivyEngine, job: &JobContext) -> (Vec<Exact>, Vec<f64>) {
    let request = ScanRequest { after: None, before: i64::MAX / 2 };
    let mut stream = engine.scan(job, request, &StopSignal::never()).unwrap();
    let (mut buckets, mut sums) = (Vec::new(), Vec::new());
    loop {
        let page = stream.next_page(&StopSignal::never()).unwrap();
        if page.is_empty() {
            return (buckets, sums);
        }
        for bucket in page.iter() {
            let values = &bucket.metrics[0];
            let (min, max) = (values.min().to_bits(), values.max().to_bits());
            buckets.push((bucket.key.to_vec(), bucket.doc_count, values.count(), min, max));
            sums.push(values.sum());
        }
    }
}

/// One of many, in no order; one in twenty has no load.
fn document(number: u32) -> SourceDocument {
    let mixed = number.wrapping_mul(0x9E37_79B9).rotate_left(13);
    let hours = i64::from(mixed % 1_000);
    let document =
        SourceDocument::new().date("timestamp", hours * HOUR / 7).keyword("node", &format!("n{}", mixed % 97));
    let document = document.double("temperature", f64::from(mixed) / 1e3);
    if mixed.is_multiple_of(20) { document } else { document.double("load", f64::from(mixed % 13) / 2.0) }
}

/// Documents in no order, so that all threads meet all groups: by place and hashed, with all the memory there is and with so
/// little that passes have to leave groups to later ones.
#[test]
fn a_scan_on_several_threads_or_in_many_passes_finds_the_same() {
    let fields = [
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("load", FieldType::Double),
        ("temperature", FieldType::Double),
    ];
    let index = Index::create_in_ram(source_schema(&fields));
    let documents: Vec<_> = (0..300_000_u32).map(document).collect();
    for part in documents.chunks(160_000) {
        add_to_index(&index, part);
    }
    let engine = |threads: usize, budget: usize| {
        let engine = TantivyEngine::in_ram_with(TantivyOptions::new().scan_threads(threads).memory_budget(budget));
        engine.register("sensor-1", &index).unwrap();
        engine
    };
    let base = || config("sensor").page_size(1_000).terms(["node"]);
    let jobs = [
        JobContext::new(Arc::new(base().build().unwrap()), &[TermsType::Keyword]),
        JobContext::new(
            Arc::new(base().histogram(Histogram::new(1.0, ["load"])).build().unwrap()),
            &[TermsType::Keyword],
        ),
        JobContext::new(
            Arc::new(base().terms(["node", "load"]).build().unwrap()),
            &[TermsType::Keyword, TermsType::Floating],
        ),
    ];
    for job in &jobs {
        let (expected, expected_sums) = all_buckets(&engine(1, 256 << 20), job);
        assert!(expected.len() > 5_000, "{} groups", expected.len());
        assert_eq!(expected.iter().map(|bucket| bucket.1).sum::<u64>(), 300_000);
        for (threads, budget) in [(2, 256 << 20), (1, 1 << 20), (2, 1 << 20)] {
            let (found, sums) = all_buckets(&engine(threads, budget), job);
            assert!(found == expected, "{threads} threads, {budget} bytes: {} groups", found.len());
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14 * b.abs();
            assert!(sums.iter().zip(&expected_sums).all(close), "{threads} threads, {budget} bytes");
        }
    }
}
