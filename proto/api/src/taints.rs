//! Taints and tolerations.

use serde_json::Value;

/// Whether one toleration covers a taint.
pub fn toleration_covers(toleration: &Value, taint: &Value) -> bool {
    let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
    if !effect.is_empty() && effect != text(taint, "effect") {
        return false;
    }
    if !key.is_empty() && key != text(taint, "key") {
        return false;
    }
    let (wanted, value) = (text(toleration, "value"), text(taint, "value"));
    let integers = || Some((value.parse::<i64>().ok()?, wanted.parse::<i64>().ok()?));
    match text(toleration, "operator") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && wanted == value,
        "Gt" => integers().is_some_and(|(value, bound)| value > bound),
        "Lt" => integers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Whether any of the tolerations covers the taint.
pub fn tolerates(tolerations: &[Value], taint: &Value) -> bool {
    tolerations
        .iter()
        .any(|toleration| toleration_covers(toleration, taint))
}

/// The first taint with one of the effects that no toleration covers.
pub fn untolerated<'t>(taints: &'t [Value], tolerations: &[Value], effects: &[&str]) -> Option<&'t Value> {
    let relevant = |taint: &&Value| taint["effect"].as_str().is_some_and(|effect| effects.contains(&effect));
    taints
        .iter()
        .filter(relevant)
        .find(|taint| !tolerates(tolerations, taint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tolerations_cover_taints() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoSchedule"});
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"key": "k", "value": "v"}), true),
            (json!({"key": "k", "value": "v", "effect": "NoExecute"}), false),
            (json!({"key": "k", "value": "w"}), false),
            (json!({"key": "x", "operator": "Exists"}), false),
            (json!({"value": "v"}), false),
        ] {
            assert_eq!(toleration_covers(&toleration, &taint), expected, "{toleration}");
        }
        let taints = [json!({"key": "soft", "effect": "PreferNoSchedule"}), taint];
        assert_eq!(untolerated(&taints, &[], &["NoSchedule"]).unwrap()["key"], "k");
        assert!(untolerated(&taints, &[json!({"operator": "Exists"})], &["NoSchedule"]).is_none());
    }
}
