//! Rows, one after the other, become the groups of a request: every rule in its plainest form.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use super::document::{SourceDocument, SourceValue};
use super::request::{ScanRequest, ScanRequestError};
use super::rolled_up::RolledUpFields;
use crate::filter::{FilterField, Selection};
use crate::job::{GroupKey, KeyPart, Rounding};
use crate::measure::MetricValues;
use crate::rollup::{FieldValue, KeyKind, Page, RolledUpDocument};
use crate::sync::Arc;

/// Groups rows as a request wants it, for engines whose rows fit into memory.
///
/// ```
/// use rollup_jobs::KeyPart;
/// use rollup_jobs::TermsType;
/// use rollup_jobs::filter::{Filter, FilterField};
/// use rollup_jobs::rollup::{Grouping, Measure};
/// use rollup_jobs::scan::{Fold, ScanRequest, SourceDocument};
///
/// let grouping = Grouping::new("at").terms("room", TermsType::Keyword).measure("watts", Measure::Sum);
/// let request = ScanRequest::new(grouping).filter(Filter::prefix("room", "k"), 0);
/// let mut fold = Fold::new(request)?;
/// fold.holding(&|field| (field == "room").then_some(FilterField::Text))?;
/// for (room, watts) in [("kitchen", 40.0), ("hall", 10.0), ("kitchen", 2.0)] {
///     fold.add(&SourceDocument::new().date("at", 0).keyword("room", room).double("watts", watts));
/// }
/// let page = fold.into_pages().next_page();
/// let kitchen = page.last().unwrap();
/// assert_eq!((kitchen.key, kitchen.doc_count), (&[KeyPart::Text("kitchen".into())][..], 2));
/// assert_eq!(kitchen.metrics[0].sum(), 42.0);
/// # Ok::<(), rollup_jobs::scan::ScanRequestError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fold {
    request: ScanRequest,
    selection: Selection,
    groups: BTreeMap<GroupKey, (u64, Vec<MetricValues>)>,
    several_values: BTreeSet<String>,
    without_date: u64,
    too_far: u64,
}

/// The groups of a [`Fold`] in ascending key order, page by page.
#[derive(Debug)]
pub struct Pages {
    request: ScanRequest,
    groups: btree_map::IntoIter<GroupKey, (u64, Vec<MetricValues>)>,
    several_values: BTreeSet<String>,
    without_date: u64,
    too_far: u64,
}

impl Fold {
    /// No row so far.
    ///
    /// # Errors
    /// [`ScanRequestError`] if the request is none.
    pub fn new(request: ScanRequest) -> Result<Self, ScanRequestError> {
        request.check()?;
        let (groups, several_values) = (BTreeMap::new(), BTreeSet::new());
        let selection = Selection::All;
        let mut fold = Self { request, selection, groups, several_values, without_date: 0, too_far: 0 };
        fold.holding(&|_| None)?;
        Ok(fold)
    }

    /// For rolled-up documents, of which these are the fields that the request is about.
    ///
    /// # Errors
    /// [`ScanRequestError`] if the filter compares a field with what it cannot hold.
    pub fn of_rolled_up(request: ScanRequest, fields: &RolledUpFields<'_>) -> Result<Self, ScanRequestError> {
        let mut fold = Self::new(request)?;
        fold.holding(&|field| fields.field(field).map(|(_, holds)| holds))?;
        Ok(fold)
    }

    /// What the fields of the rows that come now hold, for the filter. At first, no field is known.
    ///
    /// # Errors
    /// [`ScanRequestError`] if the filter compares a field with what it cannot hold.
    pub fn holding(&mut self, holds: &dyn Fn(&str) -> Option<FilterField>) -> Result<(), ScanRequestError> {
        self.selection = self.request.select(holds)?;
        Ok(())
    }

    /// Takes a row.
    pub fn add(&mut self, row: &SourceDocument) {
        let part = |_: usize, value, interval| KeyPart::histogram(value, interval);
        self.take(row, 1, part, |_, field, values| {
            row.values(field).iter().filter_map(SourceValue::as_double).for_each(|value| values.add(value));
        });
    }

    /// Takes a rolled-up document, of which these are the fields that the request is about.
    pub fn add_rolled_up(&mut self, fields: &RolledUpFields<'_>, document: &RolledUpDocument) {
        let row = fields.row(document);
        let part = |at: usize, value, _| fields.keys[at].histogram_part(value);
        let count = document.value(&fields.count.name).map_or(0, FieldValue::as_count);
        self.take(&row, count, part, |at, _, values| {
            for (measure, field) in &fields.measured[at] {
                let stored = document.value(&field.name).and_then(FieldValue::as_double);
                if let Some(stored) = stored {
                    values.merge_stored(*measure, stored);
                }
            }
        });
    }

    /// A row that counts so often.
    fn take(
        &mut self,
        row: &SourceDocument,
        count: u64,
        histogram_part: impl Fn(usize, f64, f64) -> KeyPart,
        measure: impl Fn(usize, &str, &mut MetricValues),
    ) {
        let Some(dates) = self.dates(row) else { return };
        if !self.selection.means(&|field, values| row.values(field).iter().any(|value| value.is_in(values))) {
            return;
        }
        let grouping = Arc::clone(&self.request.grouping);
        if !dates.is_empty() {
            let several = grouping.fields().filter(|field| row.values(field).len() > 1).map(str::to_owned);
            self.several_values.extend(several);
        }
        let mut keys: Vec<GroupKey> = dates.into_iter().map(|date| date.into_iter().collect()).collect();
        for (at, key) in grouping.keys().iter().enumerate() {
            let values = row.values(&key.field).iter();
            let parts = match key.kind {
                KeyKind::Histogram { interval } => {
                    let values = values.filter_map(SourceValue::as_double);
                    distinct(values.map(|value| histogram_part(at, value, interval)))
                }
                KeyKind::Terms(_) => distinct(values.map(SourceValue::as_term)),
            };
            let with = |key: &GroupKey, part: &KeyPart| [key.as_slice(), std::slice::from_ref(part)].concat();
            keys = keys.iter().flat_map(|key| parts.iter().map(move |part| with(key, part))).collect();
        }
        let after = self.request.after.as_ref();
        for key in keys.into_iter().filter(|key| after.is_none_or(|after| key > after)) {
            let empty = || (0, vec![MetricValues::default(); grouping.measured().len()]);
            let (doc_count, metrics) = self.groups.entry(key).or_insert_with(empty);
            *doc_count += count;
            for (at, (values, measured)) in metrics.iter_mut().zip(grouping.measured()).enumerate() {
                measure(at, &measured.field, values);
            }
        }
    }

    /// The date buckets of a row in the times that are asked for; where nothing is grouped by date, whether it has
    /// such dates. `None` if it has no date at all.
    fn dates(&mut self, row: &SourceDocument) -> Option<BTreeSet<Option<KeyPart>>> {
        let Self { request: ScanRequest { grouping, times, .. }, without_date, too_far, .. } = self;
        let all = row.values(grouping.date_field()).iter().filter_map(SourceValue::as_date);
        let dates: Vec<i64> = all.clone().filter(|date| Rounding::can_round(*date)).collect();
        if dates.is_empty() {
            *without_date += 1;
            *too_far += u64::from(all.count() > 0);
            return None;
        }
        let bucket = |date: i64| grouping.grid().map_or(date, |grid| grid.round_down(date));
        let wanted = dates.into_iter().filter(|date| times.contain(*date, bucket(*date)));
        Some(wanted.map(|date| grouping.grid().map(|_| KeyPart::Date(bucket(date)))).collect())
    }

    /// The groups of all rows.
    #[must_use]
    pub fn into_pages(self) -> Pages {
        let Self { request, mut groups, several_values, without_date, too_far, .. } = self;
        for (_, metrics) in groups.values_mut() {
            for (values, measured) in metrics.iter_mut().zip(request.grouping.measured()) {
                *values = values.only(measured.measures);
            }
        }
        Pages { request, groups: groups.into_iter(), several_values, without_date, too_far }
    }
}

impl Pages {
    /// The next groups, as many as the request says at most; an empty page means the end.
    #[must_use]
    pub fn next_page(&mut self) -> Page {
        let mut page = Page::of(&self.request.grouping);
        for (key, (doc_count, metrics)) in self.groups.by_ref().take(self.request.page_size) {
            page.push(key, doc_count, metrics);
        }
        page
    }

    /// The grouped fields, the date too, of which some row had several values.
    #[must_use]
    pub fn several_values(&self) -> &BTreeSet<String> {
        &self.several_values
    }

    /// How many rows are in no group since they have no date, or one whose bucket cannot be kept.
    #[must_use]
    pub fn rows_without_date(&self) -> u64 {
        self.without_date
    }

    /// Those of them that have such a date.
    #[must_use]
    pub fn rows_too_far(&self) -> u64 {
        self.too_far
    }
}

/// The distinct parts, or the null group if there is none.
fn distinct(parts: impl Iterator<Item = KeyPart>) -> BTreeSet<KeyPart> {
    let parts: BTreeSet<_> = parts.filter(|part| *part != KeyPart::Null).collect();
    if parts.is_empty() { BTreeSet::from([KeyPart::Null]) } else { parts }
}
