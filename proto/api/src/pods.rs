//! What a pod asks for, and what it is promised.

use crate::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Amounts by resource name.
pub type Resources = BTreeMap<String, Quantity>;

/// What a pod asks for in all: containers and sidecars together, or the hungriest init container if that is more, plus
/// the overhead. Resources set on the pod itself take precedence.
pub fn requests(pod: &Value) -> Resources {
    total(&pod["spec"], "requests")
}

/// What a pod may use in all; a resource that some container leaves unlimited is counted for the others only.
pub fn limits(pod: &Value) -> Resources {
    total(&pod["spec"], "limits")
}

fn total(spec: &Value, which: &str) -> Resources {
    let mut sum = Resources::new();
    for container in containers(spec, "containers") {
        add(&mut sum, &amounts(&container["resources"][which]));
    }
    let (mut sidecars, mut peak) = (Resources::new(), Resources::new());
    for container in containers(spec, "initContainers") {
        let mut own = amounts(&container["resources"][which]);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut peak, &sidecars);
        } else {
            add(&mut own, &sidecars);
            raise(&mut peak, &own);
        }
    }
    raise(&mut sum, &peak);
    for (name, amount) in amounts(&spec["resources"][which]) {
        sum.insert(name, amount);
    }
    let overhead = amounts(&spec["overhead"]);
    for (name, amount) in overhead {
        // An overhead limits nothing by itself.
        if which == "requests" || sum.contains_key(&name) {
            *sum.entry(name).or_default() += amount;
        }
    }
    sum
}

fn containers<'v>(spec: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    spec[list].as_array().into_iter().flatten()
}

/// Reads a resource list; malformed amounts are left out.
pub fn amounts(list: &Value) -> Resources {
    let pairs = list.as_object().into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value)?)))
        .collect()
}

/// Adds every amount.
pub fn add(sum: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        match sum.get_mut(name) {
            Some(total) => *total += *amount,
            None => {
                sum.insert(name.clone(), *amount);
            }
        }
    }
}

fn raise(peak: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        match peak.get_mut(name) {
            Some(highest) if *highest >= *amount => {}
            _ => {
                peak.insert(name.clone(), *amount);
            }
        }
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let pod_level = spec["resources"].as_object().filter(|resources| !resources.is_empty());
    let resources: Vec<&Value> = match pod_level {
        Some(_) => vec![&spec["resources"]],
        None => containers(spec, "containers")
            .chain(containers(spec, "initContainers"))
            .map(|container| &container["resources"])
            .collect(),
    };
    let asked = |list: &Value| -> Resources {
        let relevant =
            |(name, amount): &(String, Quantity)| matches!(name.as_str(), "cpu" | "memory") && amount.signum() > 0;
        amounts(list).into_iter().filter(relevant).collect()
    };
    let each: Vec<(Resources, Resources)> = resources
        .iter()
        .map(|resources| (asked(&resources["requests"]), asked(&resources["limits"])))
        .collect();
    if each
        .iter()
        .all(|(requests, limits)| requests.is_empty() && limits.is_empty())
    {
        return "BestEffort";
    }
    let guaranteed = |(requests, limits): &(Resources, Resources)| {
        limits.len() == 2 && requests.iter().all(|(name, amount)| limits.get(name) == Some(amount))
    };
    if each.iter().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// True once every container has ended and none will start again.
pub fn is_finished(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// True when the condition `Ready` holds.
pub fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True")
}

/// The condition of that type in the object's status.
pub fn condition<'v>(object: &'v Value, r#type: &str) -> Option<&'v Value> {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == r#type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    fn cpu(spec: Value) -> String {
        requests(&json!({"spec": spec}))["cpu"].to_string()
    }

    #[test]
    fn requests_count_init_containers_sidecars_and_overhead() {
        assert_eq!(
            cpu(json!({"containers": [container("100m"), container("200m")]})),
            "300m"
        );
        assert_eq!(
            cpu(json!({"containers": [container("100m")], "initContainers": [container("1")]})),
            "1"
        );
        let mut sidecar = container("50m");
        sidecar["restartPolicy"] = json!("Always");
        assert_eq!(
            cpu(json!({"containers": [container("100m")], "initContainers": [sidecar, container("120m")]})),
            "170m"
        );
        assert_eq!(
            cpu(json!({"containers": [container("100m")], "overhead": {"cpu": "10m"}})),
            "110m"
        );
        assert_eq!(
            cpu(json!({"containers": [container("100m")], "resources": {"requests": {"cpu": "2"}}})),
            "2"
        );
    }

    #[test]
    fn quality_of_service() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(qos_class(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(qos_class(&pod(json!({"limits": both, "requests": both}))), "Guaranteed");
        assert_eq!(
            qos_class(&pod(json!({"limits": both, "requests": {"cpu": "500m"}}))),
            "Burstable"
        );
        assert_eq!(
            qos_class(&pod(json!({"limits": {"nvidia.com/gpu": "1"}}))),
            "BestEffort"
        );
    }
}
