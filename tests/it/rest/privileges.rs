//! Only those who may.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use rollup_jobs::rest::{Action, AuthenticatedUser, Privilege, PrivilegeAuthorizer, router};
use serde_json::{Value, json};

use super::{Client, error};
use crate::support::{World, config};

const CHALLENGE: &str = r#"Basic realm="security" charset="UTF-8""#;

const LINES: [(Action, &str); 14] = [
    (Action::Put, "PUT /_rollup/job/sensor"),
    (Action::Update, "POST /_rollup/job/sensor/_update"),
    (Action::Start, "POST /_rollup/job/sensor/_start"),
    (Action::Stop, "POST /_rollup/job/sensor/_stop"),
    (Action::Trigger, "POST /_rollup/job/sensor/_trigger"),
    (Action::Delete, "DELETE /_rollup/job/sensor"),
    (Action::Get, "GET /_rollup/job/sensor"),
    (Action::Refresh, "POST /_rollup/job/sensor/_refresh"),
    (Action::Verify, "POST /_rollup/job/sensor/_verify"),
    (Action::LateData, "GET /_rollup/job/sensor/_late_data"),
    (Action::NoteChange, "POST /sensor-1/_rollup/_note_change"),
    (Action::SafeToDrop, "GET /sensor-1/_rollup/_safe_to_drop"),
    (Action::Seal, "POST /sensor-1/_rollup/_seal"),
    (Action::RawDropped, "POST /sensor-1/_rollup/_raw_dropped"),
];

fn guarded() -> (World, Client) {
    let world = World::new();
    let authorizer = PrivilegeAuthorizer::new(CHALLENGE)
        .user("all", [Privilege::All])
        .user("manage", [Privilege::Manage])
        .user("manage_rollup", [Privilege::ManageRollup])
        .user("monitor", [Privilege::Monitor])
        .user("monitor_rollup", [Privilege::MonitorRollup])
        .user("nothing", []);
    let client = Client::with(router(Arc::clone(&world.manager), authorizer));
    (world, client)
}

fn send(client: &Client, line: &str, user: Option<&str>, body: &str) -> super::Answer {
    let (method, uri) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    if let Some(user) = user {
        request.extensions_mut().insert(AuthenticatedUser(user.to_owned()));
    }
    client.answer(request)
}

#[test]
fn each_action_is_granted_by_its_privileges_and_by_no_other() {
    let (_world, client) = guarded();
    for (action, line) in LINES {
        let only_looks = matches!(action, Action::Get | Action::LateData | Action::SafeToDrop);
        for user in ["all", "manage", "manage_rollup", "monitor", "monitor_rollup", "nothing", "stranger"] {
            let may = match user {
                "all" | "manage" | "manage_rollup" => true,
                "monitor" | "monitor_rollup" => only_looks,
                _ => false,
            };
            let answer = send(&client, line, Some(user), "");
            assert_eq!(answer.status.as_u16() != 403, may, "{user} {line}");
            if !may {
                let granting = if only_looks {
                    "monitor_rollup,manage_rollup,monitor,manage,all"
                } else {
                    "manage_rollup,manage,all"
                };
                let reason = format!(
                    "action [{action}] is unauthorized for user [{user}], this action is granted by the cluster privileges \
                     [{granting}]"
                );
                answer.is_error(403, "security_exception", &reason);
            }
        }
    }
}

#[test]
fn nobody_learns_anything_before_the_authorizer_was_asked() {
    let (world, client) = guarded();
    for exists in [false, true] {
        if exists {
            world.put("sensor");
        }
        for (_, line) in LINES {
            let path = line.split_once(' ').unwrap().1;
            let answer = send(&client, line, None, "this is not JSON");
            assert_eq!(answer.headers["www-authenticate"], CHALLENGE);
            let reason = format!("missing authentication credentials for REST request [{path}]");
            let mut expected = error(401, "security_exception", &reason);
            expected["error"]["header"] = json!({ "WWW-Authenticate": [CHALLENGE] });
            answer.is(401, &expected);
            assert_eq!(send(&client, &format!("{line}?nonsense=1"), Some("nothing"), "{").status.as_u16(), 403);
        }
    }
}

#[test]
fn a_job_acts_for_whoever_put_it() {
    let (world, client) = guarded();
    let body: Value = config("sensor").build().unwrap().to_json();
    send(&client, "PUT /_rollup/job/sensor", Some("manage_rollup"), &body.to_string())
        .is(200, &json!({ "acknowledged": true }));
    assert_eq!(world.store.record("sensor").to_json()["run_as"], "manage_rollup");
    assert!(!send(&client, "GET /_rollup/job/sensor", Some("monitor"), "").text.contains("manage_rollup"));
}
