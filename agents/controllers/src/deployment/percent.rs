//! How many Pods a rollout may have too many or too few.

use serde_json::Value;

use crate::objects::Deployment;
use crate::percent::resolve;

/// Surge and unavailability of a rolling update in Pods. Never both zero, or nothing could move.
pub(super) fn bounds(deployment: &Deployment) -> (i32, i32) {
    if deployment.spec.strategy.kind == "Recreate" {
        return (0, 0);
    }
    let rolling = deployment.spec.strategy.rolling_update.clone().unwrap_or_default();
    let replicas = deployment.replicas();
    let quarter = Value::from("25%");
    let surge = resolve(rolling.max_surge.as_ref().unwrap_or(&quarter), replicas, true);
    let unavailable = resolve(rolling.max_unavailable.as_ref().unwrap_or(&quarter), replicas, false);
    match (surge, unavailable) {
        (0, 0) => (0, 1),
        _ => (surge, unavailable.min(replicas)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::RollingUpdate;
    use crate::testing::deployment;

    #[test]
    fn table() {
        for (replicas, surge, unavailable, expected) in [
            (10, "25%", "25%", (3, 2)),
            (1, "25%", "25%", (1, 0)),
            (4, "0", "0", (0, 1)),
            (4, "0%", "10%", (0, 1)),
            (2, "1", "5", (1, 2)),
            (0, "25%", "25%", (0, 1)),
        ] {
            let value = |t: &str| t.parse::<i64>().map(Value::from).unwrap_or_else(|_| Value::from(t));
            let mut deployment = deployment(replicas, "i");
            deployment.spec.strategy.rolling_update = Some(RollingUpdate {
                max_surge: Some(value(surge)),
                max_unavailable: Some(value(unavailable)),
            });
            assert_eq!(bounds(&deployment), expected, "{replicas} {surge} {unavailable}");
        }
    }
}
