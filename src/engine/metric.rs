/// The values of one field in one bucket: how many, their sum, the smallest and the largest.
///
/// The sum is compensated (Kahan), as Elasticsearch's is. A value that is NaN or infinite counts as missing:
/// Elasticsearch refuses to index such values, so there is no behaviour of its to match.
///
/// ```
/// use rollup_jobs::engine::MetricValues;
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
    count: u64,
    sum: f64,
    compensation: f64,
    min: f64,
    max: f64,
}

impl Default for MetricValues {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, compensation: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl MetricValues {
    /// Values that something else has summed up.
    #[must_use]
    pub fn from_parts(count: u64, sum: f64, min: f64, max: f64) -> Self {
        Self { count, sum, compensation: 0.0, min, max }
    }

    /// Takes one more value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let corrected = value - self.compensation;
        let sum = self.sum + corrected;
        // Once the sum has overflowed there is nothing to compensate any more.
        self.compensation = if sum.is_finite() { (sum - self.sum) - corrected } else { 0.0 };
        self.sum = sum;
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
}
