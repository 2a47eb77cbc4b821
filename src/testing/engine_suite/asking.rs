//! Scans of every kind, over source documents and over rolled-up ones, against the reference.

use super::data::{END, Random, config, context, loaded};
use super::reading::{assert_same, drain, scan};
use super::writing::try_to_write;
use crate::engine::{
    Engine, EngineErrorKind, FieldType, JobContext, MemoryEngine, PageStream, SourceDocument, StopSignal,
};
use crate::filter::{BoolFilter, Filter, FilterRange};
use crate::rollup::{Grouping, KeyKind, Measure, Measures, Page};
use crate::scan::{ScanRequest, Times};
use crate::testing::{EngineHarness, MemoryHarness};
use crate::{DateHistogram, Histogram, IndexPattern, Rounding, TermsType};

const HOUR: i64 = 3_600_000;
/// How many requests are made of each kind of rows.
const REQUESTS: usize = 150;

/// What may be asked for.
struct Asked {
    grids: Vec<DateHistogram>,
    keys: Vec<(&'static str, KeyKind)>,
    measured: Vec<&'static str>,
    filtered: Vec<Condition>,
}

/// Makes a condition.
type Condition = fn(&mut Random) -> Filter;

pub(super) fn source_documents(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let asked = Asked {
        grids: vec![
            DateHistogram::fixed_interval("timestamp", "1h"),
            DateHistogram::fixed_interval("timestamp", "90m").time_zone("America/St_Johns"),
            DateHistogram::calendar_interval("timestamp", "1d").time_zone("Europe/Berlin"),
            DateHistogram::calendar_interval("timestamp", "1M"),
        ],
        keys: vec![
            ("node", KeyKind::Terms(TermsType::Keyword)),
            ("level", KeyKind::Terms(TermsType::Integer)),
            ("serial", KeyKind::Terms(TermsType::Unsigned)),
            ("load", KeyKind::Terms(TermsType::Floating)),
            ("load", KeyKind::Histogram { interval: 0.1 }),
            ("temperature", KeyKind::Histogram { interval: 5.0 }),
            ("nothing", KeyKind::Terms(TermsType::Keyword)),
        ],
        measured: vec!["temperature", "load", "nothing"],
        filtered: vec![node, level, load, timestamp, nothing, |random| {
            Filter::range("serial", FilterRange::new().at_least(random.pick([0_u64, 7, 8, 1 << 63])))
        }],
    };
    let job = context(config("a"), &[]);
    let pattern = IndexPattern::new("sensor-*");
    let never = StopSignal::never();
    same_answers(harness, &*reference.engine(), &asked, |engine, request| engine.scan(&job, &pattern, request, &never));
}

/// A filter compares what each index holds, whatever the others do.
#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn fields_of_several_types(harness: &dyn EngineHarness) {
    let reference = MemoryHarness::new(MemoryEngine::new());
    let common = [("timestamp", FieldType::Date), ("node", FieldType::Keyword), ("load", FieldType::Double)];
    let with = |code| [&common[..], &[("code", code)]].concat();
    // The sum of loads tells which documents were counted.
    let reading = |load: i32| {
        SourceDocument::new().date("timestamp", 0).keyword("node", "a").double("load", f64::from(1 << load))
    };
    for harness in [harness, &reference] {
        harness.create_index("sensor-1", &with(FieldType::Long));
        harness.create_index("sensor-2", &with(FieldType::Keyword));
        harness.create_index("sensor-3", &with(FieldType::Double));
        harness.create_index("sensor-4", &common);
        let integers = [-1, 0, 3, 5].into_iter().zip(0..).map(|(code, load)| reading(load).integer("code", code));
        harness.add("sensor-1", &integers.collect::<Vec<_>>());
        let texts = ["-1", "0", "3", "5"].into_iter().zip(4..).map(|(code, load)| reading(load).keyword("code", code));
        harness.add("sensor-2", &texts.collect::<Vec<_>>());
        let numbers = [-1.0, 0.5, 3.0, 5.0].into_iter().zip(8..).map(|(code, load)| reading(load).double("code", code));
        harness.add("sensor-3", &numbers.collect::<Vec<_>>());
        harness.add("sensor-4", &[reading(12)]);
    }
    let filters = [
        Filter::term("code", 5),
        Filter::terms("code", [0, 3]),
        Filter::range("code", FilterRange::new().at_least(0)),
        Filter::range("code", FilterRange::new().below(3)),
        Filter::exists("code"),
        Filter::none_of([Filter::term("code", 5)]),
        Filter::any_of([Filter::term("code", -1), Filter::none_of([Filter::exists("code")])]),
    ];
    let job = context(config("a"), &[]);
    let (pattern, never) = (IndexPattern::new("sensor-*"), StopSignal::never());
    for filter in filters {
        let grouping = Grouping::new("timestamp").terms("node", TermsType::Keyword).measure("load", Measure::Sum);
        let request = ScanRequest::new(grouping).filter(filter.clone(), 0);
        let ask = |engine: &dyn Engine| {
            drain(engine.scan(&job, &pattern, request.clone(), &never).expect("a scan"), usize::MAX).0
        };
        let (found, right) = (ask(&*harness.engine()), ask(&*reference.engine()));
        assert!(!right.is_empty(), "{} selects something", filter.to_json());
        assert_eq!(found, right, "{}", filter.to_json());
    }
}

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
pub(super) fn rolled_up_documents(harness: &dyn EngineHarness) {
    let reference = loaded(harness);
    let job = config("a").histogram(Histogram::new(5.0, ["load"])).terms(["node", "level"]);
    let job = context(job, &[TermsType::Keyword, TermsType::Integer]);
    let (buckets, _) = scan(harness, &job, None, END);
    for harness in [harness, &reference] {
        harness.engine().prepare(&job).expect("the rollup index");
        // Several commits make several segments, where an engine has them.
        for from in (0..buckets.len()).step_by(150) {
            let part = buckets.slice(from..(from + 150).min(buckets.len()));
            try_to_write(harness, &job, &part).expect("a commit");
        }
    }
    let asked = Asked {
        grids: vec![
            DateHistogram::fixed_interval("timestamp", "1h"),
            DateHistogram::fixed_interval("timestamp", "6h"),
            DateHistogram::calendar_interval("timestamp", "1d"),
        ],
        keys: vec![
            ("node", KeyKind::Terms(TermsType::Keyword)),
            ("level", KeyKind::Terms(TermsType::Integer)),
            ("load", KeyKind::Histogram { interval: 5.0 }),
            ("load", KeyKind::Histogram { interval: 10.0 }),
        ],
        measured: vec!["temperature"],
        filtered: vec![node, level, timestamp, |random| {
            Filter::range("load", FilterRange::new().at_least(random.pick([-10.0, 0.0, 5.0])).below(10))
        }],
    };
    let never = StopSignal::never();
    same_answers(harness, &*reference.engine(), &asked, |engine, request| engine.scan_rolled_up(&job, request, &never));
}

type Opened = Result<Box<dyn PageStream>, crate::engine::EngineError>;

#[expect(clippy::expect_used, reason = "a suite fails by panicking")]
fn same_answers(
    harness: &dyn EngineHarness,
    reference: &dyn Engine,
    asked: &Asked,
    scan: impl Fn(&dyn Engine, ScanRequest) -> Opened,
) {
    let (engine, mut random, mut groups, mut unsupported) = (harness.engine(), Random::new(7), 0, 0);
    for number in 0..REQUESTS {
        let request = asked.request(&mut random);
        let what = format!("request {number}: {request:?}");
        let drained = |engine: &dyn Engine, request: ScanRequest| {
            let page_size = request.page_size;
            drain(scan(engine, request).unwrap_or_else(|error| panic!("{error:?}: {what}")), page_size)
        };
        eprintln!("{what}");
        let (expected, expected_skipped) = drained(reference, request.clone());
        if let Some(error) =
            scan(&*engine, request.clone()).and_then(|mut stream| stream.next_page(&StopSignal::never())).err()
        {
            assert_eq!(error.kind(), EngineErrorKind::Unsupported, "{error:?}");
            unsupported += 1;
            continue;
        }
        let (found, skipped) = drained(&*engine, request.clone());
        assert_same(&found, &expected);
        assert_eq!(skipped, expected_skipped, "documents without a date");
        groups += expected.len();
        if let Some(at) = expected.len().checked_sub(1).map(|last| random.place(last + 1)) {
            let after = expected.get(at).expect("a group").key.to_vec();
            let (rest, _) = drained(&*engine, request.after(after));
            assert_same(&rest, &expected.slice(at + 1..expected.len()));
        }
    }
    assert!(unsupported <= REQUESTS / 3, "{unsupported} of {REQUESTS} requests are unsupported");
    assert!(groups > 20 * REQUESTS, "{groups} groups are too few to prove anything");
}

impl Asked {
    fn request(&self, random: &mut Random) -> ScanRequest {
        let grid = random.place(self.grids.len() + 1);
        let grid = self.grids.get(grid).map(|date| rounding(date.clone()));
        let mut grouping = Grouping::new("timestamp");
        for (field, kind) in &self.keys {
            if random.below(4) == 0 {
                grouping = grouping.key(*field, *kind);
            }
        }
        for field in &self.measured {
            let measures: Measures = Measure::ALL.into_iter().filter(|_| random.below(2) == 0).collect();
            if random.below(3) > 0 {
                grouping = grouping.measure(*field, measures);
            }
        }
        let times = times(random);
        if let Some(grid) = grid {
            grouping = grouping.date(grid);
        }
        let filter = self.filter(random, 2);
        ScanRequest::new(grouping).filter(filter, 0).times(times).page_size(random.pick([1, 7, 50, 1_000]))
    }

    fn filter(&self, random: &mut Random, depth: usize) -> Filter {
        if depth == 0 || random.below(3) > 0 {
            return match random.below(5) {
                0 | 1 => Filter::MatchAll,
                _ => self.filtered[random.place(self.filtered.len())](random),
            };
        }
        let mut some = || (0..random.place(3)).map(|_| self.filter(random, depth - 1)).collect::<Vec<_>>();
        let (filter, must_not, should) = (some(), some(), some());
        let minimum_should_match = usize::from(!should.is_empty()) * random.place(2);
        Filter::Bool(BoolFilter { filter, must_not, should, minimum_should_match })
    }
}

fn rounding(date: DateHistogram) -> Rounding {
    context(config("a").date_histogram(date), &[]).config().rounding().clone()
}

fn times(random: &mut Random) -> Times {
    let mut ranges = || {
        let mut range = || {
            let from = random.below(50 * HOUR) - 25 * HOUR;
            from..from + random.below(10 * HOUR)
        };
        [range(), range(), range()]
    };
    let ranges = ranges();
    match random.below(4) {
        0 => Times::instants(ranges),
        1 => Times::buckets(ranges),
        2 => Times::buckets_before(random.below(20 * HOUR)),
        _ => Times::all(),
    }
}

fn node(random: &mut Random) -> Filter {
    match random.below(6) {
        0 => Filter::term("node", random.pick(["a", "b", "zz", "", "none"])),
        1 => Filter::terms("node", ["a", random.pick(["b", "é"])]),
        2 => Filter::prefix("node", random.pick(["z", "", "q"])),
        3 => Filter::range("node", FilterRange::new().above("a").at_most(random.pick(["b", "zz"]))),
        4 => Filter::range("node", FilterRange::new().below("b")),
        _ => Filter::exists("node"),
    }
}

fn level(random: &mut Random) -> Filter {
    match random.below(4) {
        0 => Filter::term("level", random.below(7) - 3),
        1 => Filter::terms("level", [random.below(7) - 3, i64::MIN, 2]),
        2 => Filter::range("level", FilterRange::new().at_least(random.below(5) - 3).below(2.5)),
        _ => Filter::exists("level"),
    }
}

fn load(random: &mut Random) -> Filter {
    match random.below(4) {
        0 => Filter::term("load", random.pick([0.0, 0.3, 2.5])),
        1 => Filter::range("load", FilterRange::new().above(random.pick([-3.0, 0.0])).at_most(7)),
        2 => Filter::range("load", FilterRange::new().below(random.pick([-3.0, 0.0]))),
        _ => Filter::exists("load"),
    }
}

fn timestamp(random: &mut Random) -> Filter {
    let instant = random.below(20 * HOUR) - 10 * HOUR;
    match random.below(3) {
        0 => Filter::range("timestamp", FilterRange::new().at_least(instant)),
        1 => Filter::range("timestamp", FilterRange::new().above("1969-12-31T20").below("now/d")),
        _ => Filter::exists("timestamp"),
    }
}

fn nothing(random: &mut Random) -> Filter {
    if random.below(2) == 0 { Filter::term("nothing", 1) } else { Filter::exists("nothing") }
}

/// What cannot be asked is refused, with what it is about.
#[expect(clippy::unwrap_used, reason = "a suite fails by panicking")]
pub(super) fn bad_requests(harness: &dyn EngineHarness) {
    loaded(harness);
    let job: JobContext = context(config("a").terms(["node"]), &[TermsType::Keyword]);
    let (engine, never) = (harness.engine(), StopSignal::never());
    engine.prepare(&job).unwrap();
    let grouping = || Grouping::new("timestamp").terms("node", TermsType::Keyword);
    let of_neither = [
        ("grouping", ScanRequest::new(grouping().histogram("load", 0.0))),
        ("page_size", ScanRequest::new(grouping()).page_size(0)),
        ("after", ScanRequest::new(grouping()).after(vec![crate::KeyPart::Date(0)])),
        (
            "filter",
            ScanRequest::new(grouping()).filter(Filter::range("timestamp", FilterRange::new().at_least("soon")), 0),
        ),
    ];
    let not_of_rolled_up = [
        ("grouping", ScanRequest::new(Grouping::new("date"))),
        ("grouping", ScanRequest::new(grouping().terms("level", TermsType::Integer))),
        ("grouping", ScanRequest::new(grouping().measure("load", Measure::Sum))),
        ("filter", ScanRequest::new(grouping()).filter(Filter::exists("temperature"), 0)),
    ];
    let refused = |opened: Opened, member: &str| {
        // An engine may find out only when it begins.
        let error = opened.and_then(|mut stream| stream.next_page(&never)).err();
        let error = error.unwrap_or_else(|| panic!("a bad [{member}] is answered"));
        assert_eq!(error.kind(), EngineErrorKind::Rejected, "{member}");
        let text = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(text.contains(&format!("[{member}]")), "{text} names [{member}]");
    };
    for (member, request) in &of_neither {
        refused(engine.scan(&job, &IndexPattern::new("sensor-*"), request.clone(), &never), member);
    }
    for (member, request) in of_neither.into_iter().chain(not_of_rolled_up) {
        refused(engine.scan_rolled_up(&job, request, &never), member);
    }
    let nothing = engine.scan_rolled_up(&job, ScanRequest::new(grouping()), &never).unwrap().next_page(&never).unwrap();
    assert_eq!(nothing, Page::of(&grouping()), "nothing is rolled up");
}
