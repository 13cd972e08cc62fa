//! Webhook configurations, admission policies, flow control, and other resources that configure the server or the nodes.

use super::check::{self, Errors};
use super::declared::{Declared, PLAIN, STATUS};
use super::fields::{at, flag, list, number, text};
use super::strategy::Column;
use super::table::{AGE, NAME, age, column, name};
use crate::FieldError;
use serde_json::{Value, json};
use std::collections::HashSet;

const WEBHOOKS: &[Column] = &[NAME, column("Webhooks", "integer", "How many it has."), AGE];

/// `mutatingwebhookconfigurations` and `validatingwebhookconfigurations`.
pub const WEBHOOK_CONFIGURATIONS: Declared = Declared {
    columns: WEBHOOKS,
    cells: |object, now| vec![name(object), json!(list(object, "webhooks").len()), age(object, now)],
    check: webhooks,
    warnings: |object| {
        let conditional = |webhook: &&Value| !list(webhook, "matchConditions").is_empty();
        let named = list(object, "webhooks").iter().filter(conditional);
        named
            .map(|webhook| {
                let name = text(webhook, "name");
                format!("webhook {name}: matchConditions are stored, but this server asks the webhook as if they held")
            })
            .collect()
    },
    generation: true,
    ..PLAIN
};

/// `validatingadmissionpolicies`.
pub const POLICIES: Declared = Declared {
    columns: &[
        NAME,
        column("Validations", "integer", "How many rules it has."),
        column("ParamKind", "string", "What it is configured by."),
        AGE,
    ],
    cells: |policy, now| {
        let kind = match at(policy, "spec.paramKind") {
            Some(kind) => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")),
            None => "<unset>".to_owned(),
        };
        vec![
            name(policy),
            json!(list(policy, "spec.validations").len()),
            json!(kind),
            age(policy, now),
        ]
    },
    check: |errors, policy| {
        if list(policy, "spec.validations").is_empty() && list(policy, "spec.auditAnnotations").is_empty() {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required("spec.validations", detail));
        }
        if list(policy, "spec.matchConstraints.resourceRules").is_empty() {
            errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
        }
    },
    generation: true,
    subresources: STATUS,
    ..PLAIN
};

/// `validatingadmissionpolicybindings`.
pub const BINDINGS: Declared = Declared {
    columns: &[
        NAME,
        column("PolicyName", "string", "The policy it puts to work."),
        column("ParamRef", "string", "What configures it."),
        AGE,
    ],
    cells: |binding, now| {
        let reference = match at(binding, "spec.paramRef") {
            Some(reference) => match text(reference, "namespace") {
                "" => text(reference, "name").to_owned(),
                namespace => format!("{namespace}/{}", text(reference, "name")),
            },
            None => "<unset>".to_owned(),
        };
        vec![
            name(binding),
            json!(text(binding, "spec.policyName")),
            json!(reference),
            age(binding, now),
        ]
    },
    check: |errors, binding| {
        check::required(errors, &binding["spec"], "spec", "policyName");
        if list(binding, "spec.validationActions").is_empty() {
            errors.push(FieldError::required("spec.validationActions", ""));
        }
    },
    ..PLAIN
};

/// `flowschemas`.
pub const FLOW_SCHEMAS: Declared = Declared {
    columns: &[
        NAME,
        column("PriorityLevel", "string", "Where its requests wait."),
        column("MatchingPrecedence", "integer", "The lowest that matches is taken."),
        column("DistinguisherMethod", "string", "What tells flows apart."),
        AGE,
        column("MissingPL", "string", "Whether its priority level is missing."),
    ],
    cells: |schema, now| {
        let method = match text(schema, "spec.distinguisherMethod.type") {
            "" => "<none>",
            method => method,
        };
        let dangling = list(schema, "status.conditions")
            .iter()
            .find(|c| text(c, "type") == "Dangling");
        vec![
            name(schema),
            json!(text(schema, "spec.priorityLevelConfiguration.name")),
            json!(number(schema, "spec.matchingPrecedence")),
            json!(method),
            age(schema, now),
            json!(dangling.map_or("?", |condition| text(condition, "status"))),
        ]
    },
    check: |errors, schema| {
        check::required(
            errors,
            &schema["spec"]["priorityLevelConfiguration"],
            "spec.priorityLevelConfiguration",
            "name",
        );
        let precedence = number(schema, "spec.matchingPrecedence");
        if !(1..=10_000).contains(&precedence) {
            let detail = "must be in the range [1, 10000]";
            errors.push(FieldError::invalid(
                "spec.matchingPrecedence",
                &json!(precedence),
                detail,
            ));
        }
    },
    generation: true,
    subresources: STATUS,
    ..PLAIN
};

/// `prioritylevelconfigurations`.
pub const PRIORITY_LEVELS: Declared = Declared {
    columns: &[
        NAME,
        column("Type", "string", "Limited, or exempt from limits."),
        column(
            "NominalConcurrencyShares",
            "string",
            "Its share of what may run at once.",
        ),
        column("Queues", "string", "How many queues its requests wait in."),
        column("HandSize", "string", "Among how many a flow chooses."),
        column("QueueLengthLimit", "string", "How many requests wait in one."),
        AGE,
    ],
    cells: |level, now| {
        let kind = text(level, "spec.type");
        let shares = format!("spec.{}.nominalConcurrencyShares", kind.to_lowercase());
        let shown = |path: &str| at(level, path).map_or(json!("<none>"), |value| json!(value.to_string()));
        let queuing = |field: &str| shown(&format!("spec.limited.limitResponse.queuing.{field}"));
        vec![
            name(level),
            json!(kind),
            shown(&shares),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            age(level, now),
        ]
    },
    check: |errors, level| {
        let (kind, limited) = (text(level, "spec.type"), at(level, "spec.limited").is_some());
        if kind == "Limited" && !limited {
            let detail = "must not be empty when type is Limited";
            errors.push(FieldError::required("spec.limited", detail));
        } else if kind == "Exempt" && limited {
            let detail = "must be nil if the type is not Limited";
            errors.push(FieldError::forbidden("spec.limited", detail));
        }
    },
    generation: true,
    subresources: STATUS,
    ..PLAIN
};

/// `priorityclasses.scheduling.k8s.io`.
pub const PRIORITY_CLASSES: Declared = Declared {
    columns: &[
        NAME,
        column("Value", "integer", "The priority of its pods."),
        column("Global-Default", "boolean", "Whether pods that name no class get it."),
        AGE,
        column("PreemptionPolicy", "string", "Whether its pods make others go."),
    ],
    cells: |class, now| {
        vec![
            name(class),
            json!(number(class, "value")),
            json!(flag(class, "globalDefault")),
            age(class, now),
            json!(text(class, "preemptionPolicy")),
        ]
    },
    check: |errors, class| {
        const USER_MAX: i64 = 1_000_000_000;
        let (own, value) = (text(class, "metadata.name"), number(class, "value"));
        let system = [
            ("system-cluster-critical", 2_000_000_000),
            ("system-node-critical", 2_000_001_000),
        ];
        if system.contains(&(own, value)) {
            return;
        }
        if own.starts_with("system-") {
            let detail = "priority class names with 'system-' prefix are reserved for system use only";
            errors.push(FieldError::forbidden("metadata.name", detail));
        }
        if value > USER_MAX {
            let detail = format!("maximum allowed value of a user defined priority is {USER_MAX}");
            errors.push(FieldError::forbidden("value", &detail));
        }
    },
    fixed: &["value", "preemptionPolicy"],
    generation: true,
    ..PLAIN
};

/// `runtimeclasses.node.k8s.io`.
pub const RUNTIME_CLASSES: Declared = Declared {
    columns: &[
        NAME,
        column("Handler", "string", "The runtime that runs its pods."),
        AGE,
    ],
    cells: |class, now| vec![name(class), json!(text(class, "handler")), age(class, now)],
    fixed: &["handler"],
    ..PLAIN
};

fn webhooks(errors: &mut Errors, object: &Value) {
    let mut seen = HashSet::new();
    for (index, webhook) in list(object, "webhooks").iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let own = text(webhook, "name");
        if own.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(format!("{path}.name"), &json!(own), detail));
        }
        if !seen.insert(own) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &json!(own)));
        }
        let side_effects = text(webhook, "sideEffects");
        if !side_effects.is_empty() && !matches!(side_effects, "None" | "NoneOnDryRun") {
            let supported = ["None", "NoneOnDryRun"];
            errors.retain(|error| error.field != format!("{path}.sideEffects"));
            errors.push(FieldError::not_supported(
                format!("{path}.sideEffects"),
                &json!(side_effects),
                &supported,
            ));
        }
        if list(webhook, "admissionReviewVersions").is_empty() {
            let detail = "must specify one of v1, v1beta1";
            errors.push(FieldError::required(format!("{path}.admissionReviewVersions"), detail));
        }
        let seconds = number(webhook, "timeoutSeconds");
        if !(1..=30).contains(&seconds) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(
                format!("{path}.timeoutSeconds"),
                &json!(seconds),
                detail,
            ));
        }
        let (url, service) = (at(webhook, "clientConfig.url"), at(webhook, "clientConfig.service"));
        if url.is_some() == service.is_some() {
            let detail = "exactly one of url or service is required";
            errors.push(FieldError::required(format!("{path}.clientConfig"), detail));
        }
        if let Some(url) = url.and_then(Value::as_str)
            && !url.starts_with("https://")
        {
            let detail = "'https' is the only allowed URL scheme";
            errors.push(FieldError::invalid(
                format!("{path}.clientConfig.url"),
                &json!(url),
                detail,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_says_where_and_what_it_is() {
        let good = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 10,
            "clientConfig": {"url": "https://x"}});
        let problems = |webhooks_given: Value| {
            let mut errors = Errors::new();
            webhooks(&mut errors, &json!({"webhooks": webhooks_given}));
            errors.len()
        };
        assert_eq!(problems(json!([good])), 0);
        assert_eq!(problems(json!([good, good])), 1);
        assert_eq!(problems(json!([{"name": "a"}])), 4);
    }

    #[test]
    fn users_stay_below_the_system() {
        let check = |name: &str, value: i64| {
            let mut errors = Errors::new();
            (PRIORITY_CLASSES.check)(&mut errors, &json!({"metadata": {"name": name}, "value": value}));
            errors.len()
        };
        assert_eq!(check("high", 1_000_000), 0);
        assert_eq!(check("higher", 2_000_000_000), 1);
        assert_eq!(check("system-mine", 1), 1);
        assert_eq!(check("system-node-critical", 2_000_001_000), 0);
    }
}
