//! The jobs of the suite and their documents.

use crate::engine::{FieldType, JobContext, MemoryEngine, SourceDocument, SourceValue};
use crate::testing::{EngineHarness, MemoryHarness};
use crate::{DateHistogram, Histogram, Metric, RollupJobConfig, RollupJobConfigBuilder, TermsType};

/// After all documents.
pub(super) const END: i64 = 1_600_000_000_000;

/// `node`, `level` and `serial` are three kinds of terms, `load` is for the histogram, `temperature` for the metrics.
pub(super) fn fields() -> [(&'static str, FieldType); 6] {
    [
        ("timestamp", FieldType::Date),
        ("node", FieldType::Keyword),
        ("level", FieldType::Long),
        ("serial", FieldType::Unsigned),
        ("load", FieldType::Double),
        ("temperature", FieldType::Double),
    ]
}

/// A small generator of the same numbers on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A place among so many, or 0.
    pub(super) fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.below(i64::try_from(of.max(1)).unwrap_or(1))).unwrap_or(0)
    }

    pub(super) fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap_or(0) % end
    }

    pub(super) fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        let at = self.below(i64::try_from(N).unwrap_or(1));
        from[usize::try_from(at).unwrap_or(0)]
    }

    fn double(&mut self) -> f64 {
        f64::from(i32::try_from(self.below(200)).unwrap_or(0)) / 8.0 - 10.0
    }
}

/// Documents with everything that can be awkward, as far as the engine can hold it, the same at every call.
pub(super) fn documents(harness: &dyn EngineHarness, count: u64) -> Vec<SourceDocument> {
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
    if random.below(5) > 0 {
        document = document.unsigned("serial", random.pick([0, 7, 1 << 63, u64::MAX]));
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

pub(super) fn config(id: &str) -> RollupJobConfigBuilder {
    RollupJobConfig::builder(id)
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 * * * ?")
        .page_size(100)
        .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
        .metric("temperature", Metric::ALL.iter().copied())
}

pub(super) fn context(config: RollupJobConfigBuilder, terms: &[TermsType]) -> JobContext {
    #[expect(clippy::expect_used, reason = "the suite's own configurations are valid")]
    let config = config.build().expect("a valid configuration");
    JobContext::new(config, terms)
}

pub(super) fn wide(id: &str) -> JobContext {
    let config = config(id).histogram(Histogram::new(0.1, ["load"])).terms(["node", "level"]);
    context(config, &[TermsType::Keyword, TermsType::Integer])
}

/// Two indices, one of which lacks a field, and the same in a reference engine.
pub(super) fn loaded(harness: &dyn EngineHarness) -> MemoryHarness {
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
