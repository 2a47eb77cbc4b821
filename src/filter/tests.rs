use std::ops::Bound;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parsed(query: Value) -> Filter {
    Filter::from_json(&query).unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn refused(query: Value) -> String {
    Filter::from_json(&query).map(|filter| format!("{query} is {filter:?}")).unwrap_err().to_string()
}

#[test]
fn queries_that_only_score_become_what_they_select() {
    let node = || json!({ "term": { "node": "a" } });
    let is_node = Filter::term("node", "a");
    assert_eq!(parsed(node()), is_node);
    assert_eq!(parsed(json!({ "term": { "node": { "value": "a", "boost": 2.0, "_name": "n" } } })), is_node);
    assert_eq!(parsed(json!({ "constant_score": { "filter": node(), "boost": 1.2 } })), is_node);
    let boosting = json!({ "positive": node(), "negative": { "match_all": {} }, "negative_boost": 0.5 });
    assert_eq!(parsed(json!({ "boosting": boosting })), is_node);
    let either =
        parsed(json!({ "dis_max": { "queries": [node(), { "exists": { "field": "load" } }], "tie_breaker": 0.7 } }));
    assert_eq!(either, Filter::any_of([is_node, Filter::exists("load")]));
    assert_eq!(parsed(json!({ "match_all": { "boost": 1.0 } })), Filter::MatchAll);
}

#[test]
fn the_older_names_of_a_ranges_ends_are_known() {
    let old = json!({ "range": { "load": { "from": 1, "to": 2, "include_lower": false, "include_upper": true } } });
    assert_eq!(parsed(old), Filter::range("load", FilterRange::new().above(1).at_most(2)));
    let open = json!({ "range": { "load": { "gte": null, "lt": 2 } } });
    assert_eq!(parsed(open), Filter::range("load", FilterRange::new().below(2)));
}

#[test]
fn how_many_should_match_is_elasticsearchs() {
    let matching = |members: Value| {
        let mut query =
            json!({ "should": [{ "match_all": {} }, { "match_all": {} }, { "match_all": {} }, { "match_all": {} }] });
        query.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let Filter::Bool(parts) = parsed(json!({ "bool": query })) else { panic!("a bool") };
        parts.minimum_should_match
    };
    let filter = json!([{ "match_all": {} }]);
    assert_eq!(matching(json!({})), 1);
    assert_eq!(matching(json!({ "must_not": filter })), 1);
    assert_eq!(matching(json!({ "filter": filter })), 0);
    assert_eq!(matching(json!({ "must": filter })), 0);
    for (wanted, least) in [
        (json!(2), 2),
        (json!("3"), 3),
        (json!(-1), 3),
        (json!("75%"), 3),
        (json!("-30%"), 3),
        (json!("70%"), 2),
        (json!(-9), 1),
        (json!(0), 1),
        (json!(9), 9),
    ] {
        assert_eq!(matching(json!({ "minimum_should_match": wanted })), least, "{wanted}");
    }
    assert_eq!(matching(json!({ "filter": filter, "minimum_should_match": -9 })), 0);
    let refusal = refused(json!({ "bool": { "should": [], "minimum_should_match": "2<75%" } }));
    assert!(refusal.starts_with("query.bool.minimum_should_match: expected a number"), "{refusal}");
}

#[test]
fn what_cannot_be_a_filter_is_refused_with_the_place() {
    for (query, refusal) in [
        (json!([]), "query: expected an object, but was []"),
        (json!({}), "query: query malformed, empty clause found"),
        (json!({ "term": { "a": 1 }, "exists": { "field": "a" } }), "query: one query has one kind, but was"),
        (
            json!({ "bool": { "must": [{ "match_all": {} }, { "match": { "a": 1 } }] } }),
            "query.bool.must[1].match: unsupported query [match]; supported are match_all,",
        ),
        (json!({ "bool": { "must": [], "muts": [] } }), "query.bool: [muts] is not supported here; known are [must,"),
        (json!({ "term": { "a": 1, "b": 1 } }), "query.term: one query has one field, but was [a] and [b]"),
        (json!({ "term": {} }), "query.term: names no field"),
        (json!({ "term": { "a": null } }), "query.term.a: expected a value, but was null"),
        (json!({ "term": { "a": { "boost": 1 } } }), "query.term.a: requires [value]"),
        (
            json!({ "term": { "a": { "value": "x", "case_insensitive": true } } }),
            "query.term.a: [case_insensitive] is not supported",
        ),
        (json!({ "terms": { "a": { "index": "i" } } }), "query.terms.a: expected an array of values"),
        (json!({ "terms": { "a": [1, [2]] } }), "query.terms.a[1]: expected one value"),
        (json!({ "range": { "a": { "gt": 1, "gte": 1 } } }), "query.range.a: a range has one end here"),
        (json!({ "range": { "a": { "gt": 1, "relation": "within" } } }), "query.range.a: [relation] is for fields"),
        (json!({ "range": { "a": { "from": 1, "include_lower": 1 } } }), "query.range.a.include_lower: expected true"),
        (json!({ "exists": {} }), "query.exists: requires [field]"),
        (json!({ "prefix": { "a": 1 } }), "query.prefix.a: expected a text"),
        (json!({ "dis_max": { "queries": [] } }), "query.dis_max: requires [queries]"),
        (json!({ "constant_score": {} }), "query.constant_score: requires [filter]"),
        (json!({ "boosting": { "positive": { "match_all": {} } } }), "query.boosting: requires [negative]"),
    ] {
        let found = refused(query);
        assert!(found.starts_with(refusal), "{found}, instead of {refusal}");
    }
}

/// 2026-05-15T12:30:45.678Z.
const NOW: i64 = 1_778_848_245_678;

fn holds(field: &str) -> Option<FilterField> {
    match field {
        "at" => Some(FilterField::Date),
        "count" => Some(FilterField::Integer),
        "load" => Some(FilterField::Double),
        "on" => Some(FilterField::Boolean),
        "node" => Some(FilterField::Text),
        _ => None,
    }
}

fn selected(filter: &Filter) -> Selection {
    filter.select(NOW, &holds).unwrap_or_else(|error| panic!("{filter:?}: {error}"))
}

fn values(filter: &Filter) -> ValueSet {
    match selected(filter) {
        Selection::Values { values, .. } => values,
        other => panic!("{filter:?} is {other:?}"),
    }
}

#[test]
fn the_last_day_of_the_last_year_is_a_date() {
    for (text, zone, last) in [
        ("9999-12-31", None, 253_402_300_799_999),
        ("9999-12-31T23:59:59.999Z", None, 253_402_300_799_999),
        ("9999", Some("+02:00"), 253_402_293_599_999),
        ("9999-12-31", Some("America/New_York"), 253_402_318_799_999),
    ] {
        let range = FilterRange::new().at_most(text);
        let range = zone.map_or(range.clone(), |zone| range.time_zone(zone));
        let ValueSet::Integers(ranges) = values(&Filter::range("at", range)) else { panic!("dates") };
        assert_eq!(*ranges[0].end(), last, "{text} {zone:?}");
    }
}

#[test]
fn dates_that_leave_parts_out_mean_their_first_or_last_instant() {
    let from = |text: &str, is_above: bool| {
        let range = FilterRange::new();
        let range = if is_above { range.above(text) } else { range.at_least(text) };
        let ValueSet::Integers(ranges) = values(&Filter::range("at", range)) else { panic!("dates") };
        jiff::Timestamp::from_millisecond(i64::try_from(*ranges[0].start()).unwrap()).unwrap().to_string()
    };
    for (text, at_least, above) in [
        ("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-02", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-02-28", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-02-28T07", "2026-02-28T07:00:00Z", "2026-02-28T08:00:00Z"),
        ("2026-02-28T07:05", "2026-02-28T07:05:00Z", "2026-02-28T07:06:00Z"),
        ("2026-02-28T07:05:09", "2026-02-28T07:05:09Z", "2026-02-28T07:05:10Z"),
        ("2026-02-28T07:05:09.5", "2026-02-28T07:05:09.5Z", "2026-02-28T07:05:09.501Z"),
        ("2026-02-28T07:05+02:00", "2026-02-28T05:05:00Z", "2026-02-28T05:06:00Z"),
        ("1772262309000", "2026-02-28T07:05:09Z", "2026-02-28T07:05:09.001Z"),
        ("now", "2026-05-15T12:30:45.678Z", "2026-05-15T12:30:45.679Z"),
        ("now/d", "2026-05-15T00:00:00Z", "2026-05-16T00:00:00Z"),
        ("now-1M/M", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        ("now/w", "2026-05-11T00:00:00Z", "2026-05-18T00:00:00Z"),
        ("now-d+2h", "2026-05-14T14:30:45.678Z", "2026-05-14T14:30:45.679Z"),
        ("2026-02||+1M/M", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
    ] {
        assert_eq!((from(text, false), from(text, true)), (at_least.to_owned(), above.to_owned()), "{text}");
    }
}

#[test]
fn dates_are_read_in_the_ranges_zone_and_format() {
    let range = |range: FilterRange| match values(&Filter::range("at", range)) {
        ValueSet::Integers(ranges) => (*ranges[0].start(), *ranges[0].end()),
        other => panic!("{other:?}"),
    };
    let day = || FilterRange::new().at_least("2026-03-29").at_most("2026-03-29");
    let (from, to) = range(day().time_zone("Europe/Berlin"));
    assert_eq!((from, to - from + 1), (1_774_738_800_000, 23 * 3_600_000));
    // What says its zone keeps it.
    let utc = FilterRange::new().at_least("2026-03-29T00:00Z").time_zone("Europe/Berlin");
    assert_eq!(range(utc).0, 1_774_742_400_000);
    let rounded = FilterRange::new().at_least("now/d").time_zone("+05:30");
    assert_eq!(range(rounded).0, 1_778_783_400_000);
    let seconds = FilterRange::new().at_least(1_774_742_400).below("1774742401").format("epoch_second");
    assert_eq!(range(seconds), (1_774_742_400_000, 1_774_742_400_999));
    // Unlike in Elasticsearch it is no year.
    assert_eq!(range(FilterRange::new().at_least(2026)).0, 2_026);
    for (format, text, expected) in [
        ("dd/MM/yyyy", "29/03/2026", 1_774_742_400_000),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-29 00:00:00.250", 1_774_742_400_250),
        ("yyyyMMdd'T'HHXXX||epoch_millis", "20260329T02+02:00", 1_774_742_400_000),
        ("yyyyMMdd||epoch_second", "1774742400", 1_774_742_400_000),
    ] {
        let found = range(FilterRange::new().at_least(text).format(format));
        assert_eq!(found.0, expected, "{format}");
    }
}

#[test]
fn numbers_are_compared_as_what_the_field_holds() {
    let has = |filter: &Filter, value: i128| match selected(filter) {
        Selection::Values { values, .. } => values.has_integer(value),
        other => other == Selection::All,
    };
    let above = |bound: f64| Filter::range("count", FilterRange::new().above(bound));
    assert!(has(&above(4.5), 5) && !has(&above(4.5), 4) && !has(&above(5.0), 5));
    let below = |bound: f64| Filter::range("count", FilterRange::new().below(bound));
    assert!(has(&below(4.5), 4) && !has(&below(4.5), 5) && !has(&below(4.0), 4));
    assert_eq!(selected(&Filter::term("count", 4.5)), Selection::None);
    assert!(has(&Filter::term("count", "4"), 4));
    let large = 9_007_199_254_740_993_i64;
    assert!(
        has(&Filter::term("count", large), large.into()) && !has(&Filter::term("count", large), i128::from(large) - 1)
    );
    assert!(has(&Filter::term("count", u64::MAX), u64::MAX.into()));
    assert_eq!(selected(&Filter::range("count", FilterRange::new().above(1e300).at_most(1e300))), Selection::None);
    let double = |filter: &Filter, value: f64| values(filter).has_double(value);
    let zero = Filter::term("load", 0);
    assert!(double(&zero, 0.0) && double(&zero, -0.0) && !double(&zero, f64::MIN_POSITIVE));
    let positive = Filter::range("load", FilterRange::new().above(-0.0));
    assert!(!double(&positive, 0.0) && !double(&positive, -0.0) && double(&positive, 5e-324));
    let negative = Filter::range("load", FilterRange::new().below(0));
    assert!(!double(&negative, 0.0) && !double(&negative, -0.0) && double(&negative, -5e-324));
    let any = Filter::exists("load");
    assert!(double(&any, f64::MAX) && !double(&any, f64::NAN) && !double(&any, f64::INFINITY));
}

#[test]
fn texts_are_compared_by_their_bytes() {
    let has = |filter: &Filter, text: &str| values(filter).has_text(text);
    let nodes = Filter::terms("node", ["b", "a", "b"]);
    assert!(has(&nodes, "a") && has(&nodes, "b") && !has(&nodes, "") && !has(&nodes, "aa"));
    let prefix = Filter::prefix("node", "é");
    assert!(has(&prefix, "é") && has(&prefix, "étage") && !has(&prefix, "e") && !has(&prefix, "ê"));
    assert!(has(&Filter::prefix("node", ""), "") && has(&Filter::prefix("node", "\u{10FFFF}"), "\u{10FFFF}z"));
    let range = Filter::range("node", FilterRange::new().above("a").below("c"));
    assert!(has(&range, "aa") && has(&range, "bz") && !has(&range, "a") && !has(&range, "c"));
    assert_eq!(selected(&Filter::range("node", FilterRange::new().at_least("b").below("b"))), Selection::None);
    assert!(has(&Filter::term("node", 5), "5") && has(&Filter::term("node", true), "true"));
}

#[test]
fn what_a_field_cannot_have_is_refused_by_name() {
    for (filter, refusal) in [
        (Filter::term("count", "x"), "count: [x] is no number"),
        (Filter::term("load", true), "load: the field holds numbers, and [true] is none"),
        (
            Filter::term("at", "x"),
            "at: failed to parse date field [x] with format [strict_date_optional_time||epoch_millis]",
        ),
        (Filter::term("at", "2026-02-30"), "at: failed to parse date field [2026-02-30]"),
        (Filter::term("at", "2026-2-3"), "at: failed to parse date field [2026-2-3]"),
        (Filter::term("at", "now+1x"), "at: unit [x] not supported for date math"),
        (Filter::term("at", "now*1d"), "at: operator not supported for date math [*1d]"),
        (Filter::term("at", "now/2d"), "at: rounding `/` can only be used on single unit types"),
        (Filter::term("at", "now+99999999999y"), "at: [99999999999y] is too much for date math"),
        (Filter::term("at", "now+15000y"), "at: date math [+15000y] leaves the years that there are"),
        (Filter::term("on", 1), "on: the field holds true and false, and 1 is neither"),
        (Filter::range("on", FilterRange::new()), "on: [range] is not for true and false"),
        (Filter::prefix("load", "1"), "load: [prefix] is for texts, and the field holds numbers"),
        (Filter::range("load", FilterRange::new().format("yyyy")), "load: [format] and [time_zone] are for dates"),
        (Filter::range("at", FilterRange::new().format("QQQ")), "at: date format [QQQ] is not supported"),
        // Two letters are the year of a century, three of a month its name.
        (Filter::range("at", FilterRange::new().at_least("26-01-31").format("yy-MM-dd")), "at: date format [yy-MM-dd]"),
        (
            Filter::range("at", FilterRange::new().format("dd MMM yyyy")),
            "at: date format [dd MMM yyyy] is not supported",
        ),
        (Filter::range("at", FilterRange::new().format("'yyyy'")), "at: date format ['yyyy'] is not supported"),
        (Filter::range("at", FilterRange::new().time_zone("Mars/Base")), "at: Unknown time-zone ID: Mars/Base"),
    ] {
        let found = filter.select(NOW, &holds).unwrap_err().to_string();
        assert!(found.starts_with(refusal), "{found}, instead of {refusal}");
    }
    assert_eq!(selected(&Filter::term("on", "false")), selected(&Filter::term("on", false)));
}

#[test]
fn what_is_not_there_meets_the_negation() {
    assert_eq!(selected(&Filter::exists("nowhere")), Selection::None);
    assert_eq!(selected(&Filter::none_of([Filter::exists("nowhere")])), Selection::All);
    let nothing = |_: &str, _: &ValueSet| false;
    let other = Filter::none_of([Filter::term("node", "a")]);
    assert!(selected(&other).means(&nothing));
    assert!(!selected(&Filter::none_of([other])).means(&nothing));
    assert_eq!(selected(&Filter::any_of([])), Selection::None);
}

fn any_value() -> impl Strategy<Value = FilterValue> {
    prop_oneof![
        any::<bool>().prop_map(FilterValue::Boolean),
        any::<i64>().prop_map(FilterValue::Integer),
        any::<u64>().prop_map(FilterValue::from),
        (-1e9..1e9_f64).prop_map(FilterValue::Double),
        "[a-z0-9]{0,3}".prop_map(FilterValue::from),
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let bound = || {
        prop_oneof![
            Just(Bound::Unbounded),
            any_value().prop_map(Bound::Included),
            any_value().prop_map(Bound::Excluded),
        ]
    };
    let leaf = prop_oneof![
        Just(Filter::MatchAll),
        Just(Filter::MatchNone),
        ("[ab]", any_value()).prop_map(|(field, value)| Filter::term(field, value)),
        ("[ab]", prop::collection::vec(any_value(), 0..3)).prop_map(|(field, values)| Filter::terms(field, values)),
        ("[ab]", bound(), bound())
            .prop_map(|(field, from, to)| { Filter::range(field, FilterRange { from, to, ..FilterRange::new() }) }),
        "[ab]".prop_map(Filter::exists),
        ("[ab]", "[a-z]{0,2}").prop_map(|(field, prefix)| Filter::prefix(field, prefix)),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let some = || prop::collection::vec(inner.clone(), 0..3);
        (some(), some(), some(), 0..3_usize).prop_map(|(filter, must_not, should, minimum_should_match)| {
            Filter::Bool(BoolFilter { filter, must_not, should, minimum_should_match })
        })
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_as_the_same(
        filter in any_filter(),
        values in prop::collection::vec("[a-z0-9]{0,3}", 2),
    ) {
        let again = Filter::from_json(&filter.to_json()).unwrap();
        // `should` of which none has to hold is not printed.
        prop_assert_eq!(again.to_json(), filter.to_json());
        let texts = |_: &str| Some(FilterField::Text);
        let has = |field: &str, set: &ValueSet| set.has_text(&values[usize::from(field == "b")]);
        let means = |filter: &Filter| filter.select(NOW, &texts).unwrap().means(&has);
        prop_assert_eq!(means(&again), means(&filter));
    }
}
