//! Put: what is checked against the source indices, with which words.

use std::sync::Arc;

use rollup_jobs::engine::{
    EngineError, FieldType, JobContext, MemoryEngine, RollupIndex, RollupIndexAdapter, Source, SourceAdapter,
    SourceDocument, SourceValue,
};
use rollup_jobs::store::{JobStore, MemoryStore};
use rollup_jobs::{
    ConfigProblemKind, DateHistogram, Histogram, Metric, PutError, PutOptions, RollupJobConfig, RollupJobConfigBuilder,
    RollupJobManager, RunAs, StoredState,
};

use crate::support::{World, config, loaded};
use crate::terse_store::TerseStore;

fn base() -> RollupJobConfigBuilder {
    RollupJobConfig::builder("sensor")
        .index_pattern("sensor-*")
        .rollup_index("rolled")
        .cron("0 0 0 1 1 ? 2090")
        .page_size(10)
}

fn job() -> RollupJobConfigBuilder {
    base().date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
}

fn data() -> MemoryEngine {
    let engine = MemoryEngine::new();
    let document = SourceDocument::new()
        .date("timestamp", 0)
        .keyword("node", "a")
        .double("temperature", 1.0)
        .with("flag", SourceValue::Boolean(true));
    engine.add("sensor-1", document);
    // Another index in which things have other types.
    engine.add("sensor-2", SourceDocument::new().date("timestamp", 0).integer("node", 7).keyword("temperature", "hot"));
    engine
}

fn problems(engine: MemoryEngine, job: RollupJobConfigBuilder) -> Vec<String> {
    let manager =
        RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).indexer_threads(1).open().unwrap();
    match manager.put(job.build().unwrap()) {
        Ok(()) => Vec::new(),
        Err(PutError::Invalid(error)) => error.problems().iter().map(|p| p.message().to_owned()).collect(),
        Err(error) => vec![format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))],
    }
}

#[test]
fn field_messages_are_elasticsearchs() {
    let date = |field: &str| base().date_histogram(DateHistogram::fixed_interval(field, "1h")).terms(["flag"]);
    let in_first = |job: RollupJobConfigBuilder| job.index_pattern("sensor-1");
    for (job, expected) in [
        (
            in_first(base().date_histogram(DateHistogram::fixed_interval("nothing", "1h"))),
            "Could not find any fields in the index/index-pattern that were configured in job",
        ),
        (
            in_first(date("nothing")),
            "Could not find one of [date,date_nanos] fields with name [nothing] in any of the indices matching the index pattern.",
        ),
        (
            in_first(date("temperature")),
            "The field referenced by a date_histo group must be one of type [date,date_nanos] across all indices in the index \
             pattern.  Found: [double] for field [temperature]",
        ),
        (
            in_first(job().histogram(Histogram::new(5.0, ["nothing"]))),
            "Could not find a [numeric] field with name [nothing] in any of the indices matching the index pattern.",
        ),
        (
            in_first(job().histogram(Histogram::new(5.0, ["node"]))),
            "The field referenced by a histo group must be a [numeric] type, but found [keyword] for field [node]",
        ),
        (
            in_first(job().terms(["nothing"])),
            "Could not find a [numeric] or [keyword/text] field with name [nothing] in any of the indices matching the index \
             pattern.",
        ),
        (
            in_first(job().terms(["flag"])),
            "The field referenced by a terms group must be a [numeric] or [keyword/text] type, but found [boolean] for field \
             [flag]",
        ),
        (
            in_first(job().metric("nothing", [Metric::Min])),
            "Could not find a [numeric] or [date,date_nanos] field with name [nothing] in any of the indices matching the index \
             pattern.",
        ),
        (
            in_first(job().metric("node", [Metric::Min])),
            "The field referenced by a metric group must be a [numeric] or [date,date_nanos] type, but found [keyword] for \
             field [node]",
        ),
        (
            in_first(job().metric("timestamp", [Metric::Min, Metric::Sum, Metric::Avg])),
            "Only the metrics [max, min, value_count] are supported for [date] types, but unsupported metrics [sum, avg] \
             supplied for field [timestamp]",
        ),
        (
            job().metric("temperature", [Metric::Min]),
            "The field referenced by a metric group must be a [numeric] or [date,date_nanos] type, but found [double, keyword] \
             for field [temperature]",
        ),
        (
            job().terms(["node"]),
            "The field [node] referenced by a terms group must be of one kind in all indices, but is [keyword] in [sensor-1] \
             and [long] in [sensor-2]",
        ),
    ] {
        let found = problems(data(), job);
        assert!(found.contains(&expected.to_owned()), "{expected}\nfound {found:#?}");
    }
    assert!(
        problems(data(), in_first(job().metric("timestamp", [Metric::Min, Metric::Max, Metric::ValueCount])))
            .is_empty()
    );
}

#[test]
fn an_exclusion_may_take_the_rollup_index_out_of_the_pattern() {
    let job = job().index_pattern("sensor-*,-sensor-rolled,-sensor-2").rollup_index("sensor-rolled");
    assert!(problems(data(), job).is_empty());
}

#[test]
fn all_field_problems_are_reported_at_once() {
    let job = base()
        .date_histogram(DateHistogram::fixed_interval("when", "1h"))
        .terms(["node"])
        .histogram(Histogram::new(5.0, ["load"]))
        .metric("temperature", [Metric::Min]);
    assert_eq!(problems(data(), job).len(), 4);
}

#[test]
fn an_index_that_does_not_exist_is_named() {
    let found = problems(data(), job().index_pattern("sensor-9"));
    assert_eq!(
        found,
        ["could not put rollup job [sensor]: engine call failed: Some(\"the engine did not find an index\")"],
        "the name is in the cause of that"
    );
}

/// Has rules of its own for names.
#[derive(Debug)]
struct Picky(MemoryEngine);

impl SourceAdapter for Picky {
    fn source(&self) -> &dyn Source {
        &self.0
    }
}

impl RollupIndexAdapter for Picky {
    fn rollup_index(&self) -> &dyn RollupIndex {
        &self.0
    }

    fn prepare(&self, _job: &JobContext) -> Result<(), EngineError> {
        Err(EngineError::invalid_name("no vowels, please"))
    }
}

#[test]
fn a_name_that_the_engine_cannot_have_is_a_problem_of_the_configuration() {
    let manager = RollupJobManager::builder(Arc::new(Picky(data())), Arc::new(MemoryStore::new())).open().unwrap();
    let Err(PutError::Invalid(error)) = manager.put(job().build().unwrap()) else { panic!("a name") };
    let problem = &error.problems()[0];
    assert_eq!((problem.kind(), problem.field()), (ConfigProblemKind::Name, "rollup_index"));
    assert!(problem.message().ends_with("no vowels, please"), "{problem}");
}

#[test]
fn an_identity_is_handed_to_the_engine_and_never_shown() {
    let manager = RollupJobManager::builder(Arc::new(data()), Arc::new(MemoryStore::new())).open().unwrap();
    let options = PutOptions::new().run_as(RunAs::new("secret-user"));
    assert!(!format!("{options:?}").contains("secret"));
    manager.put_with(job().index_pattern("sensor-1").build().unwrap(), options).unwrap();
    assert!(!format!("{:?}", manager.get("sensor")).contains("secret"));
}

#[test]
fn a_type_that_a_strangers_engine_reports_is_known_by_its_name() {
    assert!(FieldType::Other("scaled_float".to_owned()).is_numeric());
    assert!(!FieldType::Other("unsigned_long".to_owned()).is_numeric());
}

#[test]
fn a_put_whose_save_gets_no_answer_fails_and_leaves_nothing_behind() {
    let store = Arc::new(TerseStore::default());
    let manager = RollupJobManager::builder(Arc::new(loaded()), store.clone()).open().unwrap();
    store.answer_at_most(0);
    let error = manager.put(config("sensor").build().unwrap()).unwrap_err();
    assert!(matches!(error, PutError::Store { .. }), "{error:?}");
    assert!(manager.list().is_empty() && store.load().unwrap().is_empty());
    store.answer_at_most(1);
    manager.put(config("sensor").build().unwrap()).unwrap();
}

#[cfg(feature = "tantivy")]
mod with_tantivy {
    use super::*;
    use crate::tantivy_harness::TantivyHarness;
    use rollup_jobs::testing::EngineHarness;

    #[test]
    fn a_date_in_whole_seconds_is_refused_for_a_finer_interval() {
        use rollup_jobs::engine::tantivy::tantivy::Index;
        use rollup_jobs::engine::tantivy::tantivy::schema::{FAST, Schema};
        let harness = TantivyHarness::in_ram();
        let mut schema = Schema::builder();
        // tantivy keeps whole seconds unless told otherwise.
        schema.add_date_field("timestamp", FAST);
        harness.engine.register("sensor-1", &Index::create_in_ram(schema.build())).unwrap();
        let manager = RollupJobManager::builder(harness.engine(), Arc::new(MemoryStore::new())).open().unwrap();
        let job = |interval: &str| {
            base().date_histogram(DateHistogram::fixed_interval("timestamp", interval)).build().unwrap()
        };
        let Err(PutError::Invalid(error)) = manager.put(job("1500ms")) else { panic!("refused") };
        assert_eq!(
            error.problems()[0].message(),
            "The field [timestamp] keeps dates to 1000 ms in [sensor-1], which the interval [1500ms] is no multiple \
             of: index it with a finer precision, or choose a coarser interval"
        );
        manager.put(job("5s")).unwrap();
    }

    #[test]
    fn a_field_that_is_not_fast_is_refused() {
        use rollup_jobs::engine::tantivy::tantivy::Index;
        use rollup_jobs::engine::tantivy::tantivy::schema::{FAST, INDEXED, STRING, Schema};
        let harness = TantivyHarness::in_ram();
        let mut schema = Schema::builder();
        schema.add_date_field("timestamp", FAST);
        schema.add_text_field("node", STRING);
        schema.add_f64_field("temperature", INDEXED);
        harness.engine.register("sensor-1", &Index::create_in_ram(schema.build())).unwrap();
        let manager = RollupJobManager::builder(harness.engine(), Arc::new(MemoryStore::new())).open().unwrap();
        let job = job().terms(["node"]).metric("temperature", [Metric::Min]);
        let Err(PutError::Invalid(error)) = manager.put(job.build().unwrap()) else { panic!("refused") };
        let messages: Vec<_> = error.problems().iter().map(rollup_jobs::ConfigProblem::message).collect();
        assert_eq!(
            messages,
            [
                "The field [node] must be aggregatable across all indices, but is not.",
                "The field [temperature] must be aggregatable across all indices, but is not."
            ]
        );
    }
}

/// Whoever has written it into the store: it is not ours to overwrite.
#[test]
fn a_record_that_is_there_is_not_overwritten() {
    let (world, other) = (World::new(), World::new());
    other.put_started("sensor");
    world.store.inner.insert(&other.store.record("sensor")).unwrap();
    let put = world.manager.put(config("sensor").build().unwrap());
    assert!(matches!(put, Err(PutError::AlreadyExists { .. })), "{put:?}");
    assert_eq!(world.store.record("sensor").state(), StoredState::Started);
}
