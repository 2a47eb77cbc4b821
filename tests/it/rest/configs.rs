//! What is wrong with a configuration, in the order and the words of Elasticsearch 8.

use serde_json::{Value, json};

use super::{Answer, Client};
use crate::support::{World, config};

const PARSE: &str = "x_content_parse_exception";
const ILLEGAL: &str = "illegal_argument_exception";

/// Where the member that `pointer` names ends in the text of `body`, which is one line.
fn end_of(body: &Value, pointer: &str) -> String {
    let name = pointer.rsplit_once('/').unwrap().1;
    let member = format!("\"{name}\":{}", body.pointer(pointer).unwrap());
    let text = body.to_string();
    format!("[1:{}] ", text.find(&member).unwrap() + member.len())
}

/// Types and reasons, from the outermost to the real one.
fn chain(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let causes = std::iter::successors(Some(&answer["error"]), |cause| cause.get("caused_by"));
    causes.map(|cause| (text(&cause["type"]), text(&cause["reason"]))).collect()
}

/// A configuration in which each `pointer` has that value, or is not there.
fn with(members: &[(&str, Option<Value>)]) -> Value {
    let mut body = config("sensor").build().unwrap().to_json();
    for (pointer, value) in members {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(name.to_owned(), value.clone()),
            None => parent.remove(name),
        };
    }
    body
}

/// Which of Elasticsearch's parsers fails, and at what.
#[derive(Clone, Copy)]
enum Fails {
    /// At the members of these names, from the outside in.
    Field(&'static [&'static str]),
    /// At building what is inside of these members.
    Build(&'static [&'static str]),
}
use Fails::{Build, Field};

const JOB: &str = "xpack/rollup/jobconfig";
const DATES: Fails = Build(&["groups", "date_histogram"]);
const HISTOGRAM: Fails = Build(&["groups", "histogram"]);
const TERMS: Fails = Build(&["groups", "terms"]);

/// The whole answer to a body with one problem, as Elasticsearch's parsers wrap it.
fn refusal(body: &Value, fails: Fails, field: &str, message: &str, detail: Option<&str>) -> Value {
    let (layers, unbuilt) = match fails {
        Field(layers) => (layers, None),
        Build(layers) => (layers, Some(*layers.last().unwrap_or(&JOB))),
    };
    let mut causes = Vec::new();
    for (at, name) in layers.iter().enumerate() {
        let parser = if at == 0 { JOB } else { layers[at - 1] };
        let place = end_of(body, &format!("/{}", layers[..=at].join("/")));
        causes.push(json!({ "type": PARSE, "reason": format!("{place}[{parser}] failed to parse field [{name}]") }));
    }
    let build = unbuilt.map(|name| format!("Failed to build [{name}] after last required field arrived"));
    causes.extend(build.map(|reason| json!({ "type": PARSE, "reason": reason })));
    let root = causes.last().cloned().unwrap_or(json!({ "type": ILLEGAL, "reason": message }));
    causes.push(json!({ "type": ILLEGAL, "reason": message }));
    let wrapped = |detail| format!("illegal cron expression format [java.lang.IllegalArgumentException: {detail}]");
    causes.extend(detail.map(|detail| json!({ "type": ILLEGAL, "reason": wrapped(detail) })));
    let mut error = causes.into_iter().rev().reduce(|inner, mut outer| {
        outer["caused_by"] = inner;
        outer
    });
    let error = error.as_mut().unwrap();
    error["root_cause"] = json!([root]);
    error["problems"] = json!([{ "field": field, "message": message }]);
    if let Some(detail) = detail {
        error["problems"][0]["detail"] = json!(detail);
    }
    json!({ "error": error, "status": 400 })
}

/// Members that are set or taken away.
type Changes = Vec<(&'static str, Option<Value>)>;

#[track_caller]
fn refused(table: &[(Changes, Fails, &str, &str)]) {
    let world = World::new();
    let client = Client::of(&world.manager);
    for (members, fails, field, message) in table {
        let body = with(members);
        let answer = without_hints(client.put("/_rollup/job/sensor", &body));
        answer.is(400, &refusal(&body, *fails, field, message, None));
    }
    assert!(world.manager.list().is_empty(), "nothing is half done");
}

/// The texts of hints are the configuration's own matter.
fn without_hints(answer: Answer) -> Answer {
    let mut json = answer.json();
    for problem in json["error"]["problems"].as_array_mut().into_iter().flatten() {
        problem.as_object_mut().unwrap().remove("hint");
    }
    Answer { text: json.to_string(), ..answer }
}

#[test]
fn what_to_write_instead_is_said() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let answer = client.put("/_rollup/job/sensor", &with(&set("/cron", "0 12 * * *")));
    let problem = &answer.json()["error"]["problems"][0];
    assert_eq!(problem["hint"], "six or seven fields, seconds first: [0 0 12 * * ?]", "{problem}");
}

/// One member with another value.
fn set(pointer: &'static str, value: impl Into<Value>) -> Changes {
    vec![(pointer, Some(value.into()))]
}

/// Without one member.
fn without(pointer: &'static str) -> Changes {
    vec![(pointer, None)]
}

/// The job itself, and what is required.
#[test]
fn of_a_job() {
    let job = Build(&[]);
    let empty = |what: &str| format!("{what} must be a non-null, non-empty string");
    let all = "Index pattern must not match all indices (as it would match it's own rollup index";
    let own = "Index pattern would match rollup index name which is not allowed";
    let page_size = "Page size is mandatory and  must be a positive long";
    refused(&[
        (set("/id", ""), job, "id", &empty("Id")),
        (set("/index_pattern", ""), job, "index_pattern", &empty("Index pattern")),
        (set("/index_pattern", "*"), job, "index_pattern", all),
        (set("/index_pattern", "sensor-*,*"), job, "index_pattern", all),
        (set("/index_pattern", "roll*"), job, "index_pattern", own),
        (set("/index_pattern", "sensor-*,roll*"), job, "index_pattern", own),
        (set("/index_pattern", "rolled"), job, "rollup_index", "Rollup index may not be the same as the index pattern"),
        (set("/rollup_index", ""), job, "rollup_index", &empty("Rollup index")),
        (set("/cron", ""), job, "cron", &empty("Cron schedule")),
        (set("/page_size", 0), job, "page_size", page_size),
        (set("/page_size", -1), job, "page_size", page_size),
        (set("/page_size", "none"), job, "page_size", page_size),
        (without("/groups"), Field(&[]), "groups", "Required [groups]"),
        (
            vec![("/groups", None), ("/metrics", Some(json!([])))],
            job,
            "groups",
            "At least one grouping or metric must be configured",
        ),
        (without("/index_pattern"), Field(&[]), "index_pattern", "Required [index_pattern]"),
        (without("/rollup_index"), Field(&[]), "rollup_index", "Required [rollup_index]"),
        (set("/cron", Value::Null), Field(&[]), "cron", "Required [cron]"),
        (without("/page_size"), Field(&[]), "page_size", "Required [page_size]"),
        (vec![("/page_size", None), ("/cron", None)], Field(&[]), "cron", "Required [cron, page_size]"),
    ]);
}

/// Sections 4.2 and 4.3.
#[test]
fn of_a_date_histogram() {
    const INTERVAL: &str = "/groups/date_histogram/fixed_interval";
    let calendar = |text: &str| vec![(INTERVAL, None), ("/groups/date_histogram/calendar_interval", Some(text.into()))];
    let unit = |setting: &str, value: &str| {
        format!(
            "failed to parse setting [{setting}] with value [{value}] as a time value: unit is missing or unrecognized"
        )
    };
    let groups = "groups.date_histogram";
    let fixed = "groups.date_histogram.fixed_interval";
    let in_calendar = "groups.date_histogram.calendar_interval";
    let zone = "groups.date_histogram.time_zone";
    let zero = "Zero or negative time interval not supported";
    refused(&[
        (set("/groups", json!({})), Field(&["groups"]), groups, "Required [date_histogram]"),
        (set("/groups/date_histogram", Value::Null), DATES, groups, "Date histogram must not be null"),
        (
            set("/groups/date_histogram/field", ""),
            DATES,
            "groups.date_histogram.field",
            "Field must be a non-null, non-empty string",
        ),
        (without(INTERVAL), DATES, groups, "An interval is required.  Use [fixed_interval] or [calendar_interval]."),
        (
            set("/groups/date_histogram/calendar_interval", "1d"),
            DATES,
            groups,
            "Cannot set both [fixed_interval] and [calendar_interval] at the same time",
        ),
        (
            set("/groups/date_histogram/interval", "1d"),
            DATES,
            groups,
            "Cannot use [interval] with [fixed_interval] or [calendar_interval] configuration options.",
        ),
        (set(INTERVAL, Value::Null), DATES, fixed, "Interval must be non-null"),
        (calendar("2d"), DATES, in_calendar, "The supplied interval [2d] could not be parsed as a calendar interval."),
        (calendar("Day"), DATES, in_calendar, &unit("createRounding", "Day")),
        (set(INTERVAL, "soon"), DATES, fixed, &unit("createRounding", "soon")),
        (set(INTERVAL, "1w"), DATES, fixed, &unit("date_histogram.FixedInterval", "1w")),
        (set(INTERVAL, "month"), DATES, fixed, &unit("date_histogram.FixedInterval", "month")),
        (set(INTERVAL, "1M"), DATES, fixed, &unit("date_histogram.FixedInterval", "1M")),
        (set(INTERVAL, "0s"), DATES, fixed, zero),
        (set(INTERVAL, "-1"), DATES, fixed, zero),
        (set("/groups/date_histogram/delay", "7w"), DATES, "groups.date_histogram.delay", &unit("delay", "7w")),
        (
            set("/groups/date_histogram/time_zone", "Europe/Atlantis"),
            DATES,
            zone,
            "Unknown time-zone ID: Europe/Atlantis",
        ),
        (
            set("/groups/date_histogram/time_zone", "not a zone"),
            DATES,
            zone,
            "Invalid ID for region-based ZoneId, invalid format: not a zone",
        ),
    ]);
}

#[test]
fn the_intervals_and_zones_that_are_right_are_reported_as_they_are_meant() {
    let reported = |interval: &str, text: &str, zone: Value| {
        let world = World::new();
        let client = Client::of(&world.manager);
        let body = with(&[
            ("/groups/date_histogram/fixed_interval", None),
            (&format!("/groups/date_histogram/{interval}"), Some(text.into())),
            ("/groups/date_histogram/time_zone", Some(zone)),
        ]);
        client.put("/_rollup/job/sensor", &body).is(200, &json!({ "acknowledged": true }));
        client.send("GET /_rollup/job/sensor").json()["jobs"][0]["config"]["groups"]["date_histogram"].clone()
    };
    let dates = |interval: &str, text: &str, zone: &str| {
        let mut dates = json!({ "field": "timestamp", "time_zone": zone });
        dates[interval] = text.into();
        dates
    };
    let names = ["second", "minute", "hour", "day", "week", "month", "quarter", "year"];
    for text in names.into_iter().chain(["1s", "1m", "1h", "1d", "1w", "1M", "1q", "1y"]) {
        for interval in ["calendar_interval", "interval"] {
            assert_eq!(reported(interval, text, Value::Null), dates("calendar_interval", text, "UTC"));
        }
    }
    for text in ["1s", "1m", "1h", "1d", "90m", "5 h", "15H"] {
        assert_eq!(reported("fixed_interval", text, json!("")), dates("fixed_interval", text, "UTC"));
    }
    assert_eq!(reported("interval", "90m", Value::Null), dates("fixed_interval", "90m", "UTC"));
    for zone in ["Europe/Paris", "-03:00", "EST", "CET"] {
        assert_eq!(reported("fixed_interval", "1h", json!(zone)), dates("fixed_interval", "1h", zone));
    }
}

/// Date histograms.
#[test]
fn of_histogram_terms_and_metrics() {
    let histogram = |interval: i64, fields: &[&str]| json!({ "interval": interval, "fields": fields });
    let metric = |field: &str, metrics: &[&str]| json!([{ "field": field, "metrics": metrics }]);
    let metrics = Build(&["metrics"]);
    let fields = "Fields must have at least one value";
    let interval = "Interval must be a positive long";
    refused(&[
        (set("/groups/histogram", histogram(0, &["load"])), HISTOGRAM, "groups.histogram.interval", interval),
        (set("/groups/histogram", histogram(-5, &["load"])), HISTOGRAM, "groups.histogram.interval", interval),
        (set("/groups/histogram", histogram(5, &[])), HISTOGRAM, "groups.histogram.fields", fields),
        (set("/groups/terms", json!({ "fields": [] })), TERMS, "groups.terms.fields", fields),
        (
            set("/metrics", metric("", &["min"])),
            metrics,
            "metrics[0].field",
            "Field must be a non-null, non-empty string",
        ),
        (
            set("/metrics", metric("temperature", &[])),
            metrics,
            "metrics[0].metrics",
            "Metrics must be a non-null, non-empty array of strings",
        ),
        (
            set("/metrics", metric("temperature", &["median"])),
            metrics,
            "metrics[0].metrics",
            "Unsupported metric [median]. Supported metrics include: [min, avg, max, sum, value_count]",
        ),
    ]);
}

/// Where Elasticsearch looks too late, or not at all, and the job is of no use.
#[test]
fn of_what_elasticsearch_does_not_check() {
    refused(&[
        (
            set("/groups/terms", json!({ "fields": ["node", "node"] })),
            TERMS,
            "groups.terms.fields[1]",
            "Field [node] is configured more than once in [groups.terms.fields]",
        ),
        (
            set("/groups/terms", json!({ "fields": ["node", ""] })),
            TERMS,
            "groups.terms.fields[1]",
            "Field must be a non-null, non-empty string",
        ),
        (
            set("/metrics", json!([{ "field": "temperature", "metrics": ["min", "min"] }])),
            Build(&["metrics"]),
            "metrics[0].metrics",
            "Metric [min] is configured more than once for field [temperature]",
        ),
        (
            set("/groups/histogram", json!({ "interval": 5, "fields": ["temperature"] })),
            HISTOGRAM,
            "groups.histogram.fields",
            "Field [temperature] may not be in both [groups.histogram] and [metrics]",
        ),
        (
            set("/rollup_index", "roll,up"),
            Build(&[]),
            "rollup_index",
            "Rollup index must be one name, but was [roll,up]",
        ),
        (set("/page_size", 1_000_001), Build(&[]), "page_size", "Page size must be at most [65536] but was [1000001]"),
    ]);
}

type Message<'a> = &'a dyn Fn(&str, &str) -> String;

/// Histograms, terms and metrics.
#[test]
fn of_time_values() {
    let world = World::new();
    let client = Client::of(&world.manager);
    world.put("other");
    let unit = |setting: &str, value: &str| {
        format!(
            "failed to parse setting [{setting}] with value [{value}] as a time value: unit is missing or unrecognized"
        )
    };
    let negative = |setting: &str, value: &str| {
        format!(
            "failed to parse setting [{setting}] with value [{value}] as a time value: negative durations are not supported"
        )
    };
    let fractional =
        |_: &str, value: &str| format!("failed to parse [{value}], fractional time values are not supported");
    let number = |_: &str, value: &str| format!("failed to parse [{value}]");
    let rows: [(&str, Message); 10] = [
        ("5w", &unit),
        ("abc", &unit),
        ("", &unit),
        ("30", &unit),
        ("5M", &unit),
        ("5m ", &unit),
        ("-2s", &negative),
        ("1.5s", &fractional),
        ("abcs", &number),
        ("s", &number),
    ];
    for (value, message) in rows {
        let body = with(&set("/timeout", value));
        let expected = refusal(&body, Field(&["timeout"]), "timeout", &message("timeout", value), None);
        without_hints(client.put("/_rollup/job/sensor", &body)).is(400, &expected);
        let body = with(&set("/groups/date_histogram/delay", value));
        let expected = refusal(&body, DATES, "groups.date_histogram.delay", &message("delay", value), None);
        without_hints(client.put("/_rollup/job/sensor", &body)).is(400, &expected);
        let encoded = value.replace(' ', "%20");
        let stopped = client.send(&format!("POST /_rollup/job/other/_stop?timeout={encoded}"));
        stopped.is_error(400, ILLEGAL, &message("timeout", value));
    }
    for (value, printed) in [
        ("60s", "60s"),
        ("5S", "5s"),
        ("5H", "5h"),
        ("5D", "5d"),
        ("5MS", "5ms"),
        ("5 s", "5s"),
        ("5s ", "5s"),
        ("0", "0ms"),
        ("00", "0ms"),
        ("-1", "-1"),
        ("-01", "-1"),
        ("-1s", "-1"),
        ("7nanos", "7nanos"),
        ("7micros", "7micros"),
    ] {
        let id = format!("job-{}", value.replace(' ', "_"));
        let body = with(&[("/id", Some(id.as_str().into())), ("/timeout", Some(value.into()))]);
        client.put("/_rollup/job/sensor", &body).is(200, &json!({ "acknowledged": true }));
        let shown = client.send(&format!("GET /_rollup/job/{id}")).json();
        assert_eq!(shown["jobs"][0]["config"]["timeout"], printed, "{value}");
    }
    world.put("default");
    assert_eq!(client.send("GET /_rollup/job/default").json()["jobs"][0]["config"]["timeout"], "20s");
}

/// At put: Elasticsearch takes any schedule, and a job with a bad one is gone after a restart.
#[test]
fn of_a_schedule() {
    let world = World::new();
    let client = Client::of(&world.manager);
    for (cron, detail) in [
        ("0 * * *", "unexpected end of expression at pos [7]."),
        ("0 0 0 * * *", "support for specifying both a day-of-week AND a day-of-month parameter is not implemented."),
        ("0 0 0 ? * ?", "'?' can only be specified for Day-of-Month -OR- Day-of-Week. at pos [1]"),
        ("0 ? 0 * * ?", "'?' can only be specified for Day-of-Month or Day-of-Week. at pos [1]"),
        ("0 */60 * * * ?", "increment [60] > 60 at pos [4]"),
        ("60 0 0 * * ?", "Minute and Second values must be between 0 and 59"),
        ("0 0 24 * * ?", "Hour values must be between 0 and 23"),
        ("0 0 0 32 * ?", "Day of month values must be between 1 and 31"),
        ("0 0 0 1 13 ?", "Month values must be between 1 and 12"),
        ("0 0 0 ? * 8", "Day-of-Week values must be between 1 and 7"),
        ("0 0 0 1 1 ? 2030-2020", "Start year must be less than stop year"),
    ] {
        let body = with(&set("/cron", cron));
        let message = format!("invalid cron expression [{cron}]");
        let expected = refusal(&body, Build(&[]), "cron", &message, Some(detail));
        without_hints(client.put("/_rollup/job/sensor", &body)).is(400, &expected);
    }
    assert!(world.manager.list().is_empty());
}

/// The first in the order of Elasticsearch's checking is the answer's; all are beside it.
#[test]
fn of_many_problems_none_is_hidden() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let body = with(&[("/cron", Some("".into())), ("/page_size", Some(0.into()))]);
    let answer = client.put("/_rollup/job/sensor", &body).json();
    let cron = "Cron schedule must be a non-null, non-empty string";
    assert_eq!(chain(&answer).last().unwrap().1, cron);
    let problems = json!([
        { "field": "cron", "message": cron },
        { "field": "page_size", "message": "Page size is mandatory and  must be a positive long" }
    ]);
    assert_eq!(answer["error"]["problems"], problems);
}

#[test]
fn what_is_not_json_of_the_right_shape_is_said_with_its_place() {
    let world = World::new();
    let client = Client::of(&world.manager);
    for (text, expected) in [
        (r#"{"colour": 1}"#, vec!["[1:9] [xpack/rollup/jobconfig] unknown field [colour]"]),
        (
            "{\"groups\": {\"terms\":\n  {\"size\": 1}}}",
            vec![
                "[2:14] [xpack/rollup/jobconfig] failed to parse field [groups]",
                "[2:13] [groups] failed to parse field [terms]",
                "[2:9] [terms] unknown field [size]",
            ],
        ),
        ("{", vec!["[1:1] [xpack/rollup/jobconfig] EOF while parsing an object"]),
        (r#""sensor""#, vec!["[1:8] [xpack/rollup/jobconfig] invalid type: string"]),
        // Not even if its items are in the order of the members.
        (
            r#"["sensor", "sensor-*"]"#,
            vec!["[1:1] [xpack/rollup/jobconfig] invalid type: sequence, expected an object"],
        ),
        (
            r#"{"groups": {"terms": [["node"]]}}"#,
            vec![
                "[1:32] [xpack/rollup/jobconfig] failed to parse field [groups]",
                "[1:31] [groups] failed to parse field [terms]",
                "[1:21] [terms] invalid type: sequence, expected an object",
            ],
        ),
        (
            r#"{"metrics": [["temperature", ["min"]]]}"#,
            vec![
                "[1:38] [xpack/rollup/jobconfig] failed to parse field [metrics]",
                "[1:13] [metrics] invalid type: sequence, expected an object",
            ],
        ),
    ] {
        let answer = client.request("PUT /_rollup/job/a", &[("content-type", "application/json")], text);
        assert_eq!(answer.status.as_u16(), 400);
        let chain = chain(&answer.json());
        assert!(chain.iter().all(|(kind, _)| kind == PARSE));
        let reasons: Vec<_> = chain.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(reasons.len(), expected.len());
        assert!(reasons.iter().zip(&expected).all(|(reason, expected)| reason.contains(expected)), "{reasons:?}");
    }
}

#[test]
fn what_the_indices_do_not_have() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let mut body = config("sensor").build().unwrap().to_json();
    body["metrics"] = json!([{ "field": "nothing", "metrics": ["min"] }, { "field": "void", "metrics": ["max"] }]);
    let missing = |field: &str| {
        format!(
            "Could not find a [numeric] or [date,date_nanos] field with name [{field}] in any of the indices matching the index \
             pattern."
        )
    };
    let reason = format!("Validation Failed: 1: {};2: {};", missing("nothing"), missing("void"));
    let answer = client.put("/_rollup/job/sensor", &body);
    answer.is_error(400, "rollup_action_request_validation_exception", &reason);
    body["index_pattern"] = json!("nowhere");
    client.put("/_rollup/job/sensor", &body).is_error(404, "index_not_found_exception", "no such index [nowhere]");
}
