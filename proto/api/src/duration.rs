//! Durations as Go writes them, in flags, query strings and fields.

/// The nanoseconds of a duration as Go writes it (`1h15m30.5s`, `-2m`, `0`); `None` if it is none or is longer than 64 bits
/// can count.
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let in_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !in_number(c))?);
        let (unit, later) = after.split_at(after.find(in_number).unwrap_or(after.len()));
        total = total.checked_add(amount(number, unit)?)?;
        rest = later;
    }
    Some(if negative { -total } else { total })
}

/// `1.5` and `h` in nanoseconds.
fn amount(number: &str, unit: &str) -> Option<i64> {
    let unit: i64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than these are less than a nanosecond.
    let part = &part[..part.len().min(15)];
    let parts = part.parse::<i64>().unwrap_or(0);
    let fraction = i128::from(parts) * i128::from(unit) / 10_i128.pow(part.len() as u32);
    whole.checked_mul(unit)?.checked_add(i64::try_from(fraction).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("1h15m30.5s", 4_530_500_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("+5ms", 5_000_000),
            (".5us", 500),
            ("1.s", 1_000_000_000),
            ("3\u{b5}s1ns", 3_001),
            ("0.000000000000000000001h", 0),
        ] {
            assert_eq!(duration(text), Some(nanoseconds), "{text}");
        }
        let wrong = [
            "", "-", "5", ".s", "1", "1 h", "1h ", "PT1H", "1d", "1.2.3s", "s", "3000000h",
        ];
        for text in wrong {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
