//! Numbers of a column, packed into as few bits as they need: the bytes that tantivy writes, in a fraction of the time.
//!
//! Tantivy takes one value after the other from an iterator that it does not know, twice, and cannot be told to stop.

use std::io;

use ::tantivy::columnar::column_values::CodecType;

use super::directory::GiveUp;

/// How many values are taken between two looks at whether they are still wanted.
const BETWEEN_CHECKS: usize = 1 << 12;
/// What marks the last byte of a number of variable length.
const LAST_BYTE: u8 = 1 << 7;
/// More bits than these are written as a whole word.
const MOST_BITS: u32 = 56;

/// What packing has to know of all values.
struct Span {
    least: u64,
    greatest: u64,
    /// What all differences divide by.
    step: u64,
}

/// Appends the values to a buffer. Fails soon after the work was given up.
pub(super) fn write(values: &[u64], work: &GiveUp, out: &mut Vec<u8>) -> io::Result<()> {
    let Span { least, greatest, step } = Span::of(values, work)?;
    let steps = (greatest - least) / step;
    out.push(CodecType::Bitpacked as u8);
    for number in [least, step, steps, values.len() as u64] {
        write_number(number, out);
    }
    let bits = match u64::BITS - steps.leading_zeros() {
        bits @ 0..=MOST_BITS => bits,
        _ => u64::BITS,
    };
    let mut packer = Packer { out, word: 0, filled: 0, bits };
    let mut previous = (least, 0);
    for values in values.chunks(BETWEEN_CHECKS) {
        work.check()?;
        packer.out.reserve(size_of_val(values));
        if step == 1 {
            for value in values {
                packer.push(value - least);
            }
            continue;
        }
        for value in values {
            // Dates, above all, are the same in many documents that follow each other.
            if *value != previous.0 {
                previous = (*value, (value - least) / step);
            }
            packer.push(previous.1);
        }
    }
    packer.finish();
    Ok(())
}

impl Span {
    fn of(values: &[u64], work: &GiveUp) -> io::Result<Self> {
        let Some(&first) = values.first() else { return Ok(Self { least: 0, greatest: 0, step: 1 }) };
        let (mut least, mut greatest, mut step, mut previous) = (first, first, 0, first);
        for values in values.chunks(BETWEEN_CHECKS) {
            work.check()?;
            for value in values {
                (least, greatest) = (least.min(*value), greatest.max(*value));
            }
            for value in values {
                if step == 1 {
                    break;
                }
                if *value != previous {
                    step = common_divisor(value.abs_diff(first), step);
                    previous = *value;
                }
            }
        }
        Ok(Self { least, greatest, step: step.max(1) })
    }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Seven bits a byte, the low ones first.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = (number % u64::from(LAST_BYTE)).to_le_bytes();
        number /= u64::from(LAST_BYTE);
        if number == 0 {
            return out.push(low | LAST_BYTE);
        }
        out.push(low);
    }
}

/// Numbers one behind the other, the low bits first.
struct Packer<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    filled: u32,
    bits: u32,
}

impl Packer<'_> {
    #[inline]
    fn push(&mut self, value: u64) {
        self.word |= value << self.filled;
        let filled = self.filled + self.bits;
        if filled < u64::BITS {
            self.filled = filled;
            return;
        }
        self.out.extend_from_slice(&self.word.to_le_bytes());
        // What of it has had no room.
        self.word = value.checked_shr(u64::BITS - self.filled).unwrap_or(0);
        self.filled = filled - u64::BITS;
    }

    fn finish(self) {
        let bytes = self.filled.div_ceil(u8::BITS) as usize;
        self.out.extend_from_slice(&self.word.to_le_bytes()[..bytes]);
    }
}

#[cfg(test)]
mod tests {
    use ::tantivy::columnar::column_values::serialize_u64_based_column_values;
    use proptest::prelude::*;

    use super::*;

    fn by_tantivy(values: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        serialize_u64_based_column_values::<u64>(&values, &[CodecType::Bitpacked], &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_tantivy(
            values in prop::collection::vec(any::<u64>(), 0..300),
            bits in 0..=64_u32,
            step in prop_oneof![Just(1_u64), Just(3_600_000_000_000), 1..1_000_u64],
            least in any::<u64>(),
            repeat in 1..4_usize,
        ) {
            let fits = |value: &u64| {
                let value = value.checked_shr(64 - bits).unwrap_or(0);
                value.checked_mul(step).and_then(|value| value.checked_add(least)).unwrap_or(least)
            };
            let values: Vec<u64> = values.iter().map(fits).flat_map(|value| vec![value; repeat]).collect();
            let mut out = Vec::new();
            write(&values, &GiveUp::default(), &mut out).unwrap();
            prop_assert_eq!(out, by_tantivy(&values));
        }
    }

    #[test]
    fn what_was_given_up_is_not_written() {
        let work = GiveUp::default();
        work.give_up();
        assert!(write(&[1, 2, 3], &work, &mut Vec::new()).is_err());
    }
}
