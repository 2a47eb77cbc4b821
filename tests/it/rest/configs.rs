//! What is wrong with a configuration: `elasticsearch-rollup.md`, section 4.

use serde_json::{Value, json};

use super::Client;
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

#[test]
fn the_real_reason_is_as_deep_as_elasticsearch_has_it_and_in_the_open_too() {
    let world = World::new();
    let client = Client::of(&world.manager);
    let unbuilt = |what: &str| (PARSE, format!("Failed to build [{what}] after last required field arrived"));
    // Each in front of it has the place where its field ends.
    let failed = |parser: &str, field: &str| (PARSE, format!("[{parser}] failed to parse field [{field}]"));
    let pointer_of = |field: &str| match field {
        "date_histogram" | "terms" => format!("/groups/{field}"),
        top => format!("/{top}"),
    };
    let job = "xpack/rollup/jobconfig";
    let illegal = |reason: &str| (ILLEGAL, reason.to_owned());
    let page_size = "Page size is mandatory and  must be a positive long";
    let table = [
        ("/page_size", json!(0), vec![unbuilt(job), illegal(page_size)]),
        ("/page_size", Value::Null, vec![illegal("Required [page_size]")]),
        (
            "/cron",
            json!("0 * * *"),
            vec![
                unbuilt(job),
                illegal("invalid cron expression [0 * * *]"),
                illegal(
                    "illegal cron expression format [java.lang.IllegalArgumentException: unexpected end of expression at pos [7].]",
                ),
            ],
        ),
        (
            "/timeout",
            json!("5w"),
            vec![
                failed(job, "timeout"),
                illegal(
                    "failed to parse setting [timeout] with value [5w] as a time value: unit is missing or unrecognized",
                ),
            ],
        ),
        (
            "/groups/date_histogram/fixed_interval",
            json!("0s"),
            vec![
                failed(job, "groups"),
                failed("groups", "date_histogram"),
                unbuilt("date_histogram"),
                illegal("Zero or negative time interval not supported"),
            ],
        ),
        ("/groups", json!({}), vec![failed(job, "groups"), illegal("Required [date_histogram]")]),
        (
            "/groups/terms/fields",
            json!([]),
            vec![
                failed(job, "groups"),
                failed("groups", "terms"),
                unbuilt("terms"),
                illegal("Fields must have at least one value"),
            ],
        ),
        (
            "/metrics",
            json!([{ "field": "", "metrics": ["min"] }]),
            vec![failed(job, "metrics"), unbuilt("metrics"), illegal("Field must be a non-null, non-empty string")],
        ),
    ];
    for (pointer, value, expected) in table {
        let mut body = config("sensor").build().unwrap().to_json();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
        let answer = client.put("/_rollup/job/sensor", &body);
        assert_eq!(answer.status.as_u16(), 400);
        let answer = answer.json();
        let placed = |reason: String| match reason.split_once("failed to parse field [") {
            Some((_, field)) => end_of(&body, &pointer_of(field.trim_end_matches(']'))) + &reason,
            None => reason,
        };
        let expected: Vec<_> = expected.into_iter().map(|(kind, reason)| (kind.to_owned(), placed(reason))).collect();
        assert_eq!(chain(&answer), expected, "{pointer}");
        let inner = expected.iter().take_while(|(kind, _)| kind == PARSE).last().unwrap_or(&expected[0]);
        assert_eq!(answer["error"]["root_cause"], json!([{ "type": inner.0, "reason": inner.1 }]));
        let real = expected.iter().find(|(kind, _)| kind == ILLEGAL).unwrap();
        assert_eq!(answer["error"]["problems"][0]["message"], real.1.as_str());
    }
    assert!(world.manager.list().is_empty());
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
