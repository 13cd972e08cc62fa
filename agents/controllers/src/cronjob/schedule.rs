//! Cron schedules: five fields (minute, hour, day of month, month, day of week), or a word such as `@daily`. Pure.
//!
//! When both days are restricted, either is enough; a field that is `*` restricts nothing. This is what cron does.
//! **Left out.** `L`, `W`, `#` and the like, which Kubernetes does not have either.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Years without a matching minute after which a schedule counts as one that never comes (`0 0 30 2 *`).
const YEARS_MAX: i16 = 5;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A schedule in a time zone.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    fields: Fields,
    zone: TimeZone,
}

#[derive(Debug, Clone)]
enum Fields {
    Cron(Box<Cron>),
    /// `@every 1h30m`: from one time to the next.
    Every(SignedDuration),
}

/// Bit `n` of a field stands for the value `n`.
#[derive(Debug, Clone, PartialEq)]
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

impl Schedule {
    /// Reads a schedule; the error says what is wrong with it. Without a zone times are UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Schedule, String> {
        let (own_zone, text) = match text.trim().split_once(' ') {
            Some((first, rest)) if first.starts_with("TZ=") || first.starts_with("CRON_TZ=") => {
                (first.split_once('=').map(|(_, name)| name), rest)
            }
            _ => (None, text),
        };
        let zone = match zone.or(own_zone) {
            Some(name) => TimeZone::get(name).map_err(|e| format!("unknown time zone {name}: {e}"))?,
            None => TimeZone::UTC,
        };
        Ok(Schedule {
            fields: fields(text.trim())?,
            zone,
        })
    }

    /// The first time after `after`; `None` if there is none for years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.fields {
            Fields::Every(step) => after.checked_add(*step).ok(),
            Fields::Cron(cron) => {
                let local = after.to_zoned(self.zone.clone()).datetime();
                let mut from = local.with().second(0).subsec_nanosecond(0).build().ok()?;
                let last = local.date().year().checked_add(YEARS_MAX)?;
                loop {
                    from = cron.next(from.checked_add(1.minute()).ok()?, last)?;
                    // A minute that the clocks skip in spring comes an hour later; the one that comes twice in autumn is
                    // taken once.
                    let at = self.zone.to_ambiguous_timestamp(from).compatible().ok()?;
                    if at > after {
                        return Some(at);
                    }
                }
            }
        }
    }
}

fn fields(text: &str) -> Result<Fields, String> {
    let text = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        text => text,
    };
    if let Some(span) = text.strip_prefix("@every ") {
        let step: SignedDuration = span.trim().parse().map_err(|e| format!("@every {span}: {e}"))?;
        // Anything shorter than a second would never end.
        if step < SignedDuration::from_secs(1) {
            return Err(format!("@every {span}: at least a second"));
        }
        return Ok(Fields::Every(step));
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(format!("{text:?} has {} fields instead of 5", parts.len()));
    };
    // 7 is Sunday, too.
    let weekdays = field(weekday, 0, 7, &DAYS)?;
    Ok(Fields::Cron(Box::new(Cron {
        minutes: field(minute, 0, 59, &[])?,
        hours: field(hour, 0, 23, &[])?,
        days: field(day, 1, 31, &[])?,
        months: field(month, 1, 12, &MONTHS)?,
        weekdays: (weekdays | weekdays >> 7) & 0x7f,
        any_day: is_any(day),
        any_weekday: is_any(weekday),
    })))
}

fn is_any(text: &str) -> bool {
    text.starts_with('*') || text.starts_with('?')
}

/// A list of values, ranges and steps. `names` stand for numbers from `min` on.
fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Result<u64, String> {
    let wrong = |why: &str| format!("{text:?}: {why}");
    let value = |part: &str| -> Result<u32, String> {
        let lower = part.to_ascii_lowercase();
        if let Some(at) = names.iter().position(|name| *name == lower) {
            return Ok(min + at as u32);
        }
        part.parse().map_err(|_| wrong(&format!("{part:?} is not a value")))
    };
    let mut bits = 0;
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(value(step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (min, max),
            Some((first, last)) => (value(first)?, value(last)?),
            // `5/15` goes on to the end.
            None if step.is_some() => (value(range)?, max),
            None => (value(range)?, value(range)?),
        };
        if first < min || last > max || first > last {
            return Err(wrong(&format!("values are {min} to {max}, the smaller first")));
        }
        let step = match step {
            Some(0) => return Err(wrong("a step is at least 1")),
            Some(step) => step as usize,
            None => 1,
        };
        (first..=last).step_by(step).for_each(|v| bits |= 1_u64 << v);
    }
    Ok(bits)
}

impl Cron {
    /// The first matching minute at or after `from`, up to the end of the year `last`.
    fn next(&self, from: DateTime, last: i16) -> Option<DateTime> {
        let mut date = from.date();
        let mut earliest = (from.hour() as u32, from.minute() as u32);
        while date.year() <= last {
            if !has(self.months, date.month() as u32) {
                date = date.first_of_month().checked_add(1.month()).ok()?;
            } else if let Some((hour, minute)) = self.on_day(date).then(|| self.time(earliest)).flatten() {
                return Some(date.at(hour as i8, minute as i8, 0, 0));
            } else {
                date = date.tomorrow().ok()?;
            }
            earliest = (0, 0);
        }
        None
    }

    fn on_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day() as u32);
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset() as u32);
        match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        }
    }

    /// The first matching time of a day at or after one.
    fn time(&self, (hour, minute): (u32, u32)) -> Option<(u32, u32)> {
        let later = |h: u32| {
            let from = if h == hour { minute } else { 0 };
            (from..60).find(|m| has(self.minutes, *m)).map(|m| (h, m))
        };
        (hour..24).filter(|h| has(self.hours, *h)).find_map(later)
    }
}

fn has(bits: u64, value: u32) -> bool {
    bits & (1 << value) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: Option<&str>, after: &str) -> String {
        let schedule = Schedule::parse(schedule, zone).unwrap();
        let next = schedule.next(after.parse().unwrap());
        next.map_or("never".into(), |at| at.to_string())
    }

    #[test]
    fn the_next_time() {
        for (schedule, after, expected) in [
            ("*/15 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:15:00Z"),
            ("*/15 * * * *", "2026-01-01T23:59:59Z", "2026-01-02T00:00:00Z"),
            ("5/20 1 * * *", "2026-01-01T01:25:00Z", "2026-01-01T01:45:00Z"),
            ("0 9-17/4 * * mon-fri", "2026-01-02T17:00:00Z", "2026-01-05T09:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 30 2 *", "2026-01-01T00:00:00Z", "never"),
            // Either day is enough when both are given.
            ("0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * FRI", "2026-01-10T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
            ("0,30 0 1 jan,dec *", "2026-01-01T00:10:00Z", "2026-01-01T00:30:00Z"),
        ] {
            assert_eq!(next(schedule, None, after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn in_a_time_zone_a_skipped_hour_is_made_up_for_and_a_repeated_one_taken_once() {
        let berlin = Some("Europe/Berlin");
        assert_eq!(
            next("30 2 * * *", berlin, "2026-01-01T12:00:00Z"),
            "2026-01-02T01:30:00Z"
        );
        // 2026-03-29: 02:30 does not exist.
        assert_eq!(
            next("30 2 * * *", berlin, "2026-03-28T12:00:00Z"),
            "2026-03-29T01:30:00Z"
        );
        // 2026-10-25: 02:30 comes twice.
        assert_eq!(
            next("30 2 * * *", berlin, "2026-10-24T12:00:00Z"),
            "2026-10-25T00:30:00Z"
        );
        assert_eq!(
            next("30 2 * * *", berlin, "2026-10-25T00:30:00Z"),
            "2026-10-26T01:30:00Z"
        );
        assert_eq!(
            next("TZ=UTC 30 2 * * *", None, "2026-03-28T12:00:00Z"),
            "2026-03-29T02:30:00Z"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "* * 0 * *",
            "@every 1ms",
        ] {
            assert!(Schedule::parse(text, None).is_err(), "{text}");
        }
        assert!(Schedule::parse("* * * * *", Some("Nowhere/City")).is_err());
    }
}
