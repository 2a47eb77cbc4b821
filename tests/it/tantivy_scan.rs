//! Scans of the embedded engine, whichever way they group: by place or hashed, on one thread or several, in one pass
//! or many.

use rollup_jobs::engine::tantivy::tantivy::indexer::NoMergePolicy;
use rollup_jobs::engine::tantivy::tantivy::{Index, IndexWriter, Term};
use rollup_jobs::engine::tantivy::{TantivyEngine, TantivyOptions};
use rollup_jobs::engine::{
    Engine, EngineError, FieldType, JobContext, MemoryEngine, PageStream, Source, SourceDocument, SourceValue,
    StopSignal,
};
use rollup_jobs::{DateHistogram, GroupKey, Histogram, KeyPart, Metric, RollupJobConfig, TermsType};

use crate::support::{HOUR, config, wait_until};
use crate::tantivy_harness::{add_to_index, source_schema};

/// What has to be exactly the same: key, document count, and count, least and greatest value of the metric.
type Exact = (GroupKey, u64, u64, u64, u64);

/// What a scan delivers, and the sums of the metric.
fn all_buckets(engine: &dyn Engine, job: &JobContext) -> (Vec<Exact>, Vec<f64>) {
    read_all(engine, job, |_, _| {})
}

/// The same, if the next pass begins while the groups of one are handed out. Every now and then it is given up.
fn all_buckets_ahead(engine: &dyn Engine, job: &JobContext) -> (Vec<Exact>, Vec<f64>) {
    read_all(engine, job, |pages, stream| {
        stream.lend_threads(2);
        stream.fetch_ahead();
        if pages % 7 == 0 {
            stream.park();
        }
    })
}

fn read_all(
    engine: &dyn Engine,
    job: &JobContext,
    between: impl Fn(usize, &mut dyn PageStream),
) -> (Vec<Exact>, Vec<f64>) {
    let request = job.scan_request();
    let mut stream = engine.scan(job, job.config().index_pattern(), request, &StopSignal::never()).unwrap();
    let (mut buckets, mut sums) = (Vec::new(), Vec::new());
    for pages in 1.. {
        let page = stream.next_page(&StopSignal::never()).unwrap();
        if page.is_empty() {
            break;
        }
        between(pages, &mut *stream);
        for bucket in page.iter() {
            let values = &bucket.metrics[0];
            let (min, max) = (values.min().to_bits(), values.max().to_bits());
            buckets.push((bucket.key.to_vec(), bucket.doc_count, values.count(), min, max));
            sums.push(values.sum());
        }
    }
    (buckets, sums)
}

/// A scan of a new engine finds this, whether its passes go on ahead or not.
fn assert_finds(
    engine: impl Fn() -> TantivyEngine,
    job: &JobContext,
    (expected, expected_sums): &(Vec<Exact>, Vec<f64>),
    how: &str,
) {
    for (way, read) in [("by itself", all_buckets as fn(&_, &_) -> _), ("ahead", all_buckets_ahead)] {
        let (found, sums) = read(&engine(), job);
        assert!(found == *expected, "{how}, {way}: {} groups, not {}", found.len(), expected.len());
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14 * b.abs();
        assert!(sums.iter().zip(expected_sums).all(close), "{how}, {way}");
    }
}

fn engine(index: &Index, threads: usize, budget: usize) -> TantivyEngine {
    let engine = TantivyEngine::in_ram_with(TantivyOptions::new().scan_threads(threads).memory_budget(budget));
    engine.register("sensor-1", index).unwrap();
    engine
}

fn index() -> Index {
    Index::create_in_ram(source_schema(&[
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("load", FieldType::Double),
        ("temperature", FieldType::Double),
    ]))
}

fn mixed(number: u32) -> u32 {
    number.wrapping_mul(0x9E37_79B9).rotate_left(13)
}

/// One of many, in no order; one in twenty has no load.
fn document(number: u32) -> SourceDocument {
    let mixed = mixed(number);
    let hours = i64::from(mixed % 1_000);
    let document =
        SourceDocument::new().date("timestamp", hours * HOUR / 7).keyword("node", &format!("n{}", mixed % 97));
    let document = document.double("temperature", f64::from(mixed) / 1e3);
    if mixed.is_multiple_of(20) { document } else { document.double("load", f64::from(mixed % 13) / 2.0) }
}

/// Documents in no order, so that all threads meet all groups, and nearly in the order of time, so that a scan goes
/// slice by slice: by place and hashed, with all the memory there is and with so little that passes have to leave
/// groups to later ones.
#[test]
fn a_scan_on_several_threads_or_in_many_passes_finds_the_same() {
    let index_of = |numbers: Vec<u32>| {
        let index = index();
        for part in numbers.chunks(160_000) {
            add_to_index(&index, &part.iter().copied().map(document).collect::<Vec<_>>());
        }
        index
    };
    let scattered = index_of((0..300_000).collect());
    let mut by_time: Vec<u32> = (0..300_000).collect();
    by_time.sort_by_key(|number| mixed(*number) % 1_000 + number % 3);
    let by_time = index_of(by_time);
    let base = || config("sensor").page_size(1_000).terms(["node"]);
    let jobs = [
        JobContext::new(base().build().unwrap(), &[TermsType::Keyword]),
        JobContext::new(base().histogram(Histogram::new(1.0, ["load"])).build().unwrap(), &[TermsType::Keyword]),
        JobContext::new(base().terms(["node", "load"]).build().unwrap(), &[TermsType::Keyword, TermsType::Floating]),
    ];
    for job in &jobs {
        let expected = all_buckets(&engine(&scattered, 1, 256 << 20), job);
        assert!(expected.0.len() > 5_000, "{} groups", expected.0.len());
        assert_eq!(expected.0.iter().map(|bucket| bucket.1).sum::<u64>(), 300_000);
        for (order, index) in [("scattered", &scattered), ("by time", &by_time)] {
            for (threads, budget) in [(1, 256 << 20), (2, 256 << 20), (1, 1 << 20), (2, 1 << 20)] {
                let how = format!("{order}, {threads} threads, {budget} bytes");
                assert_finds(|| engine(index, threads, budget), job, &expected, &how);
            }
        }
    }
}

/// An index in which those of node n5 are deleted, and an engine that never had them.
fn without_n5(documents: Vec<SourceDocument>) -> (Index, MemoryEngine) {
    let (index, memory) = (index(), MemoryEngine::new());
    documents.chunks(40_000).for_each(|documents| add_to_index(&index, documents));
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 15_000_000).unwrap();
    writer.set_merge_policy(Box::new(NoMergePolicy));
    writer.delete_term(Term::from_field_text(index.schema().get_field("node").unwrap(), "n5"));
    writer.commit().unwrap();
    let is_deleted = |document: &SourceDocument| {
        document.fields().any(|(_, values)| values.contains(&SourceValue::Keyword("n5".into())))
    };
    memory.extend("sensor-1", documents.into_iter().filter(|document| !is_deleted(document)));
    (index, memory)
}

/// Blocks of which some documents are deleted or have no date, and others have several dates, nodes or values, up to as
/// many as this.
#[test]
fn blocks_of_all_kinds_of_documents() {
    for most in [1, 3, 40] {
        let document = |number: u32| {
            let mixed = mixed(number);
            let mut document = SourceDocument::new().double("temperature", f64::from(mixed % 1_000) / 8.0);
            if !mixed.is_multiple_of(11) {
                document = document.date("timestamp", i64::from(number) * HOUR / 1_000);
            }
            if most > 1 && mixed.is_multiple_of(23) {
                document = document.date("timestamp", i64::from(mixed % 5) * HOUR).keyword("node", "other");
            }
            let values = (0..mixed % (most + 1)).map(|value| f64::from(mixed % 97 + value));
            values.fold(document.keyword("node", &format!("n{}", mixed % 7)), |document, value| {
                document.double("load", value)
            })
        };
        let (index, memory) = without_n5((0..5_000).map(document).collect());
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", &index).unwrap();
        for metric in ["load", "temperature"] {
            for metrics in [&[Metric::Sum, Metric::Min, Metric::Max, Metric::ValueCount][..], &[Metric::Max]] {
                let job = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled");
                let job = job.cron("0 0 0 1 1 ? 2090").page_size(50).terms(["node"]);
                let job = job.date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
                let job = job.metric(metric, metrics.iter().copied()).build().unwrap();
                let job = JobContext::new(job, &[TermsType::Keyword]);
                assert_eq!(all_buckets(&engine, &job), all_buckets(&memory, &job), "{metric}, up to {most} values");
            }
        }
    }
}

/// Two date buckets, each with many times as many groups as fit into memory: documents with several values and with
/// none, and deleted ones.
#[test]
fn more_groups_in_a_date_bucket_than_fit() {
    let document = |number: u32| {
        let mixed = mixed(number);
        let document =
            SourceDocument::new().date("timestamp", i64::from(mixed % 3 / 2) * HOUR + i64::from(mixed % 1_000));
        let document = document.keyword("node", &format!("n{}", mixed % 7)).double("temperature", f64::from(mixed));
        match mixed % 20 {
            0 => document,
            1 => {
                document.double("load", f64::from(mixed)).double("load", f64::from(mixed / 2)).keyword("node", "other")
            }
            2 => document.double("load", f64::from(mixed)).date("timestamp", 2 * HOUR - i64::from(mixed % 1_000)),
            _ => document.double("load", f64::from(mixed / 8)),
        }
    };
    let (index, memory) = without_n5((0..60_000).map(document).collect());
    let config = config("sensor").page_size(700).terms(["load", "node"]).build().unwrap();
    let job = JobContext::new(config, &[TermsType::Floating, TermsType::Keyword]);
    let expected = all_buckets(&memory, &job);
    assert!(expected.0.len() > 40_000, "{} groups", expected.0.len());
    for (threads, budget) in [(1, 256 << 20), (1, 2 << 20), (2, 2 << 20), (3, 3 << 20)] {
        assert_finds(
            || engine(&index, threads, budget),
            &job,
            &expected,
            &format!("{threads} threads, {budget} bytes"),
        );
    }
}

/// To open many segments takes long: a stop is looked for after each, and what was opened stays so.
#[test]
fn a_stop_while_many_segments_are_opened() {
    const SEGMENTS: u64 = 30;
    let index = index();
    for part in 0..SEGMENTS {
        let at = i64::try_from(part).unwrap() * HOUR;
        add_to_index(&index, &[SourceDocument::new().date("timestamp", at).keyword("node", "a")]);
    }
    let job = JobContext::new(config("sensor").page_size(100).build().unwrap(), &[TermsType::Keyword]);
    let engine = || {
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", &index).unwrap();
        engine
    };
    let (known, mut cancelled) = (engine(), 0);
    let pattern = job.config().index_pattern();
    let known_after = |looks| known.scan(&job, pattern, job.scan_request(), &StopSignal::raised_after(looks));
    // Each stop comes in the middle of the opening, and the next scan goes on from there.
    while known_after(3 + SEGMENTS).is_err() {
        cancelled += 1;
        assert!(cancelled <= SEGMENTS, "what was opened is not opened again");
    }
    assert!(cancelled > 0, "opening looks at the signal for each segment that is not open yet");
    // And wherever a stop comes, to a scan of an engine that knows nothing.
    let all = |looks| {
        let (engine, stop) = (engine(), StopSignal::raised_after(looks));
        let mut stream = engine.scan(&job, pattern, job.scan_request(), &stop)?;
        let mut found = stream.next_page(&stop)?;
        found.append(stream.next_page(&stop)?);
        Ok::<_, EngineError>(found)
    };
    let mut looks = 0;
    let found = loop {
        match all(looks) {
            Ok(found) => break found,
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
        looks += 1;
    };
    assert!(looks > 3 * SEGMENTS, "{looks} looks");
    assert_eq!(found.len() as u64, SEGMENTS);
}

/// A group for each document, in many passes: with a second thread the next one begins while a page is written. A stop
/// ends it, and so does a scan that is dropped; neither leaves any memory behind.
#[test]
fn the_next_pass_begins_while_a_page_is_written() {
    let index = index();
    let documents = |from: i64| (from..from + 20_000).map(|n| SourceDocument::new().date("timestamp", n * HOUR));
    (0..4).for_each(|part| add_to_index(&index, &documents(part * 20_000).collect::<Vec<_>>()));
    let engine = TantivyEngine::in_ram_with(TantivyOptions::new().memory_budget(1 << 20));
    engine.register("sensor-1", &index).unwrap();
    let job = JobContext::new(config("sensor").page_size(100).build().unwrap(), &[]);
    let open = || {
        let request = job.scan_request();
        let mut stream = engine.scan(&job, job.config().index_pattern(), request, &StopSignal::never()).unwrap();
        stream.next_page(&StopSignal::never()).unwrap();
        stream
    };
    let begins = |stream: &mut dyn PageStream| {
        let before = engine.memory_used().0;
        stream.fetch_ahead();
        wait_until("the next pass has memory of its own", || engine.memory_used().0 != before);
    };
    let mut stream = open();
    stream.fetch_ahead();
    let alone = engine.memory_used().0;
    assert!(alone > 0, "the groups of the first pass are held");
    stream.lend_threads(2);
    begins(&mut *stream);
    assert!(engine.memory_used().0 > alone, "the groups of the first pass are still held");
    while let Ok(page) = stream.next_page(&StopSignal::raised_after(40)) {
        assert!(!page.is_empty(), "a stop comes before the end");
        stream.fetch_ahead();
    }
    drop(stream);
    assert_eq!(engine.memory_used().0, 0, "after a stop");
    let mut stream = open();
    stream.lend_threads(2);
    begins(&mut *stream);
    drop(stream);
    assert_eq!(engine.memory_used().0, 0, "after it was dropped");
}

/// The first and the last instants that a column can hold, whose buckets reach beyond.
#[test]
fn the_ends_of_what_a_column_can_hold() {
    let ends =
        [i64::MIN / 1_000_000, i64::MIN / 1_000_000 + HOUR, 0, i64::MAX / 1_000_000 - HOUR, i64::MAX / 1_000_000];
    let documents = ends.map(|millis| SourceDocument::new().date("timestamp", millis).double("temperature", 1.0));
    let index = index();
    add_to_index(&index, &documents);
    let engine = TantivyEngine::in_ram();
    engine.register("sensor-1", &index).unwrap();
    for date in [
        DateHistogram::fixed_interval("timestamp", "1h"),
        DateHistogram::fixed_interval("timestamp", "1000d"),
        DateHistogram::calendar_interval("timestamp", "1y").time_zone("Europe/Berlin"),
    ] {
        let config = config("sensor").date_histogram(date).terms(["node"]).build().unwrap();
        let mut expected: Vec<i64> = ends.iter().map(|millis| config.rounding().round_down(*millis)).collect();
        expected.dedup();
        let (found, _) = all_buckets(&engine, &JobContext::new(config, &[TermsType::Keyword]));
        let dates: Vec<_> = found.iter().map(|bucket| bucket.0[0].clone()).collect();
        assert_eq!(dates, expected.into_iter().map(KeyPart::Date).collect::<Vec<_>>());
        assert_eq!(found.iter().map(|bucket| bucket.1).sum::<u64>(), 5);
    }
}

/// A position whose date is no bucket of the job's (any more): what is not behind it is left out, whichever way is
/// taken.
#[test]
fn a_position_inside_a_bucket() {
    let index = index();
    let documents: Vec<_> = (0..100_i64)
        .map(|n| SourceDocument::new().date("timestamp", n * HOUR / 10).keyword("node", "a").double("temperature", 1.0))
        .collect();
    add_to_index(&index, &documents);
    let engine = TantivyEngine::in_ram();
    engine.register("sensor-1", &index).unwrap();
    let job = JobContext::new(config("sensor").terms(["node"]).build().unwrap(), &[TermsType::Keyword]);
    for (after, expected) in [(3 * HOUR + 1, 4), (3 * HOUR, 4), (3 * HOUR - 1, 3)] {
        let after = Some(vec![KeyPart::Date(after), KeyPart::Text("a".into())]);
        let request = job.scan_request().after(after);
        let page = engine
            .scan(&job, job.config().index_pattern(), request, &StopSignal::never())
            .unwrap()
            .next_page(&StopSignal::never())
            .unwrap();
        assert_eq!(page.get(0).unwrap().key[0], KeyPart::Date(expected * HOUR));
    }
}

/// The night on which clocks in St. John's were set back over midnight: every document is where its own instant is
/// rounded to, whatever was looked at before it, and however often the scan is resumed. Also where the first document
/// comes after that.
#[test]
fn a_day_that_goes_on_after_the_next_one_has_begun() {
    let night = 1_162_089_060_000; // 2006-10-29T02:31:00Z
    for first_minute in [-200, 10] {
        let minutes = (0..400_i64).map(|n| (n, n * 7 % 400 - 200)).filter(|(_, minute)| *minute >= first_minute);
        let documents: Vec<_> = minutes
            .map(|(n, minute)| {
                let (at, node) = (night + minute * 60_000, format!("n{}", n % 3));
                SourceDocument::new().date("timestamp", at).keyword("node", &node).double("temperature", 1.0)
            })
            .collect();
        let index = index();
        let reference = MemoryEngine::new();
        for part in documents.chunks(150) {
            add_to_index(&index, part);
        }
        reference.extend("sensor-1", documents);
        let engine = TantivyEngine::in_ram();
        engine.register("sensor-1", &index).unwrap();
        let date = DateHistogram::calendar_interval("timestamp", "1d").time_zone("America/St_Johns");
        let config = config("sensor").page_size(1).date_histogram(date).terms(["node"]).build().unwrap();
        let job = JobContext::new(config, &[TermsType::Keyword]);
        let mut after: Option<GroupKey> = None;
        loop {
            let request = job.scan_request().after(after.clone());
            let first = |engine: &dyn Engine| {
                let mut stream =
                    engine.scan(&job, job.config().index_pattern(), request.clone(), &StopSignal::never()).unwrap();
                let page = stream.next_page(&StopSignal::never()).unwrap();
                page.get(0).map(|bucket| (bucket.key.to_vec(), bucket.doc_count))
            };
            let (found, expected) = (first(&engine), first(&reference));
            assert_eq!(found, expected, "after {after:?}");
            let Some((key, _)) = found else { break };
            after = Some(key);
        }
    }
}
