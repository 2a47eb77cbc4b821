//! What is wrong with a configuration: for programs by kind and field, for people in Elasticsearch's words and in
//! plain ones.

use std::fmt;

/// A configuration is not valid. It holds everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration of rollup job [{id}]: {}", list(problems))]
pub struct ConfigError {
    pub(super) id: String,
    pub(super) problems: Vec<ConfigProblem>,
}

fn list(problems: &[ConfigProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl ConfigError {
    pub(crate) fn new(id: impl Into<String>, problems: Vec<ConfigProblem>) -> Self {
        Self { id: id.into(), problems }
    }

    /// Everything that is wrong, in Elasticsearch's order of checking; at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

/// What kind of problem it is, for programs that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigProblemKind {
    /// The JSON text is not JSON of the right shape.
    Syntax,
    /// A member that has to be there is not.
    Required,
    /// Something that has to be given is empty, or nothing.
    Missing,
    /// A name that no index, or no job, can have.
    Name,
    /// The index pattern means something that it must not, or nothing.
    Pattern,
    /// The cron expression.
    Cron,
    /// The page size.
    PageSize,
    /// A time value, such as a delay.
    TimeValue,
    /// What a job does about documents that come late, or how long it keeps what it has rolled up.
    Setting,
    /// An interval.
    Interval,
    /// A time zone.
    TimeZone,
    /// There is no such metric.
    Metric,
    /// What a job's documents depend on, and so cannot be changed.
    Identity,
    /// The same thing twice, or two things that exclude each other.
    Conflict,
    /// No index of the pattern has the field.
    UnknownField,
    /// The field is of a type that cannot be used so.
    FieldType,
    /// The field cannot be grouped by, or measured, as it is indexed.
    NotAggregatable,
    /// The field's dates are too coarse for the interval.
    Precision,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    kind: ConfigProblemKind,
    field: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    location: Option<(usize, usize)>,
}

impl ConfigProblem {
    pub(crate) fn new(kind: ConfigProblemKind, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, field: field.into(), message: message.into(), detail: None, hint: None, location: None }
    }

    pub(super) fn at(self, line: usize, column: usize) -> Self {
        Self { location: Some((line, column)), ..self }
    }

    pub(super) fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub(crate) fn hint_at(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// What kind of problem it is.
    #[must_use]
    pub fn kind(&self) -> ConfigProblemKind {
        self.kind
    }

    /// Line and column in the JSON text, if it is not JSON of the right shape, so that nothing else was looked at.
    #[must_use]
    pub fn location(&self) -> Option<(usize, usize)> {
        self.location
    }

    /// The member it is about, such as `groups.date_histogram.delay`; empty if it is about the JSON text itself.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong: Elasticsearch's text where it has one.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// More about it, where Elasticsearch has it in a cause.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// What to do about it, where Elasticsearch's text does not say.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, " ({detail})"))?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " - {hint}"))
    }
}

#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(&mut self, kind: ConfigProblemKind, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigProblem::new(kind, field, message));
    }

    pub(super) fn keep<T, E: fmt::Display>(
        &mut self,
        kind: ConfigProblemKind,
        field: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(kind, field, error.to_string())).ok()
    }

    /// What to do about the last problem.
    pub(super) fn hint(&mut self, hint: Option<String>) {
        if let Some(last) = self.0.last_mut() {
            last.hint = hint;
        }
    }
}
