//! The two forms of an `Event`: core's and that of `events.k8s.io`. They are one object under two names, so that
//! whichever way an event is written, both `kubectl describe` and `kubectl events` find it.

use serde_json::Value;

/// Core's names, and those of `events.k8s.io`.
const NAMES: &[(&str, &str)] = &[
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// From `events.k8s.io/v1` to `v1`. An event in core's form already is returned as it is.
pub fn to_core(event: Value) -> Value {
    rename(event, "events.k8s.io/v1", "v1", |(core, other)| (other, core))
}

/// From `v1` to `events.k8s.io/v1`. An event in that form already is returned as it is.
pub fn to_events_group(event: Value) -> Value {
    rename(event, "v1", "events.k8s.io/v1", |(core, other)| (core, other))
}

fn rename(
    mut event: Value,
    from: &str,
    to: &str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    if event["apiVersion"] != from {
        return event;
    }
    if let Some(map) = event.as_object_mut() {
        for names in NAMES {
            let (old, new) = direction(*names);
            if let Some(value) = map.remove(old) {
                map.insert(new.to_string(), value);
            }
        }
        map.insert("apiVersion".to_string(), to.into());
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FieldValidation, Gvk, conform, registry};
    use serde_json::json;

    #[test]
    fn both_forms_say_the_same() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "count": 3, "message": "m",
            "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet"}, "reason": "r",
            "reportingComponent": "kubelet", "reportingInstance": "n", "type": "Normal",
            "eventTime": "2024-01-02T03:04:05.000000Z"});
        let other = to_events_group(core.clone());
        let schema = registry().schema(&Gvk::of("events.k8s.io", "v1", "Event")).unwrap();
        assert_eq!(
            conform(schema, other.clone(), FieldValidation::Strict).unwrap().0,
            other
        );
        assert_eq!(other["regarding"]["name"], "p");
        assert_eq!(to_core(other), core);
        assert_eq!(to_core(core.clone()), core);
    }
}
