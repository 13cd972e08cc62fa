//! Nobody hands out rights they do not hold, unless they may `escalate` (define any role) or `bind` (grant this role).

use crate::authz::escalation::uncovered;
use crate::authz::resolver::{RoleRef, Who};
use crate::authz::rules::PolicyRule;
use crate::authz::{Attributes, Decision, Rbac};
use crate::registry::fields::{name, namespace};
use crate::registry::{Registry, RequestContext};
use crate::{ApiError, RequestInfo};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether the user may write a role with these rules.
pub(super) async fn may_define(
    registry: &Arc<Registry>,
    context: &RequestContext,
    role: &Value,
    cluster: bool,
) -> Result<(), ApiError> {
    let resource = if cluster { "clusterroles" } else { "roles" };
    if exempt(context) || allowed(registry, context, "escalate", resource, namespace(role), name(role)).await {
        return Ok(());
    }
    let rbac = Rbac::new(registry.reader().clone());
    let what = Granting {
        resource,
        name: name(role),
        namespace: namespace(role),
    };
    what.check(&rbac, context, &PolicyRule::list(role)).await
}

/// Whether the user may write a role that collects the rules of others, now or before: what those will be nobody knows.
pub(super) async fn may_collect(
    registry: &Arc<Registry>,
    context: &RequestContext,
    role: &Value,
) -> Result<(), ApiError> {
    if exempt(context) || allowed(registry, context, "escalate", "clusterroles", "", name(role)).await {
        return Ok(());
    }
    let who = Who {
        name: &context.user.name,
        groups: &context.user.groups,
    };
    let held = Rbac::new(registry.reader().clone()).rules(who, "").await?;
    match uncovered(&held, &PolicyRule::everything()).is_empty() {
        true => Ok(()),
        false => Err(ApiError::forbidden(
            &format!("clusterroles.{GROUP}"),
            name(role),
            "must have cluster-admin privileges to use an aggregationRule",
        )),
    }
}

/// Whether the user may grant the role the binding names.
pub(super) async fn may_bind(
    registry: &Arc<Registry>,
    context: &RequestContext,
    binding: &Value,
    cluster: bool,
) -> Result<(), ApiError> {
    let place = namespace(binding);
    let Some(role) = binding
        .get("roleRef")
        .and_then(|reference| RoleRef::parse(reference, place))
    else {
        return Ok(());
    };
    let (role_resource, role_name) = match &role {
        RoleRef::Cluster(name) => ("clusterroles", name),
        RoleRef::Namespaced { name, .. } => ("roles", name),
    };
    if exempt(context) || allowed(registry, context, "bind", role_resource, place, role_name).await {
        return Ok(());
    }
    let rbac = Rbac::new(registry.reader().clone());
    let grants = rbac.grants().await?;
    let resource = if cluster { "clusterrolebindings" } else { "rolebindings" };
    if !grants.roles.contains_key(&role) {
        return Err(ApiError::not_found(&format!("{role_resource}.{GROUP}"), role_name));
    }
    let what = Granting {
        resource,
        name: name(binding),
        namespace: place,
    };
    what.check(&rbac, context, grants.rules_of(&role)).await
}

fn exempt(context: &RequestContext) -> bool {
    context.user.is_in(crate::identity::MASTERS)
}

async fn allowed(
    registry: &Arc<Registry>,
    context: &RequestContext,
    verb: &'static str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let info = RequestInfo {
        verb: verb.into(),
        is_resource: true,
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..RequestInfo::default()
    };
    let Ok(access) = registry.access() else { return false };
    let decision = access
        .authorizer
        .authorize(&Attributes {
            user: context.user.clone(),
            info,
        })
        .await;
    matches!(decision, Decision::Allow { .. })
}

struct Granting<'a> {
    resource: &'static str,
    name: &'a str,
    namespace: &'a str,
}

impl Granting<'_> {
    async fn check(&self, rbac: &Rbac, context: &RequestContext, wanted: &[PolicyRule]) -> Result<(), ApiError> {
        let who = Who {
            name: &context.user.name,
            groups: &context.user.groups,
        };
        let missing = uncovered(&rbac.rules(who, self.namespace).await?, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = missing.iter().map(shown).collect();
        let why = format!(
            "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
            context.user.name,
            context.user.groups,
            shown.join("\n")
        );
        Err(ApiError::forbidden(
            &format!("{}.{GROUP}", self.resource),
            self.name,
            &why,
        ))
    }
}

fn shown(rule: &PolicyRule) -> String {
    let mut parts = Vec::new();
    for (field, values) in [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ] {
        if !values.is_empty() {
            parts.push(format!("{field}:{values:?}"));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
