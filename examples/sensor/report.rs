//! The rolled-up documents, read with plain tantivy, as a table and as a picture.

use std::collections::BTreeMap;
use std::error::Error;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;
use rollup_jobs::engine::tantivy::TantivyEngine;
use rollup_jobs::engine::tantivy::tantivy::schema::FieldType;
use rollup_jobs::{KeyPart, Position};

/// One rolled-up document: a station on a local day.
pub(crate) struct Day {
    pub(crate) date: Date,
    pub(crate) station: String,
    pub(crate) readings: u64,
    /// The metrics by their names in the document, such as `temperature.min.value`.
    pub(crate) values: BTreeMap<String, f64>,
}

/// Reads all documents from the columns of the rollup index.
pub(crate) fn read(engine: &TantivyEngine) -> Result<Vec<Day>, Box<dyn Error>> {
    let index = engine.rollup_index("sensor_daily", "sensor")?.ok_or("there is no rollup index")?;
    let zone = TimeZoneDatabase::bundled().get("America/New_York")?;
    let schema = index.schema();
    let metrics = schema.fields().filter(|(_, field)| matches!(field.field_type(), FieldType::F64(_)));
    let metrics: Vec<String> = metrics.map(|(_, field)| field.name().to_owned()).collect();
    let mut days = Vec::new();
    for segment in index.reader()?.searcher().segment_readers() {
        let fast = segment.fast_fields();
        let timestamp = fast.date("timestamp.date_histogram.timestamp")?;
        let node = fast.str("node.terms.value")?.ok_or("no stations")?;
        let count = fast.i64("node.terms._count")?;
        let columns = metrics.iter().map(|name| Ok((name, fast.column_opt::<f64>(name)?)));
        let columns: Vec<_> = columns.collect::<Result<_, Box<dyn Error>>>()?;
        for id in segment.doc_ids_alive() {
            let at = timestamp.first(id).ok_or("no date")?.into_timestamp_millis();
            let mut station = String::new();
            node.ord_to_str(node.term_ords(id).next().ok_or("no station")?, &mut station)?;
            let values =
                columns.iter().filter_map(|(name, column)| Some(((*name).clone(), column.as_ref()?.first(id)?)));
            days.push(Day {
                date: zone.to_datetime(Timestamp::from_millisecond(at)?).date(),
                station,
                readings: count.first(id).unwrap_or(0).unsigned_abs(),
                values: values.collect(),
            });
        }
    }
    days.sort_by(|a, b| (a.date, &a.station).cmp(&(b.date, &b.station)));
    Ok(days)
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

/// A line per month, over all stations.
pub(crate) fn table_by_month(days: &[Day]) {
    println!("   month    readings   min F   mean F   max F   rain in   mean wind mph");
    let mut months: BTreeMap<(i16, i8), Vec<&Day>> = BTreeMap::new();
    for day in days {
        months.entry((day.date.year(), day.date.month())).or_default().push(day);
    }
    for ((year, month), days) in months {
        let values = |name: &'static str| days.iter().filter_map(move |day| day.values.get(name).copied());
        let sum = |name| values(name).sum::<f64>();
        println!(
            "   {year}-{month:02} {:10} {:7.1} {:8.1} {:7.1} {:9.2} {:15.1}",
            days.iter().map(|day| day.readings).sum::<u64>(),
            values("temperature.min.value").fold(f64::INFINITY, f64::min),
            sum("temperature.sum.value") / sum("temperature.value_count.value"),
            values("temperature.max.value").fold(f64::NEG_INFINITY, f64::max),
            sum("precip.sum.value"),
            sum("wind_speed.avg.value") / sum("wind_speed.avg._count"),
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
        if let (Some(min), Some(max)) =
            (day.values.get("temperature.min.value"), day.values.get("temperature.max.value"))
        {
            *column = (column.0.min(*min), column.1.max(*max));
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
