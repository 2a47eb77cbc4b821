//! Which fields of a job's rolled-up documents answer a request, as if they were the rows.

use super::document::SourceDocument;
use super::request::{ScanRequest, ScanRequestError};
use crate::filter::FilterField;
use crate::job::{KeyPart, TermsType};
use crate::measure::Measure;
use crate::rollup::{DocumentLayout, FieldValue, GroupingKey, KeyKind, LayoutField, RolledUpDocument};

/// Up to here whole numbers are exact as doubles.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The fields of a job's rolled-up documents that a request is about.
///
/// A rolled-up document stands for as many rows as its count says, all of them at the beginning of its date bucket and
/// at the lower ends of its histograms' ranges. Whoever asks for other buckets than the job's, or for a part of time or
/// of a histogram, sees to it that no bucket of the job lies across an edge; that is not looked at here.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RolledUpFields<'a> {
    /// The beginning of the date bucket.
    pub date: &'a LayoutField,
    /// How many rows a document stands for.
    pub count: &'a LayoutField,
    /// For each key of the grouping behind the date.
    pub keys: Vec<RolledUpKey<'a>>,
    /// For each measured field of the grouping, what it is asked for.
    pub measured: Vec<Vec<(Measure, &'a LayoutField)>>,
    layout: &'a DocumentLayout,
}

/// The field of rolled-up documents that a key is made of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RolledUpKey<'a> {
    /// The field.
    pub field: &'a LayoutField,
    /// What is asked for.
    pub kind: KeyKind,
    /// What the job groups by.
    pub kept: KeyKind,
}

impl RolledUpKey<'_> {
    /// The part of the key for a histogram's value, the lower end of a range.
    #[must_use]
    pub fn histogram_part(&self, lower_end: f64) -> KeyPart {
        match self.kind {
            KeyKind::Histogram { interval } if self.kind == self.kept => {
                KeyPart::of_histogram_key(lower_end, interval).unwrap_or(KeyPart::Null)
            }
            KeyKind::Histogram { interval } => KeyPart::histogram(lower_end, interval),
            KeyKind::Terms(_) => KeyPart::Null,
        }
    }
}

impl<'a> RolledUpFields<'a> {
    /// Of a job whose documents have this layout.
    ///
    /// # Errors
    /// [`ScanRequestError`] if the request is none, or the documents do not have what it asks for.
    pub fn of(layout: &'a DocumentLayout, request: &ScanRequest) -> Result<Self, ScanRequestError> {
        request.check()?;
        let (kept, asked, job) = (layout.grouping(), &*request.grouping, layout.job_id());
        if asked.date_field() != kept.date_field() {
            let (asked, kept) = (asked.date_field(), kept.date_field());
            let problem = format!("has the date in [{asked}]: job [{job}] has it in [{kept}]");
            return Err(ScanRequestError::new("grouping", problem));
        }
        let keys = asked.keys().iter().map(|key| key_of(layout, key)).collect::<Result<_, _>>()?;
        let measured = asked.measured().iter().map(|measured| {
            let at = kept.measured().iter().position(|kept| kept.field == measured.field);
            let field_of = |measure| {
                let found = at.and_then(|at| layout.measure_field(at, measure)).map(|field| (measure, field));
                let problem =
                    || format!("asks for the {measure} of [{}], which job [{job}] does not keep", measured.field);
                found.ok_or_else(|| ScanRequestError::new("grouping", problem()))
            };
            measured.measures.iter().map(field_of).collect()
        });
        let measured = measured.collect::<Result<_, _>>()?;
        let fields = Self { date: layout.key_field(0), count: layout.count_field(), keys, measured, layout };
        match request.filter.fields().into_iter().find(|field| fields.field(field).is_none()) {
            Some(field) => {
                let problem = format!("looks at [{field}], which job [{job}] does not group by");
                Err(ScanRequestError::new("filter", problem))
            }
            None => Ok(fields),
        }
    }

    /// A rolled-up document as a row, with the fields that it was grouped by.
    pub(super) fn row(&self, document: &RolledUpDocument) -> SourceDocument {
        let names = self.layout.grouping().fields();
        let values =
            names.enumerate().filter_map(|(at, name)| Some((name, document.value(&self.layout.key_field(at).name)?)));
        values.fold(SourceDocument::new(), |row, (name, value)| match value {
            FieldValue::Null => row,
            FieldValue::Date(value) => row.date(name, *value),
            FieldValue::Integer(value) => row.integer(name, *value),
            FieldValue::Unsigned(value) => row.unsigned(name, *value),
            FieldValue::Double(value) => row.double(name, *value),
            FieldValue::Text(text) => row.keyword(name, text),
        })
    }

    /// The field that has what documents were grouped by as `field`, and what it holds; `None` if they were not.
    #[must_use]
    pub fn field(&self, field: &str) -> Option<(&'a LayoutField, FilterField)> {
        let grouping = self.layout.grouping();
        if field == grouping.date_field() {
            return Some((self.date, FilterField::Date));
        }
        let at = grouping.keys().iter().position(|key| key.field == field)?;
        let holds = match grouping.keys()[at].kind {
            KeyKind::Histogram { .. } | KeyKind::Terms(TermsType::Floating) => FilterField::Double,
            KeyKind::Terms(TermsType::Integer | TermsType::Unsigned) => FilterField::Integer,
            KeyKind::Terms(TermsType::Keyword) => FilterField::Text,
        };
        Some((self.layout.key_field(1 + at), holds))
    }
}

fn key_of<'a>(layout: &'a DocumentLayout, asked: &GroupingKey) -> Result<RolledUpKey<'a>, ScanRequestError> {
    let GroupingKey { field, kind } = asked;
    let mut kept = layout.grouping().keys().iter().enumerate();
    let found = kept.find(|(_, kept)| kept.field == *field && is_made_of(*kind, kept.kind));
    let problem = || format!("has {kind} of [{field}], which those of job [{}] do not tell", layout.job_id());
    let (at, kept) = found.ok_or_else(|| ScanRequestError::new("grouping", problem()))?;
    Ok(RolledUpKey { field: layout.key_field(1 + at), kind: *kind, kept: kept.kind })
}

/// Whether each part of the one lies within one part of the other.
pub(crate) fn is_made_of(asked: KeyKind, kept: KeyKind) -> bool {
    match (asked, kept) {
        (KeyKind::Histogram { interval: asked }, KeyKind::Histogram { interval: kept }) => {
            // Fractions do not divide exactly.
            let is_whole = |interval: f64| interval.fract() == 0.0 && interval < MAX_EXACT;
            asked.to_bits() == kept.to_bits() || is_whole(asked) && is_whole(kept) && asked % kept == 0.0
        }
        (KeyKind::Terms(asked), KeyKind::Terms(kept)) => asked == kept,
        (KeyKind::Histogram { .. }, KeyKind::Terms(_)) | (KeyKind::Terms(_), KeyKind::Histogram { .. }) => false,
    }
}
