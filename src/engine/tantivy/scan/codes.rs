//! Codes: all that a key has besides its date as one small number, where there are few such keys.

use crate::exact::exact;
use ::tantivy::columnar::{Column, MonotonicallyMappableToU64};

use super::columns::{Coder, KeyColumn, Number, Segment};
use super::keys::{KeyShape, NULL, PartKind};
use super::lane::{Documents, Lane, Values};
use super::terms::{self, KeywordTerms};
use super::timeline::NONE;

/// The most codes that there may be.
const MAX_CODES: usize = 1 << 16;
/// Up to here a whole double is exact, and one and a half as well.
const MAX_EXACT: f64 = 2_251_799_813_685_248.0;
/// The quotient of a product is next to a whole number, on either side of it.
const TO_NEAREST: f64 = 0.5;

/// The numbering of all that keys have besides the date. Codes are in the order of the keys.
pub(super) struct Codes {
    digits: Vec<Digit>,
    len: usize,
}

/// The part of a code that stands for a part of the key.
#[derive(Clone, Copy)]
struct Digit {
    part: PartKind,
    /// What the digit one stands for; zero stands for no value.
    first: First,
    count: usize,
    weight: usize,
}

#[derive(Clone, Copy)]
enum First {
    /// The first term.
    Term,
    /// The number of a histogram's bucket.
    Number(f64),
    /// An integer as its column holds it.
    Raw(u64),
}

impl Codes {
    /// The numbering, if there are not too many keys.
    pub(super) fn of(shape: &KeyShape, segments: &[Segment], terms: &[Option<KeywordTerms>]) -> Option<Self> {
        let (mut digits, mut len) = (Vec::new(), 1_usize);
        // The last part is what changes fastest.
        for (at, (part, _)) in shape.parts().iter().enumerate().skip(1).rev() {
            let columns = segments.iter().filter_map(|segment| segment.keys[at - 1].as_ref());
            let (first, values) = match part {
                PartKind::Keyword => (First::Term, terms[at].as_ref()?.len()),
                PartKind::Histogram { interval } => numbers(columns, *interval)?,
                PartKind::Integer | PartKind::Unsigned => integers(columns)?,
                PartKind::Double | PartKind::Date => return None,
            };
            let count = values.checked_add(1)?;
            digits.push(Digit { part: *part, first, count, weight: len });
            len = len.checked_mul(count).filter(|len| *len <= MAX_CODES)?;
        }
        digits.reverse();
        Some(Self { digits, len })
    }

    /// The place of a code in a row of a table of rows of codes.
    #[inline]
    pub(super) fn place(&self, row: u32, code: u32) -> u32 {
        row * exact::<u32, _>(self.len) + code
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What the values of a column contribute to codes.
    pub(super) fn share<'a>(&self, part: usize, column: &'a KeyColumn) -> Share<'a> {
        let Digit { first, weight, .. } = self.digits[part];
        let weight = exact::<u32, _>(weight);
        match (first, column.coder()) {
            (First::Term, Coder::Keyword(Some(places))) => Share::Place { places, weight },
            (First::Number(first), Coder::Histogram { interval, number }) => {
                Share::Number { number: *number, interval: *interval, shift: 0.0, first, weight }
            }
            (First::Number(first), Coder::RoundedHistogram { interval }) => {
                Share::Number { number: Number::Double, interval: *interval, shift: TO_NEAREST, first, weight }
            }
            (First::Raw(first), _) => Share::Raw { first, weight },
            _ => Share::Raw { first: 0, weight },
        }
    }

    pub(super) fn part(&self, part: usize) -> PartKind {
        self.digits[part].part
    }

    pub(super) fn parts(&self) -> usize {
        self.digits.len()
    }

    /// The words of the key of a code, behind the date.
    pub(super) fn words(&self, code: usize) -> Vec<u64> {
        let mut words = Vec::new();
        for digit in &self.digits {
            let value = code / digit.weight % digit.count;
            let begin = words.len();
            words.resize(begin + digit.part.words(), NULL);
            if value == 0 {
                continue;
            }
            let after_first = value as u64 - 1;
            match digit.first {
                First::Term => words[begin] = terms::word(after_first),
                #[expect(clippy::cast_precision_loss, reason = "there are not so many")]
                First::Number(first) => words[begin] = (first + after_first as f64).to_u64(),
                First::Raw(first) => words[begin..begin + 2].copy_from_slice(&[1, first + after_first]),
            }
        }
        words
    }

    /// How many codes have keys that are lower than these words, or the same if `included` is not set.
    pub(super) fn first_from(&self, words: &[u64], included: bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = usize::midpoint(low, high);
            let found = self.words(middle);
            let is_before = if included { *found < *words } else { *found <= *words };
            if is_before { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// What a value contributes to the code of its document.
#[derive(Clone, Copy)]
pub(super) enum Share<'a> {
    Raw { first: u64, weight: u32 },
    Place { places: &'a [u32], weight: u32 },
    Number { number: Number, interval: f64, shift: f64, first: f64, weight: u32 },
}

impl Share<'_> {
    /// For one value.
    pub(super) fn of(self, raw: u64) -> u32 {
        match self {
            Self::Raw { first, weight } => raw_share(raw, first, weight),
            Self::Place { places, weight } => place_share(raw, places, weight),
            Self::Number { number, interval, shift, first, weight } => {
                number_share(bucket_number(number.to_double(raw), interval, shift), first, weight)
            }
        }
    }

    /// Adds to the place of each document, unless that is [`NONE`], what its value in a column contributes. One with
    /// several values has no place any more, and `has_several` gets it.
    pub(super) fn add<D: Documents + ?Sized>(
        self,
        column: &Column<u64>,
        documents: &D,
        lane: &mut Lane,
        places: &mut [u32],
        has_several: impl FnMut(usize),
    ) {
        match self {
            Self::Raw { first, weight } => {
                add_shares(column, documents, lane, places, |raw| raw_share(raw, first, weight), has_several);
            }
            Self::Place { places: of_terms, weight } => {
                add_shares(column, documents, lane, places, |raw| place_share(raw, of_terms, weight), has_several);
            }
            Self::Number { number, interval, shift, first, weight } => {
                let share = |raw| number_share(bucket_number(number.to_double(raw), interval, shift), first, weight);
                add_shares(column, documents, lane, places, share, has_several);
            }
        }
    }
}

/// A loop for each kind of share, so that none has to look for each value which it is.
#[inline]
fn add_shares<D: Documents + ?Sized>(
    column: &Column<u64>,
    documents: &D,
    lane: &mut Lane,
    places: &mut [u32],
    share: impl Fn(u64) -> u32,
    mut has_several: impl FnMut(usize),
) {
    if lane.read(column, documents) {
        // Without a branch, so that a processor does several at once.
        for (place, raw) in places.iter_mut().zip(&lane.raw) {
            *place = if *place == NONE { NONE } else { place.wrapping_add(share(*raw)) };
        }
        return;
    }
    let found = lane.raw.iter().zip(&lane.values);
    for (at, (place, (raw, values))) in
        places.iter_mut().zip(found).enumerate().filter(|(_, (place, _))| **place != NONE)
    {
        match values {
            Values::None => {}
            Values::One => *place += share(*raw),
            Values::Several => {
                *place = NONE;
                has_several(at);
            }
        }
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "codes are few")]
fn raw_share(raw: u64, first: u64, weight: u32) -> u32 {
    ((raw - first) as u32 + 1) * weight
}

#[inline]
fn place_share(raw: u64, places: &[u32], weight: u32) -> u32 {
    (places[exact::<usize, _>(raw)] + 1) * weight
}

#[inline]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "codes are few, and none is negative")]
fn number_share(number: f64, first: f64, weight: u32) -> u32 {
    ((number - first) as u32 + 1) * weight
}

/// The number of a histogram's bucket.
#[inline]
fn bucket_number(value: f64, interval: f64, shift: f64) -> f64 {
    (value / interval + shift).floor()
}

/// The numbers of a histogram's buckets that there can be, if all are finite.
fn numbers<'a>(columns: impl Iterator<Item = &'a KeyColumn>, interval: f64) -> Option<(First, usize)> {
    let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
    for column in columns.filter(|column| column.column.values.num_vals() > 0) {
        let (number, shift) = match column.coder() {
            Coder::Histogram { number, .. } => (*number, 0.0),
            Coder::RoundedHistogram { .. } => (Number::Double, TO_NEAREST),
            Coder::Keyword(_) | Coder::Integer | Coder::Unsigned | Coder::Double => return None,
        };
        let values = [column.column.min_value(), column.column.max_value()];
        for value in values.map(|raw| bucket_number(number.to_double(raw), interval, shift)) {
            if !value.is_finite() {
                return None;
            }
            (first, last) = (first.min(value), last.max(value));
        }
    }
    if first > last {
        return Some((First::Number(0.0), 0));
    }
    if first.abs().max(last.abs()) >= MAX_EXACT {
        return None;
    }
    // Too many are too many, however they are cast.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative")]
    let count = (last - first) as usize;
    Some((First::Number(first + 0.0), count.checked_add(1)?))
}

/// The integers that there can be.
fn integers<'a>(columns: impl Iterator<Item = &'a KeyColumn>) -> Option<(First, usize)> {
    let (mut first, mut last) = (u64::MAX, 0);
    for column in columns.filter(|column| column.column.values.num_vals() > 0) {
        (first, last) = (first.min(column.column.min_value()), last.max(column.column.max_value()));
    }
    if first > last {
        return Some((First::Raw(0), 0));
    }
    Some((First::Raw(first), usize::try_from(last - first).ok()?.checked_add(1)?))
}
