use std::ops::Range;

use super::grouping::Grouping;
use super::layout::DocumentLayout;
use crate::job::KeyPart;
use crate::measure::MetricValues;

/// Buckets in ascending key order, as a [`PageStream`](crate::engine::PageStream) delivers them.
///
/// They lie side by side in a few long vectors: a page of ten thousand costs no more allocations than one of ten.
///
/// ```
/// # use rollup_jobs::rollup::{DocumentLayout, Page};
/// # use rollup_jobs::{DateHistogram, KeyPart, RollupJobConfig, TermsType};
/// # let config = RollupJobConfig::builder("sensor").index_pattern("sensor-*").rollup_index("rolled").cron("0 0 * * * ?")
/// #     .page_size(10).date_histogram(DateHistogram::fixed_interval("timestamp", "1h")).terms(["node"]).build()?;
/// # let layout = DocumentLayout::new(&config, &[TermsType::Keyword]);
/// let mut page = Page::new(&layout);
/// page.push([KeyPart::Date(0), KeyPart::Text("a".into())], 3, []);
/// assert_eq!(page.last().unwrap().doc_count, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    key_parts: usize,
    metric_fields: usize,
    keys: Vec<KeyPart>,
    doc_counts: Vec<u64>,
    metrics: Vec<MetricValues>,
}

/// One group with what was found in it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Bucket<'a> {
    /// The date, the histogram parts and the terms parts, in configured order.
    pub key: &'a [KeyPart],
    /// How many documents are in it. A multi-valued document counts once in each bucket that it falls into.
    pub doc_count: u64,
    /// The values of each metric field, in configured order.
    pub metrics: &'a [MetricValues],
}

impl Page {
    /// An empty page for buckets of this layout.
    #[must_use]
    pub fn new(layout: &DocumentLayout) -> Self {
        Self::of(layout.grouping())
    }

    /// An empty page for groups of this grouping.
    #[must_use]
    pub fn of(grouping: &Grouping) -> Self {
        Self::of_width(grouping.key_parts(), grouping.measured().len())
    }

    pub(crate) fn of_width(key_parts: usize, metric_fields: usize) -> Self {
        Self { key_parts, metric_fields, ..Self::default() }
    }

    /// Room for so many more buckets.
    pub(crate) fn reserve(&mut self, buckets: usize) {
        self.keys.reserve(buckets * self.key_parts);
        self.doc_counts.reserve(buckets);
        self.metrics.reserve(buckets * self.metric_fields);
    }

    /// Appends a bucket, whose key comes after all others: the date, the histogram parts and the terms parts, and the
    /// values of each metric field, each in configured order. One that does not fit the job ends the run with an
    /// error.
    pub fn push(
        &mut self,
        key: impl IntoIterator<Item = KeyPart>,
        doc_count: u64,
        metrics: impl IntoIterator<Item = MetricValues>,
    ) {
        self.keys.extend(key);
        self.doc_counts.push(doc_count);
        self.metrics.extend(metrics);
    }

    /// The same for a bucket whose parts behind the date, if there is one, are at hand: they are copied together.
    pub fn push_parts(
        &mut self,
        date: Option<KeyPart>,
        rest: &[KeyPart],
        doc_count: u64,
        metrics: impl IntoIterator<Item = MetricValues>,
    ) {
        if let Some(date) = date {
            self.keys.push(date);
        }
        self.keys.extend_from_slice(rest);
        self.doc_counts.push(doc_count);
        self.metrics.extend(metrics);
    }

    /// Adds more documents to the last bucket, for engines that find a bucket in parts.
    pub fn add_to_last(&mut self, doc_count: u64, metrics: impl IntoIterator<Item = MetricValues>) {
        if let Some(last) = self.doc_counts.last_mut() {
            *last += doc_count;
        }
        let first = self.metrics.len().saturating_sub(self.metric_fields);
        self.metrics[first..].iter_mut().zip(metrics).for_each(|(sum, values)| sum.merge(&values));
    }

    /// Appends the buckets of another page.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        self.keys.extend(other.keys);
        self.doc_counts.extend(other.doc_counts);
        self.metrics.extend(other.metrics);
    }

    /// How many buckets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.doc_counts.len()
    }

    /// Whether there are none: the end of a stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.doc_counts.is_empty()
    }

    /// The bucket at a place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Bucket<'_>> {
        let place = |width: usize| at * width..(at + 1) * width;
        Some(Bucket {
            doc_count: *self.doc_counts.get(at)?,
            key: self.keys.get(place(self.key_parts))?,
            metrics: self.metrics.get(place(self.metric_fields))?,
        })
    }

    /// The last bucket.
    #[must_use]
    pub fn last(&self) -> Option<Bucket<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All buckets, from the lowest key on.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Bucket<'_>> + Clone {
        self.range(0..self.len())
    }

    /// The buckets at these places.
    pub(crate) fn range(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = Bucket<'_>> + Clone {
        let (key_parts, metric_fields) = (self.key_parts, self.metric_fields);
        range.map(move |at| Bucket {
            key: &self.keys[at * key_parts..(at + 1) * key_parts],
            doc_count: self.doc_counts[at],
            metrics: &self.metrics[at * metric_fields..(at + 1) * metric_fields],
        })
    }

    /// A page of the buckets at these places.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut slice = Self::of_width(self.key_parts, self.metric_fields);
        slice.reserve(range.len());
        for bucket in self.range(range) {
            slice.push(bucket.key.iter().cloned(), bucket.doc_count, bucket.metrics.iter().copied());
        }
        slice
    }

    /// How many parts each key has and how many metric fields there are, if that is so for all buckets.
    pub(crate) fn width(&self) -> Option<(usize, usize)> {
        let fits =
            self.keys.len() == self.len() * self.key_parts && self.metrics.len() == self.len() * self.metric_fields;
        fits.then_some((self.key_parts, self.metric_fields))
    }
}
