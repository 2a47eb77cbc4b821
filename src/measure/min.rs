use super::{Definition, Measure, MetricValues, Part};

pub(super) const DEFINITION: Definition = Definition {
    name: "min",
    fits_dates: true,
    parts: &[Part {
        suffix: "value",
        measure: Measure::Min,
        store: MetricValues::min,
        restore: |values, stored| values.widen(stored, f64::NEG_INFINITY),
    }],
};
