//! What is wrong with a configuration: of which kind it is, and what to do about it.

use std::sync::Arc;

use rollup_jobs::engine::{FieldType, MemoryEngine, SourceDocument};
use rollup_jobs::store::MemoryStore;
use rollup_jobs::{
    ConfigProblem, ConfigProblemKind, DateHistogram, Histogram, PutError, RollupJobConfig, RollupJobConfigBuilder,
    RollupJobManager,
};
use serde_json::{Value, json};

use crate::support::config;

#[track_caller]
fn problem(builder: RollupJobConfigBuilder) -> ConfigProblem {
    let error = builder.build().expect_err("it is wrong");
    assert_eq!(error.problems().len(), 1, "{error}");
    error.problems()[0].clone()
}

#[track_caller]
fn refused(manager: &RollupJobManager, builder: RollupJobConfigBuilder) -> ConfigProblem {
    match manager.put(builder.build().unwrap()) {
        Err(PutError::Invalid(source)) => source.problems()[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn manager(engine: MemoryEngine) -> RollupJobManager {
    RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new())).open().unwrap()
}

#[test]
fn a_rollup_index_has_a_name_that_elasticsearch_takes() {
    for (name, rule) in [
        ("Rolled", "must be lowercase"),
        ("..", "must not be '.' or '..'"),
        (".", "must not be '.' or '..'"),
        ("_rolled", "must not start with '_', '-', or '+'"),
        ("-rolled", "must not start with '_', '-', or '+'"),
        ("rol#led", "must not contain '#'"),
        ("rol:led", "must not contain ':'"),
        ("rol/led", "must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]"),
        ("<rolled-{now/d}>", "must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]"),
        ("rol\nled", "must not contain control characters"),
    ] {
        let problem = problem(config("sensor").rollup_index(name));
        assert_eq!((problem.kind(), problem.field()), (ConfigProblemKind::Name, "rollup_index"), "{name}");
        let shown = name.replace('\n', "\u{fffd}");
        assert_eq!(problem.message(), format!("Invalid index name [{shown}], {rule}"));
    }
    let long = problem(config("sensor").rollup_index("r".repeat(256)));
    assert!(long.message().ends_with("index name is too long, (256 > 255)"), "{long}");
    config("sensor").rollup_index("r".repeat(255)).build().unwrap();
}

#[test]
fn an_id_and_a_pattern_cannot_mean_something_else_in_a_url() {
    for id in [".", "..", "a\tb", &"i".repeat(490)] {
        let problem = problem(config(id));
        assert_eq!((problem.kind(), problem.field()), (ConfigProblemKind::Name, "id"), "{id:?}");
    }
    config(&"i".repeat(489)).build().unwrap();
    for pattern in ["*\t*", "sec\tret*", ".", "..", "sensor-*,-..", "a,\u{7f}"] {
        let problem = problem(config("sensor").index_pattern(pattern));
        assert_eq!((problem.kind(), problem.field()), (ConfigProblemKind::Pattern, "index_pattern"), "{pattern:?}");
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
}

#[test]
fn a_hint_says_what_to_write_instead() {
    use ConfigProblemKind as Kind;
    let by = |interval: &str| config("sensor").date_histogram(DateHistogram::fixed_interval("timestamp", interval));
    for (builder, kind, hint) in [
        (config("sensor").cron("0 * * * *"), Kind::Cron, "six or seven fields, seconds first"),
        (config("sensor").cron("@hourly"), Kind::Cron, "six or seven fields, seconds first"),
        (by("60"), Kind::Interval, "units:"),
        (by("1w"), Kind::Interval, "for weeks use calendar_interval [1w]"),
        (config("sensor").histogram(Histogram::new(0.0, ["load"])), Kind::Interval, "a number above 0"),
    ] {
        let problem = problem(builder);
        assert_eq!(problem.kind(), kind, "{problem:?}");
        assert!(problem.hint().is_some_and(|given| given.contains(hint)), "{problem:?}");
        assert!(problem.to_string().ends_with(&format!(" - {}", problem.hint().unwrap())), "{problem}");
    }
    assert_eq!(problem(config("sensor").cron("0 0 0 * * ? 2020-2019")).hint(), None, "there is none for everything");
}

#[test]
fn a_field_that_is_not_there_may_be_a_misspelt_one() {
    let engine = MemoryEngine::new();
    engine.add("sensor-1", SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("latency", 1.0));
    let manager = manager(engine);
    let plain = |metric: &str| {
        RollupJobConfig::builder("sensor")
            .index_pattern("sensor-*")
            .rollup_index("rolled")
            .cron("0 0 * * * ?")
            .page_size(10)
            .date_histogram(DateHistogram::fixed_interval("timestamp", "1h"))
            .metric(metric, [rollup_jobs::Metric::Max])
    };
    let misspelt = refused(&manager, plain("latncy"));
    assert_eq!(misspelt.kind(), ConfigProblemKind::UnknownField);
    assert_eq!(misspelt.hint(), Some("did you mean [latency]?"));
    assert_eq!(refused(&manager, plain("zzzzzzzzzzzz")).hint(), None);
    // Elasticsearch's message names none of them.
    let all = |field, metric| plain(metric).date_histogram(DateHistogram::fixed_interval(field, "1h"));
    for (field, metric, hint) in [
        ("timestmap", "latncy", "[latncy]: did you mean [latency]?, [timestmap]: did you mean [timestamp]?"),
        ("qqqqqqqqqqqq", "zzzzzzzzzzzz", "none of the indices has [qqqqqqqqqqqq, zzzzzzzzzzzz]"),
    ] {
        assert_eq!(refused(&manager, all(field, metric)).hint(), Some(hint));
    }

    let nothing = refused(&manager, plain("latency").index_pattern("sensro-*"));
    assert_eq!(nothing.kind(), ConfigProblemKind::Pattern);
    assert!(nothing.to_string().contains("sensro-*"), "{nothing}");
    manager.put(plain("latency").build().unwrap()).unwrap();
}

#[cfg(feature = "tantivy")]
#[test]
fn a_tantivy_field_that_is_not_fast_is_told_how_to_become_so() {
    use rollup_jobs::engine::tantivy::TantivyEngine;
    use rollup_jobs::engine::tantivy::tantivy::Index;
    use rollup_jobs::engine::tantivy::tantivy::schema::{FAST, INDEXED, STRING, Schema};

    let mut schema = Schema::builder();
    schema.add_date_field("timestamp", FAST | INDEXED);
    schema.add_text_field("node", STRING);
    let engine = TantivyEngine::in_ram();
    engine.register("sensor-1", &Index::create_in_ram(schema.build())).unwrap();
    let builder = RollupJobManager::builder(Arc::new(engine), Arc::new(MemoryStore::new()));
    let config =
        RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 * * * ?");
    let config = config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).terms(["node"]);
    let problem = refused(&builder.open().unwrap(), config);
    assert_eq!(problem.kind(), ConfigProblemKind::NotAggregatable, "{problem:?}");
    assert!(problem.hint().is_some_and(|hint| hint.contains("FAST")), "{problem:?}");
}

#[test]
fn the_memory_engine_knows_a_field_before_it_has_a_value() {
    let engine = MemoryEngine::new();
    engine.add("sensor-1", SourceDocument::new().date("timestamp", 0));
    let manager = manager(engine.clone());
    assert_eq!(refused(&manager, config("sensor")).kind(), ConfigProblemKind::UnknownField);
    engine.map("sensor-1", "node", FieldType::Keyword);
    engine.map("sensor-1", "temperature", FieldType::Double);
    manager.put(config("sensor").build().unwrap()).unwrap();
}

#[test]
fn one_thing_may_stand_where_elasticsearch_takes_it_for_a_list() {
    let full = |groups: Value, metrics: Value| {
        json!({
            "id": "sensor", "index_pattern": "sensor-*", "rollup_index": "rolled", "cron": "0 0 * * * ?",
            "page_size": 10,
            "groups": groups, "metrics": metrics
        })
        .to_string()
    };
    let date = json!({ "field": "timestamp", "fixed_interval": "1h" });
    let lists = full(
        json!({
            "date_histogram": date, "terms": { "fields": ["node"] },
            "histogram": { "fields": ["load"], "interval": 5 }
        }),
        json!([{ "field": "temperature", "metrics": ["max"] }]),
    );
    let scalars = full(
        json!({
            "date_histogram": date, "terms": { "fields": "node" },
            "histogram": { "fields": "load", "interval": "5" }
        }),
        json!({ "field": "temperature", "metrics": "max" }),
    );
    let (lists, scalars) = (RollupJobConfig::from_json(&lists).unwrap(), RollupJobConfig::from_json(&scalars).unwrap());
    assert_eq!(lists.to_json(), scalars.to_json());
}
