//! All rules a user holds in a namespace, as `kubectl auth can-i --list` shows them.

use crate::authz::Rbac;
use crate::authz::resolver::Who;
use crate::authz::rules::PolicyRule;
use crate::registry::Reader;
use crate::{ApiError, User};
use serde_json::{Map, Value, json};

/// The status of a SelfSubjectRulesReview.
pub(super) async fn status(reader: &Reader, user: &User, namespace: &str) -> Result<Value, ApiError> {
    let mut rules = Rbac::new(reader.clone())
        .rules(
            Who {
                name: &user.name,
                groups: &user.groups,
            },
            namespace,
        )
        .await?;
    if user.is_in(crate::identity::MASTERS) {
        rules.extend(PolicyRule::everything());
    }
    let (paths, resources): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.resources.is_empty());
    // What a node may do as a node is computed per object and cannot be listed.
    Ok(json!({
        "resourceRules": resources.into_iter().map(shown).collect::<Vec<_>>(),
        "nonResourceRules": paths.into_iter().map(shown).collect::<Vec<_>>(),
        "incomplete": user.is_in("system:nodes"),
    }))
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
