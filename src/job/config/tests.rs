use serde_json::{Value, json};

use super::super::problem::ConfigError;
use super::RollupJobConfig;

fn valid() -> Value {
    json!({
        "id": "sensor",
        "index_pattern": "sensor-*",
        "rollup_index": "sensor_rollup",
        "cron": "*/30 * * * * ?",
        "page_size": 1000,
        "timeout": "20s",
        "groups": {
            "date_histogram": { "field": "timestamp", "fixed_interval": "1h", "delay": "7d", "time_zone": "UTC" },
            "histogram": { "fields": ["load"], "interval": 5 },
            "terms": { "fields": ["node"] }
        },
        "metrics": [{ "field": "temperature", "metrics": ["min", "max", "sum"] }, { "field": "voltage", "metrics": ["avg"] }]
    })
}

/// The valid configuration with the member at `pointer` set to `value`, or taken out.
fn with(pointer: &str, value: Option<Value>) -> Value {
    let mut json = valid();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    json
}

fn read(json: &Value) -> Result<RollupJobConfig, ConfigError> {
    RollupJobConfig::from_json(&json.to_string())
}

#[test]
fn elasticsearchs_json_survives_both_ways() {
    let config = read(&valid()).unwrap();
    assert_eq!(config.to_json(), valid());
    assert_eq!(read(&config.to_json()).unwrap(), config);
    let names: Vec<_> = config.key_names().iter().map(|name| &**name).collect();
    assert_eq!(names, ["timestamp.date_histogram", "load.histogram", "node.terms"]);
}

#[test]
fn what_is_left_out_gets_its_default() {
    let mut json = with("/groups/date_histogram/time_zone", None);
    for member in ["timeout", "metrics"] {
        json.as_object_mut().unwrap().remove(member);
    }
    let printed = read(&json).unwrap().to_json();
    assert_eq!(printed["timeout"], "20s");
    assert_eq!(printed["metrics"], json!([]));
    assert_eq!(printed["groups"]["date_histogram"]["time_zone"], "UTC");
}

#[test]
fn a_legacy_interval_is_reported_by_its_kind() {
    for (text, member) in [("1d", "calendar_interval"), ("month", "calendar_interval"), ("90m", "fixed_interval")] {
        let mut json = with("/groups/date_histogram/interval", Some(text.into()));
        json["groups"]["date_histogram"].as_object_mut().unwrap().remove("fixed_interval");
        let printed = read(&json).unwrap().to_json();
        assert_eq!(printed["groups"]["date_histogram"][member], text);
        assert_eq!(printed["groups"]["date_histogram"].get("interval"), None);
    }
}

#[test]
fn histogram_intervals_survive_bit_for_bit() {
    for interval in [
        "5",
        "0.1",
        "2.2250738585072014e-308",
        "1e300",
        "1.7976931348623157e308",
        "0.30000000000000004",
        "9007199254740993",
    ] {
        let text = valid().to_string().replace("\"interval\":5", &format!("\"interval\":{interval}"));
        let expected: f64 = interval.parse().unwrap();
        let config = RollupJobConfig::from_json(&text).unwrap();
        let again = read(&config.to_json()).unwrap();
        for config in [config, again] {
            assert_eq!(config.groups().histogram().unwrap().interval().to_bits(), expected.to_bits(), "{interval}");
        }
    }
    assert_eq!(read(&valid()).unwrap().to_json()["groups"]["histogram"]["interval"].to_string(), "5");
}

#[test]
fn the_id_in_the_json_wins_and_the_other_one_fills_in() {
    let without = with("/id", None).to_string();
    assert_eq!(RollupJobConfig::from_json_with_id("other", &without).unwrap().id(), "other");
    assert_eq!(RollupJobConfig::from_json_with_id("other", &valid().to_string()).unwrap().id(), "sensor");
}

#[test]
fn page_size_takes_numbers_and_numeric_strings() {
    for (value, expected) in [(json!(1), 1), (json!("250"), 250), (json!(65536), 65_536), (json!(10.9), 10)] {
        assert_eq!(read(&with("/page_size", Some(value))).unwrap().page_size(), expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row per rule")]
fn every_rule_has_elasticsearchs_message() {
    let positive = "Page size is mandatory and  must be a positive long";
    let not_empty = "Field must be a non-null, non-empty string";
    let negative = |value: &str| {
        format!(
            "failed to parse setting [delay] with value [{value}] as a time value: negative durations are not supported"
        )
    };
    let unit = |setting: &str, value: &str| {
        format!(
            "failed to parse setting [{setting}] with value [{value}] as a time value: unit is missing or unrecognized"
        )
    };
    let date = "groups.date_histogram";
    let table: Vec<(&str, Option<Value>, &str, String)> = vec![
        ("/id", Some(json!("")), "id", "Id must be a non-null, non-empty string".into()),
        ("/id", None, "id", "Id must be a non-null, non-empty string".into()),
        (
            "/index_pattern",
            Some(json!("")),
            "index_pattern",
            "Index pattern must be a non-null, non-empty string".into(),
        ),
        ("/index_pattern", None, "index_pattern", "Required [index_pattern]".into()),
        (
            "/index_pattern",
            Some(json!("*")),
            "index_pattern",
            "Index pattern must not match all indices (as it would match it's own rollup index".into(),
        ),
        (
            "/index_pattern",
            Some(json!("a,*")),
            "index_pattern",
            "Index pattern must not match all indices (as it would match it's own rollup index".into(),
        ),
        (
            "/index_pattern",
            Some(json!("x,sensor_*")),
            "index_pattern",
            "Index pattern would match rollup index name which is not allowed".into(),
        ),
        (
            "/index_pattern",
            Some(json!("sensor_rollup")),
            "rollup_index",
            "Rollup index may not be the same as the index pattern".into(),
        ),
        ("/rollup_index", Some(json!("")), "rollup_index", "Rollup index must be a non-null, non-empty string".into()),
        ("/rollup_index", Some(json!("a,b")), "rollup_index", "Rollup index must be one name, but was [a,b]".into()),
        ("/cron", Some(json!("")), "cron", "Cron schedule must be a non-null, non-empty string".into()),
        ("/cron", Some(json!("0 * * *")), "cron", "invalid cron expression [0 * * *]".into()),
        ("/page_size", Some(json!(0)), "page_size", positive.into()),
        ("/page_size", Some(json!(-1)), "page_size", positive.into()),
        ("/page_size", Some(json!("many")), "page_size", positive.into()),
        ("/page_size", Some(json!(65537)), "page_size", "Page size must be at most [65536] but was [65537]".into()),
        ("/timeout", Some(json!("5w")), "timeout", unit("timeout", "5w")),
        ("/groups", None, "groups", "Required [groups]".into()),
        ("/groups/date_histogram", None, date, "Required [date_histogram]".into()),
        ("/groups/date_histogram", Some(Value::Null), date, "Date histogram must not be null".into()),
        ("/groups/date_histogram/field", Some(json!("")), "groups.date_histogram.field", not_empty.into()),
        (
            "/groups/date_histogram/fixed_interval",
            None,
            date,
            "An interval is required.  Use [fixed_interval] or [calendar_interval].".into(),
        ),
        (
            "/groups/date_histogram/calendar_interval",
            Some(json!("1d")),
            date,
            "Cannot set both [fixed_interval] and [calendar_interval] at the same time".into(),
        ),
        (
            "/groups/date_histogram/interval",
            Some(json!("1d")),
            date,
            "Cannot use [interval] with [fixed_interval] or [calendar_interval] configuration options.".into(),
        ),
        (
            "/groups/date_histogram/fixed_interval",
            Some(Value::Null),
            "groups.date_histogram.fixed_interval",
            "Interval must be non-null".into(),
        ),
        (
            "/groups/date_histogram/fixed_interval",
            Some(json!("1M")),
            "groups.date_histogram.fixed_interval",
            unit("date_histogram.FixedInterval", "1M"),
        ),
        ("/groups/date_histogram/delay", Some(json!("-1d")), "groups.date_histogram.delay", negative("-1d")),
        ("/groups/date_histogram/delay", Some(json!("-1")), "groups.date_histogram.delay", negative("-1")),
        ("/groups/date_histogram/delay", Some(json!("-1ms")), "groups.date_histogram.delay", negative("-1ms")),
        ("/groups/date_histogram/delay", Some(json!("soon")), "groups.date_histogram.delay", unit("delay", "soon")),
        (
            "/groups/date_histogram/time_zone",
            Some(json!("Mars/Olympus")),
            "groups.date_histogram.time_zone",
            "Unknown time-zone ID: Mars/Olympus".into(),
        ),
        (
            "/groups/histogram/interval",
            Some(json!(0)),
            "groups.histogram.interval",
            "Interval must be a positive long".into(),
        ),
        (
            "/groups/histogram/interval",
            Some(json!(-0.5)),
            "groups.histogram.interval",
            "Interval must be a positive long".into(),
        ),
        (
            "/groups/histogram/fields",
            Some(json!([])),
            "groups.histogram.fields",
            "Fields must have at least one value".into(),
        ),
        ("/groups/terms/fields", Some(json!([])), "groups.terms.fields", "Fields must have at least one value".into()),
        ("/groups/terms/fields", Some(json!([""])), "groups.terms.fields[0]", not_empty.into()),
        (
            "/groups/terms/fields",
            Some(json!(["node", "node"])),
            "groups.terms.fields[1]",
            "Field [node] is configured more than once in [groups.terms.fields]".into(),
        ),
        (
            "/groups/histogram/fields",
            Some(json!(["voltage"])),
            "groups.histogram.fields",
            "Field [voltage] may not be in both [groups.histogram] and [metrics]".into(),
        ),
        ("/metrics", Some(json!([{ "field": "", "metrics": ["min"] }])), "metrics[0].field", not_empty.into()),
        (
            "/metrics",
            Some(json!([{ "field": "a", "metrics": [] }])),
            "metrics[0].metrics",
            "Metrics must be a non-null, non-empty array of strings".into(),
        ),
        (
            "/metrics",
            Some(json!([{ "field": "a", "metrics": ["median"] }])),
            "metrics[0].metrics",
            "Unsupported metric [median]. Supported metrics include: [min, avg, max, sum, value_count]".into(),
        ),
        (
            "/metrics",
            Some(json!([{ "field": "a", "metrics": ["min", "min"] }])),
            "metrics[0].metrics",
            "Metric [min] is configured more than once for field [a]".into(),
        ),
        (
            "/metrics",
            Some(json!([{ "field": "a", "metrics": ["min"] }, { "field": "a", "metrics": ["max"] }])),
            "metrics[1].field",
            "Field [a] is configured more than once in [metrics]".into(),
        ),
        ("/colour", Some(json!("red")), "colour", "unknown field [colour]".into()),
        ("/groups/terms/size", Some(json!(10)), "groups.terms.size", "unknown field [size]".into()),
    ];
    for (pointer, value, field, message) in table {
        let json = with(pointer, value);
        let error = read(&json).expect_err(pointer);
        let problems: Vec<_> = error.problems().iter().map(|p| (p.field(), p.message())).collect();
        assert_eq!(problems, [(field, message.as_str())], "{json}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let json = json!({
        "id": "", "index_pattern": "*", "rollup_index": "", "cron": "x", "page_size": 0, "timeout": "x",
        "groups": { "date_histogram": { "field": "", "fixed_interval": "x", "delay": "x", "time_zone": "?" },
                    "histogram": { "interval": 0, "fields": [] }, "terms": { "fields": [] } },
        "metrics": [{ "field": "", "metrics": [] }]
    });
    let error = read(&json).unwrap_err();
    assert_eq!(error.problems().len(), 15, "{error}");
}

#[test]
fn nothing_to_group_or_measure() {
    let mut json = with("/groups", None);
    json.as_object_mut().unwrap().remove("metrics");
    let error = read(&json).unwrap_err();
    assert_eq!(error.problems()[0].message(), "At least one grouping or metric must be configured");
}

#[test]
fn broken_json_is_an_error_that_says_where() {
    for text in ["", "{", "[]", "{} x", r#"{"metrics": 3}"#] {
        let error = RollupJobConfig::from_json(text).unwrap_err();
        assert_eq!(error.problems().len(), 1);
        assert!(error.to_string().contains("line 1 column"), "{error}");
    }
}

#[test]
fn the_boundary_is_the_end_of_the_last_complete_bucket() {
    let config = read(&valid()).unwrap();
    let now = "2026-11-23T14:30:00Z".parse().unwrap();
    let boundary = jiff::Timestamp::from_millisecond(config.boundary(now)).unwrap();
    assert_eq!(boundary.to_string(), "2026-11-16T14:00:00Z");
}

#[test]
fn serde_has_elasticsearchs_shape_both_ways() {
    let config = read(&valid()).unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), config.to_json());
    assert_eq!(serde_json::from_str::<RollupJobConfig>(&text).unwrap(), config);
    let list: Vec<RollupJobConfig> = serde_json::from_str(&format!("[{text}]")).unwrap();
    assert_eq!(list, [config]);
    let error =
        serde_json::from_str::<RollupJobConfig>(&text.replace("\"page_size\":", "\"page_size\":-")).unwrap_err();
    assert!(error.to_string().contains("Page size"), "{error}");
}
