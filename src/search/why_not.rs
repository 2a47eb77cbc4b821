use std::fmt;

use crate::job::Crossing;
use crate::measure::Measure;

/// Why what a job has rolled up does not serve a search.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("rollup job [{job_id}] does not serve [{place}]: {obstacle}")]
#[non_exhaustive]
pub struct WhyNot {
    /// The job.
    pub job_id: String,
    /// What of the request it does not serve, such as `aggs.per_day.date_histogram`.
    pub place: String,
    /// Why.
    pub obstacle: Obstacle,
}

impl WhyNot {
    pub(super) fn new(job_id: &str, place: impl Into<String>, obstacle: Obstacle) -> Self {
        Self { job_id: job_id.to_owned(), place: place.into(), obstacle }
    }
}

/// What is in the way of a proof.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The job reads other indices than those that are asked for.
    Indices {
        /// What it reads.
        pattern: String,
    },
    /// Its dates are in another field.
    DateField {
        /// That field.
        field: String,
    },
    /// A date bucket that is asked for begins inside of one of the job's.
    Grid(Crossing),
    /// It does not group by this field.
    NotGrouped {
        /// The field.
        field: String,
    },
    /// Its ranges of this field do not make up those that are asked for.
    Ranges {
        /// The field.
        field: String,
        /// The width of its ranges.
        interval: f64,
    },
    /// A condition on this field begins or ends inside of one of its ranges.
    RangeBound {
        /// The field.
        field: String,
        /// The width of its ranges.
        interval: f64,
    },
    /// A document may have had several values in this field, and would count several times.
    SeveralValues {
        /// The field.
        field: String,
    },
    /// It does not keep this of the field's values.
    NotMeasured {
        /// The field.
        field: String,
        /// What it would have to keep.
        measure: Measure,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Indices { pattern } => {
                write!(f, "it reads [{pattern}]: search just that, or name its rollup index")
            }
            Self::DateField { field } => write!(f, "its dates are in [{field}]"),
            Self::Grid(crossing) => {
                write!(f, "{crossing}: a job with a shorter interval serves it, 15m for days in every time zone")
            }
            Self::NotGrouped { field } => {
                write!(f, "it does not group by [{field}]: a job that has it among its terms or histograms serves it")
            }
            Self::Ranges { field, interval } => {
                write!(f, "its ranges of [{field}] are [{interval}] wide: ask for a multiple of that in whole numbers")
            }
            Self::RangeBound { field, interval } => {
                write!(
                    f,
                    "a bound on [{field}] lies inside one of its ranges, which are [{interval}] wide: ask for [gte] \
                     and [lt] a multiple of that"
                )
            }
            Self::SeveralValues { field } => write!(
                f,
                "documents may have several values in [{field}], and count in several of its groups: it serves what is \
                 grouped by it at every level, and has no condition on it"
            ),
            Self::NotMeasured { field, measure } => {
                write!(f, "it does not keep the {measure} of [{field}]: a job with that metric serves it")
            }
        }
    }
}
