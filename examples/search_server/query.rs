//! Queries: all documents, term, terms, range and bool, in Elasticsearch's form.

use std::ops::Bound;

use rollup_jobs::engine::tantivy::tantivy::Term;
use rollup_jobs::engine::tantivy::tantivy::query::{
    AllQuery, BooleanQuery, EmptyQuery, Occur, Query, RangeQuery, TermQuery,
};
use rollup_jobs::engine::tantivy::tantivy::schema::{IndexRecordOption, OwnedValue, Schema};
use serde_json::Value;

use crate::answer::{Answer, Problem};
use crate::documents;

/// The query, or all documents if there is none.
pub(crate) fn parse(schema: &Schema, query: Option<&Value>) -> Answer<Box<dyn Query>> {
    query.map_or_else(|| Ok(Box::new(AllQuery) as Box<dyn Query>), |query| clause(schema, query))
}

fn clause(schema: &Schema, query: &Value) -> Answer<Box<dyn Query>> {
    let (name, body) = only_member(query, "query")?;
    Ok(match name {
        "match_all" => Box::new(AllQuery),
        "term" => {
            let (field, value) = only_member(body, name)?;
            equals(term(schema, field, value.get("value").unwrap_or(value))?)
        }
        "terms" => {
            let (field, values) = only_member(body, name)?;
            let values = values.as_array().ok_or_else(|| Problem::bad("[terms] needs an array of values"))?;
            let any = values.iter().map(|value| term(schema, field, value).map(equals)).collect::<Result<_, _>>()?;
            // Not a TermSetQuery: that one finds nothing in fields that are columns alone, as those of rollup indices
            // are.
            Box::new(BooleanQuery::union(any))
        }
        "range" => range(schema, body)?,
        "bool" => Box::new(BooleanQuery::new(clauses(schema, body)?)),
        other => return Err(Problem::bad(format!("unknown query [{other}]"))),
    })
}

fn equals(term: Option<Term>) -> Box<dyn Query> {
    let found = |term| Box::new(TermQuery::new(term, IndexRecordOption::Basic)) as Box<dyn Query>;
    term.map_or_else(|| Box::new(EmptyQuery), found)
}

fn only_member<'a>(value: &'a Value, what: &str) -> Answer<(&'a str, &'a Value)> {
    let members = value.as_object().filter(|members| members.len() == 1);
    let member = members.into_iter().flatten().next().map(|(name, value)| (name.as_str(), value));
    member.ok_or_else(|| Problem::bad(format!("[{what}] needs an object with exactly one member")))
}

/// Nothing if the index has no such field.
fn term(schema: &Schema, name: &str, value: &Value) -> Answer<Option<Term>> {
    let Ok(field) = schema.get_field(name) else { return Ok(None) };
    Ok(Some(match documents::value(schema.get_field_entry(field), value)? {
        OwnedValue::Date(date) => Term::from_field_date(field, date),
        OwnedValue::I64(number) => Term::from_field_i64(field, number),
        OwnedValue::U64(number) => Term::from_field_u64(field, number),
        OwnedValue::F64(number) => Term::from_field_f64(field, number),
        OwnedValue::Bool(truth) => Term::from_field_bool(field, truth),
        OwnedValue::Str(text) => Term::from_field_text(field, &text),
        _ => return Ok(None),
    }))
}

fn range(schema: &Schema, body: &Value) -> Answer<Box<dyn Query>> {
    let (field, bounds) = only_member(body, "range")?;
    let (mut lower, mut upper) = (Bound::Unbounded, Bound::Unbounded);
    let bounds = bounds.as_object().filter(|bounds| !bounds.is_empty());
    for (name, value) in bounds.ok_or_else(|| Problem::bad("[range] needs one of [gte], [gt], [lte] and [lt]"))? {
        let Some(term) = term(schema, field, value)? else { return Ok(Box::new(EmptyQuery)) };
        match name.as_str() {
            "gte" => lower = Bound::Included(term),
            "gt" => lower = Bound::Excluded(term),
            "lte" => upper = Bound::Included(term),
            "lt" => upper = Bound::Excluded(term),
            other => return Err(Problem::bad(format!("[range] does not support [{other}]"))),
        }
    }
    Ok(Box::new(RangeQuery::new(lower, upper)))
}

fn clauses(schema: &Schema, body: &Value) -> Answer<Vec<(Occur, Box<dyn Query>)>> {
    let mut clauses = Vec::new();
    for (name, given) in body.as_object().ok_or_else(|| Problem::bad("[bool] needs an object"))? {
        let occur = match name.as_str() {
            "must" | "filter" => Occur::Must,
            "must_not" => Occur::MustNot,
            "should" => Occur::Should,
            other => return Err(Problem::bad(format!("[bool] does not support [{other}]"))),
        };
        for query in given.as_array().map_or(std::slice::from_ref(given), Vec::as_slice) {
            clauses.push((occur, clause(schema, query)?));
        }
    }
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Ok(clauses)
}
