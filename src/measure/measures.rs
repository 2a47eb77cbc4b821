use std::fmt;
use std::ops::BitOr;

/// What is found out of a field's values in a bucket. Each adds up: two buckets' make that of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Measure {
    /// How many they are.
    Count,
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Count, Self::Sum, Self::Min, Self::Max];
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "number of values",
            Self::Sum => "sum",
            Self::Min => "smallest value",
            Self::Max => "largest value",
        })
    }
}

/// Some measures of one field.
///
/// ```
/// use rollup_jobs::rollup::{Measure, Measures};
///
/// // What an average is made of.
/// let average = Measure::Count | Measure::Sum;
/// assert!(average.has(Measure::Sum) && !average.has(Measure::Max));
/// assert_eq!(average, rollup_jobs::Metric::Avg.measures());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Measures(u8);

impl Measures {
    /// None.
    pub const NONE: Self = Self(0);

    /// All that there are.
    pub const ALL: Self = Self((1 << Measure::ALL.len()) - 1);

    /// Whether this one is among them.
    #[inline]
    #[must_use]
    pub const fn has(self, measure: Measure) -> bool {
        self.0 & 1 << measure as u8 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Measure> {
        Measure::ALL.into_iter().filter(move |measure| self.has(*measure))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl From<Measure> for Measures {
    fn from(measure: Measure) -> Self {
        Self(1 << measure as u8)
    }
}

impl<T: Into<Measures>> BitOr<T> for Measures {
    type Output = Self;

    fn bitor(self, other: T) -> Self {
        Self(self.0 | other.into().0)
    }
}

impl<T: Into<Measures>> BitOr<T> for Measure {
    type Output = Measures;

    fn bitor(self, other: T) -> Measures {
        Measures::from(self) | other
    }
}

impl FromIterator<Measure> for Measures {
    fn from_iter<I: IntoIterator<Item = Measure>>(measures: I) -> Self {
        measures.into_iter().fold(Self::NONE, |all, measure| all | measure)
    }
}
