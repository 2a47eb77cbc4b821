//! Which operation a path and a method mean.

use axum::http::header::ALLOW;
use axum::http::{Method, StatusCode};

use super::action::Action;
use super::error_answer::ErrorAnswer;
use super::percent::{self, Plus};

/// An action on what a path names: a job, some jobs, or indices.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) action: Action,
    pub(super) id: String,
}

impl Route {
    /// `path` is what the router sees, `shown` what the caller sent: a host may have mounted the router deeper.
    /// The description has a path of its own if the host wants it.
    pub(super) fn find(method: &Method, path: &str, shown: &str, described: bool) -> Result<Self, ErrorAnswer> {
        let Some((id, actions)) = actions(path, described) else {
            let text = format!("no handler found for uri [{shown}] and method [{method}]");
            return Err(ErrorAnswer::short(StatusCode::BAD_REQUEST, text));
        };
        let Some((_, action)) = actions.iter().find(|(allowed, _)| allowed == method) else {
            let allowed = listed(actions);
            let text = format!("Incorrect HTTP method for uri [{shown}] and method [{method}], allowed: [{allowed}]");
            return Err(ErrorAnswer::short(StatusCode::METHOD_NOT_ALLOWED, text).header(ALLOW, &allowed));
        };
        Ok(Self { action: *action, id: percent::decode(id, Plus::IsPlus)? })
    }

    /// The methods that a path takes, if it is one of ours.
    pub(super) fn allowed(path: &str, described: bool) -> Option<String> {
        actions(path, described).map(|(_, actions)| listed(actions))
    }
}

/// The id in a path, and what can be done there.
fn actions(path: &str, described: bool) -> Option<(&str, &'static [(Method, Action)])> {
    // Elasticsearch ignores slashes at the end, however many, and takes two in the middle for an empty name.
    let names: Vec<_> = path.trim_end_matches('/').split('/').collect();
    Some(match names.as_slice() {
        ["", "_rollup", "job"] => ("", &[(Method::GET, Action::Get)]),
        ["", "_rollup", "job", id] => {
            (id, &[(Method::GET, Action::Get), (Method::PUT, Action::Put), (Method::DELETE, Action::Delete)])
        }
        ["", "_rollup", "job", id, "_update"] => (id, &[(Method::POST, Action::Update)]),
        ["", "_rollup", "job", id, "_start"] => (id, &[(Method::POST, Action::Start)]),
        ["", "_rollup", "job", id, "_stop"] => (id, &[(Method::POST, Action::Stop)]),
        ["", "_rollup", "job", id, "_trigger"] => (id, &[(Method::POST, Action::Trigger)]),
        ["", "_rollup", "job", id, "_refresh"] => (id, &[(Method::POST, Action::Refresh)]),
        ["", "_rollup", "job", id, "_late_data"] => (id, &[(Method::GET, Action::LateData)]),
        ["", "_rollup", "job", id, "_verify"] => (id, &[(Method::POST, Action::Verify)]),
        ["", "_rollup", "data"] => ("", &[(Method::GET, Action::GetCaps)]),
        ["", "_rollup", "data", pattern] => (pattern, &[(Method::GET, Action::GetCaps)]),
        ["", "_rollup", "plan"] => ("", &[(Method::POST, Action::Plan)]),
        ["", "_rollup_search"] => ("", &[(Method::GET, Action::Search), (Method::POST, Action::Search)]),
        ["", index, "_rollup_search"] => (index, &[(Method::GET, Action::Search), (Method::POST, Action::Search)]),
        ["", index, "_rollup", "data"] => (index, &[(Method::GET, Action::GetIndexCaps)]),
        ["", index, "_rollup", "_note_change"] => (index, &[(Method::POST, Action::NoteChange)]),
        ["", index, "_rollup", "_safe_to_drop"] => (index, &[(Method::GET, Action::SafeToDrop)]),
        ["", index, "_rollup", "_seal"] => (index, &[(Method::POST, Action::Seal)]),
        ["", index, "_rollup", "_raw_dropped"] => (index, &[(Method::POST, Action::RawDropped)]),
        ["", "_rollup", "openapi.json"] if described => ("", &[(Method::GET, Action::Describe)]),
        _ => return None,
    })
}

fn listed(actions: &[(Method, Action)]) -> String {
    actions.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ")
}
