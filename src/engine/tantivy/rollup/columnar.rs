//! Tantivy's file of columns, written column by column from values that are there already.
//!
//! Tantivy's own writer takes one value at a time, finds its column by name, keeps it in a log, and reads the log
//! back: for rolled-up documents, which are all columns, that costs several times what writing does. This writes the
//! same format (version 2) by tantivy's own functions for presence and dictionaries; [values](super::packed) and the
//! frame around the columns are put together here. A tantivy that reads another format refuses it, and the tests read
//! everything back with tantivy.

use std::io::{self, Write};
use std::ops::Range;

use ::tantivy::columnar::ColumnType;
use ::tantivy::columnar::column_index::{SerializableColumnIndex, SerializableOptionalIndex, serialize_column_index};
use tantivy_sstable::value::RangeValueWriter;
use tantivy_sstable::{Dictionary, RangeSSTable, SSTable, VoidSSTable, Writer};

use super::directory::GiveUp;
use super::packed;

/// What the file ends with: the version of the format, and bytes that tell it from other files.
const FOOTER: [u8; 8] = [2, 0, 0, 0, 2, 113, 119, 66];
/// What ends a name in the list of columns.
const END_OF_NAME: u8 = 0;

/// Which documents have a value.
#[derive(Clone, Copy)]
pub(super) enum Presence<'a> {
    All,
    /// These.
    Some(&'a [u32]),
}

/// A file of columns that is being written.
pub(super) struct ColumnarFile<W: Write> {
    file: W,
    written: u64,
    columns: Writer<Vec<u8>, RangeValueWriter>,
    documents: u32,
    buffer: Vec<u8>,
    /// Writing fails soon after this was given up.
    work: GiveUp,
}

impl<W: Write> ColumnarFile<W> {
    pub(super) fn new(file: W, documents: u32, work: GiveUp) -> io::Result<Self> {
        let columns = Dictionary::<RangeSSTable>::builder(Vec::new())?;
        Ok(Self { file, written: 0, columns, documents, buffer: Vec::new(), work })
    }

    /// An error once the work was given up.
    pub(super) fn check(&self) -> io::Result<()> {
        self.work.check()
    }

    /// Adds a column of numbers as columns hold them: mapped to integers that compare alike. Columns are added in the
    /// order of their names.
    pub(super) fn numbers(
        &mut self,
        name: &str,
        column: ColumnType,
        presence: Presence<'_>,
        values: &[u64],
    ) -> io::Result<()> {
        self.column(name, column, |documents, work, out| write_values(documents, presence, values, work, out))
    }

    /// Adds a column of texts: its terms in ascending order, and for each document the place of its term.
    pub(super) fn texts<T: AsRef<[u8]>>(
        &mut self,
        name: &str,
        presence: Presence<'_>,
        terms: impl Iterator<Item = T>,
        ordinals: &[u64],
    ) -> io::Result<()> {
        self.column(name, ColumnType::Str, |documents, work, out| {
            let begin = out.len();
            let mut dictionary = VoidSSTable::writer(&mut *out);
            for term in terms {
                work.check()?;
                dictionary.insert(term, &())?;
            }
            dictionary.finish()?;
            let length = out.len() - begin;
            write_values(documents, presence, ordinals, work, out)?;
            out.write_all(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes())
        })
    }

    fn column(
        &mut self,
        name: &str,
        column: ColumnType,
        write: impl FnOnce(u32, &GiveUp, &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check()?;
        self.buffer.clear();
        write(self.documents, &self.work, &mut self.buffer)?;
        self.file.write_all(&self.buffer)?;
        let range: Range<u64> = self.written..self.written + self.buffer.len() as u64;
        self.written = range.end;
        let key = [name.as_bytes(), &[END_OF_NAME, column.to_code()]].concat();
        self.columns.insert(key, &range)
    }

    /// Writes the list of columns, and gives the file back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let columns = self.columns.finish()?;
        self.file.write_all(&columns)?;
        self.file.write_all(&(columns.len() as u64).to_le_bytes())?;
        self.file.write_all(&self.documents.to_le_bytes())?;
        self.file.write_all(&FOOTER)?;
        Ok(self.file)
    }
}

fn write_values(
    documents: u32,
    presence: Presence<'_>,
    values: &[u64],
    work: &GiveUp,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let index = match presence {
        Presence::All => SerializableColumnIndex::Full,
        Presence::Some(rows) => SerializableColumnIndex::Optional(SerializableOptionalIndex {
            non_null_row_ids: Box::new(rows),
            num_rows: documents,
        }),
    };
    let length = serialize_column_index(index, out)?;
    // Sums and extremes follow no line: other codecs would be tried for nothing.
    packed::write(values, work, out)?;
    out.write_all(&length.to_le_bytes())
}
