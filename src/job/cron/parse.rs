//! How an expression is read: what Elasticsearch's class takes is taken, and what it refuses is refused in its words.

use super::{CronSchedule, Days, DaysOfMonth, DaysOfWeek, Years};

/// One of the seven fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    kind: FieldKind,
    first: i64,
    last: i64,
    /// The largest step, and how the error message puts it.
    step: (i64, i64),
    range_error: &'static str,
    names: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    Time,
    Month,
    DayOfMonth,
    DayOfWeek,
    Year,
}

const MINUTES: Field = Field {
    kind: FieldKind::Time,
    first: 0,
    last: 59,
    step: (59, 60),
    range_error: "Minute and Second values must be between 0 and 59",
    names: &[],
};
const HOURS: Field = Field { last: 23, step: (23, 24), range_error: "Hour values must be between 0 and 23", ..MINUTES };
const DAYS_OF_MONTH: Field = Field {
    kind: FieldKind::DayOfMonth,
    first: 1,
    last: 31,
    step: (31, 31),
    range_error: "Day of month values must be between 1 and 31",
    names: &[],
};
const MONTHS: Field = Field {
    kind: FieldKind::Month,
    first: 1,
    last: 12,
    step: (12, 12),
    range_error: "Month values must be between 1 and 12",
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const DAYS_OF_WEEK: Field = Field {
    kind: FieldKind::DayOfWeek,
    first: 1,
    last: 7,
    step: (7, 7),
    range_error: "Day-of-Week values must be between 1 and 7",
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};
const YEARS: Field =
    Field { kind: FieldKind::Year, first: 1_970, last: 9_998, step: (i64::MAX, 0), range_error: "", names: &[] };

/// `a`, `a-b`, `a/n`, `a-b/n`, `*`, `*/n` after parsing. A single value has no end and no step.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
    step: i64,
}

pub(super) fn parse(text: &str) -> Result<CronSchedule, String> {
    let upper = text.to_uppercase();
    let fields: Vec<&str> = upper.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
    let [seconds, minutes, hours, day_of_month, month, day_of_week, rest @ ..] = fields.as_slice() else {
        return Err(format!("unexpected end of expression at pos [{}].", text.len()));
    };
    for field in [seconds, minutes, hours, month].into_iter().chain(rest.first()) {
        if field.starts_with('?') {
            return Err("'?' can only be specified for Day-of-Month or Day-of-Week. at pos [1]".to_owned());
        }
    }
    let seconds = bits(seconds, &MINUTES)?;
    let minutes = bits(minutes, &MINUTES)?;
    let hours = bits(hours, &HOURS)?;
    let days = match (*day_of_month, *day_of_week) {
        ("?", "?") => {
            return Err("'?' can only be specified for Day-of-Month -OR- Day-of-Week. at pos [1]".to_owned());
        }
        (days, "?") => Days::OfMonth(days_of_month(days)?),
        ("?", days) => Days::OfWeek(days_of_week(days)?),
        (of_month, of_week) => {
            // A broken field is the more helpful thing to hear about.
            days_of_month(of_month)?;
            days_of_week(of_week)?;
            return Err(
                "support for specifying both a day-of-week AND a day-of-month parameter is not implemented.".to_owned()
            );
        }
    };
    let months = bits(month, &MONTHS)?;
    let years = items(rest.first().unwrap_or(&"*")).map(years).collect::<Result<_, _>>()?;
    let ignored = ignored_by_elasticsearch(day_of_month, month, day_of_week);
    let ignored_by_elasticsearch = ignored.map(str::to_owned);
    Ok(CronSchedule { text: text.to_owned(), seconds, minutes, hours, months, days, years, ignored_by_elasticsearch })
}

/// Elasticsearch reads three letters of a name, of a range of names three more, and nothing after them. Of a list of
/// days it heeds the `W` of none or of all.
fn ignored_by_elasticsearch<'t>(day_of_month: &'t str, month: &'t str, day_of_week: &'t str) -> Option<&'t str> {
    let after_names = |item: &str, is_day: bool| {
        let read = match item.as_bytes().get(3) {
            Some(b'-') => 7,
            Some(b'#') if is_day => item.len(),
            Some(b'L') if is_day => 4,
            _ => 3,
        };
        let rest = item.get(read..).unwrap_or("");
        !rest.trim_start_matches(char::is_alphabetic).is_empty() || is_day && rest.ends_with('L')
    };
    let named = |item: &str| item.starts_with(|c: char| c.is_ascii_alphabetic());
    let ignored = |field: &'t str, is_day| field.split(',').find(|item| named(item) && after_names(item, is_day));
    let several = Some(day_of_month).filter(|days| days.contains(',') && days.contains('W'));
    several.or_else(|| ignored(month, false)).or_else(|| ignored(day_of_week, true))
}

/// The members of a list. Elasticsearch overlooks one that is empty, but not a field that is nothing else.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let nothing_else = text.chars().all(|c| c == ',');
    text.split(',').filter(move |item| nothing_else || !item.is_empty())
}

fn bits(text: &str, field: &Field) -> Result<u64, String> {
    items(text).map(|item| span(item, field).map(|span| span.bits(field))).try_fold(0, |set, item| Ok(set | item?))
}

fn years(item: &str) -> Result<Years, String> {
    let span = span(item, &YEARS)?;
    if span.to < span.from {
        return Err("Start year must be less than stop year".to_owned());
    }
    let year = |value: i64| i16::try_from(value).unwrap_or(i16::MAX);
    Ok(Years { from: year(span.from), to: year(span.to), step: year(span.step) })
}

fn days_of_month(text: &str) -> Result<DaysOfMonth, String> {
    if let Some(rest) = text.strip_prefix('L') {
        if text.contains(',') {
            return Err(
                "support for specifying 'L' and 'LW' with other days of the month is not implemented".to_owned()
            );
        }
        let (back, weekday) = rest.strip_suffix('W').map_or((rest, false), |rest| (rest, true));
        let back = match back.strip_prefix('-') {
            None if back.is_empty() => 0,
            Some(digits) => number(digits, text)?,
            None => return Err(format!("Unexpected character: {back}")),
        };
        let back = i8::try_from(back).ok().filter(|back| *back <= 30).ok_or("Offset from last day must be <= 30")?;
        return Ok(DaysOfMonth::FromLast { back, weekday });
    }
    if text.contains('L') {
        return Err("support for specifying 'L' and 'LW' with other days of the month is not implemented".to_owned());
    }
    let (mut plain, mut nearest_weekday) = (0, 0);
    for item in items(text) {
        match item.strip_suffix('W') {
            Some(day) => {
                let day = number(day, item)?;
                in_range(day, &DAYS_OF_MONTH)?;
                nearest_weekday |= 1 << day;
            }
            None => plain |= span(item, &DAYS_OF_MONTH)?.bits(&DAYS_OF_MONTH),
        }
    }
    Ok(DaysOfMonth::Listed { plain, nearest_weekday })
}

fn days_of_week(text: &str) -> Result<DaysOfWeek, String> {
    let day = |text: &str| -> Result<u8, String> {
        let (day, _) = value(text, &DAYS_OF_WEEK)?;
        in_range(day, &DAYS_OF_WEEK)?;
        Ok(u8::try_from(day).unwrap_or(0))
    };
    if let Some((weekday, nth)) = text.split_once('#') {
        if nth.contains('#') || text.contains(',') {
            return Err("Support for specifying multiple \"nth\" days is not implemented.".to_owned());
        }
        let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth));
        return Ok(DaysOfWeek::Nth(
            day(weekday)?,
            nth.ok_or("A numeric value between 1 and 5 must follow the '#' option")?,
        ));
    }
    match text.strip_suffix('L') {
        Some("") => Ok(DaysOfWeek::Listed(1 << 7)),
        Some(weekday) if !text.contains(',') => Ok(DaysOfWeek::Last(day(weekday)?)),
        _ if text.split(',').any(|item| item.len() > 1 && item.ends_with('L') || item == "L") => {
            Err("support for specifying 'L' with other days of the week is not implemented".to_owned())
        }
        _ => Ok(DaysOfWeek::Listed(bits(text, &DAYS_OF_WEEK)?)),
    }
}

/// A number or a name at the beginning of `text`, and what follows it.
fn value<'t>(text: &'t str, field: &Field) -> Result<(i64, &'t str), String> {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let name = text.get(..3).unwrap_or(text);
        let kind = match field.kind {
            FieldKind::Month => "Month",
            FieldKind::DayOfWeek => "Day-of-Week",
            _ => return Err(format!("Illegal characters for this position: '{name}'")),
        };
        let at = field.names.iter().position(|known| *known == name);
        let at = at.and_then(|at| i64::try_from(at).ok()).ok_or_else(|| format!("Invalid {kind} value: '{name}'"))?;
        // The rest of the name may stand or not: MON is MONDAY.
        return Ok((at + field.first, text[3..].trim_start_matches(|c: char| c.is_ascii_alphabetic())));
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    Ok((number(&text[..digits], text)?, &text[digits..]))
}

fn number(digits: &str, context: &str) -> Result<i64, String> {
    if digits.is_empty() {
        return Err(format!("Unexpected character: {}", context.chars().next().unwrap_or(' ')));
    }
    digits.parse().map_err(|_| format!("Unexpected character: {digits}"))
}

fn in_range(value: i64, field: &Field) -> Result<(), String> {
    if field.kind == FieldKind::Year || (field.first..=field.last).contains(&value) {
        Ok(())
    } else {
        Err(field.range_error.to_owned())
    }
}

fn span(item: &str, field: &Field) -> Result<Span, String> {
    let (range, step) = match item.split_once('/') {
        Some((_, "")) => return Err("'/' must be followed by an integer.".to_owned()),
        Some((range, step)) => (range, Some(number(step, step)?)),
        None => (item, None),
    };
    if range == "*" || (range.is_empty() && step.is_some()) {
        // Only here does Elasticsearch look how large a step is; elsewhere one that is too large leaves the first
        // value.
        let (largest, named) = field.step;
        if let Some(step) = step.filter(|step| *step > largest) {
            return Err(format!("increment [{step}] > {named} at pos [{}]", item.len()));
        }
        return Ok(Span { from: field.first, to: field.last, step: step.unwrap_or(1).max(1) });
    }
    let (from, rest) = value(range, field)?;
    in_range(from, field)?;
    let to = match rest.strip_prefix('-') {
        Some(end) => {
            let (to, rest) = value(end, field)?;
            in_range(to, field)?;
            if !rest.is_empty() {
                return Err(format!("Unexpected character: {rest}"));
            }
            Some(to)
        }
        None if rest.is_empty() => None,
        None => return Err(format!("Unexpected character: {rest}")),
    };
    Ok(match (to, step) {
        // A step of zero leaves the first value alone.
        (_, Some(0)) | (None, None) => Span { from, to: from, step: 1 },
        (to, step) => Span { from, to: to.unwrap_or(field.last), step: step.unwrap_or(1) },
    })
}

impl Span {
    /// Reversed ranges go round: `22-2` hours are 22, 23, 0, 1 and 2.
    fn bits(self, field: &Field) -> u64 {
        let count = field.last - field.first + 1;
        let to = if self.to < self.from { self.to + count } else { self.to };
        let step = usize::try_from(self.step).unwrap_or(1);
        (self.from..=to)
            .step_by(step)
            .map(|value| (value - field.first) % count + field.first)
            .fold(0, |set, value| set | 1 << value)
    }
}
