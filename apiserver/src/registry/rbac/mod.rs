//! Roles and bindings. What is special: a binding's role never changes, names are free of DNS rules, and nobody may grant
//! what they do not hold.

mod guard;

use super::check::{self, Errors};
use super::fields::{at, list, text};
use super::strategy::*;
use super::table::{AGE, NAME, age, column, name, wide};
use super::{Registry, RequestContext};
use crate::{ApiError, FieldError};
use serde_json::{Value, json};
use std::sync::Arc;

/// The strategy of `roles` and `clusterroles`.
pub struct Roles {
    pub cluster: bool,
}

/// The strategy of `rolebindings` and `clusterrolebindings`.
pub struct Bindings {
    pub cluster: bool,
}

const ROLE_COLUMNS: &[Column] = &[NAME, column("Created At", "date", "When the object was created.")];

const BINDING_COLUMNS: &[Column] = &[
    NAME,
    column("Role", "string", "The role it grants."),
    AGE,
    wide("Users", "string", "Users it grants the role to."),
    wide("Groups", "string", "Groups it grants the role to."),
    wide("ServiceAccounts", "string", "Service accounts it grants the role to."),
];

const API_GROUP: &str = "rbac.authorization.k8s.io";

#[async_trait::async_trait]
impl Strategy for Roles {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, role: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (index, rule) in list(role, "rules").iter().enumerate() {
            validate_rule(&mut errors, rule, &format!("rules[{index}]"), self.cluster);
        }
        if let Some(aggregation) = at(role, "aggregationRule") {
            for (index, selector) in list(aggregation, "clusterRoleSelectors").iter().enumerate() {
                check::selector(
                    &mut errors,
                    selector,
                    &format!("aggregationRule.clusterRoleSelectors[{index}]"),
                );
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        ROLE_COLUMNS
    }

    async fn begin_create(
        &self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        role: &mut Value,
    ) -> Result<(), ApiError> {
        if self.cluster && collects(role) {
            guard::may_collect(registry, context, role).await?;
        }
        guard::may_define(registry, context, role, self.cluster).await
    }

    async fn begin_update(
        &self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        _subresource: &str,
        old: &Value,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        if self.cluster && (collects(old) || collects(new)) {
            guard::may_collect(registry, context, new).await?;
        }
        // Changing other metadata grants nothing; by its labels a role may be collected into another.
        let same = |path| super::fields::same(at(old, path), at(new, path));
        if same("rules") && same("metadata.labels") {
            return Ok(());
        }
        guard::may_define(registry, context, new, self.cluster).await
    }
}

/// Whether a role collects the rules of others.
fn collects(role: &Value) -> bool {
    !list(role, "aggregationRule.clusterRoleSelectors").is_empty()
}

fn validate_rule(errors: &mut Errors, rule: &Value, path: &str, cluster: bool) {
    if list(rule, "verbs").is_empty() {
        errors.push(FieldError::required(
            format!("{path}.verbs"),
            "verbs must contain at least one value",
        ));
    }
    let resources = !list(rule, "resources").is_empty();
    let paths = !list(rule, "nonResourceURLs").is_empty();
    if paths {
        if !cluster {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            errors.push(FieldError::invalid(
                format!("{path}.nonResourceURLs"),
                &rule["nonResourceURLs"],
                detail,
            ));
        }
        if resources || !list(rule, "apiGroups").is_empty() || !list(rule, "resourceNames").is_empty() {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(
                format!("{path}.nonResourceURLs"),
                &rule["nonResourceURLs"],
                detail,
            ));
        }
        return;
    }
    if list(rule, "apiGroups").is_empty() {
        errors.push(FieldError::required(
            format!("{path}.apiGroups"),
            "resource rules must supply at least one api group",
        ));
    }
    if !resources {
        errors.push(FieldError::required(
            format!("{path}.resources"),
            "resource rules must supply at least one resource",
        ));
    }
}

#[async_trait::async_trait]
impl Strategy for Bindings {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, binding: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let kinds: &[&str] = if self.cluster {
            &["ClusterRole"]
        } else {
            &["Role", "ClusterRole"]
        };
        let role = at(binding, "roleRef").cloned().unwrap_or_default();
        if text(&role, "apiGroup") != API_GROUP {
            errors.push(FieldError::not_supported(
                "roleRef.apiGroup",
                &json!(text(&role, "apiGroup")),
                &[API_GROUP],
            ));
        }
        if !kinds.contains(&text(&role, "kind")) {
            errors.push(FieldError::not_supported(
                "roleRef.kind",
                &json!(text(&role, "kind")),
                kinds,
            ));
        }
        check::required_shape(&mut errors, &role, "roleRef", "name", super::names::path_segment);
        for (index, subject) in list(binding, "subjects").iter().enumerate() {
            validate_subject(&mut errors, subject, &format!("subjects[{index}]"), self.cluster);
        }
        errors
    }

    fn validate_update(&self, _subresource: &str, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        if !super::fields::same(at(new, "roleRef"), at(old, "roleRef")) {
            let given = at(new, "roleRef").cloned().unwrap_or_default();
            errors.push(FieldError::invalid("roleRef", &given, "cannot change roleRef"));
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        BINDING_COLUMNS
    }

    fn cells(&self, binding: &Value, now: jiff::Timestamp) -> Cells {
        let role = format!("{}/{}", text(binding, "roleRef.kind"), text(binding, "roleRef.name"));
        let of = |kind: &str| {
            let subjects = list(binding, "subjects").iter().filter(|s| text(s, "kind") == kind);
            let names = subjects.map(|s| match text(s, "namespace") {
                "" => text(s, "name").to_owned(),
                namespace => format!("{namespace}/{}", text(s, "name")),
            });
            json!(names.collect::<Vec<_>>().join(", "))
        };
        vec![
            name(binding),
            json!(role),
            age(binding, now),
            of("User"),
            of("Group"),
            of("ServiceAccount"),
        ]
    }

    async fn begin_create(
        &self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        binding: &mut Value,
    ) -> Result<(), ApiError> {
        guard::may_bind(registry, context, binding, self.cluster).await
    }

    async fn begin_update(
        &self,
        registry: &Arc<Registry>,
        context: &RequestContext,
        _subresource: &str,
        old: &Value,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        if super::fields::same(old.get("subjects"), new.get("subjects")) {
            return Ok(());
        }
        guard::may_bind(registry, context, new, self.cluster).await
    }
}

fn validate_subject(errors: &mut Errors, subject: &Value, path: &str, cluster: bool) {
    check::required(errors, subject, path, "name");
    let group = text(subject, "apiGroup");
    match text(subject, "kind") {
        "ServiceAccount" => {
            check::shape(errors, subject, path, "name", super::names::dns_subdomain);
            if !group.is_empty() {
                errors.push(FieldError::not_supported(
                    format!("{path}.apiGroup"),
                    &json!(group),
                    &[""],
                ));
            }
            if cluster {
                check::required(errors, subject, path, "namespace");
            }
        }
        "User" | "Group" => {
            if group != API_GROUP {
                errors.push(FieldError::not_supported(
                    format!("{path}.apiGroup"),
                    &json!(group),
                    &[API_GROUP],
                ));
            }
        }
        other => {
            let supported = &["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported(
                format!("{path}.kind"),
                &json!(other),
                supported,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_of_a_binding_is_fixed() {
        let binding = |role: &str| {
            json!({"roleRef": {"apiGroup": API_GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "a", "apiGroup": API_GROUP}]})
        };
        let strategy = Bindings { cluster: true };
        assert!(strategy.validate(&binding("x")).is_empty());
        let found = strategy.validate_update("", &binding("y"), &binding("x"));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().ends_with("cannot change roleRef"));
    }

    #[test]
    fn rules_name_resources_or_paths() {
        let problems = |cluster, rule: Value| Roles { cluster }.validate(&json!({"rules": [rule]})).len();
        assert_eq!(
            problems(
                false,
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]})
            ),
            0
        );
        assert_eq!(problems(true, json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})), 0);
        assert_eq!(problems(false, json!({"verbs": ["get"], "nonResourceURLs": ["/x"]})), 1);
        assert_eq!(problems(true, json!({"verbs": []})), 3);
    }
}
