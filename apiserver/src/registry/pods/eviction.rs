//! `pods/eviction`: a delete that disruption budgets may refuse.

use crate::ApiError;
use crate::registry::fields::{at, list, number, text};
use crate::registry::strategy::{Action, DeleteOptions, Reply};
use crate::registry::{ListFilter, Registry, RequestContext, dry_run};
use serde_json::{Value, json};
use std::sync::Arc;

const BUDGETS: &str = "poddisruptionbudgets.policy";
/// What a refused client is told to wait.
const RETRY_SECONDS: u32 = 10;

/// Deletes the pod if every budget that covers it allows one more disruption.
pub(super) async fn evict(action: Action<'_>) -> Result<Reply, ApiError> {
    let context = context(&action)?;
    let pod = action
        .registry
        .reader()
        .get("pods", action.namespace, action.name)
        .await?;
    if !may_ignore_budget(&pod) {
        spend_budget(&action, &context, &pod).await?;
    }
    let options = delete_options(&action.object);
    action
        .registry
        .delete(&context, "pods", action.namespace, action.name, &options)
        .await?;
    let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply::created(success))
}

/// `kubectl drain --dry-run=server` says so in the eviction, not in the query.
fn context(action: &Action<'_>) -> Result<RequestContext, ApiError> {
    let asked = list(&action.object, "deleteOptions.dryRun");
    let dry = dry_run(asked.iter().filter_map(Value::as_str))
        .map_err(|problem| ApiError::invalid("Eviction.policy", action.name, vec![problem]))?;
    Ok(match dry {
        true => action.context.dry(),
        false => action.context.clone(),
    })
}

/// A pod that has ended, has not started or is going anyway costs no budget.
fn may_ignore_budget(pod: &Value) -> bool {
    matches!(text(pod, "status.phase"), "Succeeded" | "Failed" | "Pending")
        || at(pod, "metadata.deletionTimestamp").is_some()
}

async fn spend_budget(action: &Action<'_>, context: &RequestContext, pod: &Value) -> Result<(), ApiError> {
    let budgets = covering(action.registry, action.namespace, pod).await?;
    let [budget] = budgets.as_slice() else {
        return match budgets.len() {
            0 => Ok(()),
            _ => Err(ApiError::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )),
        };
    };
    let name = text(budget, "metadata.name").to_owned();
    let pod_name = text(pod, "metadata.name").to_owned();
    let now = crate::registry::fields::rfc3339(jiff::Timestamp::now());
    let spend = |budget: &mut Value| spend_one(budget, &pod_name, &now);
    action
        .registry
        .update(context, BUDGETS, "status", action.namespace, &name, spend)
        .await?;
    Ok(())
}

async fn covering(registry: &Arc<Registry>, namespace: &str, pod: &Value) -> Result<Vec<Value>, ApiError> {
    let all = match registry.reader().list(BUDGETS, namespace, &ListFilter::default()).await {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let labels = at(pod, "metadata.labels").cloned().unwrap_or_default();
    Ok(all
        .into_iter()
        .filter(|b| at(b, "spec.selector").is_some_and(|s| crate::registry::selects(s, &labels)))
        .collect())
}

fn spend_one(budget: &mut Value, pod: &str, now: &str) -> Result<(), ApiError> {
    let name = text(budget, "metadata.name").to_owned();
    if number(budget, "status.observedGeneration") < number(budget, "metadata.generation") {
        return Err(blocked(&format!(
            "The disruption budget {name} is still being processed by the server."
        )));
    }
    let allowed = number(budget, "status.disruptionsAllowed");
    if allowed <= 0 {
        let (healthy, wanted) = (
            number(budget, "status.currentHealthy"),
            number(budget, "status.desiredHealthy"),
        );
        let why = format!("The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently");
        return Err(blocked(&why));
    }
    budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
    crate::registry::fields::child(&mut budget["status"], "disruptedPods").insert(pod.to_owned(), json!(now));
    Ok(())
}

fn blocked(why: &str) -> ApiError {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    ApiError::too_many_requests(message, RETRY_SECONDS).cause("DisruptionBudget", why, "")
}

fn delete_options(eviction: &Value) -> DeleteOptions {
    let owned = |path: &str| Some(text(eviction, path)).filter(|t| !t.is_empty()).map(str::to_owned);
    DeleteOptions {
        grace_period_seconds: at(eviction, "deleteOptions.gracePeriodSeconds").and_then(Value::as_i64),
        propagation_policy: owned("deleteOptions.propagationPolicy"),
        precondition_uid: owned("deleteOptions.preconditions.uid"),
        precondition_resource_version: owned("deleteOptions.preconditions.resourceVersion"),
        ignore_store_read_error: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_answers_429() {
        let mut budget = json!({"metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1}});
        spend_one(&mut budget, "p", "now").unwrap();
        assert_eq!(budget["status"]["disruptedPods"]["p"], "now");
        let refused = spend_one(&mut budget, "p", "now").unwrap_err();
        assert_eq!(refused.code, 429);
        assert_eq!(refused.details["causes"][0]["reason"], "DisruptionBudget");
    }
}
