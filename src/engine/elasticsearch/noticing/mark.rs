//! What is remembered of a source index: the documents that the next look sees again.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::engine::stretches::{Reader, Writer};
use crate::engine::{EngineError, Remembered, SourceChange};

/// The version of the stored form; tantivy's marks have others.
const FORMAT: u8 = 2;

/// The state of a source index at one look.
#[derive(Debug)]
pub(in crate::engine::elasticsearch) struct Mark {
    /// Since when what was indexed, or what is of that time, is counted; in milliseconds since 1970.
    pub(super) from: i64,
    pub(super) kept: Stretches,
}

/// What was seen in each stretch of time, by its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretches {
    pub(super) width: i64,
    pub(super) seen: BTreeMap<i64, Seen>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) documents: u64,
    /// When the last of them was indexed, if that is known.
    pub(super) latest: i64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.documents += other.documents;
        self.latest = self.latest.max(other.latest);
    }
}

impl Stretches {
    pub(super) fn none(width: i64) -> Self {
        Self { width, seen: BTreeMap::new() }
    }

    fn widened(&self, width: i64) -> BTreeMap<i64, Seen> {
        let mut widened: BTreeMap<i64, Seen> = BTreeMap::new();
        for (start, seen) in &self.seen {
            widened.entry(start.div_euclid(width) * width).or_default().add(*seen);
        }
        widened
    }

    /// Where `now` differs from this, in a range.
    pub(super) fn changes(&self, now: &Self, range: Range<i64>) -> Vec<SourceChange> {
        let width = self.width.max(now.width);
        let (had, has) = (self.widened(width), now.widened(width));
        let mut starts: Vec<i64> =
            had.keys().chain(has.keys()).copied().filter(|start| range.contains(start)).collect();
        starts.sort_unstable();
        starts.dedup();
        let change = |start: i64| {
            let [had, has] = [&had, &has].map(|seen| seen.get(&start).copied().unwrap_or_default());
            let [before, after] = [had, has].map(|seen| i64::try_from(seen.documents).unwrap_or(i64::MAX));
            let end = start.saturating_add(width).min(range.end);
            (had != has).then(|| SourceChange::new(start..end, after - before))
        };
        starts.into_iter().filter_map(change).collect()
    }
}

impl Mark {
    /// Reads what was stored.
    pub(in crate::engine::elasticsearch) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::of(bytes);
        if reader.byte()? != FORMAT {
            return None;
        }
        let from = reader.signed()?;
        let seen = |reader: &mut Reader<'_>| Some(Seen { documents: reader.number()?, latest: reader.signed()? });
        let (width, seen) = reader.stretches(seen)?;
        let kept = Stretches { width, seen: seen.into_iter().collect() };
        reader.is_at_end().then_some(Self { from, kept })
    }
}

impl Remembered for Mark {
    fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let Stretches { width, seen } = &self.kept;
        let mut writer = Writer::default();
        writer.bytes(&[FORMAT]);
        writer.signed(self.from);
        writer.stretches(*width, seen.iter().map(|(start, seen)| (*start, seen)), |writer, seen| {
            writer.number(seen.documents);
            writer.signed(seen.latest);
        });
        Ok(writer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(width: i64, seen: &[(i64, u64, i64)]) -> Stretches {
        let seen = seen
            .iter()
            .map(|(start, documents, latest)| (start * width, Seen { documents: *documents, latest: *latest }));
        Stretches { width, seen: seen.collect() }
    }

    #[test]
    fn marks_are_read_as_they_were_written() {
        let kept = stretches(60_000, &[(-90_000, 1, -1), (0, 3, 4_000_000_000_000), (29_000_000, u64::MAX, 5)]);
        let mark = Mark { from: -7, kept };
        let bytes = mark.to_bytes().unwrap();
        let read = Mark::read(&bytes).unwrap();
        assert_eq!((read.from, read.kept), (mark.from, mark.kept));
        for length in 0..bytes.len() {
            assert!(Mark::read(&bytes[..length]).is_none());
        }
    }

    #[test]
    fn changes_are_told_in_the_longer_of_two_widths_and_inside_a_range() {
        let had = stretches(60_000, &[(0, 2, 5), (1, 1, 5), (4, 2, 5), (60, 1, 1)]);
        let has = stretches(300_000, &[(0, 4, 5), (12, 1, 2), (24, 9, 2), (36, 1, 1)]);
        let changes = had.changes(&has, 0..7_500_000);
        let expected = [
            SourceChange::new(0..300_000, -1),
            SourceChange::new(3_600_000..3_900_000, 0),
            SourceChange::new(7_200_000..7_500_000, 9),
        ];
        assert_eq!(changes, expected);
        assert_eq!(had.changes(&had, i64::MIN..i64::MAX), []);
    }
}
