use super::{Definition, Measure, MetricValues, Part};

/// 0 of nothing.
pub(super) const DEFINITION: Definition = Definition {
    name: "sum",
    fits_dates: false,
    parts: &[Part { suffix: "value", measure: Measure::Sum, store: MetricValues::sum, restore: MetricValues::set_sum }],
};
