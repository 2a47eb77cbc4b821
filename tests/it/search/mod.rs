//! Searches: raw and rolled-up documents in one answer, which is that of the raw ones.

mod fuzz;
mod gone;
mod live_edge;
mod live_edges;
mod moved;
mod one_by_one;
mod oracle;
mod random;
mod weaknesses;
#[cfg(feature = "tantivy")]
mod wrong_fields;
mod zones;

/// So many random cases: `ROLLUP_SEARCH_CASES` times as many if that is set.
fn cases(number: u32) -> u32 {
    let times = std::env::var("ROLLUP_SEARCH_CASES").map_or(1, |times| times.parse().expect("a number"));
    number.saturating_mul(times)
}
