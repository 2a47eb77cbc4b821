//! Members of a JSON object, read with their place. As in Elasticsearch, a number or a switch may be a text.

use serde_json::{Map, Value};

use crate::filter::{Filter, FilterValue};
use crate::search::request::SearchRequestError;

pub(super) type Result<T> = std::result::Result<T, SearchRequestError>;

/// A JSON object, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) place: &'a str,
    members: &'a Map<String, Value>,
}

pub(super) fn wrong<T>(place: &str, problem: impl Into<String>) -> Result<T> {
    Err(SearchRequestError::new(place, problem))
}

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value, place: &'a str) -> Result<Self> {
        match value {
            Value::Object(members) => Ok(Self { place, members }),
            other => wrong(place, format!("expected an object, but was {}", shown(other))),
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.members.iter()
    }

    pub(super) fn at(self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }

    /// Refuses members that are not known.
    pub(super) fn only(self, known: &[&str]) -> Result<()> {
        match self.members.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                wrong(&self.at(unknown), format!("is not supported; known here are [{}]", known.join(", ")))
            }
        }
    }

    /// A member, if it is there and not null.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_str() {
            Some(text) => Ok(Some(text)),
            None => wrong(&self.at(name), format!("expected a text, but was {}", shown(value))),
        }
    }

    pub(super) fn owned_text(self, name: &str) -> Result<Option<String>> {
        Ok(self.text(name)?.map(str::to_owned))
    }

    pub(super) fn required_text(self, name: &str) -> Result<&'a str> {
        match self.text(name)? {
            Some(text) => Ok(text),
            None => wrong(self.place, format!("requires [{name}]")),
        }
    }

    pub(super) fn switch(self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(is_on)) => Ok(*is_on),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(text == "true"),
            Some(other) => wrong(&self.at(name), format!("expected true or false, but was {}", shown(other))),
        }
    }

    pub(super) fn count(self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok()) {
            Some(count) => Ok(Some(count)),
            None => {
                wrong(&self.at(name), format!("expected a whole number that is not negative, but was {}", shown(value)))
            }
        }
    }

    pub(super) fn number(self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => wrong(&self.at(name), format!("expected a number, but was {}", shown(value))),
        }
    }

    /// A number, a text, true or false.
    pub(super) fn scalar(self, name: &str) -> Result<Option<FilterValue>> {
        self.get(name).map(|value| scalar(value, &self.at(name))).transpose()
    }
}

pub(super) fn scalar(value: &Value, place: &str) -> Result<FilterValue> {
    let refused = || wrong(place, format!("expected one value, but was {}", shown(value)));
    FilterValue::of_json(value).map_or_else(refused, Ok)
}

pub(super) fn query(value: &Value, place: &str) -> Result<Filter> {
    Filter::from_json(value).map_err(|error| {
        let below = error.place().strip_prefix("query").unwrap_or(error.place());
        SearchRequestError::new(format!("{place}{below}"), error.problem())
    })
}

/// A value in a message, cut short.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
