//! Group keys as words: a fixed number of `u64`s per key that compare, as a slice, like the key itself.

use std::collections::HashMap;

use ::tantivy::columnar::MonotonicallyMappableToU64;

use crate::engine::{EngineError, JobContext};
use crate::job::{GroupKey, KeyPart, TermsType};
use crate::sync::Arc;

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
        match self {
            Self::Date | Self::Histogram { .. } | Self::Keyword | Self::Double => 1,
            Self::Integer | Self::Unsigned => 2,
        }
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
            let misfit = || EngineError::rejected(format!("the position {key:?} does not fit the job's groups"));
            let words = &mut words[*at..*at + kind.words()];
            match part {
                KeyPart::Null if *kind != PartKind::Date => {}
                KeyPart::Date(value) if *kind == PartKind::Date => words[0] = value.to_u64(),
                KeyPart::Histogram { number, .. } if matches!(kind, PartKind::Histogram { .. }) => {
                    words[0] = number.to_u64();
                }
                KeyPart::Double(value) if *kind == PartKind::Double => words[0] = value.to_u64(),
                KeyPart::Integer(value) if *kind == PartKind::Integer => words.copy_from_slice(&[1, value.to_u64()]),
                KeyPart::Integer(value) if *kind == PartKind::Unsigned => {
                    words.copy_from_slice(&[1, u64::try_from(*value).map_err(|_| misfit())?]);
                }
                KeyPart::Unsigned(value) if *kind == PartKind::Unsigned => words.copy_from_slice(&[1, *value]),
                KeyPart::Text(text) if *kind == PartKind::Keyword => {
                    words[0] = terms.as_ref().map_or(Ok(1), |terms| terms.word_at(text.as_bytes()))?;
                }
                // Each by its name: a new kind has to be put into words above first.
                KeyPart::Null
                | KeyPart::Date(_)
                | KeyPart::Histogram { .. }
                | KeyPart::Double(_)
                | KeyPart::Integer(_)
                | KeyPart::Unsigned(_)
                | KeyPart::Text(_) => return Err(misfit()),
            }
        }
        Ok(words)
    }

    /// The part of a key that begins with these words. `texts` are those of all keywords among them.
    #[inline]
    pub(super) fn decode(kind: PartKind, words: &[u64], texts: &HashMap<u64, Arc<str>>) -> KeyPart {
        if words[0] == NULL && kind != PartKind::Date {
            return KeyPart::Null;
        }
        match kind {
            PartKind::Date => KeyPart::Date(i64::from_u64(words[0])),
            PartKind::Histogram { interval } => KeyPart::Histogram { number: f64::from_u64(words[0]), interval },
            PartKind::Double => KeyPart::Double(f64::from_u64(words[0])),
            PartKind::Integer => KeyPart::Integer(i64::from_u64(words[1])),
            PartKind::Unsigned => KeyPart::unsigned(words[1]),
            PartKind::Keyword => KeyPart::Text(Arc::clone(&texts[&words[0]])),
        }
    }
}

/// How much memory a part takes.
pub(super) fn bytes_of(part: &KeyPart) -> usize {
    let text = match part {
        KeyPart::Text(text) => text.len(),
        KeyPart::Null
        | KeyPart::Date(_)
        | KeyPart::Histogram { .. }
        | KeyPart::Integer(_)
        | KeyPart::Unsigned(_)
        | KeyPart::Double(_) => 0,
    };
    size_of::<KeyPart>() + text
}
