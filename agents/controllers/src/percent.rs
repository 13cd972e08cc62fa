//! Numbers that may be given as a part of a whole, as `maxUnavailable: 25%`.

use serde_json::Value;

/// A number, or a percentage of `total`. What is neither counts as nothing: the API server has checked it.
pub(crate) fn resolve(value: &Value, total: i32, round_up: bool) -> i32 {
    if let Some(number) = value.as_i64() {
        return number.clamp(0, i64::from(i32::MAX)) as i32;
    }
    let percent = value
        .as_str()
        .and_then(|s| s.strip_suffix('%'))
        .and_then(|s| s.parse::<i64>().ok())
        .unwrap_or(0);
    let hundredfold = percent.max(0) * i64::from(total);
    let rounded = if round_up {
        (hundredfold + 99) / 100
    } else {
        hundredfold / 100
    };
    rounded.min(i64::from(i32::MAX)) as i32
}
