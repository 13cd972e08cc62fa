//! All rules a user holds in a namespace, as `kubectl auth can-i --list` shows them.

use crate::authz::Authorizer;
use crate::authz::rules::PolicyRule;
use crate::{ApiError, User};
use serde_json::{Map, Value, json};

/// The status of a SelfSubjectRulesReview.
pub(super) async fn status(authorizer: &dyn Authorizer, user: &User, namespace: &str) -> Result<Value, ApiError> {
    let listed = authorizer.rules(user, namespace).await?;
    let (paths, resources): (Vec<_>, Vec<_>) = listed.rules.iter().partition(|rule| rule.resources.is_empty());
    let mut status = json!({
        "resourceRules": resources.into_iter().map(shown).collect::<Vec<_>>(),
        "nonResourceRules": paths.into_iter().map(shown).collect::<Vec<_>>(),
        "incomplete": !listed.gaps.is_empty(),
    });
    if !listed.gaps.is_empty() {
        status["evaluationError"] = json!(listed.gaps.join(", "));
    }
    Ok(status)
}

fn shown(rule: &PolicyRule) -> Value {
    let mut shown = Map::new();
    for (field, values) in [
        ("verbs", &rule.verbs),
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
        ("nonResourceURLs", &rule.non_resource_urls),
    ] {
        if !values.is_empty() {
            shown.insert(field.to_owned(), json!(values));
        }
    }
    Value::Object(shown)
}
