//! Conversions that cannot fail: should one fail all the same, nothing goes on with a wrong value.

use std::fmt;

/// A number as another type, which has it.
#[inline]
#[track_caller]
pub(crate) fn exact<T: TryFrom<U>, U: Copy + fmt::Display>(value: U) -> T {
    T::try_from(value).unwrap_or_else(|_| out_of_range(&value))
}

#[cold]
#[track_caller]
fn out_of_range(value: &dyn fmt::Display) -> ! {
    panic!("{value} is out of range, which it cannot be: please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_as_it_was() {
        assert_eq!(exact::<u32, usize>(7), 7);
        assert_eq!(exact::<usize, u64>(1 << 40), 1 << 40);
    }

    #[test]
    #[should_panic(expected = "4294967296 is out of range")]
    fn what_does_not_fit_is_loud() {
        let _: u32 = exact(1_u64 << 32);
    }
}
