//! The terms of a keyword field over all segments: each segment numbers its own, a scan needs one numbering.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;

use ::tantivy::columnar::StrColumn;

use super::super::failed;
use crate::engine::{EngineError, StopSignal};
use crate::exact::exact;
use crate::sync::Arc;

/// The terms of one field in ascending order, by their place.
pub(super) struct KeywordTerms {
    columns: Vec<TermColumn>,
    /// For each column, the place of each of its ordinals that is numbered; none if there is one column, where they are
    /// the same.
    places: Vec<Arc<[u32]>>,
    /// For each place, a column and the ordinal there.
    found_in: Vec<(u32, u32)>,
}

/// The column of a segment.
pub(super) struct TermColumn {
    pub(super) column: StrColumn,
    /// The ordinals that matter, ascending, where they are few; all, if it does not say.
    pub(super) used: Option<Vec<u64>>,
}

impl KeywordTerms {
    /// Merges what matters of the dictionaries of these columns.
    pub(super) fn new(columns: Vec<TermColumn>, stop: &StopSignal) -> Result<Self, EngineError> {
        if matches!(columns.as_slice(), [] | [TermColumn { used: None, .. }]) {
            return Ok(Self { columns, places: Vec::new(), found_in: Vec::new() });
        }
        let merged = merge(&columns, stop).map_err(read_failed)?.ok_or_else(EngineError::cancelled)?;
        Ok(Self { columns, places: merged.0, found_in: merged.1 })
    }

    /// How many terms there are.
    pub(super) fn len(&self) -> usize {
        match self.columns.as_slice() {
            [TermColumn { column, used: None }] => column.num_terms(),
            _ => self.found_in.len(),
        }
    }

    /// The memory that the numbering takes.
    pub(super) fn bytes(&self) -> usize {
        self.places.iter().map(|places| places.len() * 4).sum::<usize>() + self.found_in.len() * 8
    }

    /// The places of the ordinals of a column, by its number.
    pub(super) fn places(&self, column: usize) -> Option<Arc<[u32]>> {
        self.places.get(column).cloned()
    }

    /// The word of a term, or one between its neighbours if it does not exist.
    pub(super) fn word_at(&self, term: &[u8]) -> Result<u64, EngineError> {
        let mut next = u64::MAX;
        for (number, TermColumn { column, used }) in self.columns.iter().enumerate() {
            let mut from_term = column.dictionary().range().ge(term).into_stream().map_err(read_failed)?;
            if !from_term.advance() {
                continue;
            }
            let (found, is_it) = (from_term.term_ord(), from_term.key() == term);
            let numbered = used
                .as_ref()
                .map_or(Some(found), |used| used.get(used.partition_point(|ordinal| *ordinal < found)).copied());
            match numbered.map(|numbered| (self.place(number, numbered), is_it && numbered == found)) {
                Some((place, true)) => return Ok(word(place)),
                Some((place, false)) => next = next.min(place),
                None => {}
            }
        }
        Ok(if next == u64::MAX { u64::MAX } else { word(next) - 1 })
    }

    fn place(&self, column: usize, ordinal: u64) -> u64 {
        self.places.get(column).map_or(ordinal, |places| u64::from(places[index(ordinal)]))
    }

    /// The texts of these words. Looked up together, since the dictionaries are read block by block.
    pub(super) fn texts(&self, mut words: Vec<u64>) -> Result<HashMap<u64, Arc<str>>, EngineError> {
        words.sort_unstable();
        words.dedup();
        let mut wanted: Vec<Vec<(u64, u64)>> = vec![Vec::new(); self.columns.len()];
        for word in words {
            let place = word / 2 - 1;
            let (column, ordinal) = self
                .found_in
                .get(index(place))
                .map_or((0, place), |(column, ordinal)| (*column as usize, u64::from(*ordinal)));
            wanted[column].push((ordinal, word));
        }
        let mut texts = HashMap::new();
        for (TermColumn { column, .. }, wanted) in self.columns.iter().zip(&mut wanted) {
            wanted.sort_unstable();
            let ordinals: Vec<u64> = wanted.iter().map(|(ordinal, _)| *ordinal).collect();
            let mut found = wanted.iter().map(|(_, word)| *word);
            let all = column.dictionary().sorted_ords_to_term_cb(&ordinals, |bytes| {
                if let Some(word) = found.next() {
                    texts.insert(word, Arc::from(&*String::from_utf8_lossy(bytes)));
                }
            });
            if !all.map_err(read_failed)? {
                return Err(EngineError::rejected("a column holds an ordinal that its dictionary does not have"));
            }
        }
        Ok(texts)
    }
}

/// The word of the term at a place.
pub(super) fn word(place: u64) -> u64 {
    2 * (place + 1)
}

fn index(value: u64) -> usize {
    exact::<usize, _>(value)
}

fn read_failed(error: io::Error) -> EngineError {
    failed("reading a dictionary of a source index", error.into())
}

type Merged = (Vec<Arc<[u32]>>, Vec<(u32, u32)>);

/// How many terms are merged between two looks at the stop signal.
const TERMS: usize = 1_024;

/// The terms of a column that matter, one after the other.
enum Terms<'a> {
    All(Box<Streamer<'a>>),
    Used(std::vec::IntoIter<(Vec<u8>, u64)>),
}

type Streamer<'a> = tantivy_sstable::Streamer<'a, tantivy_sstable::VoidSSTable>;

impl<'a> Terms<'a> {
    fn of(TermColumn { column, used }: &'a TermColumn) -> io::Result<Self> {
        let Some(used) = used else { return Ok(Self::All(Box::new(column.dictionary().stream()?))) };
        let (mut terms, mut ordinals) = (Vec::with_capacity(used.len()), used.iter());
        column.dictionary().sorted_ords_to_term_cb(used, |term| {
            terms.extend(ordinals.next().map(|ordinal| (term.to_vec(), *ordinal)));
        })?;
        Ok(Self::Used(terms.into_iter()))
    }

    fn next(&mut self) -> Option<(Vec<u8>, u64)> {
        match self {
            Self::All(stream) => stream.advance().then(|| (stream.key().to_vec(), stream.term_ord())),
            Self::Used(terms) => terms.next(),
        }
    }
}

/// `None` if a stop came.
fn merge(columns: &[TermColumn], stop: &StopSignal) -> io::Result<Option<Merged>> {
    let mut streams = Vec::with_capacity(columns.len());
    for column in columns {
        if stop.is_stopped() {
            return Ok(None);
        }
        streams.push(Terms::of(column)?);
    }
    let mut places: Vec<Vec<u32>> = columns.iter().map(|column| vec![0; column.column.num_terms()]).collect();
    let mut found_in: Vec<(u32, u32)> = Vec::new();
    let mut heap = BinaryHeap::new();
    let next = |streams: &mut [Terms<'_>], number: usize| {
        streams[number].next().map(|(term, ordinal)| Reverse((term, number, ordinal)))
    };
    heap.extend((0..columns.len()).filter_map(|number| next(&mut streams, number)));
    let (mut last, mut looks): (Option<Vec<u8>>, usize) = (None, 0);
    while let Some(Reverse((term, number, ordinal))) = heap.pop() {
        if looks.is_multiple_of(TERMS) && stop.is_stopped() {
            return Ok(None);
        }
        looks += 1;
        if last.as_ref() != Some(&term) {
            found_in.push((exact::<u32, _>(number), exact::<u32, _>(ordinal)));
        }
        places[number][index(ordinal)] = exact::<u32, _>(found_in.len() - 1);
        last = Some(term);
        heap.extend(next(&mut streams, number));
    }
    Ok(Some((places.into_iter().map(Arc::from).collect(), found_in)))
}
