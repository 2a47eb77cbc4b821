//! What is remembered of a source index: its segments, and how many documents each has when.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::OnceLock;

use ::tantivy::TantivyError;
use ::tantivy::index::SegmentId;

use super::counts::Counts;
use crate::engine::stretches::{Reader, WIDTHS, Writer, wider_than};
use crate::engine::tantivy::scan::millis;
use crate::engine::tantivy::segments::KnownSegment;
use crate::engine::{EngineError, Remembered, SourceChange, StopSignal};
use crate::sync::{Arc, Mutex};

/// A mark that is stored has about so many stretches of time at most: with more, those of each segment are longer.
const MAX_STRETCHES: usize = 1 << 15;
/// The same of a segment.
const MAX_OF_SEGMENT: usize = 1 << 7;
/// The version of the stored form. Those before it are not read: what they are of is counted.
const FORMAT: u8 = 3;

/// The state of a source index at one look.
#[derive(Debug, Default)]
pub(in crate::engine::tantivy) struct Mark {
    /// What tantivy says of the segments: if that is the same, nothing has changed. Empty if it was stored.
    meta: Vec<u8>,
    field: String,
    segments: HashMap<SegmentId, Arc<MarkedSegment>>,
}

/// A segment at one look.
pub(super) struct MarkedSegment {
    /// How many of its documents were alive.
    alive: u32,
    /// Where its dates are, in milliseconds since 1970.
    dates: Range<i64>,
    /// Counted when they are needed, as long as the segment is open.
    counts: OnceLock<Counts>,
    /// The form to store, of so many stretches at most. A segment does not change.
    stored: Mutex<Option<(usize, Arc<[u8]>)>>,
    segment: Option<Arc<KnownSegment>>,
}

impl std::fmt::Debug for MarkedSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { alive, dates, counts, .. } = self;
        f.debug_struct("MarkedSegment").field("alive", alive).field("dates", dates).field("counts", counts).finish()
    }
}

/// How many documents the segments that are not the same have in a stretch of time.
#[derive(Default)]
struct Stretch {
    had: u64,
    has: u64,
    /// A segment that is still there has lost some.
    is_touched: bool,
}

type Stopped<T> = Result<Option<T>, TantivyError>;

impl MarkedSegment {
    fn of(segment: &Arc<KnownSegment>, field: &str) -> Self {
        let dates = segment.dates(field).ok().and_then(|dates| dates.bounds);
        Self {
            alive: segment.reader.num_docs(),
            dates: dates.map_or(0..0, |(least, greatest)| millis(least)..millis(greatest).saturating_add(1)),
            counts: OnceLock::new(),
            stored: Mutex::default(),
            segment: Some(Arc::clone(segment)),
        }
    }

    /// `None` if a stop came.
    fn counts(&self, field: &str, stop: &StopSignal) -> Stopped<&Counts> {
        if self.counts.get().is_none() {
            // What was stored is counted.
            let Some(segment) = &self.segment else { return Ok(Some(self.counts.get_or_init(Counts::default))) };
            let Some(counts) = Counts::of(segment, field, stop)? else { return Ok(None) };
            // Another look may have been as fast.
            drop(self.counts.set(counts));
        }
        Ok(self.counts.get())
    }
}

impl Mark {
    /// Of these segments; what is known of them already is taken over.
    pub(super) fn new(meta: Vec<u8>, field: &str, segments: &[Arc<KnownSegment>], known: Option<&Self>) -> Self {
        let marked = |segment: &Arc<KnownSegment>| {
            let known = known.and_then(|known| known.segments.get(&segment.id()));
            let same = known.filter(|known| known.alive == segment.reader.num_docs());
            (segment.id(), same.cloned().unwrap_or_else(|| Arc::new(MarkedSegment::of(segment, field))))
        };
        Self { meta, field: field.to_owned(), segments: segments.iter().map(marked).collect() }
    }

    /// Whether tantivy says the same of the segments.
    pub(super) fn is_of(&self, meta: &[u8]) -> bool {
        !self.meta.is_empty() && self.meta == meta
    }

    /// Where `now` differs from this, before an instant. `None` if a stop came.
    pub(super) fn changes(&self, now: &Self, before: i64, stop: &StopSignal) -> Stopped<Vec<SourceChange>> {
        let pairs: Vec<_> = self.pairs(now).collect();
        let mut counted = pairs.iter().flat_map(|(had, has)| had.iter().chain(has));
        if counted.all(|segment| segment.dates.is_empty() || segment.dates.start >= before) {
            return Ok(Some(Vec::new()));
        }
        let mut counts = Vec::with_capacity(pairs.len());
        for (had, has) in &pairs {
            let (Some(had), Some(has)) = (now.counts(*had, stop)?, now.counts(*has, stop)?) else { return Ok(None) };
            counts.push((had, has));
        }
        let all = counts.iter().flat_map(|(had, has)| had.iter().chain(has));
        let width = all.map(|counts| counts.width).max().unwrap_or(1);
        let mut stretches: BTreeMap<i64, Stretch> = BTreeMap::new();
        for (had, has) in counts {
            let mut segment: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
            for (start, count) in had.iter().flat_map(|counts| counts.widened(width).into_owned().stretches) {
                segment.entry(start).or_default().0 += count;
            }
            for (start, count) in has.iter().flat_map(|counts| counts.widened(width).into_owned().stretches) {
                segment.entry(start).or_default().1 += count;
            }
            let stays = had.is_some() && has.is_some();
            for (start, (had, has)) in segment {
                let stretch = stretches.entry(start).or_default();
                stretch.had += had;
                stretch.has += has;
                stretch.is_touched |= stays && has < had;
            }
        }
        let exact = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let changes = stretches
            .into_iter()
            .filter(|(start, stretch)| *start < before && (stretch.has != stretch.had || stretch.is_touched));
        let change = |(start, stretch): (i64, Stretch)| {
            let range = start..start.saturating_add(width).min(before);
            SourceChange::new(range, exact(stretch.has) - exact(stretch.had))
        };
        Ok(Some(changes.map(change).collect()))
    }

    /// Those of a segment, if there is one; `None` if a stop came.
    fn counts<'s>(&self, segment: Option<&'s MarkedSegment>, stop: &StopSignal) -> Stopped<Option<&'s Counts>> {
        segment.map_or(Ok(Some(None)), |segment| Ok(segment.counts(&self.field, stop)?.map(Some)))
    }

    /// The segments that are not the same as before: as they were, and as they are.
    fn pairs<'m>(
        &'m self,
        now: &'m Self,
    ) -> impl Iterator<Item = (Option<&'m MarkedSegment>, Option<&'m MarkedSegment>)> {
        let before = self.segments.iter().map(|(id, had)| (Some(&**had), now.segments.get(id).map(|has| &**has)));
        let new = now.segments.iter().filter(|(id, _)| !self.segments.contains_key(id));
        let pairs = before.chain(new.map(|(_, has)| (None, Some(&**has))));
        pairs.filter(|(had, has)| had.map(|had| had.alive) != has.map(|has| has.alive))
    }

    /// Reads what was stored.
    pub(in crate::engine::tantivy) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::of(bytes);
        if reader.byte()? != FORMAT {
            return None;
        }
        let length = usize::try_from(reader.number()?).ok()?;
        let field = String::from_utf8(reader.take(length)?.to_vec()).ok()?;
        let mut segments = HashMap::new();
        for _ in 0..reader.number()? {
            let id = SegmentId::from_uuid_string(std::str::from_utf8(reader.take(32)?).ok()?).ok()?;
            segments.insert(id, Arc::new(MarkedSegment::read(&mut reader)?));
        }
        reader.is_at_end().then_some(Self { meta: Vec::new(), field, segments })
    }
}

impl MarkedSegment {
    /// The form to store, of so many stretches of time at most.
    fn to_bytes(&self, field: &str, most: usize) -> Result<Arc<[u8]>, EngineError> {
        let mut stored = self.stored.lock();
        if let Some((by, bytes)) = &*stored
            && *by == most
        {
            return Ok(Arc::clone(bytes));
        }
        let counted = self.counts(field, &StopSignal::never()).map_err(EngineError::unavailable)?;
        let mut counts = counted.map_or_else(Cow::default, Cow::Borrowed);
        while counts.stretches.len() > most
            && let Some(wider) = wider_than(counts.width)
        {
            counts = Cow::Owned(counts.widened(wider).into_owned());
        }
        let mut writer = Writer::default();
        writer.number(self.alive.into());
        writer.signed(self.dates.start);
        writer.signed(self.dates.end);
        writer.stretches(counts.width.max(WIDTHS[0]), counts.stretches.iter().copied(), Writer::number);
        let bytes: Arc<[u8]> = writer.finish().into();
        *stored = Some((most, Arc::clone(&bytes)));
        Ok(bytes)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let alive = u32::try_from(reader.number()?).ok()?;
        let dates = reader.signed()?..reader.signed()?;
        let (width, stretches) = reader.stretches(Reader::number)?;
        let counts = OnceLock::from(Counts { width, stretches });
        Some(Self { alive, dates, counts, stored: Mutex::default(), segment: None })
    }
}

impl Remembered for Mark {
    fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let most = (MAX_STRETCHES / self.segments.len().max(1)).max(1).next_power_of_two().min(MAX_OF_SEGMENT);
        let mut writer = Writer::default();
        writer.bytes(&[FORMAT]);
        writer.number(self.field.len() as u64);
        writer.bytes(self.field.as_bytes());
        writer.number(self.segments.len() as u64);
        for (id, segment) in &self.segments {
            writer.bytes(id.uuid_string().as_bytes());
            writer.bytes(&segment.to_bytes(&self.field, most)?);
        }
        Ok(writer.finish())
    }
}
