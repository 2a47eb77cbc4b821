//! Dates at their edges: before 1970 in nanoseconds, and hours whose zone sets its clocks.

use rollup_jobs::engine::SourceDocument;
use rollup_jobs::{DateHistogram, RollupJobConfig};
use serde_json::json;

use crate::server::{BOTH, Server};
use crate::world::{World, assert_same, engine, expected, rolled_up_into};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn at(millis: i64) -> SourceDocument {
    SourceDocument::new().date("timestamp", millis)
}

fn job(id: &str, date: DateHistogram, page_size: u32) -> RollupJobConfig {
    let job = RollupJobConfig::builder(id).index_pattern("sensor-1").rollup_index(format!("rolled-{id}"));
    job.date_histogram(date).page_size(page_size).cron("0 0 0 1 1 ? 2090").build().unwrap()
}

fn with_dates(server: &Server, kind: &str, source: &[SourceDocument]) {
    let date = json!({ "type": kind, "format": "epoch_millis" });
    server.put("sensor-1", json!({ "mappings": { "properties": { "timestamp": date } } }));
    server.add("sensor-1", source);
}

/// A field of nanoseconds takes no instant before 1970, not even in a range, though a bucket can begin there.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn buckets_of_nanoseconds_that_begin_before_1970() {
    let source = [0, 1, DAY, 3 * DAY, 8 * DAY, 400 * DAY].map(at);
    for kind in BOTH {
        let server = Server::empty(kind);
        with_dates(&server, "date_nanos", &source);
        let world = World::new(engine(&server));
        for (id, date) in [
            ("week", DateHistogram::calendar_interval("timestamp", "1w")),
            ("day", DateHistogram::calendar_interval("timestamp", "1d").time_zone("Europe/Berlin")),
            ("hours", DateHistogram::fixed_interval("timestamp", "7h").time_zone("America/New_York")),
        ] {
            for page_size in [1, 2, 1_000] {
                let job = job(&format!("{id}-{page_size}"), date.clone(), page_size);
                world.put(&job);
                world.run_well(job.id());
                world.run_well(job.id());
                assert_same(&rolled_up_into(&server, job.rollup_index()), &expected(&source, &[job]));
            }
        }
    }
}

/// In all of these an hour or a part of it was left out, or came twice. A server rounds an instant just after some of
/// them to before the gap; here all engines give one answer.
#[test]
#[ignore = "needs a cluster: tests/cluster/run"]
fn calendar_hours_where_clocks_are_set() {
    let changes = [
        ("Pacific/Chatham", 938_872_800_000),
        ("Pacific/Chatham", 954_597_600_000),
        ("Australia/Lord_Howe", 1_696_087_800_000),
        ("Australia/Lord_Howe", 1_712_415_600_000),
        ("Asia/Kathmandu", 504_901_800_000),
        ("America/Caracas", 1_197_183_600_000),
        ("America/Caracas", 1_462_084_200_000),
        ("America/St_Johns", 1_143_955_860_000),
        ("Asia/Tehran", 279_576_000_000),
        ("Europe/Berlin", 1_711_846_800_000),
        ("America/New_York", 1_730_613_600_000),
    ];
    // Each minute for hours around it, and the instants right beside.
    let around = |change: i64| {
        let minutes = (-240..=240).map(move |minute| change + minute * 60_000);
        minutes.chain([change - 1, change + 1]).map(at)
    };
    let source: Vec<_> = changes.into_iter().flat_map(|(_, change)| around(change)).collect();
    for kind in BOTH {
        let server = Server::empty(kind);
        with_dates(&server, "date", &source);
        let world = World::new(engine(&server));
        for (number, (zone, _)) in changes.into_iter().enumerate() {
            for interval in ["1h", "1m"] {
                let date = DateHistogram::calendar_interval("timestamp", interval).time_zone(zone);
                let job = job(&format!("{number}-{interval}"), date, 700);
                world.put(&job);
                world.run_well(job.id());
                assert_same(&rolled_up_into(&server, job.rollup_index()), &expected(&source, &[job]));
            }
        }
    }
}
