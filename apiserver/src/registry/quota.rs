//! ResourceQuota, exactly: what a namespace uses never exceeds its quotas, however many masters create at once.
//!
//! A create under a quota counts what the namespace holds, and its transaction both compares the quota's revision and writes the
//! quota's new `status.used`. Two creates under one quota cannot both succeed on one count: the second finds the quota changed and
//! counts again. No reservation is left behind by a create that failed, and no controller has to correct the count. An update that
//! uses more than before is charged with the difference in the same way. What uses less is counted later ([`super::recount`]).

use super::fields::{at, entries, list, text};
use super::reader::{ListFilter, value_of};
use super::{Reader, Served};
use crate::ApiError;
use api::pods::{self, Resources};
use api::{LabelSelector, Quantity};
use serde_json::{Map, Value, json};
use storage::{Freshness, Guard};

pub(super) const QUOTAS: &str = "resourcequotas";

/// What the create of `object`, or its update from `old`, depends on and changes: each quota that it is charged to. 403 when one is
/// exceeded. A namespace without quotas costs a look at this member's copy, and so does an update that uses nothing more.
pub(super) async fn charge(
    reader: &Reader,
    served: &Served,
    namespace: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<Vec<Guard>, ApiError> {
    if namespace.is_empty() {
        return Ok(Vec::new());
    }
    let here = reader.local_items(QUOTAS, namespace).await?;
    if here.is_empty() {
        return Ok(Vec::new());
    }
    if old.is_some() {
        let quotas: Result<Vec<Value>, ApiError> = here.iter().map(value_of).collect();
        if quotas?.iter().all(|quota| grown(quota, served, object, old).is_empty()) {
            return Ok(Vec::new());
        }
    }
    let quotas = reader
        .items(QUOTAS, namespace, &ListFilter::default(), Freshness::Latest)
        .await?;
    let mut guards = Vec::new();
    // Read once, after the quotas: what was created in between has changed them.
    let mut existing: Option<Vec<Value>> = None;
    for item in quotas {
        let mut quota = value_of(&item)?;
        let asked = grown(&quota, served, object, old);
        if asked.is_empty() {
            continue;
        }
        let held = match &existing {
            Some(held) => held,
            None => existing.insert(reader.list(&served.name, namespace, &ListFilter::default()).await?),
        };
        let mut used = Resources::new();
        for (resource, _) in entries(&quota, "spec.hard").filter(|(resource, _)| asked.contains_key(*resource)) {
            used.insert(resource.clone(), Quantity::default());
        }
        for other in held {
            let mut amounts = charged(&quota, served, other);
            amounts.retain(|resource, _| asked.contains_key(resource));
            pods::add(&mut used, &amounts);
        }
        judge(&quota, served, object, &asked, &used)?;
        pods::add(&mut used, &asked);
        record(&mut quota, &used);
        guards.push(Guard {
            key: reader
                .served(QUOTAS)?
                .collection
                .key(namespace, text(&quota, "metadata.name")),
            revision: item.revision(),
            becomes: Some(quota),
        });
    }
    Ok(guards)
}

/// Whether an object uses something else than before.
pub(super) fn uses_other(served: &Served, old: &Value, new: &Value) -> bool {
    let of = |object: &Value| usage(&served.info.group, &served.info.name, &served.name, object);
    of(old) != of(new)
}

/// What an object uses of a quota's resources beyond what it used before.
fn grown(quota: &Value, served: &Served, object: &Value, old: Option<&Value>) -> Resources {
    let mut asked = charged(quota, served, object);
    let Some(old) = old else { return asked };
    let before = charged(quota, served, old);
    asked.retain(|resource, amount| before.get(resource).is_none_or(|before| *amount > *before));
    for (resource, amount) in &mut asked {
        *amount -= before.get(resource).copied().unwrap_or_default();
    }
    asked
}

/// What an object uses of a quota's resources; nothing when it is outside the quota's scopes.
pub(super) fn charged(quota: &Value, served: &Served, object: &Value) -> Resources {
    let mut usage = usage(&served.info.group, &served.info.name, &served.name, object);
    usage.retain(|resource, _| at(quota, "spec.hard").is_some_and(|hard| hard.get(resource).is_some()));
    if usage.is_empty() || !in_scope(quota, &served.name, object) {
        return Resources::new();
    }
    usage
}

/// Everything that an object uses, by the names quotas have for it.
fn usage(group: &str, resource: &str, name: &str, object: &Value) -> Resources {
    let mut usage = Resources::new();
    let one = || Quantity::parse("1").unwrap_or_default();
    match (group, resource) {
        ("", "pods") => return pod_usage(object),
        ("", "services") => {
            usage.insert("services".into(), one());
            match text(object, "spec.type") {
                "LoadBalancer" => {
                    usage.insert("services.loadbalancers".into(), one());
                    usage.insert("services.nodeports".into(), count(list(object, "spec.ports").len()));
                }
                "NodePort" => drop(usage.insert("services.nodeports".into(), count(list(object, "spec.ports").len()))),
                _ => {}
            }
        }
        ("", "persistentvolumeclaims") => {
            usage.insert("persistentvolumeclaims".into(), one());
            let asked = pods::amounts(&object["spec"]["resources"]["requests"]);
            let class = text(object, "spec.storageClassName");
            let of_class = |what: &str| format!("{class}.storageclass.storage.k8s.io/{what}");
            if let Some(size) = asked.get("storage") {
                usage.insert("requests.storage".into(), *size);
                if !class.is_empty() {
                    usage.insert(of_class("requests.storage"), *size);
                }
            }
            if !class.is_empty() {
                usage.insert(of_class("persistentvolumeclaims"), one());
            }
        }
        ("", "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            usage.insert(resource.to_owned(), one());
        }
        _ => {}
    }
    usage.insert(format!("count/{name}"), one());
    usage
}

fn count(number: usize) -> Quantity {
    Quantity::parse(&number.to_string()).unwrap_or_default()
}

/// A pod that has finished uses its name only.
fn pod_usage(pod: &Value) -> Resources {
    let mut usage = Resources::new();
    usage.insert("count/pods".into(), count(1));
    if matches!(text(pod, "status.phase"), "Succeeded" | "Failed") {
        return usage;
    }
    usage.insert("pods".into(), count(1));
    for (resource, amount) in pods::requests(pod) {
        if matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-") {
            usage.insert(resource.clone(), amount);
        }
        usage.insert(format!("requests.{resource}"), amount);
    }
    for (resource, amount) in pods::limits(pod) {
        usage.insert(format!("limits.{resource}"), amount);
    }
    usage
}

/// Whether a quota is about an object: quotas with scopes are about pods alone.
fn in_scope(quota: &Value, name: &str, object: &Value) -> bool {
    let plain = list(quota, "spec.scopes").iter().map(|scope| {
        let scope = scope.as_str().unwrap_or_default();
        json!({"scopeName": scope, "operator": "Exists"})
    });
    let selected = list(quota, "spec.scopeSelector.matchExpressions").iter().cloned();
    plain
        .chain(selected)
        .all(|term| name == "pods" && matches_scope(&term, object))
}

fn matches_scope(term: &Value, pod: &Value) -> bool {
    let ends = at(pod, "spec.activeDeadlineSeconds").is_some();
    let class = text(pod, "spec.priorityClassName");
    match text(term, "scopeName") {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => pods::qos_class(pod) == "BestEffort",
        "NotBestEffort" => pods::qos_class(pod) != "BestEffort",
        "PriorityClass" => {
            let expression =
                json!({"matchExpressions": [{"key": "class", "operator": term["operator"], "values": term["values"]}]});
            let labels = match class {
                "" => json!({}),
                class => json!({"class": class}),
            };
            LabelSelector::from_object(&expression).is_ok_and(|selector| selector.matches(&labels))
        }
        // Affinity across namespaces and attribute classes of volumes.
        _ => false,
    }
}

fn judge(quota: &Value, served: &Served, object: &Value, asked: &Resources, used: &Resources) -> Result<(), ApiError> {
    let (quota_name, name) = (text(quota, "metadata.name"), text(object, "metadata.name"));
    let refuse = |why: String| Err(ApiError::forbidden(&served.name, name, &why));
    if served.name == "pods" {
        let silent = unspecified(quota, object);
        if !silent.is_empty() {
            return refuse(format!(
                "failed quota: {quota_name}: must specify {}",
                silent.join("; ")
            ));
        }
    }
    let hard = |resource: &str| at(quota, "spec.hard").and_then(|hard| Quantity::from_value(hard.get(resource)?));
    let beyond: Vec<&String> = asked
        .iter()
        .filter(|(resource, amount)| {
            let mut total = used.get(*resource).copied().unwrap_or_default();
            total += **amount;
            amount.milli() > 0 && hard(resource).is_some_and(|hard| total > hard)
        })
        .map(|(resource, _)| resource)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let shown = |amount: &dyn Fn(&str) -> Option<Quantity>| {
        let shown: Vec<String> = beyond
            .iter()
            .map(|resource| format!("{resource}={}", amount(resource).unwrap_or_default()))
            .collect();
        shown.join(",")
    };
    refuse(format!(
        "exceeded quota: {quota_name}, requested: {}, used: {}, limited: {}",
        shown(&|resource| asked.get(resource).copied()),
        shown(&|resource| used.get(resource).copied()),
        shown(&|resource| hard(resource)),
    ))
}

/// A quota on an amount means nothing for a container that does not say its own: `limits.cpu for: c`.
fn unspecified(quota: &Value, pod: &Value) -> Vec<String> {
    let mut silent = Vec::new();
    for (resource, _) in entries(quota, "spec.hard") {
        let (kind, wanted) = match resource.split_once('.') {
            Some((kind @ ("requests" | "limits"), wanted)) => (kind, wanted),
            _ if matches!(resource.as_str(), "cpu" | "memory") => ("requests", resource.as_str()),
            _ => continue,
        };
        if !matches!(wanted, "cpu" | "memory") {
            continue;
        }
        let whole = at(pod, "spec.resources")
            .and_then(|all| all.get(kind)?.get(wanted))
            .is_some();
        let lists = ["spec.containers", "spec.initContainers"];
        let names = lists.iter().flat_map(|path| list(pod, path));
        let names = names.filter(|container| {
            at(container, "resources")
                .and_then(|all| all.get(kind)?.get(wanted))
                .is_none()
        });
        let names: Vec<&str> = names.map(|container| text(container, "name")).collect();
        if !whole && !names.is_empty() {
            silent.push(format!("{resource} for: {}", names.join(",")));
        }
    }
    silent
}

/// Writes what is used into the quota's status.
pub(super) fn record(quota: &mut Value, used: &Resources) {
    let hard = at(quota, "spec.hard").cloned().unwrap_or(json!({}));
    let mut shown: Map<String, Value> = Map::new();
    for (resource, _) in entries(quota, "spec.hard") {
        let before = at(quota, "status.used").and_then(|used| used.get(resource)).cloned();
        let now = used.get(resource).map(|amount| json!(amount.to_string()));
        shown.insert(resource.clone(), now.or(before).unwrap_or(json!("0")));
    }
    quota["status"] = json!({"hard": hard, "used": shown});
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn a_pod_uses_what_it_asks_for_until_it_ends() {
        let mut object = pod(json!({"requests": {"cpu": "500m", "x.y/z": "2"}, "limits": {"memory": "1Gi"}}));
        let names: Vec<String> = pod_usage(&object).into_keys().collect();
        assert_eq!(
            names,
            [
                "count/pods",
                "cpu",
                "limits.memory",
                "pods",
                "requests.cpu",
                "requests.x.y/z"
            ]
        );
        object["status"] = json!({"phase": "Succeeded"});
        assert_eq!(pod_usage(&object).into_keys().collect::<Vec<_>>(), ["count/pods"]);
    }

    #[test]
    fn claims_and_services_use_more_than_a_count() {
        let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}});
        let used = usage("", "persistentvolumeclaims", "persistentvolumeclaims", &claim);
        assert_eq!(
            used["gold.storageclass.storage.k8s.io/requests.storage"].to_string(),
            "1Gi"
        );
        let service = json!({"spec": {"type": "LoadBalancer", "ports": [{}, {}]}});
        let used = usage("", "services", "services", &service);
        assert_eq!(used["services.nodeports"].to_string(), "2");
        assert!(usage("apps", "deployments", "deployments.apps", &json!({})).contains_key("count/deployments.apps"));
    }

    #[test]
    fn scopes_choose_pods() {
        let quota = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let ending = json!({"spec": {"activeDeadlineSeconds": 5}});
        assert!(in_scope(&quota(json!(["Terminating"])), "pods", &ending));
        assert!(!in_scope(&quota(json!(["NotTerminating"])), "pods", &ending));
        assert!(!in_scope(&quota(json!(["BestEffort"])), "services", &ending));
        let high = json!({"spec": {"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}});
        assert!(in_scope(&high, "pods", &json!({"spec": {"priorityClassName": "high"}})));
        assert!(!in_scope(&high, "pods", &json!({"spec": {}})));
    }
}
