//! Which columns a scan reads: those of source documents, or those of rolled-up ones.

use std::collections::HashMap;
use std::fmt;

use super::keys::PartKind;
use crate::engine::FieldType;
use crate::filter::FilterField;
use crate::measure::{Measure, Measures};
use crate::rollup::{Grouping, KeyKind};
use crate::scan::{RolledUpFields, ScanRequest};

/// The columns that a request is about.
pub(in crate::engine::tantivy) struct RowColumns {
    /// The date that a row has.
    pub(super) date: String,
    /// How many rows a document stands for; one if there is no such column.
    pub(super) count: Option<String>,
    /// The parts of keys behind the date.
    pub(super) keys: Vec<KeyColumnName>,
    pub(super) measured: Vec<MeasuredColumnNames>,
    /// What conditions look at, by the names that they have for it. Of source documents, where a column has the name
    /// of its field, only what the schema says is known.
    filtered: Option<HashMap<String, (String, FilterField)>>,
}

pub(super) struct KeyColumnName {
    pub(super) column: String,
    pub(super) kind: PartKind,
    /// Its values are the lower ends of just these ranges.
    pub(super) is_rounded: bool,
}

/// What the measures of a field are found out from.
pub(super) enum MeasuredColumnNames {
    /// The field's values.
    Values(String, Measures),
    /// What was found out of them.
    Stored(Vec<(Measure, String)>),
}

impl RowColumns {
    pub(in crate::engine::tantivy) fn of_source(grouping: &Grouping) -> Self {
        let keys = grouping.keys().iter().map(|key| KeyColumnName {
            column: key.field.clone(),
            kind: PartKind::of(key.kind),
            is_rounded: false,
        });
        let measured =
            grouping.measured().iter().map(|field| MeasuredColumnNames::Values(field.field.clone(), field.measures));
        Self {
            date: grouping.date_field().to_owned(),
            count: None,
            keys: keys.collect(),
            measured: measured.collect(),
            filtered: None,
        }
    }

    pub(in crate::engine::tantivy) fn of_rolled_up(fields: &RolledUpFields<'_>, request: &ScanRequest) -> Self {
        let keys = fields.keys.iter().map(|key| KeyColumnName {
            column: key.field.name.clone(),
            kind: PartKind::of(key.kind),
            is_rounded: key.kind == key.kept && matches!(key.kind, KeyKind::Histogram { .. }),
        });
        let measured = fields.measured.iter().map(|stored| {
            let stored = stored.iter().map(|(measure, field)| (*measure, field.name.clone()));
            MeasuredColumnNames::Stored(stored.collect())
        });
        let filtered = request.filter.fields().into_iter().filter_map(|name| {
            let (field, holds) = fields.field(name)?;
            Some((name.to_owned(), (field.name.clone(), holds)))
        });
        Self {
            date: fields.date.name.clone(),
            count: Some(fields.count.name.clone()),
            keys: keys.collect(),
            measured: measured.collect(),
            filtered: Some(filtered.collect()),
        }
    }

    /// The columns and what they are used as.
    pub(in crate::engine::tantivy) fn uses(&self) -> impl Iterator<Item = (&str, ColumnUse)> {
        let keys = self.keys.iter().map(|key| (key.column.as_str(), ColumnUse::Key(key.kind)));
        let measured = self.measured.iter().filter_map(|measured| match measured {
            MeasuredColumnNames::Values(column, _) => Some((column.as_str(), ColumnUse::Values)),
            // They are the engine's own.
            MeasuredColumnNames::Stored(_) => None,
        });
        std::iter::once((self.date.as_str(), ColumnUse::Date)).chain(keys).chain(measured)
    }

    /// The column that a condition on a field looks at.
    pub(super) fn filtered<'a>(&'a self, field: &'a str) -> &'a str {
        let known = self.filtered.as_ref().and_then(|filtered| filtered.get(field));
        known.map_or(field, |(column, _)| column)
    }

    /// What a field holds, if that does not depend on the schema.
    pub(super) fn holds(&self, field: &str) -> Option<FilterField> {
        self.filtered.as_ref().and_then(|filtered| filtered.get(field)).map(|(_, holds)| *holds)
    }
}

/// What a column is used as.
#[derive(Clone, Copy)]
pub(in crate::engine::tantivy) enum ColumnUse {
    Date,
    Key(PartKind),
    Values,
}

impl ColumnUse {
    /// Whether a field of this type can be used so.
    pub(in crate::engine::tantivy) fn fits(self, field_type: &FieldType) -> bool {
        match self {
            Self::Date => field_type.is_date(),
            Self::Key(PartKind::Histogram { .. }) => field_type.is_numeric(),
            Self::Key(PartKind::Keyword) => field_type.is_textual(),
            Self::Key(PartKind::Integer) => *field_type == FieldType::Long,
            Self::Key(PartKind::Unsigned) => *field_type == FieldType::Unsigned,
            Self::Key(PartKind::Double) => field_type.is_floating(),
            Self::Key(PartKind::Date) | Self::Values => field_type.is_numeric() || field_type.is_date(),
        }
    }
}

impl fmt::Display for ColumnUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Date => "a date",
            Self::Key(PartKind::Histogram { .. }) => "a number",
            Self::Key(PartKind::Keyword) => "a keyword",
            Self::Key(PartKind::Integer) => "a whole number",
            Self::Key(PartKind::Unsigned) => "an unsigned whole number",
            Self::Key(PartKind::Double) => "a floating-point number",
            Self::Key(PartKind::Date) | Self::Values => "a number or a date",
        })
    }
}
