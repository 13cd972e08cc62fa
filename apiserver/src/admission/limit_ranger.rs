//! LimitRanger: a namespace's limit ranges fill in what containers leave open, and bound what pods, containers and claims ask for.
//!
//! The mutating half sets defaults, so that quotas see them; the validating half judges the final object. Updates of pods are
//! not judged again, as upstream decided: what runs keeps running when a range is tightened.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::Reader;
use crate::registry::fields::{at, child, entries, list, text};
use api::Quantity;
use api::pods;
use serde_json::{Value, json};

const RANGES: &str = "limitranges";
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// The lists of a pod's containers that limits are about.
const CONTAINERS: &[&str] = &["containers", "initContainers"];

/// See the module.
pub(super) struct LimitRanger {
    pub reader: Reader,
}

#[async_trait::async_trait]
impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        if !is_new_pod(request) {
            return Ok(());
        }
        for range in self.ranges(request.namespace).await? {
            set_defaults(request.object, &range);
        }
        Ok(())
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let claim = request.group.is_empty()
            && request.resource == "persistentvolumeclaims"
            && request.subresource.is_empty()
            && matches!(request.operation, Operation::Create | Operation::Update);
        if !claim && !is_new_pod(request) {
            return Ok(());
        }
        let mut problems = Vec::new();
        for range in self.ranges(request.namespace).await? {
            match claim {
                true => judge_claim(&mut problems, request.object, &range),
                false => judge_pod(&mut problems, request.object, &range),
            }
        }
        match problems.as_slice() {
            [] => Ok(()),
            [one] => Err(ApiError::forbidden(&request.group_resource(), name_of(request), one)),
            many => {
                let why = format!("[{}]", many.join(", "));
                Err(ApiError::forbidden(&request.group_resource(), name_of(request), &why))
            }
        }
    }
}

impl LimitRanger {
    /// This member's copy will do: a range that was just made may miss a pod that is made at the same time, with any server.
    async fn ranges(&self, namespace: &str) -> Result<Vec<Value>, ApiError> {
        let items = self.reader.local_items(RANGES, namespace).await?;
        Ok(items.iter().filter_map(|item| item.value().ok()).collect())
    }
}

fn is_new_pod(request: &AdmissionRequest<'_>) -> bool {
    request.group.is_empty()
        && request.resource == "pods"
        && request.subresource.is_empty()
        && request.operation == Operation::Create
}

fn name_of<'a>(request: &'a AdmissionRequest<'_>) -> &'a str {
    match request.name {
        "" => text(request.object, "metadata.name"),
        name => name,
    }
}

fn items<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    list(range, "spec.limits")
        .iter()
        .filter(move |item| text(item, "type") == kind)
}

/// Gives every container the default limits and requests that it lacks, and says so in an annotation.
fn set_defaults(pod: &mut Value, range: &Value) {
    let mut said = Vec::new();
    for item in items(range, "Container") {
        for containers in CONTAINERS {
            let Some(Value::Array(containers)) = pod["spec"].get_mut(*containers) else {
                continue;
            };
            for container in containers {
                let name = text(container, "name").to_owned();
                // A default request never goes above a limit that the container has itself.
                for (kind, defaults) in [("requests", "defaultRequest"), ("limits", "default")] {
                    let set = fill(container, kind, at(item, defaults));
                    if !set.is_empty() {
                        let kind = kind.trim_end_matches('s');
                        said.push(format!("{} {kind} for container {name}", set.join(", ")));
                    }
                }
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        let annotations = child(pod, "metadata").entry("annotations").or_insert_with(|| json!({}));
        annotations[ANNOTATION] = json!(text);
    }
}

fn fill(container: &mut Value, kind: &str, defaults: Option<&Value>) -> Vec<String> {
    let mut set = Vec::new();
    for (resource, amount) in defaults.and_then(Value::as_object).into_iter().flatten() {
        // A limit without a request is the request as well; pods are defaulted so before admission.
        let resources = child(container, "resources");
        let amounts = resources.entry(kind).or_insert_with(|| json!({}));
        if amounts.get(resource).is_none() {
            amounts[resource] = amount.clone();
            set.push(resource.clone());
        }
    }
    set
}

fn judge_pod(problems: &mut Vec<String>, pod: &Value, range: &Value) {
    for item in items(range, "Container") {
        for container in CONTAINERS.iter().flat_map(|field| list(&pod["spec"], field)) {
            let resources = &container["resources"];
            let amounts = |kind: &str| pods::amounts(&resources[kind]);
            judge(problems, item, "Container", &amounts("requests"), &amounts("limits"));
        }
    }
    for item in items(range, "Pod") {
        judge(problems, item, "Pod", &pods::requests(pod), &pods::limits(pod));
    }
}

fn judge_claim(problems: &mut Vec<String>, claim: &Value, range: &Value) {
    let requests = pods::amounts(&claim["spec"]["resources"]["requests"]);
    for item in items(range, "PersistentVolumeClaim") {
        judge(problems, item, "PersistentVolumeClaim", &requests, &requests);
    }
}

/// Appends what is beyond an item's `min`, `max` and ratio.
fn judge(problems: &mut Vec<String>, item: &Value, kind: &str, requests: &pods::Resources, limits: &pods::Resources) {
    let amount = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
    for (resource, bound) in entries(item, "min") {
        let Some(least) = amount(bound) else { continue };
        match requests.get(resource) {
            None => problems.push(format!(
                "minimum {resource} usage per {kind} is {least}.  No request is specified"
            )),
            Some(asked) if *asked < least => {
                problems.push(format!(
                    "minimum {resource} usage per {kind} is {least}, but request is {asked}"
                ));
            }
            Some(_) => {}
        }
    }
    for (resource, bound) in entries(item, "max") {
        let Some(most) = amount(bound) else { continue };
        match (limits.get(resource), requests.get(resource)) {
            (None, _) => problems.push(format!(
                "maximum {resource} usage per {kind} is {most}.  No limit is specified"
            )),
            (Some(limit), _) if *limit > most => {
                problems.push(format!(
                    "maximum {resource} usage per {kind} is {most}, but limit is {limit}"
                ));
            }
            (_, Some(asked)) if *asked > most => {
                problems.push(format!(
                    "maximum {resource} usage per {kind} is {most}, but request is {asked}"
                ));
            }
            _ => {}
        }
    }
    for (resource, bound) in entries(item, "maxLimitRequestRatio") {
        let Some(most) = amount(bound) else { continue };
        match (limits.get(resource), requests.get(resource)) {
            (Some(limit), Some(asked)) if asked.milli() > 0 => {
                let ratio = limit.milli() as f64 / asked.milli() as f64;
                if ratio > most.milli() as f64 / 1000.0 {
                    problems.push(format!(
                        "{resource} max limit to request ratio per {kind} is {most}, but provided ratio is {ratio:.6}"
                    ));
                }
            }
            _ => problems.push(format!(
                "{resource} max limit to request ratio per {kind} is {most}, but no request or limit is specified"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(item: Value) -> Value {
        json!({"spec": {"limits": [item]}})
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn silent_containers_get_the_defaults() {
        let mut object = pod(json!({"limits": {"cpu": "1"}}));
        let defaults = range(json!({"type": "Container", "default": {"cpu": "2", "memory": "1Gi"},
            "defaultRequest": {"memory": "512Mi"}}));
        set_defaults(&mut object, &defaults);
        assert_eq!(
            object["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"memory": "512Mi"}})
        );
        assert_eq!(
            object["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory request for container c; memory limit for container c"
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let problems = |item: Value, resources: Value| {
            let mut problems = Vec::new();
            judge_pod(&mut problems, &pod(resources), &range(item));
            problems
        };
        let most = json!({"type": "Container", "max": {"cpu": "1"}});
        assert_eq!(problems(most.clone(), json!({"limits": {"cpu": "1"}})), [""; 0]);
        assert_eq!(
            problems(most, json!({"limits": {"cpu": "2"}})),
            ["maximum cpu usage per Container is 1, but limit is 2"]
        );
        let least = json!({"type": "Pod", "min": {"memory": "1Gi"}});
        assert_eq!(
            problems(least, json!({"requests": {"memory": "1Mi"}})),
            ["minimum memory usage per Pod is 1Gi, but request is 1Mi"]
        );
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
        assert_eq!(
            problems(ratio, json!({"limits": {"cpu": "3"}, "requests": {"cpu": "1"}})).len(),
            1
        );
    }
}
