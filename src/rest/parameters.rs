//! Query parameters, as Elasticsearch reads them.

use super::error_answer::ErrorAnswer;
use super::percent::{self, Plus};
use crate::TimeValue;

/// Taken on every route: any official client may send them.
const EVERYWHERE: [&str; 5] = ["pretty", "human", "error_trace", "filter_path", "format"];

/// A request's query, decoded. Of a parameter that is given twice the last one counts.
pub(super) struct Parameters {
    given: Vec<(String, String)>,
}

impl Parameters {
    pub(super) fn parse(query: &str) -> Result<Self, ErrorAnswer> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let given = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((percent::decode(name, Plus::IsSpace)?, percent::decode(value, Plus::IsSpace)?))
        });
        Ok(Self { given: given.collect::<Result<_, ErrorAnswer>>()? })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Given without a value, a switch is on.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, ErrorAnswer> {
        match self.text(name) {
            None => Ok(None),
            Some("" | "true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                let reason = format!("Failed to parse value [{other}] as only [true] or [false] are allowed.");
                Err(ErrorAnswer::bad_request(reason))
            }
        }
    }

    pub(super) fn switch(&self, name: &str) -> Result<bool, ErrorAnswer> {
        Ok(self.boolean(name)?.unwrap_or(false))
    }

    pub(super) fn time(&self, name: &str, default: TimeValue) -> Result<TimeValue, ErrorAnswer> {
        let given = self.text(name).map(|text| TimeValue::parse(text, name));
        given.unwrap_or(Ok(default)).map_err(|error| ErrorAnswer::bad_request(error.to_string()))
    }

    /// Refuses what neither this route nor every route takes.
    pub(super) fn only(&self, known: &[&str], path: &str) -> Result<(), ErrorAnswer> {
        let is_known = |name: &str| known.contains(&name) || EVERYWHERE.contains(&name);
        let mut unknown: Vec<_> = self.given.iter().map(|(name, _)| name.as_str()).filter(|n| !is_known(n)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        let plural = if unknown.len() == 1 { "" } else { "s" };
        let described: Vec<_> = unknown.iter().map(|name| format!("[{name}]{}", suggestion(name, known))).collect();
        Err(ErrorAnswer::bad_request(format!(
            "request [{path}] contains unrecognized parameter{plural}: {}",
            described.join(", ")
        )))
    }
}

/// The known names that are more than half alike, the most alike first.
fn suggestion(name: &str, known: &[&str]) -> String {
    let mut alike: Vec<_> = known
        .iter()
        .chain(&EVERYWHERE)
        .map(|candidate| (strsim::normalized_levenshtein(name, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.5)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let names: Vec<_> = alike.into_iter().map(|(_, candidate)| candidate).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!(" -> did you mean [{one}]?"),
        many => format!(" -> did you mean any of [{}]?", many.join(", ")),
    }
}
