//! The raw data: from the CSV file into a tantivy index, and the totals that the rolled-up documents have to add up to.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use rollup_jobs::engine::tantivy::tantivy::schema::{DateOptions, DateTimePrecision, FAST, STRING, Schema};
use rollup_jobs::engine::tantivy::tantivy::{DateTime, Index, IndexWriter, TantivyDocument};

use rollup_jobs::rollup::RolledUpRow;

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
            let rows = || days.iter().map(|day| &day.row).filter(|row| row.text("node") == Some(station));
            let min = |field| rows().filter_map(|row| row.min(field)).fold(f64::INFINITY, f64::min);
            let max = |field| rows().filter_map(|row| row.max(field)).fold(f64::NEG_INFINITY, f64::max);
            let sum = |field| rows().filter_map(|row| row.sum(field)).sum::<f64>();
            let values = |field| rows().filter_map(|row| row.value_count(field)).sum();
            let same = |what: &str, rolled: f64, raw: f64| {
                let close = (rolled - raw).abs() <= 1e-9 * raw.abs().max(1.0);
                if close { Ok(()) } else { Err(format!("{what} of {station}: rolled up to {rolled}, but is {raw}")) }
            };
            let raw = |field| self.fields[&(station.clone(), field)];
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let count = |count: u64| count as f64;
            same("readings", count(rows().map(RolledUpRow::doc_count).sum()), count(*readings))?;
            for field in ["temperature", "pressure"] {
                same(&format!("min of {field}"), min(field), raw(field).min)?;
            }
            for field in ["temperature", "wind_speed", "precip", "pressure"] {
                same(&format!("max of {field}"), max(field), raw(field).max)?;
            }
            for field in ["temperature", "humidity", "wind_speed", "precip"] {
                same(&format!("sum of {field}"), sum(field), raw(field).sum)?;
            }
            for field in ["temperature", "humidity", "wind_speed", "pressure"] {
                same(&format!("values of {field}"), count(values(field)), count(raw(field).count))?;
            }
        }
        Ok(())
    }
}
