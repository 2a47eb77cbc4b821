use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::object;

/// Groups documents by time: one bucket per interval. Every rollup job has one.
///
/// The texts are Elasticsearch's and are checked when the configuration is built.
///
/// ```
/// use rollup_jobs::DateHistogram;
///
/// let hourly = DateHistogram::fixed_interval("timestamp", "1h").delay("7d");
/// let daily = DateHistogram::calendar_interval("timestamp", "1d").time_zone("America/New_York");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null, absent and given are three things in Elasticsearch's JSON")]
pub struct DateHistogram {
    #[serde(default)]
    pub(super) field: String,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(super) calendar_interval: Option<Option<String>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(super) fixed_interval: Option<Option<String>>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub(super) interval: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delay: Option<String>,
    #[serde(default)]
    pub(super) time_zone: Option<String>,
}

/// Tells a member that is `null` from one that is absent.
#[expect(clippy::option_option, reason = "null, absent and given are three things in Elasticsearch's JSON")]
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[expect(clippy::option_option, reason = "null, absent and given are three things in Elasticsearch's JSON")]
fn given_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    object::optional(deserializer).map(Some)
}

impl DateHistogram {
    fn new(field: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            calendar_interval: None,
            fixed_interval: None,
            interval: None,
            delay: None,
            time_zone: None,
        }
    }

    /// Buckets that follow the calendar: `1m`, `1h`, `1d`, `1w`, `1M`, `1q`, `1y`, or the unit's name (`day`).
    #[must_use]
    pub fn calendar_interval(field: impl Into<String>, interval: impl Into<String>) -> Self {
        Self { calendar_interval: Some(Some(interval.into())), ..Self::new(field) }
    }

    /// Buckets of one length: `30s`, `90m`, `12h`, `1d` (always 24 hours).
    #[must_use]
    pub fn fixed_interval(field: impl Into<String>, interval: impl Into<String>) -> Self {
        Self { fixed_interval: Some(Some(interval.into())), ..Self::new(field) }
    }

    /// How long to wait for late documents before a bucket is rolled up, such as `7d`. Default: not at all.
    ///
    /// A document that arrives after its bucket was rolled up is not seen any more.
    #[must_use]
    pub fn delay(mut self, delay: impl Into<String>) -> Self {
        self.delay = Some(delay.into());
        self
    }

    /// The zone whose local time the buckets follow: an IANA id or an offset (`-03:00`). Default: `UTC`.
    #[must_use]
    pub fn time_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = Some(time_zone.into());
        self
    }

    /// The date field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The configured delay.
    pub(crate) fn delay_text(&self) -> Option<&str> {
        self.delay.as_deref()
    }

    /// The configured zone id.
    #[must_use]
    pub fn time_zone_id(&self) -> &str {
        self.time_zone.as_deref().filter(|id| !id.is_empty()).unwrap_or("UTC")
    }
}

/// Groups documents by numeric ranges of one width; a document without a value falls into the null group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    #[serde(default, deserialize_with = "object::number", serialize_with = "shortest_number")]
    pub(super) interval: f64,
    #[serde(default, deserialize_with = "object::some_texts")]
    pub(super) fields: Vec<String>,
}

/// `5` and not `5.0` for whole numbers, as Elasticsearch, which knows no others, prints them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn shortest_number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    number_json(*value).serialize(serializer)
}

/// A JSON number without a fraction where the value has none and is exact as an integer.
pub(crate) fn number_json(value: f64) -> serde_json::Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number below 2^53")]
    let whole = (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64);
    whole.map_or_else(|| serde_json::Number::from_f64(value).unwrap_or_else(|| 0.into()), Into::into)
}

impl Histogram {
    /// Ranges of width `interval` of each field; the interval is finite and above zero.
    ///
    /// Elasticsearch takes whole numbers only; a fraction is an extension of this crate.
    #[must_use]
    pub fn new<F: Into<String>>(interval: f64, fields: impl IntoIterator<Item = F>) -> Self {
        Self { interval, fields: fields.into_iter().map(Into::into).collect() }
    }

    /// The width of the ranges.
    #[must_use]
    pub fn interval(&self) -> f64 {
        self.interval
    }

    /// The numeric fields.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }
}

/// Groups documents by the values of fields; a document without a value falls into the null group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    #[serde(default, deserialize_with = "object::some_texts")]
    pub(super) fields: Vec<String>,
}

impl Terms {
    /// One group per combination of the values of these keyword or numeric fields.
    #[must_use]
    pub fn new<F: Into<String>>(fields: impl IntoIterator<Item = F>) -> Self {
        Self { fields: fields.into_iter().map(Into::into).collect() }
    }

    /// The keyword or numeric fields.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }
}

/// What a job groups by: always a date histogram, and any number of histogram and terms fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Groups {
    pub(super) date_histogram: DateHistogram,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) histogram: Option<Histogram>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) terms: Option<Terms>,
}

impl Groups {
    pub(super) fn set_delay(&mut self, delay: Option<String>) {
        self.date_histogram.delay = delay;
    }

    /// The date histogram.
    #[must_use]
    pub fn date_histogram(&self) -> &DateHistogram {
        &self.date_histogram
    }

    /// The histogram, if there is one.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram> {
        self.histogram.as_ref()
    }

    /// The terms, if there are any.
    #[must_use]
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// The histogram fields, none if there is no histogram.
    #[must_use]
    pub fn histogram_fields(&self) -> &[String] {
        self.histogram.as_ref().map_or(&[], |h| &h.fields)
    }

    /// The terms fields, none if there are no terms.
    #[must_use]
    pub fn terms_fields(&self) -> &[String] {
        self.terms.as_ref().map_or(&[], |t| &t.fields)
    }
}

/// The JSON form of [`Groups`], in which everything can be missing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null, absent and given are three things in Elasticsearch's JSON")]
pub(super) struct RawGroups {
    #[serde(default, deserialize_with = "given_object")]
    pub(super) date_histogram: Option<Option<DateHistogram>>,
    #[serde(default, deserialize_with = "object::optional")]
    pub(super) histogram: Option<Histogram>,
    #[serde(default, deserialize_with = "object::optional")]
    pub(super) terms: Option<Terms>,
}

impl RawGroups {
    /// The date field, if one is named.
    pub(super) fn date_field(&self) -> Option<&str> {
        self.date_histogram.as_ref()?.as_ref().map(DateHistogram::field)
    }
}
