use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::job::{DateInterval, IndexPattern, RollupJobConfig, number_json, wildcard_match};

/// What some jobs can be asked, by what their callers know them by: index patterns, or rollup indices.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SearchCaps {
    jobs: BTreeMap<String, Vec<JobCaps>>,
}

/// What one job can be asked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobCaps {
    /// The job.
    pub job_id: String,
    /// Where its rolled-up documents are.
    pub rollup_index: String,
    /// The source indices that it reads.
    pub index_pattern: String,
    /// By field, in the order of the configuration.
    pub fields: Vec<(String, Vec<FieldCaps>)>,
}

/// What a field can be asked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FieldCaps {
    /// Stretches of time that are made of these.
    DateHistogram {
        /// The interval.
        interval: DateInterval,
        /// How long the job waits for documents that come late, if it does.
        delay: Option<String>,
        /// The time zone.
        time_zone: String,
    },
    /// Ranges that are made of some of this width.
    Histogram {
        /// The width.
        interval: f64,
    },
    /// Its values.
    Terms,
    /// A metric, by its name.
    Metric(&'static str),
}

/// There is no rollup index of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such index [{name}]")]
pub struct NoSuchRollupIndex {
    name: String,
}

impl NoSuchRollupIndex {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl JobCaps {
    pub(crate) fn of(config: &RollupJobConfig) -> Self {
        let groups = config.groups();
        let date = groups.date_histogram();
        let mut fields: Vec<(String, Vec<FieldCaps>)> = Vec::new();
        let mut add = |field: &str, caps: FieldCaps| match fields.iter_mut().find(|(known, _)| known == field) {
            Some((_, known)) => known.push(caps),
            None => fields.push((field.to_owned(), vec![caps])),
        };
        add(
            date.field(),
            FieldCaps::DateHistogram {
                interval: config.interval().clone(),
                delay: date.delay_text().map(str::to_owned),
                time_zone: date.time_zone_id().to_owned(),
            },
        );
        if let Some(histogram) = groups.histogram() {
            for field in histogram.fields() {
                add(field, FieldCaps::Histogram { interval: histogram.interval() });
            }
        }
        for field in groups.terms_fields() {
            add(field, FieldCaps::Terms);
        }
        for measured in config.metrics() {
            for metric in measured.metrics() {
                add(measured.field(), FieldCaps::Metric(metric.as_str()));
            }
        }
        Self {
            job_id: config.id().to_owned(),
            rollup_index: config.rollup_index().to_owned(),
            index_pattern: config.index_pattern().as_str().to_owned(),
            fields,
        }
    }

    /// Elasticsearch's JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = self.fields.iter().map(|(field, caps)| {
            let caps: Vec<Value> = caps.iter().map(FieldCaps::to_json).collect();
            (field.clone(), Value::from(caps))
        });
        json!({
            "job_id": self.job_id,
            "rollup_index": self.rollup_index,
            "index_pattern": self.index_pattern,
            "fields": fields.collect::<Map<_, _>>(),
        })
    }
}

impl FieldCaps {
    fn to_json(&self) -> Value {
        match self {
            Self::DateHistogram { interval, delay, time_zone } => {
                let kind = match interval {
                    DateInterval::Calendar { .. } => "calendar_interval",
                    DateInterval::Fixed { .. } => "fixed_interval",
                };
                let mut caps = json!({ "agg": "date_histogram", kind: interval.text(), "time_zone": time_zone });
                if let Some(delay) = delay {
                    caps["delay"] = json!(delay);
                }
                caps
            }
            Self::Histogram { interval } => json!({ "agg": "histogram", "interval": number_json(*interval) }),
            Self::Terms => json!({ "agg": "terms" }),
            Self::Metric(metric) => json!({ "agg": metric }),
        }
    }
}

impl SearchCaps {
    /// Of those of the jobs that read these source indices, by their patterns.
    pub(crate) fn reading(pattern: &str, jobs: Vec<JobCaps>) -> Self {
        let asked = IndexPattern::new(pattern);
        let is_meant = |caps: &JobCaps| {
            let theirs = IndexPattern::new(&caps.index_pattern);
            let has = |item: &str| theirs.resolve(std::iter::once(item)).is_ok_and(|found| !found.is_empty());
            is_all(pattern)
                || theirs.as_str() == pattern
                || asked.items().any(|item| wildcard_match(item, theirs.as_str()) || has(item))
        };
        Self::by(|caps| &caps.index_pattern, jobs.into_iter().filter(is_meant))
    }

    /// Of those of the jobs that write to these rollup indices, by their names.
    pub(crate) fn writing(indices: &str, jobs: Vec<JobCaps>) -> Result<Self, NoSuchRollupIndex> {
        let names: Vec<&str> = jobs.iter().map(|caps| caps.rollup_index.as_str()).collect();
        let expression = IndexPattern::new(if is_all(indices) { "*" } else { indices });
        let meant = expression.resolve(names.iter().copied()).map_err(|name| NoSuchRollupIndex { name })?;
        let meant: Vec<String> = meant.into_iter().map(str::to_owned).collect();
        let jobs = jobs.into_iter().filter(|caps| meant.contains(&caps.rollup_index));
        Ok(Self::by(|caps| &caps.rollup_index, jobs))
    }

    /// Of jobs, each under a key.
    fn by(key: impl Fn(&JobCaps) -> &str, jobs: impl IntoIterator<Item = JobCaps>) -> Self {
        let mut all: BTreeMap<String, Vec<JobCaps>> = BTreeMap::new();
        for caps in jobs {
            all.entry(key(&caps).to_owned()).or_default().push(caps);
        }
        for jobs in all.values_mut() {
            jobs.sort_by(|a, b| a.job_id.cmp(&b.job_id));
        }
        Self { jobs: all }
    }

    /// Those of the jobs that are meant.
    #[must_use]
    pub fn only(mut self, is_meant: impl Fn(&JobCaps) -> bool) -> Self {
        for jobs in self.jobs.values_mut() {
            jobs.retain(&is_meant);
        }
        self.jobs.retain(|_, jobs| !jobs.is_empty());
        self
    }

    /// Each key with its jobs, both in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[JobCaps])> {
        self.jobs.iter().map(|(key, jobs)| (key.as_str(), jobs.as_slice()))
    }

    /// Elasticsearch's JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let printed = self.iter().map(|(key, jobs)| {
            let jobs: Vec<Value> = jobs.iter().map(JobCaps::to_json).collect();
            (key.to_owned(), json!({ "rollup_jobs": jobs }))
        });
        Value::Object(printed.collect())
    }
}

fn is_all(pattern: &str) -> bool {
    matches!(pattern, "" | "*" | "_all")
}
