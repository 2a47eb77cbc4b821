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
    columns: Vec<StrColumn>,
    /// For each column, the place of each of its ordinals; none if there is one column, where they are the same.
    places: Vec<Arc<[u32]>>,
    /// For each place, a column and the ordinal there.
    found_in: Vec<(u32, u32)>,
}

impl KeywordTerms {
    /// Merges the dictionaries of these columns.
    pub(super) fn new(columns: Vec<StrColumn>, stop: &StopSignal) -> Result<Self, EngineError> {
        if columns.len() <= 1 {
            return Ok(Self { columns, places: Vec::new(), found_in: Vec::new() });
        }
        let merged = merge(&columns, stop).map_err(read_failed)?.ok_or_else(EngineError::cancelled)?;
        Ok(Self { columns, places: merged.0, found_in: merged.1 })
    }

    /// How many terms there are.
    pub(super) fn len(&self) -> usize {
        match self.columns.as_slice() {
            [only] => only.num_terms(),
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
        for (number, column) in self.columns.iter().enumerate() {
            let mut from_term = column.dictionary().range().ge(term).into_stream().map_err(read_failed)?;
            if from_term.advance() {
                let place = self.place(number, from_term.term_ord());
                if from_term.key() == term {
                    return Ok(word(place));
                }
                next = next.min(place);
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
        for (column, wanted) in self.columns.iter().zip(&mut wanted) {
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

/// `None` if a stop came.
fn merge(columns: &[StrColumn], stop: &StopSignal) -> io::Result<Option<Merged>> {
    let mut streams = columns.iter().map(|column| column.dictionary().stream()).collect::<io::Result<Vec<_>>>()?;
    let mut places: Vec<Vec<u32>> =
        columns.iter().map(|column| Vec::with_capacity(column.dictionary().num_terms())).collect();
    let mut found_in: Vec<(u32, u32)> = Vec::new();
    let mut heap = BinaryHeap::new();
    for (number, stream) in streams.iter_mut().enumerate() {
        if stream.advance() {
            heap.push(Reverse((stream.key().to_vec(), number)));
        }
    }
    let mut last: Option<Vec<u8>> = None;
    while let Some(Reverse((term, number))) = heap.pop() {
        let ordinal = exact::<u32, _>(places[number].len());
        if found_in.len().is_multiple_of(TERMS) && stop.is_stopped() {
            return Ok(None);
        }
        if last.as_ref() != Some(&term) {
            found_in.push((exact::<u32, _>(number), ordinal));
        }
        places[number].push(exact::<u32, _>(found_in.len() - 1));
        last = Some(term);
        if streams[number].advance() {
            heap.push(Reverse((streams[number].key().to_vec(), number)));
        }
    }
    Ok(Some((places.into_iter().map(Arc::from).collect(), found_in)))
}
