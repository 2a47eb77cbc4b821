//! Group keys as words: a fixed number of `u64`s per key that compare, as a slice, like the key itself.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use crate::engine::{EngineError, JobContext};
use crate::job::{GroupKey, KeyPart, TermsType};

use super::terms::KeywordTerms;

/// The word that stands for "no value". No value's own first word is zero.
pub(super) const NULL: u64 = 0;

/// How a part of the key is put into words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PartKind {
    Date,
    /// The bucket's number, a whole double.
    Histogram {
        interval: f64,
    },
    /// Twice the place of the term among all terms, and two more: odd words lie between terms.
    Keyword,
    /// A word that is one, then the value: it takes all 64 bits.
    Integer,
    Unsigned,
    Double,
}

impl PartKind {
    pub(super) fn words(self) -> usize {
        if matches!(self, Self::Integer | Self::Unsigned) { 2 } else { 1 }
    }
}

/// The parts of a job's keys and where their words begin.
pub(super) struct KeyShape {
    parts: Vec<(PartKind, usize)>,
    stride: usize,
}

impl KeyShape {
    pub(super) fn of(job: &JobContext) -> Self {
        let groups = job.config().groups();
        let interval = groups.histogram().map_or(1.0, crate::job::Histogram::interval);
        let histogram = groups.histogram_fields().iter().map(|_| PartKind::Histogram { interval });
        let terms = job.terms_types().iter().map(|terms| match terms {
            TermsType::Keyword => PartKind::Keyword,
            TermsType::Integer => PartKind::Integer,
            TermsType::Unsigned => PartKind::Unsigned,
            TermsType::Floating => PartKind::Double,
        });
        let mut stride = 0;
        let kinds = std::iter::once(PartKind::Date).chain(histogram).chain(terms);
        let mut parts = Vec::new();
        for kind in kinds {
            parts.push((kind, stride));
            stride += kind.words();
        }
        Self { parts, stride }
    }

    /// How many words a key has.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn parts(&self) -> &[(PartKind, usize)] {
        &self.parts
    }

    /// The words of a key that may name terms which do not exist (any more).
    pub(super) fn encode(&self, key: &GroupKey, terms: &[Option<KeywordTerms>]) -> Result<Vec<u64>, EngineError> {
        let mut words = vec![NULL; self.stride];
        if key.len() != self.parts.len() {
            return Err(EngineError::rejected(format!("the position {key:?} does not fit the job's groups")));
        }
        for ((part, (kind, at)), terms) in key.iter().zip(&self.parts).zip(terms) {
            match (kind, part) {
                (_, KeyPart::Null) => {}
                (PartKind::Date, KeyPart::Date(value)) => words[*at] = value.to_u64(),
                (PartKind::Histogram { .. }, KeyPart::Histogram { number, .. }) => words[*at] = number.to_u64(),
                (PartKind::Double, KeyPart::Double(value)) => words[*at] = value.to_u64(),
                (PartKind::Integer, KeyPart::Integer(value)) => {
                    words[*at..*at + 2].copy_from_slice(&[1, value.to_u64()]);
                }
                (PartKind::Unsigned, KeyPart::Integer(value)) => {
                    words[*at..*at + 2].copy_from_slice(&[1, value.unsigned_abs()]);
                }
                (PartKind::Unsigned, KeyPart::Unsigned(value)) => words[*at..*at + 2].copy_from_slice(&[1, *value]),
                (PartKind::Keyword, KeyPart::Text(text)) => {
                    words[*at] = terms.as_ref().map_or(Ok(1), |terms| terms.word_at(text.as_bytes()))?;
                }
                _ => return Err(EngineError::rejected(format!("the position {key:?} does not fit the job's groups"))),
            }
        }
        Ok(words)
    }

    /// The part of a key that is not a keyword.
    pub(super) fn decode(kind: PartKind, words: &[u64]) -> KeyPart {
        match (kind, words) {
            (PartKind::Date, [word, ..]) => KeyPart::Date(i64::from_u64(*word)),
            (_, [NULL, ..]) => KeyPart::Null,
            (PartKind::Histogram { interval }, [word, ..]) => {
                KeyPart::Histogram { number: f64::from_u64(*word), interval }
            }
            (PartKind::Double, [word, ..]) => KeyPart::Double(f64::from_u64(*word)),
            (PartKind::Integer, [_, word, ..]) => KeyPart::Integer(i64::from_u64(*word)),
            (PartKind::Unsigned, [_, word, ..]) => KeyPart::unsigned(*word),
            // Keywords are looked up by their caller; a key has all its words.
            _ => KeyPart::Null,
        }
    }
}
