//! The rolled-up documents, as a table and as a picture.

use std::collections::BTreeMap;
use std::error::Error;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;
use rollup_jobs::filter::{Filter, FilterRange};
use rollup_jobs::rollup::RolledUpRow;
use rollup_jobs::search::{DateHistogramAggregation, MetricAggregation, OrderBy, SearchRequest, TermsAggregation};
use rollup_jobs::{KeyPart, Position, RollupJobManager};

/// What was rolled up of a station on a local day.
pub(crate) struct Day {
    pub(crate) date: Date,
    pub(crate) row: RolledUpRow,
}

pub(crate) fn read(manager: &RollupJobManager) -> Result<Vec<Day>, Box<dyn Error>> {
    let zone = TimeZoneDatabase::bundled().get("America/New_York")?;
    let day = |row: RolledUpRow| {
        let date = zone.to_datetime(Timestamp::from_millisecond(row.date())?).date();
        Ok(Day { date, row })
    };
    manager.rolled_up("sensor")?.map(|row| day(row?)).collect()
}

/// Where a job of a station and a local day is.
pub(crate) fn place(position: &Position) -> Result<String, Box<dyn Error>> {
    let zone = TimeZoneDatabase::bundled().get("America/New_York")?;
    match position.key().as_slice() {
        [KeyPart::Date(start), KeyPart::Text(station)] => {
            let day = zone.to_datetime(Timestamp::from_millisecond(*start)?).date();
            Ok(format!("{station} on {day}"))
        }
        other => Err(format!("a position of an unknown kind: {other:?}").into()),
    }
}

/// The warmest station of each month, and what the answer was made of.
pub(crate) fn ask(manager: &RollupJobManager) -> Result<(), Box<dyn Error>> {
    let warmest = TermsAggregation::new("node").size(1).order(OrderBy::Metric("mean".into()).descending());
    let months = DateHistogramAggregation::calendar("timestamp", "month")
        .time_zone("America/New_York")
        .format("yyyy-MM")
        .aggregation("warmest", warmest.aggregation("mean", MetricAggregation::avg("temperature")));
    let summer = FilterRange::new().at_least("2013-06-01T06:00").below("2013-09-01").time_zone("America/New_York");
    let request = SearchRequest::new("sensor-*").filter(Filter::range("timestamp", summer));
    let response = manager.search(&request.aggregation("months", months))?;
    for month in response.buckets("months")? {
        let date = Timestamp::from_millisecond(month.date().ok_or("no month")?)?;
        for station in month.buckets("warmest")? {
            let (name, mean) = (station.text().unwrap_or("?"), station.value("mean")?.unwrap_or(f64::NAN));
            println!(
                "   {}: {name}, {mean:.1} F on average of {} readings",
                date.strftime("%Y-%m"),
                station.doc_count()
            );
        }
    }
    for part in &response.plan().parts {
        println!("   {part}");
    }
    println!();
    Ok(())
}

/// The mean temperature of one month at one station.
pub(crate) type Mean = (i64, String, Option<f64>);

/// Those of each month and station.
pub(crate) fn means_by_month(manager: &RollupJobManager) -> Result<Vec<Mean>, Box<dyn Error>> {
    let stations = TermsAggregation::new("node").aggregation("mean", MetricAggregation::avg("temperature"));
    let months = DateHistogramAggregation::calendar("timestamp", "1M").time_zone("America/New_York");
    let months = months.aggregation("stations", stations);
    let response = manager.search(&SearchRequest::new("sensor-*").aggregation("months", months))?;
    let mut means = Vec::new();
    for month in response.buckets("months")? {
        for station in month.buckets("stations")? {
            let name = station.text().unwrap_or("?").to_owned();
            means.push((month.date().unwrap_or_default(), name, station.value("mean")?));
        }
    }
    Ok(means)
}

/// A line per month, over all stations.
pub(crate) fn table_by_month(days: &[Day]) {
    println!("   month    readings   min F   mean F   max F   rain in   mean wind mph");
    let mut months: BTreeMap<(i16, i8), Vec<&Day>> = BTreeMap::new();
    for day in days {
        months.entry((day.date.year(), day.date.month())).or_default().push(day);
    }
    for ((year, month), days) in months {
        let rows = || days.iter().map(|day| &day.row);
        let sum = |field| rows().filter_map(|row| row.sum(field)).sum::<f64>();
        let values = |field| rows().filter_map(|row| row.value_count(field)).sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let mean = |field| sum(field) / values(field) as f64;
        println!(
            "   {year}-{month:02} {:10} {:7.1} {:8.1} {:7.1} {:9.2} {:15.1}",
            rows().map(RolledUpRow::doc_count).sum::<u64>(),
            rows().filter_map(|row| row.min("temperature")).fold(f64::INFINITY, f64::min),
            mean("temperature"),
            rows().filter_map(|row| row.max("temperature")).fold(f64::NEG_INFINITY, f64::max),
            sum("precip"),
            mean("wind_speed"),
        );
    }
    println!();
}

/// From the coldest to the warmest hour of each few days, over the year.
pub(crate) fn picture_of_the_year(days: &[Day]) {
    const DAYS: usize = 6;
    const WIDTH: usize = 366_usize.div_ceil(DAYS);
    const ROWS: i32 = 18;
    let column = |day: i16| usize::try_from(day - 1).unwrap_or(0) / DAYS;
    let mut columns = [(f64::INFINITY, f64::NEG_INFINITY); WIDTH];
    for day in days.iter().filter(|day| day.date.year() == 2013) {
        let column = &mut columns[column(day.date.day_of_year())];
        if let (Some(min), Some(max)) = (day.row.min("temperature"), day.row.max("temperature")) {
            *column = (column.0.min(min), column.1.max(max));
        }
    }
    println!("   daily minimum to maximum temperature, {DAYS} days a column, degrees F");
    for row in (0..ROWS).rev() {
        let (from, to) = (f64::from(row) * 6.0, f64::from(row + 1) * 6.0);
        let cell = |(min, max): &(f64, f64)| if *min < to && *max >= from { '█' } else { ' ' };
        let line: String = columns.iter().map(cell).collect();
        println!("   {from:4.0} |{}", line.trim_end());
    }
    println!("        +{}", "-".repeat(WIDTH));
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let months = (1..).zip(names).fold(String::new(), |line, (month, name)| {
        let at = column(jiff::civil::date(2013, month, 1).day_of_year());
        format!("{line:at$}{name}")
    });
    println!("         {months}\n");
}
