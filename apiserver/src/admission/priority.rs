//! A pod's priority: the number behind the name of its class.

use super::{Admission, AdmissionRequest, Operation};
use crate::ApiError;
use crate::registry::Reader;
use crate::registry::fields::{at, flag, number, text};
use serde_json::{Value, json};

/// See the module.
pub(super) struct Priority {
    pub reader: Reader,
}

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
const PREEMPT: &str = "PreemptLowerPriority";
/// Known even before anyone has created them.
const SYSTEM: &[(&str, i64)] = &[
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

#[async_trait::async_trait]
impl Admission for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        let creates_pod = request.operation == Operation::Create
            && (request.group, request.resource, request.subresource) == ("", "pods", "");
        if !creates_pod {
            return Ok(());
        }
        let refuse = |why: String| ApiError::forbidden("pods", request.name, &why);
        let class = match text(request.object, "spec.priorityClassName") {
            "" => self.default_class().await?,
            name => {
                let found = self.class(name).await?;
                found.ok_or_else(|| refuse(format!("no PriorityClass with name {name} was found")))?
            }
        };
        if let Some(given) = at(request.object, "spec.priority").and_then(Value::as_i64)
            && given != class.value
        {
            return Err(refuse(format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission \
                 controller computed {} from the given PriorityClass name",
                class.value
            )));
        }
        class.apply(request.object);
        Ok(())
    }
}

struct Class {
    name: String,
    value: i64,
    policy: String,
}

impl Class {
    fn none() -> Class {
        Class {
            name: String::new(),
            value: 0,
            policy: PREEMPT.to_owned(),
        }
    }

    fn of(object: &Value) -> Class {
        let policy = Some(text(object, "preemptionPolicy"))
            .filter(|p| !p.is_empty())
            .unwrap_or(PREEMPT);
        Class {
            name: text(object, "metadata.name").into(),
            value: number(object, "value"),
            policy: policy.into(),
        }
    }

    fn apply(self, pod: &mut Value) {
        let spec = &mut pod["spec"];
        if !self.name.is_empty() {
            spec["priorityClassName"] = json!(self.name);
        }
        spec["priority"] = json!(self.value);
        if text(spec, "preemptionPolicy").is_empty() {
            spec["preemptionPolicy"] = json!(self.policy);
        }
    }
}

impl Priority {
    async fn class(&self, name: &str) -> Result<Option<Class>, ApiError> {
        match self.reader.get(CLASSES, "", name).await {
            Ok(found) => Ok(Some(Class::of(&found))),
            Err(error) if error.is_not_found() => {
                let system = SYSTEM.iter().find(|(known, _)| *known == name);
                Ok(system.map(|(name, value)| Class {
                    name: (*name).into(),
                    value: *value,
                    ..Class::none()
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// The class marked `globalDefault`; of several the lowest, as upstream decides.
    async fn default_class(&self) -> Result<Class, ApiError> {
        let items = match self.reader.local_items(CLASSES, "").await {
            Err(error) if error.is_not_found() => return Ok(Class::none()),
            other => other?,
        };
        let values = items.iter().filter_map(|item| item.value().ok());
        let defaults = values
            .filter(|class| flag(class, "globalDefault"))
            .map(|class| Class::of(&class));
        Ok(defaults.min_by_key(|class| class.value).unwrap_or_else(Class::none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_fills_what_the_pod_left_open() {
        let mut pod = json!({"spec": {"preemptionPolicy": "Never"}});
        Class::of(&json!({"metadata": {"name": "high"}, "value": 7})).apply(&mut pod);
        assert_eq!(
            pod["spec"],
            json!({"priorityClassName": "high", "priority": 7, "preemptionPolicy": "Never"})
        );
        let mut plain = json!({"spec": {}});
        Class::none().apply(&mut plain);
        assert_eq!(plain["spec"], json!({"priority": 0, "preemptionPolicy": PREEMPT}));
    }
}
