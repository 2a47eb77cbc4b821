//! Stretches of time in which an engine counts documents, in order to see what has changed, and how marks store them.

/// How long a stretch is, in milliseconds, from the finest on: each is a whole number of those before.
pub(super) const WIDTHS: [i64; 10] =
    [1_000, 10_000, MINUTE, 300_000, 900_000, HOUR, 6 * HOUR, 24 * HOUR, 7 * 24 * HOUR, 28 * 24 * HOUR];
pub(super) const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The next one.
pub(super) fn wider_than(width: i64) -> Option<i64> {
    WIDTHS.into_iter().find(|wider| *wider > width)
}

/// Whole numbers, seven bits in a byte.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// Stretches of this width: of each its beginning, and what else is written of it.
    pub(super) fn stretches<T>(
        &mut self,
        width: i64,
        stretches: impl ExactSizeIterator<Item = (i64, T)>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.number(width.unsigned_abs());
        self.number(stretches.len() as u64);
        let mut last = 0;
        for (start, of) in stretches {
            self.signed((start - last) / width);
            each(self, of);
            last = start;
        }
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// What [`Writer::stretches`] wrote: their width, and each.
    pub(super) fn stretches<T>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<(i64, Vec<(i64, T)>)> {
        let width = i64::try_from(self.number()?).ok().filter(|width| WIDTHS.contains(width))?;
        let (mut stretches, mut start) = (Vec::new(), 0_i64);
        for _ in 0..self.number()? {
            start = start.checked_add(self.signed()?.checked_mul(width)?)?;
            stretches.push((start, each(self)?));
        }
        Some((width, stretches))
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}
