//! Searches: raw and rolled-up documents in one answer, which is that of the raw ones.

mod fuzz;
mod gone;
mod live_edge;
mod one_by_one;
mod oracle;
mod random;
mod weaknesses;
#[cfg(feature = "tantivy")]
mod wrong_fields;
mod zones;

use serde_json::Value;

/// So many random cases: `ROLLUP_SEARCH_CASES` times as many if that is set.
fn cases(number: u32) -> u32 {
    let times = std::env::var("ROLLUP_SEARCH_CASES").map_or(1, |times| times.parse().expect("a number"));
    number.saturating_mul(times)
}

/// What is not told by the oracle is left out: the keys of date buckets as texts.
fn without_texts(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != "key_as_string")
            .map(|(name, value)| (name, without_texts(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(without_texts).collect(),
        other => other,
    }
}
