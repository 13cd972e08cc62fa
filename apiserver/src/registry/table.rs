//! Table output: what `kubectl get` prints. The columns are each strategy's; the mechanism is here.

use super::strategy::{Cells, Column};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A column shown always.
pub const fn column(name: &'static str, r#type: &'static str, description: &'static str) -> Column {
    Column {
        name: Cow::Borrowed(name),
        r#type: Cow::Borrowed(r#type),
        format: Cow::Borrowed(""),
        description: Cow::Borrowed(description),
        priority: 0,
    }
}

/// A column shown with `-o wide` only.
pub const fn wide(name: &'static str, r#type: &'static str, description: &'static str) -> Column {
    Column {
        name: Cow::Borrowed(name),
        r#type: Cow::Borrowed(r#type),
        format: Cow::Borrowed(""),
        description: Cow::Borrowed(description),
        priority: 1,
    }
}

/// The first column of every table.
pub const NAME: Column = Column {
    name: Cow::Borrowed("Name"),
    r#type: Cow::Borrowed("string"),
    format: Cow::Borrowed("name"),
    description: Cow::Borrowed("Identifies the object; unique within its namespace and resource."),
    priority: 0,
};

/// The usual last column, filled by [`age`].
pub const AGE: Column = column("Age", "string", "Time since the object was created.");

/// What a resource without columns of its own shows.
pub const DEFAULT_COLUMNS: &[Column] = &[NAME, column("Created At", "date", "When the object was created.")];

/// The cells of [`DEFAULT_COLUMNS`].
pub fn default_cells(object: &Value, _now: Timestamp) -> Cells {
    vec![name(object), object["metadata"]["creationTimestamp"].clone()]
}

/// The cell of [`NAME`].
pub fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

/// The cell of [`AGE`]: `5m`, `3d4h`; `<unknown>` without a creation time.
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(&object["metadata"]["creationTimestamp"], now)
}

/// The time since an RFC 3339 value, for people.
pub fn since(time: &Value, now: Timestamp) -> Value {
    let then = time.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    then.map_or(json!("<unknown>"), |then| {
        json!(human_duration(now.as_second() - then.as_second()))
    })
}

/// Seconds in at most two units, coarser the longer it is, in the steps kubectl uses.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    match seconds {
        s if s < -1 => "<invalid>".to_string(),
        s if s < 0 => "0s".to_string(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

fn two(major: i64, major_unit: &str, minor: i64, minor_unit: &str) -> String {
    if minor == 0 {
        format!("{major}{major_unit}")
    } else {
        format!("{major}{major_unit}{minor}{minor_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_coarse_as_kubectl_prints_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (3600, "60m"),
            (3 * 3600 + 60, "3h1m"),
            (26 * 3600, "26h"),
            (49 * 3600, "2d1h"),
            (20 * 86400, "20d"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }
}
