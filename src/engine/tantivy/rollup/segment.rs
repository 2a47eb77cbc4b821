//! Rolled-up documents on their way into a segment: gathered as columns, and written as the files of one.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use ::tantivy::columnar::{
    self, ColumnType, ColumnarReader, DynamicColumn, DynamicColumnHandle, MonotonicallyMappableToU64,
};
use ::tantivy::directory::{Directory as _, TerminatingWrite};
use ::tantivy::index::SegmentComponent;
use ::tantivy::indexer::SegmentWriter;
use ::tantivy::schema::Schema;
use ::tantivy::store::StoreWriter;
use ::tantivy::{Index, Segment, TantivyDocument, TantivyError};

use super::super::schema::ID;
use super::columnar::{ColumnarFile, Presence};
use super::directory::GiveUp;
use super::ids;
use crate::exact::exact;
use crate::job::KeyPart;
use crate::rollup::{DocumentLayout, FieldSource, FieldValue, MetricPart, RolledUpDocuments, ValueKind};
use crate::sync::Arc;

/// What a term takes beside its text.
const BYTES_PER_TERM: usize = 64;

/// Documents that are gathered.
pub(super) struct Documents {
    layout: Arc<DocumentLayout>,
    id_hashes: Vec<u128>,
    columns: Vec<Column>,
}

/// One field of all of them.
struct Column {
    values: Values,
    /// Those that have a value, once one has none.
    rows: Option<Vec<u32>>,
}

enum Values {
    /// Mapped to integers that compare alike.
    Numbers(Vec<u64>),
    /// The texts in the order in which they came, and for each document the place of its text.
    Texts { terms: Vec<Arc<str>>, places: HashMap<Arc<str>, u64>, ordinals: Vec<u64>, bytes: usize },
    /// The same in all documents.
    Constant(FieldValue),
}

impl Column {
    fn new(source: &FieldSource, kind: ValueKind) -> Self {
        let values = match (source, kind) {
            (FieldSource::Constant(value), _) => Values::Constant(value.clone()),
            (FieldSource::Key(_) | FieldSource::DocCount | FieldSource::Metric(..), ValueKind::Keyword) => {
                Values::Texts { terms: Vec::new(), places: HashMap::new(), ordinals: Vec::new(), bytes: 0 }
            }
            (
                FieldSource::Key(_) | FieldSource::DocCount | FieldSource::Metric(..),
                ValueKind::Date | ValueKind::Integer | ValueKind::Unsigned | ValueKind::Double,
            ) => Values::Numbers(Vec::new()),
        };
        Self { values, rows: None }
    }

    /// The next documents from the one at place `first` on, each with its value.
    fn extend(&mut self, first: usize, values: impl Iterator<Item = Option<u64>>) {
        let Values::Numbers(numbers) = &mut self.values else { return };
        for (at, value) in values.enumerate() {
            present(&mut self.rows, first + at, value.is_some());
            numbers.extend(value);
        }
    }

    fn extend_texts<'a>(&mut self, first: usize, texts: impl Iterator<Item = Option<&'a Arc<str>>>) {
        let Values::Texts { terms, places, ordinals, bytes } = &mut self.values else { return };
        for (at, text) in texts.enumerate() {
            present(&mut self.rows, first + at, text.is_some());
            let Some(text) = text else { continue };
            let place = places.get(text).copied().unwrap_or_else(|| {
                let place = terms.len() as u64;
                terms.push(Arc::clone(text));
                *bytes += text.len() + BYTES_PER_TERM;
                places.insert(Arc::clone(text), place);
                place
            });
            ordinals.push(place);
        }
    }

    fn bytes(&self) -> usize {
        let values = match &self.values {
            Values::Numbers(numbers) => numbers.len() * 8,
            Values::Texts { ordinals, bytes, .. } => ordinals.len() * 8 + bytes,
            Values::Constant(_) => 0,
        };
        values + self.rows.as_ref().map_or(0, |rows| rows.len() * 4)
    }

    fn clear(&mut self) {
        self.rows = None;
        match &mut self.values {
            Values::Numbers(numbers) => numbers.clear(),
            Values::Texts { terms, places, ordinals, bytes } => {
                terms.clear();
                places.clear();
                ordinals.clear();
                *bytes = 0;
            }
            Values::Constant(_) => {}
        }
    }

    /// The values of the first documents.
    fn first(&self, documents: usize) -> Self {
        let row: u32 = exact(documents);
        let rows = self.rows.as_ref().map(|rows| rows[..rows.partition_point(|other| *other < row)].to_vec());
        let len = rows.as_ref().map_or(documents, Vec::len);
        let values = match &self.values {
            Values::Numbers(numbers) => Values::Numbers(numbers[..len].to_vec()),
            Values::Texts { terms, ordinals, .. } => {
                let ordinals = ordinals[..len].to_vec();
                // In the order in which they came the first documents have the first terms.
                let terms = terms[..ordinals.iter().max().map_or(0, |last| index(*last) + 1)].to_vec();
                let places = (0..).zip(&terms).map(|(place, term)| (Arc::clone(term), place)).collect();
                let bytes = terms.iter().map(|term| term.len() + BYTES_PER_TERM).sum();
                Values::Texts { terms, places, ordinals, bytes }
            }
            Values::Constant(value) => Values::Constant(value.clone()),
        };
        Self { values, rows }
    }

    fn presence(&self) -> Presence<'_> {
        self.rows.as_deref().map_or(Presence::All, Presence::Some)
    }
}

/// Notes whether the document at a place has a value. There are no notes as long as all have.
fn present(rows: &mut Option<Vec<u32>>, at: usize, has_value: bool) {
    let row: u32 = exact(at);
    match rows {
        Some(rows) => rows.extend(has_value.then_some(row)),
        None if !has_value => *rows = Some((0..row).collect()),
        None => {}
    }
}

impl Documents {
    pub(super) fn new(layout: &Arc<DocumentLayout>) -> Self {
        let columns = layout.fields().iter().map(|field| Column::new(&field.source, field.kind)).collect();
        Self { layout: Arc::clone(layout), id_hashes: Vec::new(), columns }
    }

    pub(super) fn len(&self) -> usize {
        self.id_hashes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id_hashes.is_empty()
    }

    /// Takes the room that they had; no document is left.
    pub(super) fn take_empty(&mut self) -> Self {
        let layout = Arc::clone(&self.layout);
        let mut taken = std::mem::replace(self, Self { layout, id_hashes: Vec::new(), columns: Vec::new() });
        taken.id_hashes.clear();
        taken.columns.iter_mut().for_each(Column::clear);
        taken
    }

    /// A copy of the first ones.
    pub(super) fn first(&self, documents: usize) -> Self {
        Self {
            layout: Arc::clone(&self.layout),
            id_hashes: self.id_hashes[..documents].to_vec(),
            columns: self.columns.iter().map(|column| column.first(documents)).collect(),
        }
    }

    /// How much memory they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.id_hashes.len() * size_of::<u128>() + self.columns.iter().map(Column::bytes).sum::<usize>()
    }

    pub(super) fn extend(&mut self, documents: RolledUpDocuments<'_>) {
        let first = self.id_hashes.len();
        self.id_hashes.extend_from_slice(documents.id_hashes());
        for (column, field) in self.columns.iter_mut().zip(self.layout.fields()) {
            let buckets = documents.buckets();
            match (&field.source, field.kind) {
                (FieldSource::Constant(_), _) => {}
                (FieldSource::DocCount, _) => {
                    column.extend(first, buckets.map(|bucket| Some(integer(bucket.doc_count))));
                }
                (FieldSource::Metric(at, part), _) => {
                    let (at, part): (usize, MetricPart) = (*at, *part);
                    column.extend(first, buckets.map(|bucket| part.store(&bucket.metrics[at]).map(f64::to_u64)));
                }
                (FieldSource::Key(at), ValueKind::Keyword) => {
                    column.extend_texts(first, buckets.map(|bucket| text(&bucket.key[*at])));
                }
                (
                    FieldSource::Key(at),
                    kind @ (ValueKind::Date | ValueKind::Integer | ValueKind::Unsigned | ValueKind::Double),
                ) => {
                    column.extend(first, buckets.map(|bucket| number(&bucket.key[*at], kind)));
                }
            }
        }
    }

    /// Adds documents of another segment: these rows of its columns.
    pub(super) fn extend_from(&mut self, columns: &ColumnarReader, rows: &[u32]) -> io::Result<()> {
        let first = self.id_hashes.len();
        let known = read_texts(columns, ID)?.ok_or_else(|| damaged("it has no ids"))?;
        let hashes = known.terms.iter().map(|id| ids::hash(id)).collect::<Option<Vec<_>>>();
        let hashes = hashes.ok_or_else(|| damaged("an id is none that this crate gives"))?;
        for row in rows {
            let ordinal = known.ordinals.first(*row).ok_or_else(|| damaged("a document has no id"))?;
            self.id_hashes.push(hashes[index(ordinal)]);
        }
        for (column, field) in self.columns.iter_mut().zip(self.layout.fields()) {
            match &column.values {
                Values::Constant(_) => {}
                Values::Numbers(_) => {
                    let values = read_numbers(columns, &field.name)?;
                    column.extend(first, rows.iter().map(|row| values.as_ref()?.first(*row)));
                }
                Values::Texts { .. } => {
                    let texts = read_texts(columns, &field.name)?;
                    let text = |row: &u32| {
                        let texts = texts.as_ref()?;
                        Some(&texts.terms[index(texts.ordinals.first(*row)?)])
                    };
                    column.extend_texts(first, rows.iter().map(text));
                }
            }
        }
        Ok(())
    }

    /// Writes the files of a segment that has those which are [empty](EmptyFiles::begin). Fails soon after the work was
    /// given up.
    pub(super) fn write(&self, segment: Segment, work: &GiveUp) -> Result<Segment, TantivyError> {
        let documents = u32::try_from(self.id_hashes.len()).map_err(io::Error::other)?;
        let file = ColumnarFile::new(segment.open_write(SegmentComponent::FastFields)?, documents, work.clone())?;
        self.write_columns(file)?.terminate()?;
        // Nothing is stored, and tantivy wants to know so of each document.
        let (settings, schema, nothing) = (segment.index().settings(), segment.schema(), TantivyDocument::default());
        let file = segment.open_write(SegmentComponent::Store)?;
        let mut store = StoreWriter::new(file, settings.docstore_compression, settings.docstore_blocksize, false)?;
        for _ in 0..documents {
            work.check()?;
            store.store(&nothing, &schema)?;
        }
        store.close()?;
        let segment = segment.with_max_doc(documents);
        segment.meta().untrack_temp_docstore();
        Ok(segment)
    }

    fn write_columns<W: io::Write>(&self, mut file: ColumnarFile<W>) -> io::Result<W> {
        let fields =
            self.layout.fields().iter().zip(&self.columns).map(|(field, column)| (&*field.name, Some((field, column))));
        let mut fields: Vec<_> = fields.chain([(ID, None)]).collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        let documents = self.id_hashes.len();
        for (name, field) in fields {
            let Some((field, column)) = field else {
                self.write_ids(&mut file)?;
                continue;
            };
            let kind = match field.kind {
                ValueKind::Date => ColumnType::DateTime,
                ValueKind::Integer => ColumnType::I64,
                ValueKind::Unsigned => ColumnType::U64,
                ValueKind::Double => ColumnType::F64,
                ValueKind::Keyword => ColumnType::Str,
            };
            match &column.values {
                Values::Numbers(numbers) => file.numbers(name, kind, column.presence(), numbers)?,
                Values::Texts { terms, ordinals, .. } => {
                    let mut order: Vec<usize> = (0..terms.len()).collect();
                    order.sort_unstable_by_key(|place| &terms[*place]);
                    let mut sorted = vec![0; terms.len()];
                    (0..).zip(&order).for_each(|(to, from): (u64, _)| sorted[*from] = to);
                    let ordinals: Vec<u64> = ordinals.iter().map(|ordinal| sorted[index(*ordinal)]).collect();
                    let terms = order.iter().map(|place| terms[*place].as_bytes());
                    file.texts(name, column.presence(), terms, &ordinals)?;
                }
                Values::Constant(FieldValue::Text(text)) => {
                    file.texts(name, Presence::All, [text.as_bytes()].into_iter(), &vec![0; documents])?;
                }
                Values::Constant(value) => {
                    let value = match value {
                        FieldValue::Integer(value) | FieldValue::Date(value) => value.to_u64(),
                        FieldValue::Unsigned(value) => *value,
                        FieldValue::Double(value) => value.to_u64(),
                        FieldValue::Null | FieldValue::Text(_) => continue,
                    };
                    file.numbers(name, kind, Presence::All, &vec![value; documents])?;
                }
            }
        }
        file.finish()
    }

    fn write_ids<W: io::Write>(&self, file: &mut ColumnarFile<W>) -> io::Result<()> {
        // Sorted in parts of one first letter: each is soon done, should the work be given up.
        let mut parts = vec![Vec::<(u64, u32)>::new(); ids::LETTERS];
        for (row, hash) in (0..).zip(&self.id_hashes) {
            file.check()?;
            let rank = ids::rank(*hash);
            parts[ids::first_letter(rank)].push((rank, row));
        }
        let hash = |row: u32| self.id_hashes[row as usize];
        let (mut rows, mut ordinals) = (Vec::with_capacity(self.len()), vec![0; self.len()]);
        let mut last = None;
        for mut part in parts {
            file.check()?;
            part.sort_unstable_by(|(rank, row), (other_rank, other_row)| {
                rank.cmp(other_rank).then_with(|| ids::text(hash(*row)).cmp(&ids::text(hash(*other_row))))
            });
            for (_, row) in part {
                // Two hashes may be the same, if somebody has taken the trouble; a dictionary has each term once.
                if last.replace(hash(row)) != Some(hash(row)) {
                    rows.push(row);
                }
                ordinals[row as usize] = rows.len() as u64 - 1;
            }
        }
        let prefix = format!("{}$", self.layout.job_id());
        let texts = rows.iter().map(|row| [prefix.as_bytes(), &ids::text(hash(*row))].concat());
        file.texts(ID, Presence::All, texts, &ordinals)
    }
}

/// A column of numbers, mapped to integers that compare alike.
pub(super) fn read_numbers(columns: &ColumnarReader, name: &str) -> io::Result<Option<columnar::Column<u64>>> {
    columns.read_columns(name)?.first().map_or(Ok(None), DynamicColumnHandle::open_u64_lenient)
}

/// A column of texts: its terms, and for each document the place of its term.
struct TextColumn {
    terms: Vec<Arc<str>>,
    ordinals: columnar::Column<u64>,
}

fn read_texts(columns: &ColumnarReader, name: &str) -> io::Result<Option<TextColumn>> {
    let handles = columns.read_columns(name)?;
    let Some(DynamicColumn::Str(column)) = handles.first().map(DynamicColumnHandle::open).transpose()? else {
        return Ok(None);
    };
    let (mut terms, mut stream) = (Vec::with_capacity(column.num_terms()), column.dictionary().stream()?);
    while stream.advance() {
        terms.push(std::str::from_utf8(stream.key()).map_err(io::Error::other)?.into());
    }
    Ok(Some(TextColumn { terms, ordinals: column.ords().clone() }))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a segment is damaged: {what}"))
}

fn integer(value: u64) -> u64 {
    exact::<i64, _>(value).to_u64()
}

/// The text of a part of the key in a column of texts.
fn text(part: &KeyPart) -> Option<&Arc<str>> {
    match part {
        KeyPart::Text(text) => Some(text),
        KeyPart::Null
        | KeyPart::Date(_)
        | KeyPart::Integer(_)
        | KeyPart::Unsigned(_)
        | KeyPart::Double(_)
        | KeyPart::Histogram { .. } => None,
    }
}

/// The value of a part of the key in a column of this kind; a date is in nanoseconds there.
fn number(part: &KeyPart, kind: ValueKind) -> Option<u64> {
    Some(match part {
        // The writer leaves out what is beyond the dates.
        KeyPart::Date(millis) => millis.checked_mul(1_000_000)?.to_u64(),
        KeyPart::Integer(value) if kind == ValueKind::Unsigned => value.unsigned_abs(),
        KeyPart::Integer(value) => value.to_u64(),
        KeyPart::Unsigned(value) => *value,
        KeyPart::Double(value) => value.to_u64(),
        KeyPart::Histogram { number, interval } => (number * interval).to_u64(),
        KeyPart::Null | KeyPart::Text(_) => return None,
    })
}

fn index(value: u64) -> usize {
    exact(value)
}

/// The files of a segment that has no inverted index: the same for all segments of a schema, and made by tantivy.
pub(super) struct EmptyFiles(Vec<(SegmentComponent, Vec<u8>)>);

impl EmptyFiles {
    /// The files that a segment has.
    pub(super) fn of_segment<'a>(&'a self, segment: &'a Segment) -> impl Iterator<Item = PathBuf> + 'a {
        let components = self.0.iter().map(|(component, _)| component.clone());
        let components = components.chain([SegmentComponent::FastFields, SegmentComponent::Store]);
        components.map(|component| segment.meta().relative_path(component))
    }

    /// Begins a segment.
    pub(super) fn begin(&self, segment: Segment) -> Result<Segment, TantivyError> {
        for (component, content) in &self.0 {
            let mut file = segment.open_write(component.clone())?;
            io::Write::write_all(&mut file, content)?;
            file.terminate()?;
        }
        Ok(segment)
    }

    /// Removes the files of a segment that no commit will speak of.
    pub(super) fn remove_with(&self, segment: &Segment) {
        for file in self.of_segment(segment) {
            // It may not have come to be; and what is left is removed with the next merge.
            let _ = segment.index().directory().delete(&file);
        }
    }

    pub(super) fn of(schema: Schema) -> Result<Self, TantivyError> {
        const MEMORY: usize = 1 << 20;
        let index = Index::create_in_ram(schema);
        let segment = index.new_segment();
        SegmentWriter::for_segment(MEMORY, segment.clone())?.finalize()?;
        let components = [
            SegmentComponent::Terms,
            SegmentComponent::Postings,
            SegmentComponent::Positions,
            SegmentComponent::FieldNorms,
        ];
        let files = components.into_iter().map(|component| {
            let content = segment.open_read(component.clone())?.read_bytes()?;
            Ok((component, content.as_slice().to_vec()))
        });
        files.collect::<Result<_, TantivyError>>().map(Self)
    }
}
