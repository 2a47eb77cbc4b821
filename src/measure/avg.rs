use super::{Definition, Measure, MetricValues, Part};

/// Sum and count, since averages cannot be added up. Unlike the metrics `sum` and `value_count` there is none of
/// nothing.
pub(super) const DEFINITION: Definition = Definition {
    name: "avg",
    fits_dates: false,
    parts: &[
        Part {
            suffix: "value",
            measure: Measure::Sum,
            store: |values| if values.is_empty() { f64::NAN } else { values.sum() },
            restore: MetricValues::set_sum,
        },
        Part {
            suffix: "_count",
            measure: Measure::Count,
            store: |values| if values.is_empty() { f64::NAN } else { values.count_as_double() },
            restore: MetricValues::set_count,
        },
    ],
};
