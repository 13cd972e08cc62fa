//! The schedule of a CronJob: its times, in its time zone. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A schedule in a time zone.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    times: api::cron::Schedule,
    zone: TimeZone,
}

impl Schedule {
    /// Reads a schedule; the error says what is wrong with it. Without a zone times are UTC.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Schedule, String> {
        let (own_zone, text) = match text.trim().split_once(' ') {
            Some((first, rest)) if first.starts_with("TZ=") || first.starts_with("CRON_TZ=") => {
                (first.split_once('=').map(|(_, name)| name), rest.trim())
            }
            _ => (None, text),
        };
        let zone = match zone.or(own_zone) {
            Some(name) => TimeZone::get(name).map_err(|e| format!("unknown time zone {name}: {e}"))?,
            None => TimeZone::UTC,
        };
        let times = api::cron::Schedule::parse(text).map_err(|e| e.to_string())?;
        Ok(Schedule { times, zone })
    }

    /// The first time after `after`; `None` if there is none for years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.times.next(after, &self.zone)
    }
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
        assert!(Schedule::parse("@every junk", None).is_err());
        assert!(Schedule::parse("* * * * *", Some("Nowhere/City")).is_err());
    }
}
