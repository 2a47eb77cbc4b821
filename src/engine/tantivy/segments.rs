//! What is known of the segments of an index, as long as they live: that a scan of what is new opens only what is new.

use std::collections::HashMap;
use std::sync::OnceLock;

use ::tantivy::columnar::{Column, ColumnIndex, ColumnType};
use ::tantivy::directory::META_LOCK;
use ::tantivy::index::SegmentId;
use ::tantivy::schema::Schema;
use ::tantivy::{Directory as _, DocId, Index, Opstamp, SegmentReader, TantivyError};

use super::scan::{Budget, Kept};
use crate::engine::StopSignal;
use crate::sync::{Arc, Mutex};

/// A segment, and which of its documents have been deleted.
pub(super) type SegmentKey = (SegmentId, Option<Opstamp>);

/// The segments of one index, open. The next look closes those that are gone.
#[derive(Default)]
pub(super) struct Segments {
    known: Mutex<HashMap<SegmentKey, Arc<KnownSegment>>>,
}

impl Segments {
    /// The segments of the last commit. Those of the commit before are not opened again. `None` if a stop came.
    pub(super) fn committed(
        &self,
        index: &Index,
        stop: &StopSignal,
    ) -> Result<Option<Vec<Arc<KnownSegment>>>, TantivyError> {
        // While it is held no file is deleted.
        let _meta_lock = index.directory().acquire_lock(&META_LOCK)?;
        let segments = index.searchable_segments()?;
        let mut known = self.known.lock();
        let mut committed = Vec::with_capacity(segments.len());
        for segment in &segments {
            let key = (segment.id(), segment.meta().delete_opstamp());
            let opened = match known.get(&key) {
                Some(segment) => Arc::clone(segment),
                // Those that are open already stay so: the next look goes on from here.
                None if stop.is_stopped() => return Ok(None),
                None => Arc::new(KnownSegment::new(SegmentReader::open(segment)?)),
            };
            known.insert(key, Arc::clone(&opened));
            committed.push((key, opened));
        }
        *known = committed.iter().cloned().collect();
        Ok(Some(committed.into_iter().map(|(_, segment)| segment).collect()))
    }
}

/// The least and the greatest date of each block of documents, as the column holds them.
pub(super) type BlockBounds = Arc<[(u64, u64)]>;

/// An open segment.
pub(super) struct KnownSegment {
    pub(super) reader: SegmentReader,
    /// By field.
    dates: Mutex<HashMap<String, Arc<KnownDates>>>,
}

/// What is known of the dates in a field of a segment.
pub(super) struct KnownDates {
    pub(super) column: Option<Column<u64>>,
    /// The least and the greatest, as the column holds them.
    pub(super) bounds: Option<(u64, u64)>,
    /// How many documents that are alive have none, once that was counted.
    pub(super) without: OnceLock<u64>,
    /// Whether each block of documents spans much of the segment's time, so that it is of no use to know which part.
    pub(super) is_scattered: OnceLock<bool>,
    /// Those of the blocks, if they are known and fit into the memory budget.
    blocks: OnceLock<(BlockBounds, Kept)>,
}

impl KnownSegment {
    fn new(reader: SegmentReader) -> Self {
        Self { reader, dates: Mutex::default() }
    }

    pub(super) fn id(&self) -> SegmentId {
        self.reader.segment_id()
    }

    pub(super) fn documents(&self) -> DocId {
        self.reader.max_doc()
    }

    /// The columns of a field. One that the segment's schema does not have has none.
    pub(super) fn column(&self, field: &str) -> Result<Option<(Column<u64>, ColumnType)>, TantivyError> {
        match self.schema().get_field(field) {
            Ok(_) => self.reader.fast_fields().u64_lenient(field),
            Err(_) => Ok(None),
        }
    }

    pub(super) fn schema(&self) -> &Schema {
        self.reader.schema()
    }

    pub(super) fn dates(&self, field: &str) -> Result<Arc<KnownDates>, TantivyError> {
        if let Some(known) = self.dates.lock().get(field) {
            return Ok(Arc::clone(known));
        }
        let column = self.column(field)?.filter(|(_, kind)| *kind == ColumnType::DateTime).map(|(column, _)| column);
        let has_values = column.as_ref().filter(|column| column.values.num_vals() > 0);
        let without = match &column {
            None => OnceLock::from(u64::from(self.reader.num_docs())),
            Some(column) if matches!(column.index, ColumnIndex::Full) => OnceLock::from(0),
            Some(_) => OnceLock::new(),
        };
        let known = Arc::new(KnownDates {
            bounds: has_values.map(|column| (column.min_value(), column.max_value())),
            column,
            without,
            is_scattered: OnceLock::new(),
            blocks: OnceLock::new(),
        });
        self.dates.lock().insert(field.to_owned(), Arc::clone(&known));
        Ok(known)
    }
}

impl KnownDates {
    /// Whether every document has exactly one.
    pub(super) fn is_full(&self) -> bool {
        self.column.as_ref().is_some_and(|column| matches!(column.index, ColumnIndex::Full))
    }

    pub(super) fn blocks(&self) -> Option<BlockBounds> {
        self.blocks.get().map(|(blocks, _)| Arc::clone(blocks))
    }

    /// Keeps the dates of the blocks, if there is room.
    pub(super) fn keep(&self, blocks: &BlockBounds, budget: &Arc<Budget>) {
        if self.blocks.get().is_none()
            && let Some(room) = budget.keep(size_of_val(&**blocks))
        {
            // Another scan may have been as fast.
            drop(self.blocks.set((Arc::clone(blocks), room)));
        }
    }
}
