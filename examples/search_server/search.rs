//! Searching: hits in the order that is asked for, and tantivy's aggregations, over one index or several.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rollup_jobs::engine::tantivy::tantivy::aggregation::agg_req::Aggregations;
use rollup_jobs::engine::tantivy::tantivy::aggregation::intermediate_agg_result::IntermediateAggregationResults;
use rollup_jobs::engine::tantivy::tantivy::aggregation::{AggContextParams, DistributedAggregationCollector};
use rollup_jobs::engine::tantivy::tantivy::collector::DocSetCollector;
use rollup_jobs::engine::tantivy::tantivy::columnar::DynamicColumn;
use rollup_jobs::engine::tantivy::tantivy::schema::Value as _;
use rollup_jobs::engine::tantivy::tantivy::{DateTime, DocAddress, Searcher, TantivyDocument};
use serde_json::{Value, json};

use crate::answer::{Answer, Problem};
use crate::indices::{ID, Indices, SOURCE};
use crate::query;

pub(crate) fn search(indices: &Indices, pattern: &str, body: &Value) -> Answer {
    const MEMBERS: [&str; 6] = ["query", "sort", "size", "from", "aggs", "aggregations"];
    let mut members = body.as_object().into_iter().flatten();
    if let Some((unknown, _)) = members.find(|(name, _)| !MEMBERS.contains(&&***name)) {
        return Err(Problem::bad(format!("unknown key [{unknown}]: there are {}", MEMBERS.join(", "))));
    }
    let (size, from) = (number(body, "size", 10)?, number(body, "from", 0)?);
    let refused = || Problem::bad("[sort] takes one field, or {field: asc or desc}");
    let sort = body.get("sort").map(|sort| sort_field(sort).ok_or_else(refused)).transpose()?;
    let wanted = body.get("aggs").or_else(|| body.get("aggregations"));
    let wanted = wanted.map(|wanted| serde_json::from_value::<Aggregations>(wanted.clone())).transpose();
    let wanted = wanted.map_err(|error| Problem::bad(format!("[aggs]: {error}")))?;

    // Without a value a document is last, and without a field they are as the index has them.
    let order = |one: &Value, other: &Value| {
        let by_value = if sort.is_some_and(|(_, ascends)| ascends) { compare(one, other) } else { compare(other, one) };
        one.is_null().cmp(&other.is_null()).then(by_value)
    };
    let (mut hits, mut total) = (Vec::new(), 0);
    let mut aggregated = IntermediateAggregationResults::default();
    for (name, searcher) in indices.searchers(pattern)? {
        let query = query::parse(searcher.schema(), body.get("query"))?;
        let found: BTreeSet<_> = searcher.search(&*query, &DocSetCollector)?.into_iter().collect();
        total += found.len();
        let key = |at| sort.map_or(Value::Null, |(field, _)| column_value(&searcher, at, field));
        let mut found: Vec<_> = found.into_iter().map(|at| (key(at), at)).collect();
        found.sort_by(|(a, _), (b, _)| order(a, b));
        for (key, at) in found.into_iter().take(from + size) {
            hits.push((hit(&name, &searcher, at, &key)?, key));
        }
        if let Some(wanted) = &wanted {
            let collector = DistributedAggregationCollector::from_aggs(wanted.clone(), AggContextParams::default());
            aggregated.merge_fruits(searcher.search(&*query, &collector).map_err(Problem::bad)?)?;
        }
    }
    hits.sort_by(|(_, a), (_, b)| order(a, b));
    let hits: Vec<_> = hits.into_iter().map(|(hit, _)| hit).skip(from).take(size).collect();
    let mut answer = json!({ "took": 0, "timed_out": false, "_shards": { "total": 1, "successful": 1, "skipped": 0, "failed": 0 },
        "hits": { "total": { "value": total, "relation": "eq" }, "max_score": null, "hits": hits } });
    if let Some(wanted) = wanted {
        let results = aggregated.into_final_result(wanted, AggContextParams::default().limits)?;
        answer["aggregations"] = serde_json::to_value(results)?;
    }
    Ok(answer)
}

/// As far as Elasticsearch lets a search page through its hits, too.
fn number(body: &Value, name: &str, default: usize) -> Answer<usize> {
    let number = body.get(name).map(|given| given.as_u64().and_then(|number| usize::try_from(number).ok()));
    let number = number.unwrap_or(Some(default)).filter(|number| *number <= 10_000);
    number.ok_or_else(|| Problem::bad(format!("[{name}] must be a number from 0 to 10000")))
}

/// The field to sort by, and whether its values ascend.
fn sort_field(sort: &Value) -> Option<(&str, bool)> {
    match sort {
        Value::String(field) => Some((field, true)),
        Value::Array(fields) if fields.len() == 1 => sort_field(&fields[0]),
        Value::Object(fields) if fields.len() == 1 => {
            let (field, order) = fields.iter().next()?;
            let order = order.get("order").unwrap_or(order).as_str()?;
            matches!(order, "asc" | "desc").then_some((field, order == "asc"))
        }
        _ => None,
    }
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one.as_i64(), other.as_i64(), one.as_f64(), other.as_f64()) {
        (Some(a), Some(b), _, _) => a.cmp(&b),
        (_, _, Some(a), Some(b)) => a.total_cmp(&b),
        _ => one.as_str().cmp(&other.as_str()).then(one.as_bool().cmp(&other.as_bool())),
    }
}

fn hit(index: &str, searcher: &Searcher, at: DocAddress, key: &Value) -> Answer {
    let (document, schema): (TantivyDocument, _) = (searcher.doc(at)?, searcher.schema());
    let source: Value = match schema.get_field(SOURCE).ok().and_then(|field| document.get_first(field)?.as_str()) {
        Some(text) => serde_json::from_str(text)?,
        // Rolled-up documents are kept in columns alone.
        None => {
            let names = schema.fields().map(|(_, entry)| entry.name()).filter(|name| *name != ID);
            let members = names.map(|name| (name.to_owned(), column_value(searcher, at, name)));
            members.filter(|(_, value)| !value.is_null()).collect()
        }
    };
    let mut hit = json!({ "_index": index, "_id": column_value(searcher, at, ID), "_score": null, "_source": source });
    if !key.is_null() {
        hit["sort"] = json!([key]);
    }
    Ok(hit)
}

/// The first value that a document has in the column of a field.
fn column_value(searcher: &Searcher, DocAddress { segment_ord, doc_id }: DocAddress, field: &str) -> Value {
    let columns = searcher.segment_reader(segment_ord).fast_fields().dynamic_column_handles(field);
    match columns.ok().and_then(|columns| columns.first()?.open().ok()) {
        Some(DynamicColumn::Bool(column)) => column.first(doc_id).into(),
        Some(DynamicColumn::I64(column)) => column.first(doc_id).into(),
        Some(DynamicColumn::U64(column)) => column.first(doc_id).into(),
        Some(DynamicColumn::F64(column)) => column.first(doc_id).into(),
        Some(DynamicColumn::DateTime(column)) => column.first(doc_id).map(DateTime::into_timestamp_millis).into(),
        Some(DynamicColumn::Str(column)) => {
            let mut text = String::new();
            let term = column.term_ords(doc_id).next();
            term.filter(|term| column.ord_to_str(*term, &mut text).unwrap_or(false)).map(|_| text).into()
        }
        _ => Value::Null,
    }
}
