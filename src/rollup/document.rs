use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::layout::{DocumentLayout, FieldSource, LayoutField};
use super::page::{Bucket, Page};
use super::value::FieldValue;
use crate::job::{GroupKey, number_json};
use crate::sync::Arc;

/// The length of an id behind the job's: `$` and 128 bits in base64.
const ID_LENGTH: usize = 23;

/// A page of buckets as rolled-up documents: the buckets, what documents of the job are made of, and the hash in each
/// id.
///
/// [`roll_up`](super::roll_up) makes it. No document is put together before somebody asks for one.
#[derive(Debug, Clone)]
pub struct RolledUpPage {
    layout: Arc<DocumentLayout>,
    buckets: Page,
    id_hashes: Vec<u128>,
}

impl RolledUpPage {
    /// The documents of as many buckets, from the first on, as there are hashes. The buckets fit the layout.
    pub(crate) fn new(layout: Arc<DocumentLayout>, buckets: Page, id_hashes: Vec<u128>) -> Self {
        Self { layout, buckets, id_hashes }
    }

    /// The buckets that the documents are made of.
    #[must_use]
    pub fn buckets(&self) -> &Page {
        &self.buckets
    }

    /// All documents.
    #[must_use]
    pub fn documents(&self) -> RolledUpDocuments<'_> {
        RolledUpDocuments { page: self, from: 0, to: self.id_hashes.len() }
    }
}

/// Some of the documents of a page, in ascending key order: what a [`RollupWriter`](crate::engine::RollupWriter) gets.
#[derive(Debug, Clone, Copy)]
pub struct RolledUpDocuments<'a> {
    page: &'a RolledUpPage,
    from: usize,
    to: usize,
}

impl<'a> RolledUpDocuments<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Those at these places.
    ///
    /// # Panics
    /// If there are fewer documents.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} documents", self.len());
        Self { page: self.page, from: self.from + range.start, to: self.from + range.end }
    }

    /// The first `count` of them, and the others.
    pub(crate) fn split_at(&self, count: usize) -> (Self, Self) {
        (self.slice(0..count), self.slice(count..self.len()))
    }

    /// The fields that they are made of.
    #[must_use]
    pub fn layout(&self) -> &'a Arc<DocumentLayout> {
        &self.page.layout
    }

    /// The buckets that they are made of.
    #[must_use]
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = Bucket<'a>> + Clone + use<'a> {
        self.page.buckets.range(self.from..self.to)
    }

    /// Their ids: job id, `$`, and a hash of the key, which are the same whenever the same bucket is rolled up.
    #[must_use]
    pub fn ids(&self) -> impl ExactSizeIterator<Item = String> + use<'a> {
        let (layout, hashes) = (&self.page.layout, self.id_hashes());
        hashes.iter().map(|hash| {
            let mut id = String::with_capacity(layout.job_id().len() + ID_LENGTH);
            id.push_str(layout.job_id());
            id.push('$');
            URL_SAFE_NO_PAD.encode_string(hash.to_be_bytes(), &mut id);
            id
        })
    }

    /// The hashes in their ids.
    pub(crate) fn id_hashes(&self) -> &'a [u128] {
        &self.page.id_hashes[self.from..self.to]
    }

    /// Each as a document of its own.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RolledUpDocument> + use<'a> {
        let layout = &self.page.layout;
        self.buckets().zip(self.ids()).map(|(bucket, id)| RolledUpDocument {
            id,
            layout: Arc::clone(layout),
            key: bucket.key.to_vec(),
            values: layout.fields().iter().map(|field| field.source.value(&bucket)).collect(),
        })
    }
}

impl FieldSource {
    /// The value that a bucket has for the field; `None` if it is left out.
    pub(crate) fn value(&self, bucket: &Bucket<'_>) -> Option<FieldValue> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Key(at) => bucket.key.get(*at).map(FieldValue::of_key),
            Self::DocCount => Some(FieldValue::count(bucket.doc_count)),
            Self::Metric(at, part) => {
                bucket.metrics.get(*at).and_then(|values| part.store(values)).map(FieldValue::Double)
            }
        }
    }
}

/// A bucket in the form in which it is stored, with an id that is the same whenever the same bucket is rolled up.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledUpDocument {
    id: String,
    layout: Arc<DocumentLayout>,
    key: GroupKey,
    values: Vec<Option<FieldValue>>,
}

impl RolledUpDocument {
    /// The id: job id, `$`, and a hash of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key of its bucket.
    #[must_use]
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// The fields that it is made of.
    #[must_use]
    pub fn layout(&self) -> &Arc<DocumentLayout> {
        &self.layout
    }

    /// A value for each field of the layout, `None` where it is left out.
    pub fn values(&self) -> impl Iterator<Item = Option<&FieldValue>> {
        self.values.iter().map(Option::as_ref)
    }

    /// The value of the field of this name, unless it is left out.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&FieldValue> {
        self.fields().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }

    /// Fields and values in the order of the layout; what is left out is not among them.
    pub fn fields(&self) -> impl Iterator<Item = (&LayoutField, &FieldValue)> {
        self.layout.fields().iter().zip(self.values()).filter_map(|(field, value)| Some((field, value?)))
    }

    /// Elasticsearch's JSON: one flat object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = self.fields().map(|(field, value)| {
            let json = match (value, &field.source) {
                // The histogram's interval is printed as it was configured: whole numbers without a fraction.
                (FieldValue::Double(interval), FieldSource::Constant(_)) => Value::Number(number_json(*interval)),
                _ => value.to_json(),
            };
            (field.name.clone(), json)
        });
        Value::Object(fields.collect::<Map<_, _>>())
    }
}
