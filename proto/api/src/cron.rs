//! Cron schedules: five fields (minute, hour, day of month, month, day of week), or a word such as `@daily`.
//!
//! One parser for who admits a schedule and for who follows it. When both days are restricted, either is enough; a field
//! that is `*` restricts nothing, one with a step (`*/2`) does, as in the library that kube-controller-manager uses.
//! **Left out.** `L`, `W`, `#` and the like, which Kubernetes does not have either, and the zone in front of a schedule
//! (`TZ=`): a zone is given to [`Schedule::next`].

use crate::duration;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::error::ScheduleError;

/// Years without a matching minute after which a schedule counts as one that never comes (`0 0 30 2 *`).
const YEARS_MAX: i16 = 5;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When something is to happen, again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule(Times);

#[derive(Debug, Clone, PartialEq)]
enum Times {
    Cron(Box<Cron>),
    /// `@every 1h30m`: from one time to the next, whole seconds.
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
    /// Reads a schedule; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        times(text).map(Schedule).map_err(ScheduleError)
    }

    /// The first time after `after`, by the clocks of a zone; `None` if there is none for years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.0 {
            Times::Every(step) => after.checked_add(*step).ok(),
            Times::Cron(cron) => {
                let local = after.to_zoned(zone.clone()).datetime();
                let mut from = local.with().second(0).subsec_nanosecond(0).build().ok()?;
                let last = local.date().year().checked_add(YEARS_MAX)?;
                loop {
                    from = cron.next(from.checked_add(1.minute()).ok()?, last)?;
                    // A minute that the clocks skip in spring comes an hour later; the one that comes twice in autumn is
                    // taken once.
                    let at = zone.to_ambiguous_timestamp(from).compatible().ok()?;
                    if at > after {
                        return Some(at);
                    }
                }
            }
        }
    }
}

fn times(text: &str) -> Result<Times, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        text => text,
    };
    if let Some(span) = fields.strip_prefix("@every ") {
        let span = duration(span).ok_or_else(|| format!("failed to parse duration {text}"))?;
        // What is shorter than a second, or negative, is a second; parts of a second are cut.
        let seconds = (span / 1_000_000_000).max(1);
        return Ok(Times::Every(SignedDuration::from_secs(seconds)));
    }
    if fields.starts_with('@') {
        return Err(format!("unrecognized descriptor: {text}"));
    }
    let parts: Vec<&str> = fields.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(format!("expected exactly 5 fields, found {}: {text:?}", parts.len()));
    };
    let (days, any_day) = field(day, 1, 31, &[])?;
    // 7 is Sunday, too.
    let (weekdays, any_weekday) = field(weekday, 0, 7, &DAYS)?;
    Ok(Times::Cron(Box::new(Cron {
        minutes: field(minute, 0, 59, &[])?.0,
        hours: field(hour, 0, 23, &[])?.0,
        days,
        months: field(month, 1, 12, &MONTHS)?.0,
        weekdays: (weekdays | weekdays >> 7) & 0x7f,
        any_day,
        any_weekday,
    })))
}

/// A list of values, ranges and steps, and whether it is as good as no restriction. `names` stand for numbers from `min` on.
fn field(text: &str, min: u32, max: u32, names: &[&str]) -> Result<(u64, bool), String> {
    let (mut bits, mut any) = (0, false);
    for item in text.split(',') {
        let wrong = || format!("failed to parse {item:?}: must be within {min}-{max}");
        let value = |part: &str| {
            let named = names.iter().position(|name| name.eq_ignore_ascii_case(part));
            let value = named.map(|at| min + at as u32).or_else(|| number(part));
            value.filter(|v| (min..=max).contains(v)).ok_or_else(wrong)
        };
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|s| *s > 0).ok_or_else(wrong)?)),
            None => (item, None),
        };
        let all = matches!(range, "*" | "?");
        let (first, last) = match range.split_once('-') {
            _ if all => (min, max),
            Some((first, last)) => (value(first)?, value(last)?),
            // `5/15` goes on to the end.
            None if step.is_some() => (value(range)?, max),
            None => (value(range)?, value(range)?),
        };
        if first > last {
            return Err(wrong());
        }
        let step = step.unwrap_or(1);
        any |= all && step == 1;
        (first..=last).step_by(step as usize).for_each(|v| bits |= 1_u64 << v);
    }
    Ok((bits, any))
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
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

    fn next(schedule: &str, after: &str) -> String {
        let next = Schedule::parse(schedule)
            .unwrap()
            .next(after.parse().unwrap(), &TimeZone::UTC);
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
            // A step restricts, too: the 13th or an odd day.
            ("0 0 */2 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 */1 * FRI", "2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
            ("@every 1ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
            ("@every 90.7s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
            ("0,30 0 1 jan,dec *", "2026-01-01T00:10:00Z", "2026-01-01T00:30:00Z"),
        ] {
            assert_eq!(next(schedule, after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "*/+5 * * * *",
            "* * * */feb *",
            "x * * * *",
            "* * 0 * *",
            "* * 1, * *",
            "@never",
            "@every junk",
            "@every ",
            "@every 5",
            "TZ=UTC * * * * *",
        ] {
            let error = Schedule::parse(text).map(|s| format!("{s:?}")).unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
    }
}
