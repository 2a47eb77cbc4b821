//! What a scan reads: the committed state of each index, once, whatever names it has; and the columns of those segments
//! in which something is wanted.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Weak;

use ::tantivy::columnar::{MonotonicallyMappableToU64, StrColumn};
use ::tantivy::index::SegmentId;
use ::tantivy::schema::Schema;
use ::tantivy::{DocId, Index, TantivyError};

use super::Scan;
use super::budget::Budget;
use super::cells::CellShape;
use super::codes::Codes;
use super::columns::{Segment, document, millis};
use super::dense::Left;
use super::finished::ParkedGroups;
use super::grid::Grid;
use super::hash_pass::Crowding;
use super::keys::{KeyShape, PartKind};
use super::lane::{self, Lane, read_block};
use super::mask::Mask;
use super::rows::RowColumns;
use super::survey::{self, Dated, Horizon, Survey};
use super::terms::{KeywordTerms, TermColumn};
use super::window::Window;
use crate::engine::tantivy::failed;
use crate::engine::tantivy::schema::{check_columns, filter_field};
use crate::engine::tantivy::segments::{KnownSegment, Segments};
use crate::engine::{EngineError, ScanRequest, SourceIndex, StopSignal};
use crate::filter::Selection;
use crate::measure::Measures;
use crate::sync::Arc;

/// How often indices that change all the time are looked at again.
const MAX_LOOKS: usize = 5;

/// An index that a scan reads.
pub(in crate::engine::tantivy) struct ScanSource {
    /// For people.
    pub(in crate::engine::tantivy) described: String,
    pub(in crate::engine::tantivy) index: Index,
    pub(in crate::engine::tantivy) segments: Arc<Segments>,
}

/// The committed state of an index.
pub(in crate::engine::tantivy) struct Committed {
    described: String,
    schema: Schema,
    segments: Vec<Arc<KnownSegment>>,
}

/// A segment of one of the sources.
pub(super) struct Found {
    pub(super) described: Arc<str>,
    pub(super) dated: Dated,
    /// Which of its documents the filter means.
    pub(super) selection: Arc<Selection>,
}

/// What is asked, in the engine's words.
pub(super) struct Question {
    pub(super) shape: KeyShape,
    pub(super) measures: Vec<Measures>,
    pub(super) grid: Grid,
    pub(super) window: Window,
}

/// What passes read, and how they group it. It stays as it is as long as the scan lives.
pub(super) struct Opened {
    pub(super) question: Arc<Question>,
    /// What is known of the dates in all segments.
    pub(super) survey: Survey,
    /// The columns of those segments that have something that is wanted.
    pub(super) segments: Vec<Segment>,
    /// For each part of the key, the terms if it is a keyword.
    pub(super) terms: Vec<Option<KeywordTerms>>,
    /// How to number keys, if they are few.
    pub(super) codes: Option<Arc<Codes>>,
    pub(super) cells: CellShape,
}

impl ScanSource {
    fn failed(&self, error: TantivyError) -> EngineError {
        failed(&self.described, error)
    }

    fn committed(&self, stop: &StopSignal) -> Result<Vec<Arc<KnownSegment>>, EngineError> {
        let committed = self.segments.committed(&self.index, stop).map_err(|error| self.failed(error))?;
        committed.ok_or_else(EngineError::cancelled)
    }
}

/// The committed states of these indices. Of those that are the same, under several names, the first; the others have
/// no segments.
///
/// Segments have ids that no other index has. Two names of one index have the same segments at the same moment; so
/// the states are looked at until none has changed while all were opened, lest a merge in between made one index look
/// like two.
pub(in crate::engine::tantivy) fn committed(
    sources: &[ScanSource],
    stop: &StopSignal,
) -> Result<Vec<Committed>, EngineError> {
    let mut states = sources.iter().map(|source| source.committed(stop)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..if sources.len() > 1 { MAX_LOOKS } else { 0 } {
        let mut has_changed = false;
        for (source, state) in sources.iter().zip(&mut states) {
            let now = source.index.searchable_segment_ids().map_err(|error| source.failed(error))?;
            if HashSet::<SegmentId>::from_iter(now) != state.iter().map(|segment| segment.id()).collect() {
                *state = source.committed(stop)?;
                has_changed = true;
            }
        }
        if !has_changed {
            break;
        }
    }
    let mut seen = HashSet::new();
    for state in &mut states {
        if state.iter().any(|segment| seen.contains(&segment.id())) {
            state.clear();
        }
        seen.extend(state.iter().map(|segment| segment.id()));
    }
    let of = |(source, segments): (&ScanSource, _)| {
        let (described, schema) = (source.described.clone(), source.index.schema());
        Committed { described, schema, segments }
    };
    Ok(sources.iter().zip(states).map(of).collect())
}

impl Committed {
    /// Where the documents are that have a date in this field, in milliseconds since 1970.
    pub(in crate::engine::tantivy) fn dates(&self, field: &str) -> Result<Range<i64>, EngineError> {
        let (mut first, mut end) = (i64::MAX, i64::MIN);
        for segment in &self.segments {
            let dates = segment.dates(field).map_err(|error| failed(&self.described, error))?;
            if let Some((least, greatest)) = dates.bounds {
                (first, end) = (first.min(millis(least)), end.max(millis(greatest) + 1));
            }
        }
        Ok(first..end)
    }
}

/// The segments of these sources, and what is known of the dates in them.
fn find(
    request: &ScanRequest,
    columns: &RowColumns,
    sources: &[Committed],
    stop: &StopSignal,
) -> Result<Vec<Found>, EngineError> {
    let mut found = Vec::new();
    for Committed { described, schema, segments } in sources {
        check_columns(described, schema, columns)?;
        let selection = Arc::new(selection(request, columns, described, schema)?);
        let shown: Arc<str> = described.as_str().into();
        for segment in segments {
            go_on(stop)?;
            let dates = segment.dates(&columns.date).map_err(|error| failed(described, error))?;
            let (described, selection, segment) = (Arc::clone(&shown), Arc::clone(&selection), Arc::clone(segment));
            found.push(Found { described, dated: Dated { segment, dates }, selection });
        }
    }
    Ok(found)
}

/// To open a segment takes a tenth of a millisecond: after each a stop is looked for.
fn go_on(stop: &StopSignal) -> Result<(), EngineError> {
    if stop.is_stopped() { Err(EngineError::cancelled()) } else { Ok(()) }
}

impl Scan {
    /// `names` are those of the source indices, if it reads such.
    pub(in crate::engine::tantivy) fn open(
        request: ScanRequest,
        columns: RowColumns,
        sources: &[Committed],
        names: Option<&[String]>,
        budget: Arc<Budget>,
        threads: usize,
        stop: &StopSignal,
    ) -> Result<Self, EngineError> {
        let found = find(&request, &columns, sources, stop)?;
        let date_field = request.grouping.date_field();
        let source_index = |(name, source): (&String, &Committed)| -> Result<_, EngineError> {
            Ok(SourceIndex::new(name).dates(source.dates(date_field)?))
        };
        let source_indices = names.map(|names| names.iter().zip(sources).map(source_index).collect()).transpose()?;
        let ScanRequest { grouping, times, after, page_size, .. } = request;
        let grid = Grid::of(grouping.grid());
        let held: Arc<ParkedGroups> = Arc::default();
        let holder: Weak<ParkedGroups> = Arc::downgrade(&held);
        budget.join(holder);
        let question = Question {
            shape: KeyShape::of(&grouping),
            measures: grouping.measured().iter().map(|field| field.measures).collect(),
            window: Window::of(&times, &grid),
            grid,
        };
        Ok(Self {
            question: Arc::new(question),
            page_size,
            after,
            columns,
            found,
            opened: None,
            from: None,
            own_threads: threads.max(1),
            lent_threads: 1,
            discarded: Vec::new(),
            left: Left::default(),
            crowding: Crowding::default(),
            ahead: None,
            done: false,
            source_indices,
            held,
            budget,
            charged: 0,
        })
    }

    /// Finds out where in the segments something is wanted, and opens what there is to read.
    pub(super) fn look_ahead(&mut self, threads: usize, stop: &StopSignal) -> Result<Arc<Opened>, EngineError> {
        if let Some(opened) = &self.opened {
            return Ok(Arc::clone(opened));
        }
        let Question { shape, measures, grid, window } = &*self.question;
        let from = match self.after.as_ref().and_then(|after| after.first()) {
            Some(crate::job::KeyPart::Date(start)) if shape.has_date() => start.to_u64(),
            _ => 0,
        };
        let all: Vec<&Dated> = self.found.iter().map(|found| &found.dated).collect();
        let survey = Survey::take(&all, &Horizon { grid, window, from }, &self.budget, threads, stop);
        let mut survey = survey.ok_or_else(EngineError::cancelled)?;
        let (mut segments, mut keywords) = (Vec::new(), Vec::new());
        for (found, dates) in self.found.iter().zip(std::mem::take(&mut survey.dates)) {
            let Some(dates) = dates else { continue };
            go_on(stop)?;
            let known = &found.dated.segment;
            let opened = Segment::open(known, &self.columns, &found.selection, dates);
            let (segment, columns) = opened.map_err(|error| failed(&found.described, error))?;
            if matches!(segment.mask, Mask::None) {
                continue;
            }
            survey.several_values.extend(segment.several_values(&self.columns).into_iter().map(str::to_owned));
            segments.push(segment);
            keywords.push(columns);
        }
        Segment::agree(&mut segments);
        let terms = number_terms(shape, &mut segments, keywords, stop)?;
        let from = match &self.after {
            Some(after) => Some((shape.encode(after, grid.round_down(0).to_u64(), &terms)?, false)),
            None => None,
        };
        let codes = Codes::of(shape, &segments, &terms).map(Arc::new);
        let cells = CellShape::of(&segments, measures);
        self.charge(&segments, &terms)?;
        let opened = Arc::new(Opened { question: Arc::clone(&self.question), survey, segments, terms, codes, cells });
        self.from = from;
        self.opened = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Takes the memory of what the scan cannot do in parts.
    fn charge(&mut self, segments: &[Segment], terms: &[Option<KeywordTerms>]) -> Result<(), EngineError> {
        let charged = terms.iter().flatten().map(KeywordTerms::bytes).sum::<usize>()
            + segments.iter().map(|segment| survey::bytes(segment.documents)).sum::<usize>();
        if charged > self.budget.most_for_terms() {
            return Err(EngineError::rejected(format!(
                "what has to be known of terms and dates takes {charged} bytes, of a memory budget of which {} are \
                 for that: raise it",
                self.budget.most_for_terms()
            )));
        }
        if !self.budget.try_charge(charged) {
            let text = "the memory budget is used up by other scans: there will be room when they have ended";
            return Err(EngineError::unavailable(text));
        }
        self.charged = charged;
        Ok(())
    }
}

/// The filter, read for what the fields of an index hold.
fn selection(
    request: &ScanRequest,
    columns: &RowColumns,
    described: &str,
    schema: &Schema,
) -> Result<Selection, EngineError> {
    let mut known = HashMap::new();
    for field in request.filter.fields() {
        let holds = match columns.holds(field) {
            None => filter_field(described, schema, field)?,
            known => known,
        };
        known.insert(field, holds);
    }
    Ok(request.select(&|field| known.get(field).copied().flatten())?)
}

fn number_terms(
    shape: &KeyShape,
    segments: &mut [Segment],
    keywords: Vec<Vec<Option<StrColumn>>>,
    stop: &StopSignal,
) -> Result<Vec<Option<KeywordTerms>>, EngineError> {
    let mut numbered = vec![None];
    for (part, (kind, _)) in shape.parts()[1..].iter().enumerate() {
        if *kind != PartKind::Keyword {
            numbered.push(None);
            continue;
        }
        let owners = keywords.iter().enumerate().filter(|(_, columns)| columns[part].is_some());
        let owners: Vec<usize> = owners.map(|(segment, _)| segment).collect();
        let columns = owners.iter().filter_map(|segment| {
            let column = keywords[*segment][part].clone()?;
            let used = go_on(stop).map(|()| used_ordinals(&segments[*segment], &column));
            Some(used.map(|used| TermColumn { column, used }))
        });
        let terms = KeywordTerms::new(columns.collect::<Result<_, _>>()?, stop)?;
        for (column, segment) in owners.into_iter().enumerate() {
            segments[segment].number_terms(part, terms.places(column));
        }
        numbered.push(Some(terms));
    }
    Ok(numbered)
}

/// The terms of a column that a scan may meet, if it reads fewer documents than there are terms.
fn used_ordinals(segment: &Segment, column: &StrColumn) -> Option<Vec<u64>> {
    let blocks = segment.dates.blocks(|first, last| first <= last);
    let blocks: Vec<Range<DocId>> = blocks.map(|number| segment.block(number)).collect();
    if blocks.iter().map(ExactSizeIterator::len).sum::<usize>() >= column.num_terms() {
        return None;
    }
    let (mut lane, mut used, ords) = (Lane::new(), Vec::new(), column.ords());
    for block in blocks {
        read_block(ords, &block, &mut lane, |at, found| match found {
            lane::Found::Nothing => {}
            lane::Found::One(ordinal) => used.push(ordinal),
            lane::Found::Several => used.extend(ords.values_for_doc(document(&block, at))),
        });
    }
    used.sort_unstable();
    used.dedup();
    Some(used)
}
