//! Group keys as words: a fixed number of `u64`s per key that compare, as a slice, like the key itself.

use std::collections::HashMap;

use ::tantivy::columnar::MonotonicallyMappableToU64;

use crate::engine::EngineError;
use crate::job::{GroupKey, KeyPart, TermsType};
use crate::rollup::{Grouping, KeyKind};
use crate::sync::Arc;

use super::terms::KeywordTerms;

/// The word that stands for "no value". No value's own first word is zero.
pub(super) const NULL: u64 = 0;

/// How a part of the key is put into words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine::tantivy) enum PartKind {
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
    pub(super) fn of(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Histogram { interval } => Self::Histogram { interval },
            KeyKind::Terms(TermsType::Keyword) => Self::Keyword,
            KeyKind::Terms(TermsType::Integer) => Self::Integer,
            KeyKind::Terms(TermsType::Unsigned) => Self::Unsigned,
            KeyKind::Terms(TermsType::Floating) => Self::Double,
        }
    }

    pub(super) fn words(self) -> usize {
        match self {
            Self::Date | Self::Histogram { .. } | Self::Keyword | Self::Double => 1,
            Self::Integer | Self::Unsigned => 2,
        }
    }
}

/// The parts of keys and where their words begin. The first is always the date; where nothing is grouped by date it is
/// the same in all keys, and no part of what is delivered.
pub(super) struct KeyShape {
    parts: Vec<(PartKind, usize)>,
    stride: usize,
    has_date: bool,
}

impl KeyShape {
    pub(super) fn of(grouping: &Grouping) -> Self {
        let mut stride = 0;
        let kinds = grouping.keys().iter().map(|key| PartKind::of(key.kind));
        let mut parts = Vec::new();
        for kind in std::iter::once(PartKind::Date).chain(kinds) {
            parts.push((kind, stride));
            stride += kind.words();
        }
        Self { parts, stride, has_date: grouping.grid().is_some() }
    }

    /// The parts of keys that are delivered.
    pub(super) fn delivered(&self) -> &[(PartKind, usize)] {
        &self.parts[usize::from(!self.has_date)..]
    }

    /// Whether the date bucket is a part of keys.
    pub(super) fn has_date(&self) -> bool {
        self.has_date
    }

    /// How many words a key has.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn parts(&self) -> &[(PartKind, usize)] {
        &self.parts
    }

    /// The words of a key that may name terms which do not exist (any more), and `date` where it has none.
    pub(super) fn encode(
        &self,
        key: &GroupKey,
        date: u64,
        terms: &[Option<KeywordTerms>],
    ) -> Result<Vec<u64>, EngineError> {
        let mut words = vec![NULL; self.stride];
        words[0] = date;
        let delivered = usize::from(!self.has_date);
        for ((part, (kind, at)), terms) in key.iter().zip(&self.parts[delivered..]).zip(&terms[delivered..]) {
            let misfit = || EngineError::rejected(format!("the position {key:?} does not fit the job's groups"));
            let words = &mut words[*at..*at + kind.words()];
            match part {
                KeyPart::Null => {}
                KeyPart::Date(value) => words[0] = value.to_u64(),
                KeyPart::Histogram { number, .. } => words[0] = number.to_u64(),
                KeyPart::Double(value) => words[0] = value.to_u64(),
                KeyPart::Integer(value) if *kind == PartKind::Unsigned => {
                    words.copy_from_slice(&[1, u64::try_from(*value).map_err(|_| misfit())?]);
                }
                KeyPart::Integer(value) => words.copy_from_slice(&[1, value.to_u64()]),
                KeyPart::Unsigned(value) => words.copy_from_slice(&[1, *value]),
                KeyPart::Text(text) => {
                    words[0] = terms.as_ref().map_or(Ok(1), |terms| terms.word_at(text.as_bytes()))?;
                }
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
