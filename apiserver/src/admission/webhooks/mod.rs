//! Admission webhooks: whoever configures one is asked about every write that its rules select.
//!
//! **Theory.** Configurations are taken in the order of their names, their webhooks in the order they are listed. Mutating ones are
//! asked one after the other, each about what the last one left; a webhook that asks for it is asked once more when somebody
//! behind it changed the object. Validating ones are asked at once. What cannot be asked counts as its failure policy says.
//!
//! **Promises.** A patched object is decoded by its schema again, so nothing is stored that a client could not have sent. A webhook
//! is given its timeout and no more.
//!
//! **Left out.** Match conditions (they are CEL: the webhook is asked as if they held, and whoever writes them is warned), match
//! policy `Equivalent` between versions of one resource, audit annotations.

mod call;
mod matching;
mod review;

use super::{Admission, AdmissionRequest};
use crate::ApiError;
use crate::registry::fields::{at, list, number, text};
use crate::registry::{Reader, Subresource};
use call::Caller;
use matching::Subject;
use review::Verdict;
use serde_json::Value;
use std::time::Duration;

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";
/// What a patched object may become.
const PATCHED_BYTES_MAX: usize = crate::limits::BODY_BYTES_MAX;

/// MutatingAdmissionWebhook and ValidatingAdmissionWebhook; each has a place of its own in the order of plugins.
pub(super) struct Webhooks {
    reader: Reader,
    caller: Caller,
    mutating: bool,
}

/// One webhook of a configuration.
pub(super) struct Hook {
    webhook: Value,
    /// Its place in the order.
    id: usize,
}

impl Webhooks {
    pub(super) fn new(reader: &Reader, mutating: bool) -> Webhooks {
        Webhooks {
            reader: reader.clone(),
            caller: Caller::default(),
            mutating,
        }
    }

    /// The webhooks that are for a request, in order.
    async fn hooks(&self, request: &AdmissionRequest<'_>) -> Result<Vec<Hook>, ApiError> {
        let resource = if self.mutating { MUTATING } else { VALIDATING };
        if matching::is_exempt(request.group) {
            return Ok(Vec::new());
        }
        let items = self.reader.local_items(resource, "").await?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let labels = self.namespace_labels(request).await?;
        let null = Value::Null;
        let subject = Subject {
            operation: request.operation,
            group: request.group,
            version: request.version,
            resource: request.resource,
            subresource: request.subresource,
            namespaced: !request.namespace.is_empty(),
            namespace_labels: labels.as_ref(),
            object: request.object,
            old: request.old.unwrap_or(&null),
        };
        let mut hooks = Vec::new();
        for item in items {
            let configuration = item.value().map_err(ApiError::internal)?;
            for webhook in list(&configuration, "webhooks") {
                let hook = Hook {
                    webhook: webhook.clone(),
                    id: hooks.len(),
                };
                if matching::is_for(&hook, &subject).map_err(ApiError::internal)? {
                    hooks.push(hook);
                }
            }
        }
        Ok(hooks)
    }

    /// The labels that namespace selectors look at.
    async fn namespace_labels(&self, request: &AdmissionRequest<'_>) -> Result<Option<Value>, ApiError> {
        let labels = |object: &Value| Some(at(object, "metadata.labels").cloned().unwrap_or_default());
        if request.group.is_empty() && request.resource == "namespaces" {
            let object = match &*request.object {
                Value::Null => request.old.unwrap_or(&Value::Null),
                object => object,
            };
            return Ok(labels(object));
        }
        if request.namespace.is_empty() {
            return Ok(None);
        }
        let namespace = self.reader.local("namespaces", "", request.namespace).await?;
        Ok(namespace.as_ref().and_then(labels).or(Some(Value::Null)))
    }

    /// Asks one webhook. `None` when it could not be asked and its policy is to go on without.
    async fn ask(&self, hook: &Hook, request: &AdmissionRequest<'_>) -> Result<Option<Verdict>, ApiError> {
        let name = text(&hook.webhook, "name");
        let harmless = matches!(text(&hook.webhook, "sideEffects"), "None" | "NoneOnDryRun");
        if request.dry_run && !harmless {
            let message = format!("admission webhook {name:?} does not support dry run");
            return Err(ApiError::bad_request(message));
        }
        let (object, old) = shown(request);
        let uid = uuid::Uuid::new_v4().to_string();
        let question = review::question(request, &uid, &object, &old);
        let seconds = number(&hook.webhook, "timeoutSeconds").clamp(1, 30).unsigned_abs();
        let call = self.caller.post(&self.reader, &hook.webhook["clientConfig"], &question);
        let answer = match tokio::time::timeout(Duration::from_secs(seconds), call).await {
            Ok(Ok(body)) => review::answer(name, &uid, &body),
            Ok(Err(reason)) => Err(format!("failed to call webhook: {reason}")),
            Err(_) => Err(format!(
                "failed to call webhook: context deadline exceeded ({seconds}s)"
            )),
        };
        match answer {
            Ok(verdict) => Ok(Some(verdict)),
            Err(reason) if text(&hook.webhook, "failurePolicy") == "Ignore" => {
                tracing::warn!(webhook = name, reason, "failed open");
                Ok(None)
            }
            Err(reason) => Err(ApiError::internal(format!("failed calling webhook {name:?}: {reason}"))),
        }
    }

    /// Asks a mutating webhook and does what it says; yields whether that changed the object.
    async fn change(&self, hook: &Hook, request: &mut AdmissionRequest<'_>) -> Result<bool, ApiError> {
        let Some(verdict) = self.ask(hook, request).await? else {
            return Ok(false);
        };
        request.warnings.extend(verdict.warnings);
        if let Some(error) = verdict.refused {
            return Err(error);
        }
        match verdict.patch {
            Some(patch) if request.object.is_object() => apply(hook, &patch, request),
            _ => Ok(false),
        }
    }
}

/// The objects as the request's version shows them, and as the subresource does.
fn shown(request: &AdmissionRequest<'_>) -> (Value, Value) {
    let null = Value::Null;
    let view = match request.served.strategy.subresource(request.subresource) {
        Some(Subresource::Projection(view)) => Some(view),
        _ => None,
    };
    let one = |object: &Value| match (object, view) {
        (Value::Null, _) => Value::Null,
        (object, Some(view)) if object["kind"] != request.kind => view.read(object),
        (object, _) => request.served.to_shown(object.clone()),
    };
    (one(request.object), one(request.old.unwrap_or(&null)))
}

/// Applies a webhook's patch to the object, which then has to be one again.
fn apply(hook: &Hook, patch: &json_patch::Patch, request: &mut AdmissionRequest<'_>) -> Result<bool, ApiError> {
    let name = text(&hook.webhook, "name");
    let failed = |why: &dyn std::fmt::Display| {
        ApiError::internal(format!("failed to apply the patch of webhook {name:?}: {why}"))
    };
    let whole = !matches!(
        request.served.strategy.subresource(request.subresource),
        Some(Subresource::Projection(_) | Subresource::Action | Subresource::Stream)
    );
    let before = match whole {
        true => request.served.to_shown(request.object.clone()),
        false => request.object.clone(),
    };
    let mut after = before.clone();
    for operation in &patch.0 {
        let one = std::slice::from_ref(operation);
        json_patch::patch(&mut after, one).map_err(|error| failed(&error))?;
        if after.to_string().len() > PATCHED_BYTES_MAX {
            return Err(failed(&"the object becomes too large"));
        }
    }
    if !after.is_object() {
        return Err(failed(&"the result is not an object"));
    }
    if after == before {
        return Ok(false);
    }
    if whole {
        let served = request.served;
        let conformed = served.conform(after, api::FieldValidation::Ignore);
        let (mut conformed, _) = conformed.map_err(|error| failed(&error))?;
        served.fill(&mut conformed);
        *request.object = served.to_stored(conformed);
    } else {
        *request.object = after;
    }
    Ok(true)
}

#[async_trait::async_trait]
impl Admission for Webhooks {
    fn name(&self) -> &'static str {
        match self.mutating {
            true => "MutatingAdmissionWebhook",
            false => "ValidatingAdmissionWebhook",
        }
    }

    async fn mutate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        if !self.mutating {
            return Ok(());
        }
        let hooks = self.hooks(request).await?;
        let mut last_change = None;
        for hook in &hooks {
            if self.change(hook, request).await? {
                last_change = Some(hook.id);
            }
        }
        for hook in &hooks {
            let again = text(&hook.webhook, "reinvocationPolicy") == "IfNeeded";
            if again && last_change.is_some_and(|last| last > hook.id) {
                self.change(hook, request).await?;
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &mut AdmissionRequest<'_>) -> Result<(), ApiError> {
        if self.mutating {
            return Ok(());
        }
        let hooks = self.hooks(request).await?;
        let verdicts = {
            let request = &*request;
            futures::future::join_all(hooks.iter().map(|hook| self.ask(hook, request))).await
        };
        let mut refused = None;
        for verdict in verdicts {
            match verdict {
                Ok(Some(verdict)) => {
                    request.warnings.extend(verdict.warnings);
                    refused = refused.or(verdict.refused);
                }
                Ok(None) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(()), Err)
    }
}
