//! A filter read against the fields that there are: each condition becomes the values of its field that meet it.

use std::ops::Bound;

use super::dates::DateReader;
use super::values::ValueSet;
use super::{BoolFilter, Filter, FilterError, FilterRange, FilterValue};

/// What a field holds, as far as a condition on it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilterField {
    /// Dates, in milliseconds since 1970: [`ValueSet::Integers`].
    Date,
    /// Whole numbers, signed or not: [`ValueSet::Integers`].
    Integer,
    /// Floating-point numbers: [`ValueSet::Doubles`].
    Double,
    /// True and false, as 1 and 0: [`ValueSet::Integers`].
    Boolean,
    /// Texts: [`ValueSet::Texts`].
    Text,
}

/// Which documents a filter means, given what its fields hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// Every document.
    All,
    /// None.
    None,
    /// Those that have one of these values in a field.
    Values {
        /// The field.
        field: String,
        /// The values.
        values: ValueSet,
    },
    /// All others.
    Not(Box<Selection>),
    /// Those that all of these mean.
    AllOf(Vec<Selection>),
    /// Those that so many of these mean.
    AtLeast(usize, Vec<Selection>),
}

impl Filter {
    /// Reads each condition for what its field holds. A field that there is not (`None`) has no value in any document.
    /// Dates such as `now-1d/d` are counted from `now`, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`FilterError`] for a value that its field cannot have: a text that is no number, a date that is none.
    pub fn select(&self, now: i64, holds: &dyn Fn(&str) -> Option<FilterField>) -> Result<Selection, FilterError> {
        let values = |field: &str, read: &dyn Fn(FilterField) -> Result<ValueSet, String>| {
            let Some(kind) = holds(field) else { return Ok(Selection::None) };
            let values = read(kind).map_err(|problem| FilterError::new(field, problem))?;
            Ok(if values.is_empty() { Selection::None } else { Selection::Values { field: field.to_owned(), values } })
        };
        match self {
            Self::MatchAll => Ok(Selection::All),
            Self::MatchNone => Ok(Selection::None),
            Self::Term { field, value } => values(field, &|kind| these(std::slice::from_ref(value), kind, now)),
            Self::Terms { field, values: several } => values(field, &|kind| these(several, kind, now)),
            Self::Range { field, range } => values(field, &|kind| within(range, kind, now)),
            Self::Exists { field } => values(field, &|kind| Ok(any(kind))),
            Self::Prefix { field, prefix } => values(field, &|kind| match kind {
                FilterField::Text => Ok(ValueSet::prefix(prefix)),
                other => Err(format!("[prefix] is for texts, and the field holds {}", name(other))),
            }),
            Self::Bool(parts) => parts.select(now, holds),
        }
    }
}

impl BoolFilter {
    fn select(&self, now: i64, holds: &dyn Fn(&str) -> Option<FilterField>) -> Result<Selection, FilterError> {
        let Self { filter, must_not, should, minimum_should_match } = self;
        let select = |filters: &[Filter]| -> Result<Vec<Selection>, FilterError> {
            filters.iter().map(|filter| filter.select(now, holds)).collect()
        };
        let (mut all, none) = (select(filter)?, select(must_not)?);
        all.extend(none.into_iter().map(Selection::negated));
        all.push(Selection::at_least(*minimum_should_match, select(should)?));
        Ok(Selection::all_of(all))
    }
}

impl Selection {
    /// Whether it means a document. `has` says whether the document has one of these values in a field.
    pub fn means(&self, has: &dyn Fn(&str, &ValueSet) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Values { field, values } => has(field, values),
            Self::Not(other) => !other.means(has),
            Self::AllOf(all) => all.iter().all(|one| one.means(has)),
            Self::AtLeast(least, some) => some.iter().filter(|one| one.means(has)).take(*least).count() == *least,
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::All => Self::None,
            Self::None => Self::All,
            Self::Not(other) => *other,
            other => Self::Not(Box::new(other)),
        }
    }

    fn all_of(mut all: Vec<Self>) -> Self {
        if all.contains(&Self::None) {
            return Self::None;
        }
        all.retain(|one| *one != Self::All);
        match all.len() {
            0 => Self::All,
            1 => all.remove(0),
            _ => Self::AllOf(all),
        }
    }

    fn at_least(least: usize, mut some: Vec<Self>) -> Self {
        let certain = some.iter().filter(|one| **one == Self::All).count();
        some.retain(|one| !matches!(one, Self::All | Self::None));
        match least.saturating_sub(certain) {
            0 => Self::All,
            least if least > some.len() => Self::None,
            least if least == some.len() => Self::all_of(some),
            least => Self::AtLeast(least, some),
        }
    }
}

/// Every value that a field can have.
fn any(kind: FilterField) -> ValueSet {
    match kind {
        FilterField::Date | FilterField::Integer | FilterField::Boolean => {
            ValueSet::integers(vec![i128::MIN..=i128::MAX])
        }
        FilterField::Double => ValueSet::doubles(vec![f64::NEG_INFINITY..=f64::INFINITY]),
        FilterField::Text => ValueSet::text_range(Bound::Unbounded, Bound::Unbounded),
    }
}

fn these(wanted: &[FilterValue], kind: FilterField, now: i64) -> Result<ValueSet, String> {
    match kind {
        FilterField::Date => {
            let dates = DateReader::new(None, None, now)?;
            let ranges = wanted.iter().map(|value| Ok(date(value, &dates, false)?..=date(value, &dates, true)?));
            ranges.collect::<Result<_, String>>().map(ValueSet::integers)
        }
        FilterField::Integer => {
            let numbers = wanted.iter().map(number).collect::<Result<Vec<_>, _>>()?;
            // A fraction is no integer's value.
            let ranges = numbers.into_iter().filter(|number| number.floor() == number.ceil());
            Ok(ValueSet::integers(ranges.map(|number| number.floor()..=number.ceil()).collect()))
        }
        FilterField::Double => {
            let ranges = wanted.iter().map(|value| number(value).map(|number| number.as_double()..=number.as_double()));
            ranges.collect::<Result<_, _>>().map(ValueSet::doubles)
        }
        FilterField::Boolean => {
            let ranges = wanted.iter().map(|value| boolean(value).map(|value| value.into()..=value.into()));
            ranges.collect::<Result<_, _>>().map(ValueSet::integers)
        }
        FilterField::Text => {
            let texts: Vec<String> = wanted.iter().map(text).collect();
            Ok(ValueSet::texts(texts.iter().map(String::as_str)))
        }
    }
}

fn within(range: &FilterRange, kind: FilterField, now: i64) -> Result<ValueSet, String> {
    let FilterRange { from, to, format, time_zone } = range;
    if kind != FilterField::Date && (format.is_some() || time_zone.is_some()) {
        return Err(format!("[format] and [time_zone] are for dates, and the field holds {}", name(kind)));
    }
    match kind {
        FilterField::Date => {
            let dates = DateReader::new(format.as_deref(), time_zone.as_deref(), now)?;
            let (first, last) = (|value: &_| date(value, &dates, false), |value: &_| date(value, &dates, true));
            let from = end(from, i128::MIN, first, |value| Ok(last(value)?.saturating_add(1)))?;
            let to = end(to, i128::MAX, last, |value| Ok(first(value)?.saturating_sub(1)))?;
            Ok(ValueSet::integers(vec![from..=to]))
        }
        FilterField::Integer => {
            let (floor, ceil) = (|value: &_| Ok(number(value)?.floor()), |value: &_| Ok(number(value)?.ceil()));
            let from = end(from, i128::MIN, ceil, |value| Ok(floor(value)?.saturating_add(1)))?;
            let to = end(to, i128::MAX, floor, |value| Ok(ceil(value)?.saturating_sub(1)))?;
            Ok(ValueSet::integers(vec![from..=to]))
        }
        FilterField::Double => {
            // Zero has no sign here, so that what comes next is not its other sign.
            let double = |value: &_| Ok(number(value)?.as_double() + 0.0);
            let from = end(from, f64::NEG_INFINITY, double, |value| Ok(double(value)?.next_up()))?;
            let to = end(to, f64::INFINITY, double, |value| Ok(double(value)?.next_down()))?;
            Ok(ValueSet::doubles(vec![from..=to]))
        }
        FilterField::Boolean => Err("[range] is not for true and false".to_owned()),
        FilterField::Text => {
            let [from, to] = [from, to].map(|bound| bound.as_ref().map(text));
            Ok(ValueSet::text_range(from.as_ref().map(String::as_str), to.as_ref().map(String::as_str)))
        }
    }
}

/// The last value inside of an end of a range.
fn end<T>(
    bound: &Bound<FilterValue>,
    open: T,
    included: impl Fn(&FilterValue) -> Result<T, String>,
    excluded: impl Fn(&FilterValue) -> Result<T, String>,
) -> Result<T, String> {
    match bound {
        Bound::Unbounded => Ok(open),
        Bound::Included(value) => included(value),
        Bound::Excluded(value) => excluded(value),
    }
}

fn name(kind: FilterField) -> &'static str {
    match kind {
        FilterField::Date => "dates",
        FilterField::Integer | FilterField::Double => "numbers",
        FilterField::Boolean => "true and false",
        FilterField::Text => "texts",
    }
}

/// A number as it was written.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    /// The nearest double.
    #[expect(clippy::cast_precision_loss, reason = "a field of doubles has no others")]
    fn as_double(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    /// The greatest whole number that is not above it.
    #[expect(clippy::cast_possible_truncation, reason = "what lies beyond is beyond every field's values, too")]
    fn floor(self) -> i128 {
        match self {
            Self::Whole(value) => value,
            Self::Double(value) => value.floor() as i128,
        }
    }

    /// The least whole number that is not below it.
    #[expect(clippy::cast_possible_truncation, reason = "what lies beyond is beyond every field's values, too")]
    fn ceil(self) -> i128 {
        match self {
            Self::Whole(value) => value,
            Self::Double(value) => value.ceil() as i128,
        }
    }
}

fn number(value: &FilterValue) -> Result<Number, String> {
    match value {
        FilterValue::Integer(value) => Ok(Number::Whole((*value).into())),
        FilterValue::Unsigned(value) => Ok(Number::Whole((*value).into())),
        FilterValue::Double(value) if value.is_finite() => Ok(Number::Double(*value)),
        FilterValue::Text(text) => {
            let double = || text.trim().parse().ok().filter(|double: &f64| double.is_finite()).map(Number::Double);
            let whole = text.trim().parse().ok().map(Number::Whole);
            whole.or_else(double).ok_or_else(|| format!("[{text}] is no number"))
        }
        FilterValue::Boolean(value) => Err(format!("the field holds numbers, and [{value}] is none")),
        FilterValue::Double(value) => Err(format!("[{value}] is no number that a field can have")),
    }
}

fn date(value: &FilterValue, dates: &DateReader<'_>, is_last: bool) -> Result<i128, String> {
    match value {
        FilterValue::Text(text) => dates.read(text, is_last).map(i128::from),
        FilterValue::Boolean(value) => Err(format!("the field holds dates, and [{value}] is none")),
        // Whoever says how dates are written has written numbers so, too.
        FilterValue::Integer(_) | FilterValue::Unsigned(_) if dates.has_format() => {
            dates.read(&text(value), is_last).map(i128::from)
        }
        FilterValue::Integer(_) | FilterValue::Unsigned(_) | FilterValue::Double(_) => {
            let number = number(value)?;
            Ok(if is_last { number.floor() } else { number.ceil() })
        }
    }
}

fn boolean(value: &FilterValue) -> Result<bool, String> {
    match value {
        FilterValue::Boolean(value) => Ok(*value),
        FilterValue::Text(text) if &**text == "true" => Ok(true),
        FilterValue::Text(text) if matches!(&**text, "false" | "") => Ok(false),
        other => Err(format!("the field holds true and false, and {} is neither", other.to_json())),
    }
}

fn text(value: &FilterValue) -> String {
    match value {
        FilterValue::Text(text) => text.to_string(),
        other => other.to_json().to_string(),
    }
}
