//! The two versions of a `HorizontalPodAutoscaler`. The second is what is stored; the first knows one metric, and what it has no
//! field for travels in annotations, so that nothing is lost on the way through it.

use serde_json::{Map, Value, json};

const V1: &str = "autoscaling/v1";
const V2: &str = "autoscaling/v2";
/// Annotation in version 1, and the field of version 2 that it stands for.
const CARRIED: &[(&str, &str, &str)] = &[
    ("autoscaling.alpha.kubernetes.io/metrics", "spec", "metrics"),
    ("autoscaling.alpha.kubernetes.io/behavior", "spec", "behavior"),
    (
        "autoscaling.alpha.kubernetes.io/current-metrics",
        "status",
        "currentMetrics",
    ),
    ("autoscaling.alpha.kubernetes.io/conditions", "status", "conditions"),
];

/// From version 2 to version 1. One in version 1 already is returned as it is.
pub fn to_v1(mut scaler: Value) -> Value {
    if scaler["apiVersion"] != V2 {
        return scaler;
    }
    scaler["apiVersion"] = V1.into();
    for (annotation, part, field) in CARRIED {
        let Some(mut value) = scaler
            .get_mut(*part)
            .and_then(Value::as_object_mut)
            .and_then(|map| map.remove(*field))
        else {
            continue;
        };
        let own = match *field {
            "metrics" => Some("targetCPUUtilizationPercentage"),
            "currentMetrics" => Some("currentCPUUtilizationPercentage"),
            _ => None,
        };
        if let Some(own) = own
            && let Some(percent) = take_cpu(&mut value)
        {
            scaler[*part][own] = percent;
        }
        if value.as_array().is_none_or(|list| !list.is_empty()) {
            scaler["metadata"]["annotations"][*annotation] = value.to_string().into();
        }
    }
    scaler
}

/// From version 1 to version 2. One in version 2 already is returned as it is.
pub fn to_v2(mut scaler: Value) -> Value {
    if scaler["apiVersion"] != V1 {
        return scaler;
    }
    scaler["apiVersion"] = V2.into();
    let mut annotations = match scaler["metadata"].get_mut("annotations").map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    for (annotation, part, field) in CARRIED {
        let carried = annotations.remove(*annotation);
        let carried = carried.and_then(|text| serde_json::from_str(text.as_str()?).ok());
        if let Some(value) = carried {
            scaler[*part][*field] = value;
        }
    }
    match annotations.is_empty() {
        true => drop(
            scaler["metadata"]
                .as_object_mut()
                .map(|metadata| metadata.remove("annotations")),
        ),
        false => scaler["metadata"]["annotations"] = annotations.into(),
    }
    for (part, own, list, aim) in [
        ("spec", "targetCPUUtilizationPercentage", "metrics", "target"),
        ("status", "currentCPUUtilizationPercentage", "currentMetrics", "current"),
    ] {
        let Some(map) = scaler.get_mut(part).and_then(Value::as_object_mut) else {
            continue;
        };
        if let Some(percent) = map.remove(own) {
            let mut about = json!({"averageUtilization": percent});
            if aim == "target" {
                about["type"] = "Utilization".into();
            }
            let metric = json!({"type": "Resource", "resource": {"name": "cpu", aim: about}});
            let metrics = map.entry(list).or_insert_with(|| json!([]));
            if let Value::Array(metrics) = metrics {
                metrics.insert(0, metric);
            }
        }
    }
    scaler
}

/// Takes the one metric that version 1 has a field for out of a list.
fn take_cpu(metrics: &mut Value) -> Option<Value> {
    let list = metrics.as_array_mut()?;
    let percent = |metric: &Value| {
        let resource = metric.get("resource").filter(|resource| resource["name"] == "cpu")?;
        let aim = resource.get("target").or_else(|| resource.get("current"))?;
        aim.get("averageUtilization").cloned()
    };
    let at = list.iter().position(|metric| percent(metric).is_some())?;
    percent(&list.remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_through_version_1() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let v2 = json!({"apiVersion": V2, "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a", "annotations": {"x": "y"}},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"selectPolicy": "Max"}}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}, memory]},
            "status": {"conditions": [{"type": "AbleToScale", "status": "True"}]}});
        let v1 = to_v1(v2.clone());
        assert_eq!(
            (&v1["apiVersion"], &v1["spec"]["targetCPUUtilizationPercentage"]),
            (&json!(V1), &json!(50))
        );
        assert!(v1["spec"].get("metrics").is_none() && v1["status"].get("conditions").is_none());
        assert_eq!(to_v2(v1), v2);
    }

    #[test]
    fn a_plain_version_1_has_one_metric() {
        let v1 = json!({"apiVersion": V1, "metadata": {"name": "a"}, "spec": {"targetCPUUtilizationPercentage": 80}});
        let v2 = to_v2(v1.clone());
        assert_eq!(v2["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert_eq!(to_v1(v2), v1);
    }
}
