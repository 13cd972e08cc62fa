//! Service accounts and their tokens (`serviceaccounts/token`).

use super::check::{self, Errors};
use super::fields::{at, list, name, rfc3339, text};
use super::strategy::{self, *};
use super::table::{AGE, NAME, age, column};
use super::{Reader, names};
use crate::authn::claims::{Bound, Reference};
use crate::authn::tokens::Tokens;
use crate::{ApiError, FieldError};
use serde_json::{Value, json};
use std::sync::Arc;

/// The strategy of `serviceaccounts`.
pub struct ServiceAccounts {
    /// Absent when the server has no keys to sign with.
    pub tokens: Option<Arc<Tokens>>,
}

const EXPIRATION_SECONDS_DEFAULT: i64 = 3600;
const EXPIRATION_SECONDS_MIN: i64 = 600;
const EXPIRATION_SECONDS_MAX: i64 = 1 << 32;

const COLUMNS: &[Column] = &[NAME, column("Secrets", "string", "How many secrets it lists."), AGE];

#[async_trait::async_trait]
impl Strategy for ServiceAccounts {
    fn validate(&self, account: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (index, secret) in list(account, "imagePullSecrets").iter().enumerate() {
            check::shape(
                &mut errors,
                secret,
                &format!("imagePullSecrets[{index}]"),
                "name",
                names::dns_subdomain,
            );
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, account: &Value, now: jiff::Timestamp) -> Cells {
        vec![
            super::table::name(account),
            json!(list(account, "secrets").len()),
            age(account, now),
        ]
    }

    fn subresource(&self, name: &str) -> Option<Subresource<'_>> {
        (name == "token").then_some(Subresource::Action)
    }

    async fn act(&self, action: strategy::Action<'_>) -> Result<Reply, ApiError> {
        let Some(tokens) = &self.tokens else {
            return Err(ApiError::unavailable(
                "this API server has no key to sign service-account tokens with",
            ));
        };
        let problems = validate_request(&action.object);
        if !problems.is_empty() {
            return Err(ApiError::invalid(
                "TokenRequest.authentication.k8s.io",
                action.name,
                problems,
            ));
        }
        let reader = action.registry.reader();
        let account = reader.get("serviceaccounts", action.namespace, action.name).await?;
        let mut bound = Bound {
            namespace: action.namespace.to_owned(),
            serviceaccount: Reference::to(&account),
            ..Bound::default()
        };
        if let Some(object) = at(&action.object, "spec.boundObjectRef") {
            bind(reader, object, &mut bound).await?;
        }
        let audiences = list(&action.object, "spec.audiences").iter().filter_map(Value::as_str);
        let seconds = expiration(&action.object);
        let (token, claims) = tokens.issue(audiences.map(str::to_owned).collect(), bound, seconds)?;
        Ok(Reply::created(reply(action.object, &token, &claims, &account)))
    }
}

fn expiration(request: &Value) -> i64 {
    at(request, "spec.expirationSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(EXPIRATION_SECONDS_DEFAULT)
}

fn validate_request(request: &Value) -> Vec<FieldError> {
    let field = "spec.expirationSeconds";
    let seconds = expiration(request);
    let detail = match seconds {
        s if s < EXPIRATION_SECONDS_MIN => "may not specify a duration less than 10 minutes",
        s if s > EXPIRATION_SECONDS_MAX => "may not specify a duration larger than 2^32 seconds",
        _ => return Vec::new(),
    };
    vec![FieldError::invalid(field, &json!(seconds), detail)]
}

fn reply(mut request: Value, token: &str, claims: &crate::authn::claims::Claims, account: &Value) -> Value {
    let expires = jiff::Timestamp::from_second(claims.exp).unwrap_or(jiff::Timestamp::MAX);
    request["apiVersion"] = json!("authentication.k8s.io/v1");
    request["kind"] = json!("TokenRequest");
    request["metadata"] = json!({"name": name(account), "namespace": text(account, "metadata.namespace"),
        "creationTimestamp": rfc3339(jiff::Timestamp::now())});
    request["spec"]["audiences"] = json!(claims.aud);
    request["spec"]["expirationSeconds"] = json!(claims.exp - claims.iat);
    request["status"] = json!({"token": token, "expirationTimestamp": rfc3339(expires)});
    request
}

/// A token may die with a pod, a secret or a node besides its account.
async fn bind(reader: &Reader, object: &Value, bound: &mut Bound) -> Result<(), ApiError> {
    let (kind, wanted, uid) = (text(object, "kind"), text(object, "name"), text(object, "uid"));
    let (resource, namespace) = match kind {
        "Pod" => ("pods", bound.namespace.clone()),
        "Secret" => ("secrets", bound.namespace.clone()),
        "Node" => ("nodes", String::new()),
        _ => {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount to kind {kind:?}"
            )));
        }
    };
    let found = reader.get(resource, &namespace, wanted).await?;
    let reference = Reference::to(&found);
    if !uid.is_empty() && uid != reference.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object \
            might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(resource, wanted, &why));
    }
    match kind {
        "Pod" => {
            let account = text(&found, "spec.serviceAccountName");
            if account != bound.serviceaccount.name {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    bound.serviceaccount.name
                )));
            }
            bound.node = node_of(reader, &found).await;
            bound.pod = Some(reference);
        }
        "Secret" => bound.secret = Some(reference),
        _ => bound.node = Some(reference),
    }
    Ok(())
}

/// A pod's token tells where the pod runs.
async fn node_of(reader: &Reader, pod: &Value) -> Option<Reference> {
    let node = text(pod, "spec.nodeName");
    if node.is_empty() {
        return None;
    }
    let uid = reader
        .get("nodes", "", node)
        .await
        .map(|node| Reference::to(&node).uid)
        .unwrap_or_default();
    Some(Reference {
        name: node.to_owned(),
        uid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_live_between_ten_minutes_and_a_century() {
        let problems = |seconds: i64| validate_request(&json!({"spec": {"expirationSeconds": seconds}})).len();
        assert_eq!((problems(600), problems(599), problems(1 << 33)), (0, 1, 1));
        assert_eq!(expiration(&json!({"spec": {}})), 3600);
    }
}
