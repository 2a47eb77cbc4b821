//! From Elasticsearch's query DSL to a filter. Members that only say how to score (`boost`, `tie_breaker`) or what to
//! call a query (`_name`) are read and have no meaning here; what would change which documents are meant and is not
//! known is refused.

use std::ops::Bound;

use serde_json::{Map, Value};

use super::{BoolFilter, Filter, FilterError, FilterRange, FilterValue};

/// The queries that can be filters, for messages.
const KINDS: &str =
    "match_all, match_none, term, terms, range, exists, prefix, bool, constant_score, dis_max, boosting";

/// Members of any query, which select nothing.
const ANY: [&str; 2] = ["boost", "_name"];

impl Filter {
    /// What Elasticsearch's query selects. `constant_score` and `boosting` become what they select, and `dis_max` one
    /// of its queries.
    ///
    /// # Errors
    /// [`FilterError`] for a query of another kind, a member that is not known, and what Elasticsearch refuses, with
    /// the place.
    pub fn from_json(query: &Value) -> Result<Self, FilterError> {
        parse(query, &Place::of("query"))
    }
}

/// Where in the query, for messages.
struct Place(String);

impl Place {
    fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    fn member(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    fn element(&self, at: usize) -> Self {
        Self(format!("{}[{at}]", self.0))
    }

    fn error<T>(&self, problem: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError::new(self.0.clone(), problem))
    }

    fn object<'a>(&self, value: &'a Value) -> Result<&'a Map<String, Value>, FilterError> {
        value.as_object().map_or_else(|| self.error(format!("expected an object, but was {value}")), Ok)
    }

    fn text<'a>(&self, value: &'a Value) -> Result<&'a str, FilterError> {
        value.as_str().map_or_else(|| self.error(format!("expected a text, but was {value}")), Ok)
    }

    /// Nothing but these members, and those of any query.
    fn only(&self, members: &Map<String, Value>, known: &[&str]) -> Result<(), FilterError> {
        match members.keys().find(|name| !known.contains(&name.as_str()) && !ANY.contains(&name.as_str())) {
            Some(unknown) => self.error(format!("[{unknown}] is not supported here; known are [{}]", known.join(", "))),
            None => Ok(()),
        }
    }

    fn required<'a>(&self, members: &'a Map<String, Value>, name: &str) -> Result<&'a Value, FilterError> {
        members.get(name).map_or_else(|| self.error(format!("requires [{name}]")), Ok)
    }
}

fn parse(query: &Value, place: &Place) -> Result<Filter, FilterError> {
    let mut members = place.object(query)?.iter();
    let Some((kind, body)) = members.next() else {
        return place.error("query malformed, empty clause found");
    };
    if let Some((second, _)) = members.next() {
        return place.error(format!("one query has one kind, but was [{kind}] and [{second}]: combine them by [bool]"));
    }
    let place = &place.member(kind);
    match kind.as_str() {
        "match_all" => nothing(body, place).map(|()| Filter::MatchAll),
        "match_none" => nothing(body, place).map(|()| Filter::MatchNone),
        "term" => term(body, place),
        "terms" => terms(body, place),
        "range" => range(body, place),
        "exists" => exists(body, place),
        "prefix" => prefix(body, place),
        "bool" => all(body, place).map(Filter::Bool),
        "constant_score" => inner(body, place, "filter", &["filter"]),
        "boosting" => boosting(body, place),
        "dis_max" => dis_max(body, place),
        _ => place.error(format!("unsupported query [{kind}]; supported are {KINDS}")),
    }
}

fn nothing(body: &Value, place: &Place) -> Result<(), FilterError> {
    place.only(place.object(body)?, &[])
}

/// The one field of a query, and what is said of it.
fn field<'a>(body: &'a Value, place: &Place) -> Result<(&'a str, &'a Value), FilterError> {
    let mut fields = place.object(body)?.iter().filter(|(name, _)| !ANY.contains(&name.as_str()));
    let Some((name, value)) = fields.next() else { return place.error("names no field") };
    match fields.next() {
        Some((second, _)) => place.error(format!("one query has one field, but was [{name}] and [{second}]")),
        None => Ok((name, value)),
    }
}

/// The value in the short form, or in the long one as a member `value`.
fn short_or_long<'a>(value: &'a Value, place: &Place, known: &[&str]) -> Result<&'a Value, FilterError> {
    let Value::Object(members) = value else { return Ok(value) };
    place.only(members, known)?;
    if members.get("case_insensitive").is_some_and(|is_set| *is_set != Value::Bool(false)) {
        return place.error("[case_insensitive] is not supported: filters compare terms as they are");
    }
    place.required(members, "value")
}

fn term(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let (field, value) = field(body, place)?;
    let place = &place.member(field);
    let value = short_or_long(value, place, &["value", "case_insensitive"])?;
    Ok(Filter::Term { field: field.to_owned(), value: scalar(value, place)? })
}

fn terms(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let (field, values) = field(body, place)?;
    let place = &place.member(field);
    let Value::Array(values) = values else {
        return place.error("expected an array of values (a lookup in another index is not supported)");
    };
    let values = values.iter().enumerate().map(|(at, value)| scalar(value, &place.element(at)));
    Ok(Filter::Terms { field: field.to_owned(), values: values.collect::<Result<_, _>>()? })
}

fn range(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let (field, members) = field(body, place)?;
    let place = &place.member(field);
    let members = place.object(members)?;
    let names = ["gte", "gt", "lte", "lt", "from", "to", "include_lower", "include_upper"];
    place.only(members, &[names.as_slice(), &["format", "time_zone", "relation"]].concat())?;
    if let Some(relation) = members.get("relation") {
        return place.error(format!("[relation] is for fields that hold ranges, and is not supported: was {relation}"));
    }
    let text = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(text) => place.member(name).text(text).map(|text| Some(text.to_owned())),
    };
    let range = FilterRange {
        from: bound(members, place, ["gte", "gt", "from", "include_lower"])?,
        to: bound(members, place, ["lte", "lt", "to", "include_upper"])?,
        format: text("format")?,
        time_zone: text("time_zone")?,
    };
    Ok(Filter::Range { field: field.to_owned(), range })
}

/// One end of a range; `null` leaves it open.
fn bound(
    members: &Map<String, Value>,
    place: &Place,
    [included, excluded, older, is_included]: [&str; 4],
) -> Result<Bound<FilterValue>, FilterError> {
    let mut given = [included, excluded, older].into_iter().filter(|name| members.contains_key(*name));
    let Some(name) = given.next() else { return Ok(Bound::Unbounded) };
    if let Some(second) = given.next() {
        return place.error(format!("a range has one end here, but was given [{name}] and [{second}]"));
    }
    let value = match &members[name] {
        Value::Null => return Ok(Bound::Unbounded),
        value => scalar(value, &place.member(name))?,
    };
    let is_excluded = name == excluded
        || name == older
            && match members.get(is_included) {
                None => false,
                Some(Value::Bool(is_included)) => !is_included,
                Some(other) => {
                    return place.member(is_included).error(format!("expected true or false, but was {other}"));
                }
            };
    Ok(if is_excluded { Bound::Excluded(value) } else { Bound::Included(value) })
}

fn exists(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let members = place.object(body)?;
    place.only(members, &["field"])?;
    let field = place.member("field").text(place.required(members, "field")?)?;
    Ok(Filter::exists(field))
}

fn prefix(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let (field, value) = field(body, place)?;
    let place = &place.member(field);
    let value = short_or_long(value, place, &["value", "case_insensitive", "rewrite"])?;
    Ok(Filter::prefix(field, place.text(value)?))
}

fn all(body: &Value, place: &Place) -> Result<BoolFilter, FilterError> {
    let members = place.object(body)?;
    place.only(members, &["must", "filter", "must_not", "should", "minimum_should_match", "adjust_pure_negative"])?;
    let list = |name: &str| members.get(name).map_or(Ok(Vec::new()), |queries| many(queries, &place.member(name)));
    let (mut filter, must_not, should) = (list("must")?, list("must_not")?, list("should")?);
    filter.extend(list("filter")?);
    let least = usize::from(filter.is_empty() && !should.is_empty());
    let minimum_should_match = match members.get("minimum_should_match") {
        None | Some(Value::Null) => least,
        // Where nothing else has to hold, one of them has to, whatever is said.
        Some(wanted) => at_least(wanted, should.len(), &place.member("minimum_should_match"))?.max(least),
    };
    Ok(BoolFilter { filter, must_not, should, minimum_should_match })
}

/// A query, or an array of them.
fn many(queries: &Value, place: &Place) -> Result<Vec<Filter>, FilterError> {
    match queries {
        Value::Array(queries) => {
            queries.iter().enumerate().map(|(at, query)| parse(query, &place.element(at))).collect()
        }
        query => Ok(vec![parse(query, place)?]),
    }
}

/// Elasticsearch's `minimum_should_match` of so many queries: a number, which if negative is how many may fail, or a
/// percentage of them.
fn at_least(wanted: &Value, of: usize, place: &Place) -> Result<usize, FilterError> {
    let text = match wanted {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        other => return place.error(format!("expected a number or a percentage, but was {other}")),
    };
    let of = i128::try_from(of).unwrap_or(i128::MAX);
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<i64>().map(|percent| of.saturating_mul(percent.into()) / 100),
        None => text.parse::<i64>().map(i128::from),
    };
    let Ok(least) = parsed else {
        return place
            .error(format!("expected a number such as 2 or -1, or a percentage such as 75%, but was [{text}]"));
    };
    let least = if least < 0 { of + least } else { least };
    Ok(usize::try_from(least.max(0)).unwrap_or(usize::MAX))
}

/// A query inside of another, which only scores it.
fn inner(body: &Value, place: &Place, name: &str, known: &[&str]) -> Result<Filter, FilterError> {
    let members = place.object(body)?;
    place.only(members, known)?;
    parse(place.required(members, name)?, &place.member(name))
}

fn boosting(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let known = ["positive", "negative", "negative_boost"];
    // It selects nothing, and has to be a query all the same.
    inner(body, place, "negative", &known)?;
    inner(body, place, "positive", &known)
}

fn dis_max(body: &Value, place: &Place) -> Result<Filter, FilterError> {
    let members = place.object(body)?;
    place.only(members, &["queries", "tie_breaker"])?;
    let queries = many(place.required(members, "queries")?, &place.member("queries"))?;
    if queries.is_empty() {
        return place.error("requires [queries] with at least one query");
    }
    Ok(Filter::any_of(queries))
}

impl FilterValue {
    /// A number, a text, true or false.
    pub(crate) fn of_json(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(number) => {
                let unsigned = || number.as_u64().map(Self::Unsigned);
                let double = || number.as_f64().filter(|double| double.is_finite()).map(Self::Double);
                number.as_i64().map(Self::Integer).or_else(unsigned).or_else(double)
            }
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

fn scalar(value: &Value, place: &Place) -> Result<FilterValue, FilterError> {
    let refused = || match value {
        Value::Null => place.error("expected a value, but was null: [exists] finds what has one"),
        Value::Number(value) => place.error(format!("[{value}] is no number")),
        _ => place.error(format!("expected one value, but was {value}")),
    };
    FilterValue::of_json(value).map_or_else(refused, Ok)
}
