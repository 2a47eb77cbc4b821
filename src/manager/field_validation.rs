//! Are the configured fields there, and of a type that can be grouped by and measured? Elasticsearch's rules and
//! messages, and what it finds out too late.

use super::hints;
use crate::engine::{FieldCapabilities, FieldCapability, Source};
use crate::job::{ConfigProblem, ConfigProblemKind, MetricField, NoticeBy, RollupJobConfig, TermsType};
use crate::measure::Metric;

/// The fields that a job needs to know about.
pub(super) fn fields_of(config: &RollupJobConfig) -> Vec<&str> {
    let groups = config.groups();
    let date = std::iter::once(groups.date_histogram().field());
    let grouped = groups.histogram_fields().iter().chain(groups.terms_fields()).map(String::as_str);
    let measured = config.metrics().iter().map(MetricField::field);
    let noticed_by = config.late_data().notices_by().and_then(NoticeBy::field);
    let mut fields: Vec<_> = date.chain(grouped).chain(measured).chain(noticed_by).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// The types of the terms fields, or everything that is wrong.
pub(super) fn validate(
    config: &RollupJobConfig,
    capabilities: &FieldCapabilities,
) -> Result<Vec<TermsType>, Vec<ConfigProblem>> {
    let mut problems = Vec::new();
    if capabilities.indices.iter().any(|index| index == config.rollup_index()) {
        let message = "Index pattern would match rollup index name which is not allowed";
        problems.push(ConfigProblem::new(ConfigProblemKind::Pattern, "index_pattern", message));
    }
    if capabilities.fields.is_empty() {
        let message = "Could not find any fields in the index/index-pattern that were configured in job";
        let is_empty = capabilities.indices.is_empty();
        let hint = if is_empty {
            format!("the pattern [{}] matches no index", config.index_pattern())
        } else {
            hints::unknown_fields(&fields_of(config), capabilities)
        };
        let kind = if is_empty { ConfigProblemKind::Pattern } else { ConfigProblemKind::UnknownField };
        problems.push(ConfigProblem::new(kind, "index_pattern", message).hint_at(Some(hint)));
        return Err(problems);
    }
    let mut check = Check { capabilities, problems };
    let groups = config.groups();
    check.date(config);
    for field in groups.histogram_fields() {
        check.histogram(field);
    }
    let types: Vec<_> = groups.terms_fields().iter().map(|field| check.terms(field)).collect();
    for metric in config.metrics() {
        check.metric(metric);
    }
    check.notice_by(config);
    // A terms field without a type has left a problem.
    let types: Option<Vec<_>> = types.into_iter().collect();
    types.filter(|_| check.problems.is_empty()).ok_or(check.problems)
}

/// Everything that is wrong with the field by which changes are to be noticed.
pub(super) fn validate_notice_by(config: &RollupJobConfig, capabilities: &FieldCapabilities) -> Vec<ConfigProblem> {
    let mut check = Check { capabilities, problems: Vec::new() };
    check.notice_by(config);
    check.problems
}

/// Whether an engine can notice changes in the way that a job says.
pub(super) fn validate_engine(config: &RollupJobConfig, source: &dyn Source) -> Vec<ConfigProblem> {
    let is_refused = config.late_data().notices_by().is_some_and(|by| !source.notices_by(by));
    let message = "[notice_by] is how a cluster is asked what has changed, and this engine is none: leave it out";
    let problem = || ConfigProblem::new(ConfigProblemKind::Setting, "late_data.notice_by", message);
    is_refused.then(problem).into_iter().collect()
}

struct Check<'a> {
    capabilities: &'a FieldCapabilities,
    problems: Vec<ConfigProblem>,
}

impl<'a> Check<'a> {
    fn problem(&mut self, kind: ConfigProblemKind, member: &str, message: String) {
        self.problems.push(ConfigProblem::new(kind, member, message));
    }

    fn hint(&mut self, hint: Option<String>) {
        if let Some(last) = self.problems.pop() {
            self.problems.push(last.hint_at(hint));
        }
    }

    /// What the field is, or a problem that says that it is not there.
    fn find(&mut self, member: &str, field: &str, wanted: &str) -> Option<&'a [FieldCapability]> {
        let found = self.capabilities.fields.get(field).filter(|found| !found.is_empty());
        if found.is_none() {
            self.problem(
                ConfigProblemKind::UnknownField,
                member,
                format!(
                    "Could not find {wanted} with name [{field}] in any of the indices matching the index pattern."
                ),
            );
            self.hint(self.capabilities.alike(field));
        }
        found.map(Vec::as_slice)
    }

    fn aggregatable(&mut self, member: &str, field: &str, found: &[FieldCapability]) {
        if found.iter().any(|capability| !capability.aggregatable) {
            let message = format!("The field [{field}] must be aggregatable across all indices, but is not.");
            self.problem(ConfigProblemKind::NotAggregatable, member, message);
            self.hint(self.capabilities.remedies.get(field).cloned());
        }
    }

    fn date(&mut self, config: &RollupJobConfig) {
        let (member, field) = ("groups.date_histogram.field", config.groups().date_histogram().field());
        let Some(found) = self.find(member, field, "one of [date,date_nanos] fields") else { return };
        if found
            .iter()
            .any(|capability| capability.field_type != found[0].field_type || !capability.field_type.is_date())
        {
            return self.problem(
                ConfigProblemKind::FieldType,
                member,
                format!(
                    "The field referenced by a date_histo group must be one of type [date,date_nanos] across all indices in \
                     the index pattern.  Found: [{}] for field [{field}]",
                    types(found)
                ),
            );
        }
        self.aggregatable(member, field, found);
        let Some(interval) = config.rounding().fixed_millis() else { return };
        for coarse in found.iter().filter(|capability| interval % capability.resolution_millis.max(1) != 0) {
            self.problem(
                ConfigProblemKind::Precision,
                member,
                format!(
                    "The field [{field}] keeps dates to {} ms in [{}], which the interval [{}] is no multiple of: index it \
                     with a finer precision, or choose a coarser interval",
                    coarse.resolution_millis,
                    coarse.indices.join(", "),
                    config.interval().text()
                ),
            );
        }
    }

    fn histogram(&mut self, field: &str) {
        let member = "groups.histogram.fields";
        let Some(found) = self.find(member, field, "a [numeric] field") else { return };
        if !found.iter().all(|capability| capability.field_type.is_numeric()) {
            let types = types(found);
            return self.problem(
                ConfigProblemKind::FieldType,
                member,
                format!("The field referenced by a histo group must be a [numeric] type, but found [{types}] for field [{field}]"),
            );
        }
        self.aggregatable(member, field, found);
    }

    fn terms(&mut self, field: &str) -> Option<TermsType> {
        let member = "groups.terms.fields";
        let found = self.find(member, field, "a [numeric] or [keyword/text] field")?;
        let kinds: Option<Vec<_>> = found.iter().map(|capability| capability.field_type.terms_type()).collect();
        let Some(kinds) = kinds else {
            let types = types(found);
            self.problem(
                ConfigProblemKind::FieldType,
                member,
                format!(
                    "The field referenced by a terms group must be a [numeric] or [keyword/text] type, but found [{types}] \
                     for field [{field}]"
                ),
            );
            return None;
        };
        if kinds.iter().any(|kind| *kind != kinds[0]) {
            let mut places = found
                .iter()
                .map(|capability| format!("[{}] in [{}]", capability.field_type, capability.indices.join(", ")));
            let places = places.by_ref().collect::<Vec<_>>().join(" and ");
            self.problem(
                ConfigProblemKind::FieldType,
                member,
                format!("The field [{field}] referenced by a terms group must be of one kind in all indices, but is {places}"),
            );
            return None;
        }
        self.aggregatable(member, field, found);
        kinds.first().copied()
    }

    fn metric(&mut self, metric: &MetricField) {
        let (member, field) = ("metrics", metric.field());
        let Some(found) = self.find(member, field, "a [numeric] or [date,date_nanos] field") else { return };
        if !found.iter().all(|capability| capability.field_type.is_numeric() || capability.field_type.is_date()) {
            let types = types(found);
            return self.problem(
                ConfigProblemKind::FieldType,
                member,
                format!(
                    "The field referenced by a metric group must be a [numeric] or [date,date_nanos] type, but found [{types}] \
                     for field [{field}]"
                ),
            );
        }
        let unsupported: Vec<_> = metric.metrics().iter().filter(|m| !m.fits_dates()).map(|m| m.as_str()).collect();
        if let Some(date) = found.iter().find(|capability| capability.field_type.is_date())
            && !unsupported.is_empty()
        {
            return self.problem(
                ConfigProblemKind::FieldType,
                member,
                format!(
                    "Only the metrics [{}] are supported for [{}] types, but unsupported metrics [{}] supplied \
                     for field [{field}]",
                    metrics_of_dates(),
                    date.field_type,
                    unsupported.join(", ")
                ),
            );
        }
        self.aggregatable(member, field, found);
    }

    fn notice_by(&mut self, config: &RollupJobConfig) {
        let member = "late_data.notice_by.ingest_time.field";
        let Some(field) = config.late_data().notices_by().and_then(NoticeBy::field) else { return };
        let Some(found) = self.find(member, field, "one of [date,date_nanos] fields") else { return };
        if !found.iter().all(|capability| capability.field_type.is_date()) {
            let types = types(found);
            let message = format!(
                "The field that holds the ingest time must be one of type [date,date_nanos] across all indices, but \
                 found [{types}] for field [{field}]"
            );
            return self.problem(ConfigProblemKind::FieldType, member, message);
        }
        self.aggregatable(member, field, found);
    }
}

/// The names of the metrics that fit dates, as Elasticsearch lists them.
fn metrics_of_dates() -> String {
    let mut names: Vec<_> = Metric::ALL.iter().filter(|metric| metric.fits_dates()).map(|m| m.as_str()).collect();
    names.sort_unstable();
    names.join(", ")
}

fn types(found: &[FieldCapability]) -> String {
    let mut types: Vec<_> = found.iter().map(|capability| capability.field_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    types.join(", ")
}
