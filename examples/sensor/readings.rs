//! The raw data: from the CSV file into a tantivy index, and the totals that the rolled-up documents have to add up to.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, TantivyDocument};

use crate::report::Day;

const CSV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/sensor_nyc2013.csv");
const FIELDS: [&str; 9] =
    ["temperature", "dew_point", "humidity", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visibility"];

/// Minimum, maximum, sum and count of a station's values of a field.
#[derive(Debug, Clone, Copy)]
struct Totals {
    min: f64,
    max: f64,
    sum: f64,
    count: u64,
}

/// What all readings add up to, by station and field.
pub(crate) struct Raw {
    readings: BTreeMap<String, u64>,
    fields: BTreeMap<(String, &'static str), Totals>,
}

/// Indexes the readings below `folder`, and adds them up.
pub(crate) fn load(folder: &Path) -> Result<(Index, Raw), Box<dyn Error>> {
    let mut schema = Schema::builder();
    let date = DateOptions::from(FAST).set_precision(DateTimePrecision::Milliseconds);
    let timestamp = schema.add_date_field("timestamp", date);
    let node = schema.add_text_field("node", STRING | FAST);
    let fields = FIELDS.map(|name| (name, schema.add_f64_field(name, FAST)));
    std::fs::create_dir_all(folder)?;
    let index = Index::create_in_dir(folder, schema.build())?;
    let mut writer: IndexWriter = index.writer(50_000_000)?;
    let mut raw = Raw { readings: BTreeMap::new(), fields: BTreeMap::new() };
    for row in csv::Reader::from_path(CSV)?.into_deserialize::<BTreeMap<String, String>>() {
        let row = row?;
        let at: Timestamp = row["timestamp"].parse()?;
        let station = &row["node"];
        let mut document = TantivyDocument::default();
        document.add_date(timestamp, DateTime::from_timestamp_millis(at.as_millisecond()));
        document.add_text(node, station);
        *raw.readings.entry(station.clone()).or_default() += 1;
        for (name, field) in fields {
            if let Ok(value) = row[name].parse::<f64>() {
                document.add_f64(field, value);
                let empty = Totals { min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, count: 0 };
                let totals = raw.fields.entry((station.clone(), name)).or_insert(empty);
                (totals.min, totals.max) = (totals.min.min(value), totals.max.max(value));
                (totals.sum, totals.count) = (totals.sum + value, totals.count + 1);
            }
        }
        writer.add_document(document)?;
    }
    writer.commit()?;
    writer.wait_merging_threads()?;
    Ok((index, raw))
}

impl Raw {
    pub(crate) fn readings(&self) -> u64 {
        self.readings.values().sum()
    }

    pub(crate) fn stations(&self) -> usize {
        self.readings.len()
    }

    /// Whether the days add up to the raw data. Sums may differ by what adding in another order does to the last
    /// digits.
    pub(crate) fn check(&self, days: &[Day]) -> Result<(), String> {
        for (station, readings) in &self.readings {
            let of_station = || days.iter().filter(|day| day.station == *station);
            let value = |name: &'static str| of_station().filter_map(move |day| day.values.get(name).copied());
            let min = |name| value(name).fold(f64::INFINITY, f64::min);
            let max = |name| value(name).fold(f64::NEG_INFINITY, f64::max);
            let same = |what: &str, rolled: f64, raw: f64| {
                let close = (rolled - raw).abs() <= 1e-9 * raw.abs().max(1.0);
                if close { Ok(()) } else { Err(format!("{what} of {station}: rolled up to {rolled}, but is {raw}")) }
            };
            let raw = |field| self.fields[&(station.clone(), field)];
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let count = |count: u64| count as f64;
            same("readings", count(of_station().map(|day| day.readings).sum()), count(*readings))?;
            same("temperature.min", min("temperature.min.value"), raw("temperature").min)?;
            same("temperature.max", max("temperature.max.value"), raw("temperature").max)?;
            same("temperature.sum", value("temperature.sum.value").sum(), raw("temperature").sum)?;
            same(
                "temperature.value_count",
                value("temperature.value_count.value").sum(),
                count(raw("temperature").count),
            )?;
            same("humidity.avg", value("humidity.avg.value").sum(), raw("humidity").sum)?;
            same("humidity.avg count", value("humidity.avg._count").sum(), count(raw("humidity").count))?;
            same("wind_speed.max", max("wind_speed.max.value"), raw("wind_speed").max)?;
            same("wind_speed.avg", value("wind_speed.avg.value").sum(), raw("wind_speed").sum)?;
            same("precip.sum", value("precip.sum.value").sum(), raw("precip").sum)?;
            same("precip.max", max("precip.max.value"), raw("precip").max)?;
            same("pressure.min", min("pressure.min.value"), raw("pressure").min)?;
            same("pressure.max", max("pressure.max.value"), raw("pressure").max)?;
            same("pressure.value_count", value("pressure.value_count.value").sum(), count(raw("pressure").count))?;
        }
        Ok(())
    }
}
