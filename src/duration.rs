//! Durations as kubeadm's flags take and show them: `24h`, `1h30m`, `90s`.

use std::time::Duration;

/// Reads a duration; `0` is none at all. The error says what one looks like.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; one looks like 24h, 1h30m or 90s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut total, mut digits) = (0_u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        total = count
            .checked_mul(unit)
            .and_then(|s| s.checked_add(total))
            .ok_or_else(wrong)?;
        digits.clear();
    }
    match digits.is_empty() && !text.is_empty() && total <= SECONDS_MAX {
        true => Ok(Duration::from_secs(total)),
        false => Err(wrong()),
    }
}

/// A thousand years: what is longer is a slip, and no calendar takes it.
const SECONDS_MAX: u64 = 1000 * 365 * 24 * 3600;

/// A duration for people, in its two largest units: `23h59m`, `364d3h`.
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 1 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubeadm_writes_them() {
        for (text, seconds) in [("24h0m0s", 86_400), ("1h30m", 5400), ("90s", 90), ("0", 0), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "h", "5", "1d", "1h5", "-1h", "99999999999999999999h", "9999999999h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_in_two_units() {
        for (seconds, text) in [
            (59, "59s"),
            (61, "1m1s"),
            (86_399, "23h59m"),
            (364 * 86_400 + 3600, "364d1h"),
        ] {
            assert_eq!(shown(Duration::from_secs(seconds)), text);
        }
    }
}
