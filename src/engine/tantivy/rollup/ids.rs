//! Hashes in ids as texts, and back; and what compares as the texts do without being one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::exact::exact;

/// The text of a hash in an id.
type Text = [u8; 22];
/// How many letters such a text is made of, and how many bits of the hash each stands for.
pub(super) const LETTERS: usize = 1 << BITS_PER_LETTER;
const BITS_PER_LETTER: u32 = 6;
/// How many letters are compared at once.
const RANKED_LETTERS: u32 = u64::BITS / BITS_PER_LETTER;
/// The text of a hash in an id.
pub(super) fn text(hash: u128) -> Text {
    let mut text = Text::default();
    // It has room for just that.
    let _ = URL_SAFE_NO_PAD.encode_slice(hash.to_be_bytes(), &mut text);
    text
}

/// Where a letter is among all in the order of their bytes, by what it stands for: `-`, digits, capital letters, `_`,
/// small letters.
const RANKS: [u8; LETTERS] = {
    let (mut ranks, mut value) = ([0; LETTERS], 0);
    while value < LETTERS {
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        let number = value as u8;
        ranks[value] = match number {
            0..26 => 11 + number,
            26..52 => 12 + number,
            52..62 => number - 51,
            62 => 0,
            _ => 37,
        };
        value += 1;
    }
    ranks
};

/// Compares as the first letters of the texts do.
pub(super) fn rank(hash: u128) -> u64 {
    let first: u64 = exact(hash >> u64::BITS);
    (1..=RANKED_LETTERS).fold(0, |rank, at| {
        let letter: usize = exact(first >> (u64::BITS - at * BITS_PER_LETTER) & (LETTERS as u64 - 1));
        rank << BITS_PER_LETTER | u64::from(RANKS[letter])
    })
}

/// The rank of the first letter, by the rank of all.
pub(super) fn first_letter(rank: u64) -> usize {
    exact(rank >> ((RANKED_LETTERS - 1) * BITS_PER_LETTER))
}

/// The hash in an id.
pub(super) fn hash(id: &str) -> Option<u128> {
    let mut bytes = [0; size_of::<u128>()];
    let text = id.rsplit_once('$')?.1;
    let decoded = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (decoded == bytes.len()).then(|| u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn ranks_compare_as_the_texts_do(one: u128, other: u128, same in 0..=128_u32) {
            // Often with a common beginning.
            let mask = u128::MAX.checked_shr(same).unwrap_or(0);
            let other = one & !mask | other & mask;
            let compared = rank(one).cmp(&rank(other));
            let letters = RANKED_LETTERS as usize;
            proptest::prop_assert_eq!(compared, text(one)[..letters].cmp(&text(other)[..letters]));
        }
    }
}
