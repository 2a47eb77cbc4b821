//! The hash in a document's id: Elasticsearch's, bit for bit, but for keys that it would confuse.

use std::io::Cursor;

use super::layout::{DocumentLayout, ValueKind};
use crate::job::KeyPart;

/// Elasticsearch's hash seed for document ids.
const SEED: u32 = 19;

/// What stands for a missing value in the input of the hash: a text, and zeros that an over-allocated buffer in
/// Elasticsearch adds to it.
const NULL: [u8; 90] = {
    let text = b"__NULL_PLACEHOLDER__830f1de2__";
    let mut bytes = [0; 90];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
};

/// What every part ends with. Nothing in a part is escaped.
const END: u8 = b'$';

/// Hashes keys of one job after the other.
pub(super) struct Ids<'a> {
    layout: &'a DocumentLayout,
    input: Vec<u8>,
}

impl<'a> Ids<'a> {
    pub(super) fn of(layout: &'a DocumentLayout) -> Self {
        Self { layout, input: Vec::with_capacity(64) }
    }

    /// Of the parts in the order of their names and the job's id, each followed by `$`, by 128-bit `MurmurHash3`.
    ///
    /// Since nothing is escaped, `("a$b", "c")` and `("a", "b$c")` would have one id. The key that has the `$`, and
    /// can be read in another way too, gets an id of another input, which no key has in Elasticsearch.
    pub(super) fn hash(&mut self, key: &[KeyPart]) -> u128 {
        let Self { layout, input } = self;
        input.clear();
        let mut is_suspect = false;
        for at in layout.key_order() {
            is_suspect |= encode(&key[*at], input);
            input.push(END);
        }
        if is_suspect && readings(input, &mut layout.key_order().iter().map(|at| layout.key_kind(*at))) > 1 {
            input.clear();
            for part in key {
                encode_apart(part, input);
            }
            input.extend_from_slice(layout.job_id().as_bytes());
            // Elasticsearch's input always ends with something else.
            input.push(0);
        } else {
            input.extend_from_slice(layout.job_id().as_bytes());
            input.push(END);
        }
        let hash = murmur3::murmur3_x64_128(&mut Cursor::new(&input), SEED);
        let hash = hash.unwrap_or_else(|error| panic!("memory could not be read: {error}"));
        // The crate has the first word in the low half.
        hash.rotate_left(64)
    }
}

/// Elasticsearch's encoding. Says whether the part is a text that may be taken for something else.
fn encode(part: &KeyPart, input: &mut Vec<u8>) -> bool {
    match part {
        KeyPart::Null => input.extend_from_slice(&NULL),
        KeyPart::Date(value) | KeyPart::Integer(value) => input.extend_from_slice(&value.to_be_bytes()),
        // Beyond Elasticsearch's range; two words, so that it meets no negative number.
        KeyPart::Unsigned(value) => input.extend_from_slice(&u128::from(*value).to_be_bytes()),
        KeyPart::Histogram { number, interval } => input.extend_from_slice(&(number * interval).to_be_bytes()),
        KeyPart::Double(value) => input.extend_from_slice(&value.to_be_bytes()),
        KeyPart::Text(text) => {
            input.extend_from_slice(text.as_bytes());
            return text.as_bytes().contains(&END) || text.as_bytes() == NULL;
        }
    }
    false
}

/// An encoding that can be read in one way only: the kind, the length, and the part.
fn encode_apart(part: &KeyPart, input: &mut Vec<u8>) {
    let kind = match part {
        KeyPart::Null => 0,
        KeyPart::Date(_) => 1,
        KeyPart::Integer(_) => 2,
        KeyPart::Unsigned(_) => 3,
        KeyPart::Histogram { .. } => 4,
        KeyPart::Double(_) => 5,
        KeyPart::Text(_) => 6,
    };
    input.push(kind);
    let length_at = input.len();
    input.extend_from_slice(&[0; 8]);
    encode(part, input);
    let length = (input.len() - length_at - 8) as u64;
    input[length_at..length_at + 8].copy_from_slice(&length.to_be_bytes());
}

/// In how many ways this can be read as the parts of a key: one, or more.
fn readings(input: &[u8], kinds: &mut dyn Iterator<Item = ValueKind>) -> usize {
    // For each place where a part may begin, in how many ways one gets there.
    let mut ways = vec![0_usize; input.len() + 1];
    ways[0] = 1;
    for kind in kinds {
        let mut next = vec![0_usize; input.len() + 1];
        for begin in (0..input.len()).filter(|begin| ways[*begin] > 0) {
            let rest = &input[begin..];
            let mut read = |length: usize| {
                if rest.get(length) == Some(&END) {
                    let end = &mut next[begin + length + 1];
                    *end = end.saturating_add(ways[begin]);
                }
            };
            if rest.starts_with(&NULL) && kind != ValueKind::Date {
                read(NULL.len());
            }
            match kind {
                ValueKind::Date | ValueKind::Integer | ValueKind::Double => read(8),
                ValueKind::Unsigned => {
                    read(8);
                    read(16);
                }
                ValueKind::Keyword => {
                    let ends = (0..rest.len()).filter(|end| rest[*end] == END);
                    ends.filter(|end| std::str::from_utf8(&rest[..*end]).is_ok()).for_each(&mut read);
                }
            }
        }
        ways = next;
    }
    ways[input.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::job::{DateHistogram, Histogram, RollupJobConfig, TermsType};

    /// Two keywords with a number between them by name, and a number behind them.
    fn layout(terms: &[(&str, TermsType)], histogram: Option<&str>) -> DocumentLayout {
        let config = RollupJobConfig::builder("foo").index_pattern("in").rollup_index("out").cron("0 0 * * * ?");
        let config = config.page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h"));
        let config = config.terms(terms.iter().map(|(name, _)| *name));
        let config = histogram.into_iter().fold(config, |config, field| config.histogram(Histogram::new(5.0, [field])));
        let types: Vec<_> = terms.iter().map(|(_, kind)| *kind).collect();
        DocumentLayout::new(&config.build().unwrap(), &types)
    }

    fn text(text: &str) -> KeyPart {
        KeyPart::Text(text.into())
    }

    /// The way of Elasticsearch, with nothing else.
    fn elasticsearchs(key: &[KeyPart], layout: &DocumentLayout) -> u128 {
        let mut input = Vec::new();
        for at in layout.key_order() {
            encode(&key[*at], &mut input);
            input.push(END);
        }
        input.extend_from_slice(b"foo$");
        murmur3::murmur3_x64_128(&mut Cursor::new(&input), SEED).unwrap().rotate_left(64)
    }

    #[test]
    fn keys_that_elasticsearch_confuses_have_ids_of_their_own() {
        let layout = layout(&[("a", TermsType::Keyword), ("b", TermsType::Keyword)], None);
        let mut ids = Ids::of(&layout);
        let mut hash = |a: &str, b: &str| ids.hash(&[KeyPart::Date(0), text(a), text(b)]);
        assert_ne!(hash("a$b", "c"), hash("a", "b$c"));
        assert_ne!(hash("", "$"), hash("$", ""));
        let null = std::str::from_utf8(&NULL).unwrap();
        let missing = ids.hash(&[KeyPart::Date(0), KeyPart::Null, text("b")]);
        assert_ne!(missing, ids.hash(&[KeyPart::Date(0), text(null), text("b")]));
        assert_eq!(missing, elasticsearchs(&[KeyPart::Date(0), KeyPart::Null, text("b")], &layout));
    }

    #[test]
    fn a_dollar_that_confuses_nobody_changes_no_id() {
        let layout = layout(&[("node", TermsType::Keyword)], Some("load"));
        let mut ids = Ids::of(&layout);
        for node in ["$", "a$b", "$$$", "a$\0\0\0\0\0\0\0\0$"] {
            for load in [KeyPart::Null, KeyPart::histogram(0.0, 5.0), KeyPart::histogram(1e300, 5.0)] {
                let key = [KeyPart::Date(0), load, text(node)];
                assert_eq!(ids.hash(&key), elasticsearchs(&key, &layout), "{key:?}");
            }
        }
    }

    /// All keys of a few awkward parts, with numbers among the texts whose bytes are `$`.
    #[test]
    fn no_two_keys_have_one_id() {
        let terms = [
            ("a", TermsType::Keyword),
            ("b", TermsType::Integer),
            ("c", TermsType::Keyword),
            ("d", TermsType::Unsigned),
        ];
        let layout = layout(&terms, None);
        let mut ids = Ids::of(&layout);
        let dollars = i64::from_be_bytes([END; 8]);
        let null = std::str::from_utf8(&NULL).unwrap();
        let texts = || {
            let texts = [
                "",
                "$",
                "$$",
                "a",
                "a$",
                "$a",
                "a$a",
                "$$$$$$$$",
                "$$$$$$$$$",
                "a$$$$$$$$$",
                null,
                "$$$$$$$$$$$$$$$$$",
            ];
            texts.into_iter().map(text).chain([KeyPart::Null])
        };
        let numbers = || [KeyPart::Null, KeyPart::Integer(0), KeyPart::Integer(dollars)].into_iter();
        let unsigned = || numbers().chain([KeyPart::Unsigned(u64::MAX), KeyPart::Unsigned(1 << 63)]);
        let mut known: HashMap<u128, Vec<KeyPart>> = HashMap::new();
        for (a, b, c, d) in texts().flat_map(|a| {
            numbers().flat_map(move |b| {
                let a = a.clone();
                texts().flat_map(move |c| {
                    let (a, b) = (a.clone(), b.clone());
                    unsigned().map(move |d| (a.clone(), b.clone(), c.clone(), d))
                })
            })
        }) {
            let key = vec![KeyPart::Date(0), a, b, c, d];
            if let Some(other) = known.insert(ids.hash(&key), key.clone()) {
                panic!("{key:?} and {other:?} have one id");
            }
            let has_dollar =
                |part: &KeyPart| matches!(part, KeyPart::Text(text) if text.contains('$') || **text == *null);
            if !key.iter().any(has_dollar) {
                assert_eq!(ids.hash(&key), elasticsearchs(&key, &layout), "{key:?}");
            }
        }
        assert!(known.len() > 2_000);
    }
}
