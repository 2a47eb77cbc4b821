use super::{Measure, Measures};

/// The values of one field in one bucket: how many, their sum, the smallest and the largest.
///
/// The sum is compensated (Kahan), as Elasticsearch's is. A value that is NaN or infinite counts as missing:
/// Elasticsearch refuses to index such values, so there is no behaviour of its to match.
///
/// ```
/// use rollup_jobs::rollup::MetricValues;
///
/// let mut values = MetricValues::default();
/// for value in [0.1; 10] {
///     values.add(value);
/// }
/// values.add(f64::NAN);
/// assert_eq!((values.count(), values.sum(), values.min()), (10, 1.0, 0.1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricValues {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// What the sum is too large by.
    pub(crate) compensation: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Default for MetricValues {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, compensation: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl MetricValues {
    /// Values that something else has summed up. (Engines of this crate name all fields instead, so that a new one does
    /// not compile until each of them has found it out.)
    #[must_use]
    pub fn from_parts(count: u64, sum: f64, min: f64, max: f64) -> Self {
        Self { count, sum, compensation: 0.0, min, max }
    }

    /// The same with what the sum is too large by.
    #[must_use]
    pub fn compensated_by(mut self, compensation: f64) -> Self {
        self.compensation = compensation;
        self
    }

    /// Takes one more value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count += 1;
            self.widen(value, value);
            self.add_to_sum(value);
        }
    }

    /// Takes the values of another part of the bucket. The sum is as exact as if they had been added one by one.
    pub fn merge(&mut self, other: &Self) {
        let Self { count, sum, compensation, min, max } = *other;
        self.count += count;
        self.widen(min, max);
        self.add_to_sum(sum);
        self.add_to_sum(-compensation);
    }

    /// The same of the values of several fields, each in its place.
    pub(crate) fn merge_each(all: &mut [Self], others: &[Self]) {
        all.iter_mut().zip(others).for_each(|(all, other)| all.merge(other));
    }

    /// Takes one measure of another part of the bucket, as it is stored in a rolled-up document.
    #[inline]
    pub fn merge_stored(&mut self, measure: Measure, stored: f64) {
        match measure {
            Measure::Count => self.count += whole_count(stored),
            Measure::Sum => self.add_to_sum(stored),
            Measure::Min => self.widen(stored, f64::NEG_INFINITY),
            Measure::Max => self.widen(f64::INFINITY, stored),
        }
    }

    /// These measures; all others are those of no values.
    #[must_use]
    pub fn only(&self, measures: Measures) -> Self {
        let mut only = Self::default();
        for measure in measures.iter() {
            match measure {
                Measure::Count => only.count = self.count,
                Measure::Sum => (only.sum, only.compensation) = (self.sum, self.compensation),
                Measure::Min => only.min = self.min,
                Measure::Max => only.max = self.max,
            }
        }
        only
    }

    /// As Java has it, -0.0 is less than 0.0.
    #[inline]
    pub(super) fn widen(&mut self, min: f64, max: f64) {
        self.min = if min.total_cmp(&self.min).is_lt() { min } else { self.min };
        self.max = if max.total_cmp(&self.max).is_gt() { max } else { self.max };
    }

    #[inline]
    fn add_to_sum(&mut self, value: f64) {
        let corrected = value - self.compensation;
        let sum = self.sum + corrected;
        // Once the sum has overflowed there is nothing to compensate any more.
        self.compensation = if sum.is_finite() { (sum - self.sum) - corrected } else { 0.0 };
        self.sum = sum;
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum, 0 for none.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest, infinity for none.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest, minus infinity for none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// As it is stored: a double, as in Elasticsearch.
    #[expect(clippy::cast_precision_loss, reason = "no bucket has 2^53 documents")]
    pub(super) fn count_as_double(&self) -> f64 {
        self.count as f64
    }

    /// Of what something else has counted.
    pub(super) fn set_count(&mut self, count: f64) {
        self.count = whole_count(count);
    }

    /// What something else has summed up, compensated or not.
    pub(super) fn set_sum(&mut self, sum: f64) {
        (self.sum, self.compensation) = (sum, 0.0);
    }
}

/// A count that was stored as a double.
#[inline]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a stored count is a whole number")]
pub(crate) fn whole_count(count: f64) -> u64 {
    count as u64
}
