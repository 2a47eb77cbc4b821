use super::{Definition, Measure, MetricValues, Part};

/// 0 of nothing.
pub(super) const DEFINITION: Definition = Definition {
    name: "value_count",
    fits_dates: true,
    parts: &[Part {
        suffix: "value",
        measure: Measure::Count,
        store: MetricValues::count_as_double,
        restore: MetricValues::set_count,
    }],
};
