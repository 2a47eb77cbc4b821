//! Documents that came after their time was rolled up: how many, and how late they were.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many documents came after a job had rolled up the time that they are of, what became of them, and how late they
/// were. It is saved with the job's progress.
///
/// Only an engine that notices what comes counts it; of what a host
/// [notes](crate::RollupJobManager::note_change), nobody knows how many documents it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LateDocuments {
    /// How many were noticed.
    pub noticed: u64,
    /// How many of them came where raw documents are [sealed](crate::RollupJobManager::seal_before): they are refused,
    /// which is to say that they are never rolled up.
    pub refused: u64,
    /// How many source documents were read again to roll up anew what had changed, with all others of their date
    /// buckets.
    pub read_again: u64,
    /// How late they were.
    #[serde(skip_serializing_if = "Lateness::is_empty")]
    pub lateness: Lateness,
}

impl LateDocuments {
    pub(crate) fn none() -> &'static Self {
        static NONE: LateDocuments = LateDocuments {
            noticed: 0,
            refused: 0,
            read_again: 0,
            lateness: Lateness { classes: BTreeMap::new(), max_millis: 0 },
        };
        &NONE
    }

    pub(crate) fn is_empty(&self) -> bool {
        self == Self::none()
    }

    /// So many documents have come, this long after their date.
    pub(crate) fn add(&mut self, documents: u64, late_by: Duration, is_refused: bool) {
        self.noticed += documents;
        self.refused += if is_refused { documents } else { 0 };
        self.lateness.add(documents, late_by);
    }

    /// Counts what was counted elsewhere.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.noticed += other.noticed;
        self.refused += other.refused;
        self.read_again += other.read_again;
        self.lateness.merge(&other.lateness);
    }
}

/// How long after their date documents came, when that was noticed: a histogram whose classes are a fifth wide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lateness {
    /// How many documents, by class.
    classes: BTreeMap<u16, u64>,
    max_millis: u64,
}

/// Classes for each doubling.
const CLASSES: f64 = 4.0;

impl Lateness {
    /// Whether no document was late.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// How late the latest document was.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_millis(self.max_millis))
    }

    /// How late this share of the documents was at most, up to a fifth too much: `0.5` for the median, `0.99` for all
    /// but one of a hundred. `None` if there are none.
    ///
    /// A job's [`delay`](crate::DateHistogram::delay) of this length would have had this share in time.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank among documents"
    )]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.classes.values().sum();
        let rank = ((all as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        let class = self.classes.iter().find(|(_, documents)| {
            seen += **documents;
            seen >= rank
        });
        let (class, _) = class?;
        let end = ((f64::from(*class) + 1.0) / CLASSES).exp2() as u64;
        Some(Duration::from_millis(end.min(self.max_millis)))
    }

    fn add(&mut self, documents: u64, late_by: Duration) {
        let millis = u64::try_from(late_by.as_millis()).unwrap_or(u64::MAX);
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "256 classes at most")]
        #[expect(clippy::cast_sign_loss, reason = "of one and more")]
        let class = ((millis.max(1) as f64).log2() * CLASSES) as u16;
        *self.classes.entry(class).or_default() += documents;
        self.max_millis = self.max_millis.max(millis);
    }

    fn merge(&mut self, other: &Self) {
        for (class, documents) in &other.classes {
            *self.classes.entry(*class).or_default() += documents;
        }
        self.max_millis = self.max_millis.max(other.max_millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_fifth_too_large() {
        let mut lateness = Lateness::default();
        assert_eq!((lateness.quantile(0.5), lateness.max()), (None, None));
        for seconds in 1..=1_000 {
            lateness.add(1, Duration::from_secs(seconds));
        }
        for (share, exact) in [(0.001, 1.0), (0.5, 500.0), (0.99, 990.0)] {
            let found = lateness.quantile(share).unwrap().as_secs_f64();
            assert!((exact..exact * 1.2).contains(&found), "{share}: {found}");
        }
        assert_eq!(lateness.quantile(1.0), Some(Duration::from_secs(1_000)));
        let mut twice = lateness.clone();
        twice.merge(&lateness);
        assert_eq!(twice.quantile(0.99), lateness.quantile(0.99));
        let printed = serde_json::to_string(&twice).unwrap();
        assert_eq!(serde_json::from_str::<Lateness>(&printed).unwrap(), twice);
    }

    #[test]
    fn what_has_no_length_or_no_end_has_a_class_too() {
        let mut lateness = Lateness::default();
        lateness.add(1, Duration::ZERO);
        lateness.add(1, Duration::MAX);
        assert_eq!(lateness.quantile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(lateness.max(), Some(Duration::from_millis(u64::MAX)));
    }
}
