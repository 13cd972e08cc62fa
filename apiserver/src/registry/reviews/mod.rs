//! Reviews: questions about access and identity, asked by creating an object that is answered and never stored.

mod rules;

use super::fields::{at, entries, list, text};
use super::strategy::{self, *};
use crate::authz::{Attributes, Decision};
use crate::{ApiError, FieldError, RequestInfo, User};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// `subjectaccessreviews` and its two relatives: may somebody do something?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessReview {
    /// About anybody.
    Subject,
    /// About anybody, in the namespace of the request.
    Local,
    /// About whoever asks.
    Own,
}

/// `selfsubjectrulesreviews`: what may I do?
pub struct RulesReview;

/// `selfsubjectreviews`: who am I?
pub struct SelfReview;

/// `tokenreviews`: whose token is this?
pub struct TokenReview;

#[async_trait::async_trait]
impl Strategy for AccessReview {
    fn stored(&self) -> bool {
        false
    }

    async fn act(&self, action: strategy::Action<'_>) -> Result<Reply, ApiError> {
        let mut review = action.object;
        let problems = self.problems(&review, action.namespace);
        if !problems.is_empty() {
            return Err(ApiError::invalid(
                &format!("{}.authorization.k8s.io", text(&review, "kind")),
                "",
                problems,
            ));
        }
        let user = match self {
            AccessReview::Own => action.context.user.clone(),
            _ => user_of(&review["spec"]),
        };
        let attributes = Attributes {
            user,
            info: info_of(&review["spec"]),
        };
        review["status"] = status(action.registry.access()?.authorizer.authorize(&attributes).await);
        Ok(Reply::created(review))
    }
}

impl AccessReview {
    fn problems(self, review: &Value, namespace: &str) -> Vec<FieldError> {
        let spec = &review["spec"];
        let mut problems = Vec::new();
        let (resource, path) = (at(spec, "resourceAttributes"), at(spec, "nonResourceAttributes"));
        if resource.is_some() == path.is_some() {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            problems.push(FieldError::invalid(
                "spec.resourceAttributes",
                resource.unwrap_or(&Value::Null),
                detail,
            ));
        }
        if self != AccessReview::Own && text(spec, "user").is_empty() && list(spec, "groups").is_empty() {
            let detail = "at least one of user or group must be specified";
            problems.push(FieldError::invalid("spec.user", &json!(""), detail));
        }
        if self == AccessReview::Local {
            if path.is_some() {
                let detail = "disallowed on this kind of request";
                problems.push(FieldError::invalid(
                    "spec.nonResourceAttributes",
                    path.unwrap_or(&Value::Null),
                    detail,
                ));
            }
            let asked = text(spec, "resourceAttributes.namespace");
            if asked != namespace {
                let detail = format!("must match metadata.namespace: {namespace}");
                problems.push(FieldError::invalid(
                    "spec.resourceAttributes.namespace",
                    &json!(asked),
                    &detail,
                ));
            }
        }
        problems
    }
}

fn user_of(spec: &Value) -> User {
    let texts = |values: &[Value]| {
        values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let extra: BTreeMap<String, Vec<String>> = entries(spec, "extra")
        .map(|(key, values)| (key.clone(), texts(values.as_array().map_or(&[], Vec::as_slice))))
        .collect();
    User {
        name: text(spec, "user").into(),
        uid: text(spec, "uid").into(),
        groups: texts(list(spec, "groups")),
        extra,
    }
}

fn info_of(spec: &Value) -> RequestInfo {
    if let Some(path) = at(spec, "nonResourceAttributes") {
        return RequestInfo {
            path: text(path, "path").into(),
            verb: text(path, "verb").to_owned().into(),
            ..RequestInfo::default()
        };
    }
    let of = |field: &str| text(spec, &format!("resourceAttributes.{field}")).to_owned();
    RequestInfo {
        verb: of("verb").into(),
        is_resource: true,
        group: of("group"),
        version: of("version"),
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        ..RequestInfo::default()
    }
}

fn status(decision: Decision) -> Value {
    let (allowed, denied, reason) = match decision {
        Decision::Allow { reason } => (true, false, reason),
        Decision::Deny { reason } => (false, true, reason),
        Decision::NoOpinion { reason } => (false, false, reason),
    };
    let mut status = Map::from_iter([("allowed".to_owned(), json!(allowed))]);
    if denied {
        status.insert("denied".into(), json!(true));
    }
    if !reason.is_empty() {
        status.insert("reason".into(), json!(reason));
    }
    Value::Object(status)
}

#[async_trait::async_trait]
impl Strategy for RulesReview {
    fn stored(&self) -> bool {
        false
    }

    async fn act(&self, action: strategy::Action<'_>) -> Result<Reply, ApiError> {
        let mut review = action.object;
        let namespace = text(&review, "spec.namespace").to_owned();
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        review["status"] =
            rules::status(&*action.registry.access()?.authorizer, &action.context.user, &namespace).await?;
        Ok(Reply::created(review))
    }
}

#[async_trait::async_trait]
impl Strategy for SelfReview {
    fn stored(&self) -> bool {
        false
    }

    async fn act(&self, action: strategy::Action<'_>) -> Result<Reply, ApiError> {
        let mut review = action.object;
        review["status"] = json!({"userInfo": user_info(&action.context.user)});
        Ok(Reply::created(review))
    }
}

#[async_trait::async_trait]
impl Strategy for TokenReview {
    fn stored(&self) -> bool {
        false
    }

    async fn act(&self, action: strategy::Action<'_>) -> Result<Reply, ApiError> {
        let mut review = action.object;
        let token = text(&review, "spec.token").to_owned();
        if token.is_empty() {
            return Err(ApiError::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let audiences: Vec<String> = list(&review, "spec.audiences")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let checked = action.registry.access()?.bearers.check(&token, &audiences).await;
        review["status"] = match checked {
            Ok(accepted) => {
                let user = accepted.user.authenticated();
                json!({"authenticated": true, "user": user_info(&user), "audiences": accepted.audiences})
            }
            Err(why) => json!({"authenticated": false, "user": {}, "error": why}),
        };
        Ok(Reply::created(review))
    }
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_asks_about_one_thing() {
        let ask = |spec: Value| AccessReview::Own.problems(&json!({ "spec": spec }), "").len();
        assert_eq!(ask(json!({"resourceAttributes": {"verb": "get"}})), 0);
        assert_eq!(ask(json!({})), 1);
        assert_eq!(ask(json!({"resourceAttributes": {}, "nonResourceAttributes": {}})), 1);
        let local = |namespace: &str| {
            let spec = json!({"user": "a", "resourceAttributes": {"namespace": "x"}});
            AccessReview::Local.problems(&json!({ "spec": spec }), namespace).len()
        };
        assert_eq!((local("x"), local("y")), (0, 1));
    }
}
