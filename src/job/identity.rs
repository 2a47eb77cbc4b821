//! What determines the documents of a job, and how two of that differ.

use std::fmt;

use serde_json::Value;

use super::config::RollupJobConfig;

/// What of a configuration determines documents: all but when the job runs, how large its pages are, and how long it
/// waits. The order in which fields and metrics are named does not count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Identity(Value);

/// Members that may change at any time, which is why no two jobs differ by them.
const SETTINGS: [&str; 5] = ["cron", "page_size", "timeout", "late_data", "retention_policy"];

impl Identity {
    /// Of a configuration in Elasticsearch's JSON, as a rollup index has it; `None` if it is none.
    pub(crate) fn of_json(json: &Value) -> Option<Self> {
        RollupJobConfig::stored(json.clone()).ok().map(|config| config.identity())
    }

    /// Where the two are not the same.
    pub(crate) fn differences(&self, given: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        compare("", Some(&self.0), Some(&given.0), &mut found);
        found
    }
}

impl RollupJobConfig {
    pub(crate) fn identity(&self) -> Identity {
        let mut json = self.to_json();
        if let Some(members) = json.as_object_mut() {
            members.retain(|name, _| !SETTINGS.contains(&name.as_str()));
        }
        if let Some(date) = json["groups"]["date_histogram"].as_object_mut() {
            date.remove("delay");
        }
        for fields in ["/groups/histogram/fields", "/groups/terms/fields"] {
            sort(json.pointer_mut(fields));
        }
        for metric in json["metrics"].as_array_mut().into_iter().flatten() {
            sort(metric.get_mut("metrics"));
        }
        sort(json.get_mut("metrics"));
        Identity(json)
    }

    /// Whether a rollup index may be both jobs'.
    pub(crate) fn has_identity_of(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    /// What of the two does not determine documents, and is not the same.
    pub(crate) fn other_settings(&self, given: &Self) -> Vec<Difference> {
        let (known, given) = (self.to_json(), given.to_json());
        let mut found = Vec::new();
        for name in SETTINGS {
            compare(name, known.get(name), given.get(name), &mut found);
        }
        let delay = |json: &Value| json["groups"]["date_histogram"].get("delay").cloned();
        compare("groups.date_histogram.delay", delay(&known).as_ref(), delay(&given).as_ref(), &mut found);
        found
    }
}

fn sort(list: Option<&mut Value>) {
    if let Some(Value::Array(list)) = list {
        list.sort_by_cached_key(ToString::to_string);
    }
}

fn compare(field: &str, known: Option<&Value>, given: Option<&Value>, found: &mut Vec<Difference>) {
    if known == given {
        return;
    }
    let (Some(Value::Object(one)), Some(Value::Object(other))) = (known, given) else {
        let (known, given) = (known.cloned(), given.cloned());
        found.push(Difference { field: field.to_owned(), known, given });
        return;
    };
    let only_given = other.keys().filter(|name| !one.contains_key(*name));
    for name in one.keys().chain(only_given) {
        let field = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
        compare(&field, one.get(name), other.get(name), found);
    }
}

/// A member in which the configuration of a job and one that was given for it are not the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    field: String,
    known: Option<Value>,
    given: Option<Value>,
}

impl Difference {
    /// In something that nobody gets to see.
    pub(crate) fn not_shown(field: &str) -> Self {
        Self { field: field.to_owned(), known: None, given: None }
    }

    /// The member, such as `groups.date_histogram.fixed_interval`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What the job has; `None` if it has none, or it is not shown.
    #[must_use]
    pub fn known(&self) -> Option<&Value> {
        self.known.as_ref()
    }

    /// What was given; `None` if nothing was, or it is not shown.
    #[must_use]
    pub fn given(&self) -> Option<&Value> {
        self.given.as_ref()
    }
}

/// `[page_size] is 1000, not 500`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.known.is_none() && self.given.is_none() {
            return write!(f, "[{}] is another", self.field);
        }
        let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
        write!(f, "[{}] is {}, not {}", self.field, text(&self.known), text(&self.given))
    }
}
