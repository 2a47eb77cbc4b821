//! What every engine has to do, checked against the reference engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::harness::{EngineHarness, MemoryHarness};
use crate::engine::{
    Bucket, CommittedCheckpoint, EngineErrorKind, FieldType, JobContext, MemoryEngine, Page, PageStream, RolledUpPage,
    ScanRequest, SourceDocument, SourceValue, StopSignal,
};
use crate::{
    Checkpoint, DateHistogram, Histogram, IndexPattern, Metric, Position, RollupJobConfig, RollupJobConfigBuilder,
    TermsType, roll_up,
};

const END: i64 = 1_600_000_000_000;

/// Checks an engine for everything that [`Engine`](crate::engine::Engine) promises. `new` makes a harness around an empty
/// engine; it is called for each check.
///
/// ```
/// use rollup_jobs::engine::MemoryEngine;
/// use rollup_jobs::testing::{MemoryHarness, check_engine};
///
/// check_engine(|| Box::new(MemoryHarness::new(MemoryEngine::new())));
/// ```
///
/// # Panics
/// If the engine does not keep one of its promises.
pub fn check_engine(new: impl Fn() -> Box<dyn EngineHarness>) {
    let suite = |name: &str, check: fn(&dyn EngineHarness)| {
        // The name is the first thing to know when a check panics.
        eprintln!("engine suite: {name}");
        check(&*new());
    };
    suite("capabilities", capabilities);
    suite("patterns", patterns);
    suite("prepare is idempotent", prepare_is_idempotent);
    suite("adopt is idempotent", adopt_is_idempotent);
    suite("scans equal the reference", scans_equal_the_reference);
    suite("a scan resumes after every key", a_scan_resumes_after_every_key);
    suite("a scan sees one snapshot", a_scan_sees_one_snapshot);
    suite("a scan gives up on stop", a_scan_gives_up_on_stop);
    suite("an index without documents", an_index_without_documents);
    suite("commit", commit);
    suite("a dropped writer", a_dropped_writer);
    suite("jobs share a rollup index", jobs_share_a_rollup_index);
    suite("remove", remove);
}

/// Gives `node` and `level` one value of two kinds of terms, `load` for the histogram, `temperature` for the metrics.
fn fields() -> [(&'static str, FieldType); 5] {
    [
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("level", FieldType::Long),
        ("load", FieldType::Double),
        ("temperature", FieldType::Double),
    ]
}

/// A small generator of the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap_or(0) % end
    }

    fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        let at = self.below(i64::try_from(N).unwrap_or(1));
        from[usize::try_from(at).unwrap_or(0)]
    }

    fn double(&mut self) -> f64 {
        f64::from(i32::try_from(self.below(200)).unwrap_or(0)) / 8.0 - 10.0
    }
}

/// Documents with everything that can be awkward, as far as the engine can hold it, the same at every call.
fn documents(harness: &dyn EngineHarness, count: u64) -> Vec<SourceDocument> {
    let mut random = Random(42);
    (0..count).map(|_| harness.as_held(document(&mut random))).collect()
}

fn document(random: &mut Random) -> SourceDocument {
    const HOUR: i64 = 3_600_000;
    let mut document = SourceDocument::new();
    if random.below(20) > 0 {
        document = document.date("timestamp", random.below(40 * HOUR) - 20 * HOUR);
        if random.below(15) == 0 {
            document = document.date("timestamp", random.below(40 * HOUR));
        }
    }
    for _ in 0..random.pick([1, 1, 1, 0, 2, 3]) {
        document = document.keyword("node", random.pick(["a", "b", "", "é", "zz"]));
    }
    for _ in 0..random.pick([1, 1, 0, 2]) {
        let level = random.below(7) - 3;
        document = document.integer("level", random.pick([level, level, level, i64::MIN]));
    }
    let (one, other) = (random.double(), random.double());
    document = match random.below(8) {
        0 => document,
        1 => document.double("load", f64::NAN),
        2 => document.double("load", -0.0),
        3 => document.double("load", one).double("load", other).double("load", 0.3),
        _ => document.double("load", one),
    };
    match random.below(8) {
        0 => document,
        1 => document.double("temperature", f64::INFINITY),
        2 => document.double("temperature", one).double("temperature", other),
        _ => document.double("temperature", one),
    }
}

fn config(id: &str) -> RollupJobConfigBuilder {
    RollupJobConfig::builder(id)
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 * * * ?")
        .page_size(100)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .metric("temperature", [Metric::Min, Metric::Max, Metric::Sum, Metric::Avg, Metric::ValueCount])
}

fn context(config: RollupJobConfigBuilder, terms: &[TermsType]) -> JobContext {
    #[expect(clippy::expect_used, reason = "the suite's own configurations are valid")]
    let config = config.build().expect("a valid configuration");
    JobContext::new(Arc::new(config), terms)
}

fn wide(id: &str) -> JobContext {
    let config = config(id).histogram(Histogram::new(0.1, ["load"])).terms(["node", "level"]);
    context(config, &[TermsType::Keyword, TermsType::Integer])
}

/// Two indices, one of which lacks a field, and the same in a reference engine.
fn loaded(harness: &dyn EngineHarness) -> MemoryHarness {
    let reference = MemoryHarness::new(MemoryEngine::new());
    let documents = documents(harness, 600);
    let (first, second) = documents.split_at(400);
    let second: Vec<_> = second.iter().map(without_level).collect();
    for harness in [harness, &reference] {
        harness.create_index("sensor-1", &fields());
        harness
            .create_index("sensor-2", &fields().into_iter().filter(|(name, _)| *name != "level").collect::<Vec<_>>());
        // Several additions make several segments, where an engine has them.
        for part in first.chunks(150) {
            harness.add("sensor-1", part);
        }
        harness.add("sensor-2", &second);
    }
    reference
}

fn without_level(document: &SourceDocument) -> SourceDocument {
    let values = document.fields().filter(|(name, _)| *name != "level");
    let mut values = values.flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone())));
    values
        .by_ref()
        .fold(SourceDocument::new(), |document, (name, value): (&str, SourceValue)| document.with(name, value))
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn open(harness: &dyn EngineHarness, job: &JobContext, after: Option<Bucket<'_>>, before: i64) -> Box<dyn PageStream> {
    let request = ScanRequest { after: after.map(|bucket| bucket.key.to_vec()), before };
    harness.engine().scan(job, request, &StopSignal::never()).expect("the scan opens")
}

fn drain(mut stream: Box<dyn PageStream>, page_size: usize) -> (Page, u64) {
    let mut buckets = Page::default();
    loop {
        #[expect(clippy::expect_used, reason = "a suite fails by panicking")]
        let page = stream.next_page(&StopSignal::never()).expect("a page");
        assert!(page.len() <= page_size, "a page of {} buckets, at most {page_size} were asked for", page.len());
        if page.is_empty() {
            return (buckets, stream.documents_skipped());
        }
        buckets.append(page);
    }
}

fn scan(harness: &dyn EngineHarness, job: &JobContext, after: Option<Bucket<'_>>, before: i64) -> (Page, u64) {
    drain(open(harness, job, after, before), job.config().page_size())
}

fn assert_same(found: &Page, expected: &Page) {
    assert!(found.iter().is_sorted_by(|a, b| a.key < b.key), "keys ascend");
    for (found, expected) in found.iter().zip(expected.iter()) {
        assert_eq!(found.key, expected.key);
        assert_eq!(found.doc_count, expected.doc_count, "{:?}", expected.key);
        for (found, expected) in found.metrics.iter().zip(expected.metrics) {
            let exact = |m: &crate::engine::MetricValues| (m.count(), m.min().to_bits(), m.max().to_bits());
            assert_eq!(exact(found), exact(expected));
            assert!(
                (found.sum() - expected.sum()).abs() <= 1e-9 * expected.sum().abs().max(1.0),
                "{found:?} {expected:?}"
            );
        }
    }
    assert_eq!(found.len(), expected.len(), "as many buckets");
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn capabilities(harness: &dyn EngineHarness) {
    loaded(harness);
    let (job, pattern) = (wide("a"), IndexPattern::new("sensor-*"));
    let asked = ["timestamp", "node", "level", "load", "nothing"];
    let found = harness.engine().field_capabilities(&job, &pattern, &asked).expect("capabilities");
    assert_eq!(found.indices, ["sensor-1", "sensor-2"]);
    for (field, expected, indices) in [
        ("timestamp", FieldType::Date, vec!["sensor-1", "sensor-2"]),
        ("node", FieldType::Keyword, vec!["sensor-1", "sensor-2"]),
        ("level", FieldType::Long, vec!["sensor-1"]),
        ("load", FieldType::Double, vec!["sensor-1", "sensor-2"]),
    ] {
        let [capability] = found.fields[field].as_slice() else { panic!("[{field}] has one type") };
        assert_eq!(capability.field_type, expected);
        assert!(capability.aggregatable);
        assert_eq!(capability.indices, indices);
    }
    assert!(!found.fields.contains_key("nothing"));
}

#[expect(clippy::expect_used, clippy::unwrap_used, reason = "a suite fails by panicking")]
fn patterns(harness: &dyn EngineHarness) {
    loaded(harness);
    let resolve =
        |pattern: &str| harness.engine().field_capabilities(&wide("a"), &IndexPattern::new(pattern), &["node"]);
    assert_eq!(resolve("sensor-2").expect("an index").indices, ["sensor-2"]);
    assert_eq!(resolve("sensor-1,sensor-*").expect("indices").indices, ["sensor-1", "sensor-2"]);
    let nothing = resolve("other-*").expect("a wildcard may match nothing");
    assert!(nothing.indices.is_empty() && nothing.fields.is_empty());
    assert_eq!(resolve("sensor-3").unwrap_err().kind(), EngineErrorKind::NotFound);
}

#[expect(clippy::expect_used, clippy::unwrap_used, reason = "a suite fails by panicking")]
fn prepare_is_idempotent(harness: &dyn EngineHarness) {
    loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("the first time");
    engine.prepare(&job).expect("once more");
    let other = context(config("a").page_size(7), &[]);
    assert_eq!(engine.prepare(&other).unwrap_err().kind(), EngineErrorKind::AlreadyExists, "another definition");
    let into_source = RollupJobConfig::builder("b")
        .index_pattern("other-*")
        .rollup_index("sensor-1")
        .cron("0 0 * * * ?")
        .page_size(1)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
    assert!(engine.prepare(&context(into_source, &[])).is_err(), "a source index is no rollup index");
}

/// The documents of an adopted job up to its position are somebody else's affair.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn adopt_is_idempotent(harness: &dyn EngineHarness) {
    loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    let request = ScanRequest { after: None, before: END };
    let never = StopSignal::never();
    let page = engine.scan(&job, request, &never).and_then(|mut stream| stream.next_page(&never)).expect("a page");
    let last = page.iter().last().map(|bucket| Position::of(job.config(), bucket.key));
    let checkpoint = Checkpoint { position: last, ..Checkpoint::default() };
    engine.adopt(&job, &checkpoint).expect("the first time");
    engine.adopt(&job, &checkpoint).expect("once more");
    match engine.committed_checkpoint(&job).expect("it was adopted") {
        CommittedCheckpoint::NotKept => {}
        CommittedCheckpoint::Kept(kept) => assert_eq!(kept, Some(checkpoint)),
    }
    assert!(harness.rolled_up(&job).is_empty());
    let other = context(config("a").page_size(7), &[]);
    let elsewhere = Checkpoint { position: Some(Position::of(other.config(), &[])), ..Checkpoint::default() };
    let refused = engine.adopt(&other, &elsewhere).map_err(|error| error.kind());
    assert_eq!(refused, Err(EngineErrorKind::AlreadyExists), "another definition");
}

fn scans_equal_the_reference(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    for page_size in [1, 7, 1_000] {
        for interval in ["1h", "90m"] {
            let date = || DateHistogram::fixed_interval("timestamp", interval).time_zone("America/St_Johns");
            let base = |id: &str| config(id).page_size(page_size).date_histogram(date());
            let jobs = [
                context(base("date"), &[]),
                context(base("terms").terms(["node"]), &[TermsType::Keyword]),
                context(base("numbers").terms(["level"]), &[TermsType::Integer]),
                context(base("doubles").terms(["load"]), &[TermsType::Floating]),
                context(base("histogram").histogram(Histogram::new(0.1, ["load"])), &[]),
                context(
                    base("all").histogram(Histogram::new(5.0, ["load"])).terms(["node", "level"]),
                    &[TermsType::Keyword, TermsType::Integer],
                ),
            ];
            for job in jobs {
                for before in [END, -3_600_000 * 5 + 1_800_000] {
                    let before = job.config().rounding().round_down(before);
                    let (found, skipped) = scan(harness, &job, None, before);
                    let (expected, expected_skipped) = scan(&reference, &job, None, before);
                    assert_same(&found, &expected);
                    assert_eq!(skipped, expected_skipped, "documents without a date");
                }
            }
        }
    }
}

fn a_scan_resumes_after_every_key(harness: &dyn EngineHarness) {
    loaded(harness);
    let job = wide("a");
    let (all, _) = scan(harness, &job, None, END);
    for at in (0..all.len()).step_by(37).chain([0, all.len() - 1]) {
        let (rest, _) = scan(harness, &job, all.get(at), END);
        assert_same(&rest, &all.slice(at + 1..all.len()));
    }
}

fn a_scan_sees_one_snapshot(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let job = context(config("a").terms(["node"]), &[TermsType::Keyword]);
    let stream = open(harness, &job, None, END);
    harness.add("sensor-1", &documents(harness, 50));
    assert_same(&drain(stream, 100).0, &scan(&reference, &job, None, END).0);
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn a_scan_gives_up_on_stop(harness: &dyn EngineHarness) {
    loaded(harness);
    let mut stream = open(harness, &wide("a"), None, END);
    let error = stream.next_page(&StopSignal::raised()).expect_err("a raised signal ends the search");
    assert!(error.is_cancelled(), "{error}");
}

fn an_index_without_documents(harness: &dyn EngineHarness) {
    harness.create_index("sensor-1", &fields());
    let (found, skipped) = scan(harness, &wide("a"), None, END);
    assert_eq!((found.len(), skipped), (0, 0));
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn rolled(job: &JobContext, buckets: &Page) -> (RolledUpPage, Checkpoint) {
    let position = buckets.last().map(|last| Position::of(job.config(), last.key));
    let page = roll_up(buckets.clone(), job).expect("it fits");
    (page, Checkpoint { position, ..Checkpoint::default() })
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn write(harness: &dyn EngineHarness, job: &JobContext, buckets: &Page) -> Checkpoint {
    let (page, checkpoint) = rolled(job, buckets);
    let documents = page.documents();
    let mut writer = harness.engine().begin(job).expect("a writer");
    for from in (0..documents.len()).step_by(100) {
        let part = documents.slice(from..(from + 100).min(documents.len()));
        let report = writer.write(part, &StopSignal::never()).expect("a write");
        assert_eq!((report.taken, report.rejected.len()), (part.len(), 0));
    }
    writer.commit(&checkpoint).expect("a commit");
    checkpoint
}

/// Without nulls and without what is the same in all documents, which a typed index has no need to keep per document.
fn bare(documents: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let constant =
        |name: &str| name.ends_with(".interval") || name.ends_with(".time_zone") || name.starts_with("_rollup.");
    let strip = |document: Value| match document {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(name, value)| !value.is_null() && !constant(name)).collect())
        }
        other => other,
    };
    documents.into_iter().map(|(id, document)| (id, strip(document))).collect()
}

fn expected(job: &JobContext, buckets: &Page) -> BTreeMap<String, Value> {
    bare(
        rolled(job, buckets)
            .0
            .documents()
            .iter()
            .map(|document| (document.id().to_owned(), document.to_json()))
            .collect(),
    )
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn commit(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("prepared");
    let before = engine.committed_checkpoint(&job).expect("a checkpoint");
    assert!(matches!(before, CommittedCheckpoint::NotKept | CommittedCheckpoint::Kept(None)));
    let (buckets, _) = scan(&reference, &job, None, END);
    let middle = buckets.len() / 2;
    let (first, second) = (buckets.slice(0..middle), buckets.slice(middle..buckets.len()));
    for (part, sum) in [(&first, &first), (&second, &buckets)] {
        let checkpoint = write(harness, &job, part);
        match engine.committed_checkpoint(&job).expect("a checkpoint") {
            CommittedCheckpoint::NotKept => {
                // Replaced by id: writing it again changes nothing.
                write(harness, &job, part);
            }
            CommittedCheckpoint::Kept(kept) => assert_eq!(kept, Some(checkpoint)),
        }
        assert_eq!(bare(harness.rolled_up(&job)), expected(&job, sum));
    }
    assert_eq!(
        engine.prepare(&job).err().map(|error| error.kind()),
        Some(EngineErrorKind::AlreadyExists),
        "a rollup index with data is not prepared again"
    );
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn a_dropped_writer(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.prepare(&job).expect("prepared");
    let (buckets, _) = scan(&reference, &job, None, END);
    let mut writer = engine.begin(&job).expect("a writer");
    writer.write(rolled(&job, &buckets.slice(0..50)).0.documents(), &StopSignal::never()).expect("a write");
    drop(writer);
    write(harness, &job, &buckets);
    assert_eq!(bare(harness.rolled_up(&job)), expected(&job, &buckets), "none missing, none double");
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn jobs_share_a_rollup_index(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let jobs = [wide("a"), context(config("b").terms(["load"]), &[TermsType::Floating])];
    for job in &jobs {
        harness.engine().prepare(job).expect("prepared");
        write(harness, job, &scan(&reference, job, None, END).0);
    }
    for job in &jobs {
        assert_eq!(bare(harness.rolled_up(job)), expected(job, &scan(&reference, job, None, END).0));
    }
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn remove(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let (engine, job) = (harness.engine(), wide("a"));
    engine.remove(&job).expect("nothing there is no error");
    engine.prepare(&job).expect("prepared");
    write(harness, &job, &scan(&reference, &job, None, END).0);
    engine.remove(&job).expect("removed");
    assert!(harness.rolled_up(&job).is_empty());
    assert!(!matches!(engine.committed_checkpoint(&job), Ok(CommittedCheckpoint::Kept(Some(_)))));
    engine.prepare(&job).expect("the id can be used again");
}
