//! A block whose documents are all in one group, as they are where long date buckets are all that is grouped by: its
//! values are added up beside each other, and not each to what the one before has left.

use ::tantivy::columnar::MonotonicallyMappableToU64;

use super::cells::{self, Sums};
use super::timeline::NONE;
use crate::measure::Measure;

/// So many sums are on their way at once: an addition takes as long as four more can be begun, and there are two of
/// them in each step.
const LANES: usize = 8;

/// The one group of all documents of a block, if there is one.
#[inline]
pub(super) fn only_slot(slots: &[u32]) -> Option<u32> {
    let (first, last) = (*slots.first()?, *slots.last()?);
    (first == last && first != NONE && slots.iter().all(|slot| *slot == first)).then_some(first)
}

/// Adds a measure of other values in each document.
pub(super) fn merge_all(cell: &mut [u64], word: usize, measure: Measure, raw: &[u64]) {
    match measure {
        Measure::Count => raw.iter().for_each(|raw| cells::merge(cell, word, measure, *raw)),
        Measure::Sum => match compensated(raw) {
            Some((sum, compensation)) => {
                cells::merge(cell, word, measure, sum.to_u64());
                cells::merge(cell, word, measure, (-compensation).to_u64());
            }
            // An infinity compensates nothing.
            None => raw.iter().for_each(|raw| cells::merge(cell, word, measure, *raw)),
        },
        Measure::Min => cell[word] = least(raw).min(cell[word]),
        Measure::Max => cell[word] = greatest(raw).max(cell[word]),
    }
}

/// Adds a measure of one value in each document.
pub(super) fn add_all(cell: &mut [u64], word: usize, measure: Measure, raw: &[u64]) {
    match measure {
        Measure::Count => cell[word] += raw.len() as u64,
        Measure::Sum | Measure::Min | Measure::Max => merge_all(cell, word, measure, raw),
    }
}

/// Adds sum, least and greatest of one value in each document.
pub(super) fn add_sums(sums: &mut Sums, raw: &[u64]) {
    let Some((sum, compensation)) = compensated(raw) else {
        for raw in raw {
            cells::add_small(sums, *raw);
        }
        return;
    };
    cells::merge_sums(sums, [sum.to_u64(), least(raw), greatest(raw)]);
    cells::merge_sums(sums, [(-compensation).to_u64(), u64::MAX, 0]);
}

fn least(raw: &[u64]) -> u64 {
    raw.iter().copied().fold(u64::MAX, u64::min)
}

fn greatest(raw: &[u64]) -> u64 {
    raw.iter().copied().fold(0, u64::max)
}

/// The sum, and what it is too large by. `None` if it is beyond all numbers.
fn compensated(raw: &[u64]) -> Option<(f64, f64)> {
    let (mut sums, mut compensations) = ([0.0; LANES], [0.0; LANES]);
    let (chunks, rest) = raw.as_chunks::<LANES>();
    let mut add = |lane: usize, raw: u64| {
        (sums[lane], compensations[lane]) = plus((sums[lane], compensations[lane]), f64::from_u64(raw));
    };
    for chunk in chunks {
        for (lane, raw) in chunk.iter().enumerate() {
            add(lane, *raw);
        }
    }
    for (lane, raw) in rest.iter().enumerate() {
        add(lane, *raw);
    }
    let lanes = sums.into_iter().zip(compensations);
    let total = lanes.fold((0.0, 0.0), |total, (sum, compensation)| plus(plus(total, sum), -compensation));
    total.0.is_finite().then_some(total)
}

/// One value more (Kahan).
#[inline]
fn plus((sum, compensation): (f64, f64), value: f64) -> (f64, f64) {
    let corrected = value - compensation;
    let after = sum + corrected;
    (after, (after - sum) - corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_compensated_whatever_the_lane() {
        for count in [1, 7, 8, 9, 64, 511] {
            let raw: Vec<u64> = (0..count).map(|_| 0.1_f64.to_u64()).collect();
            let (sum, compensation) = compensated(&raw).unwrap();
            let expected = f64::from(count) * 0.1;
            assert!((sum - compensation - expected).abs() <= f64::EPSILON * expected, "{count}: {sum}");
        }
        let beyond = [f64::MAX.to_u64(), f64::MAX.to_u64()].repeat(9);
        assert_eq!(compensated(&beyond), None);
        assert_eq!((only_slot(&[3, 3, 3]), only_slot(&[3, 4, 3]), only_slot(&[NONE, NONE])), (Some(3), None, None));
        assert_eq!(only_slot(&[]), None);
    }
}
