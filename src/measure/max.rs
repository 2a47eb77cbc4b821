use super::{Definition, Measure, MetricValues, Part};

pub(super) const DEFINITION: Definition = Definition {
    name: "max",
    fits_dates: true,
    parts: &[Part {
        suffix: "value",
        measure: Measure::Max,
        store: MetricValues::max,
        restore: |values, stored| values.widen(f64::INFINITY, stored),
    }],
};
