use serde::{Deserialize, Serialize};

use super::problem::ConfigProblemKind::{Setting, TimeValue as Time};
use super::problem::Problems;
use super::time_value::TimeValue;

/// How long a job keeps what it has rolled up, in the words that Elasticsearch has for transforms:
/// `"retention_policy": { "time": { "max_age": "400d" } }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    #[serde(default, deserialize_with = "super::object::optional")]
    time: Option<RawAge>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAge {
    field: Option<String>,
    max_age: Option<String>,
}

/// As it is printed.
#[derive(Serialize)]
pub(super) struct Printed {
    time: PrintedAge,
}

#[derive(Serialize)]
struct PrintedAge {
    max_age: TimeValue,
}

impl RawRetention {
    pub(super) fn of(max_age: impl Into<String>) -> Self {
        Self { time: Some(RawAge { field: None, max_age: Some(max_age.into()) }) }
    }

    /// The age, if it can be one. `date_field` is the job's.
    pub(super) fn check(&self, date_field: Option<&str>, problems: &mut Problems) -> Option<TimeValue> {
        const PATH: &str = "retention_policy.time";
        let Some(RawAge { field, max_age: Some(max_age) }) = &self.time else {
            problems.add(Setting, format!("{PATH}.max_age"), "Required [max_age]");
            return None;
        };
        if let (Some(field), Some(date_field)) = (field.as_deref(), date_field)
            && field != date_field
        {
            let text = format!("[field] has to be the job's date field [{date_field}], or absent, but was [{field}]");
            problems.add(Setting, format!("{PATH}.field"), text);
        }
        let age = problems.keep(Time, &format!("{PATH}.max_age"), TimeValue::parse(max_age, "max_age"))?;
        if age.as_millis() < 1_000 {
            let text = format!("[max_age] must be at least [1s], but was [{max_age}]");
            problems.add(Setting, format!("{PATH}.max_age"), text);
            return None;
        }
        Some(age)
    }

    pub(super) fn printed(max_age: TimeValue) -> Printed {
        Printed { time: PrintedAge { max_age } }
    }
}
