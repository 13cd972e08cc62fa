//! `Impersonate-*` headers: act as somebody else, if the real user may.

use crate::authz::{Attributes, Decision};
use crate::identity::{AUTHENTICATED, UNAUTHENTICATED};
use crate::{ApiError, RequestInfo, Server, User, chain};
use http::HeaderMap;
use std::collections::BTreeMap;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The user that the rest of the chain sees. Every impersonated attribute is authorized separately, for the real user.
pub(crate) async fn effective(
    server: &Server,
    parts: &http::request::Parts,
    real: User,
    _info: &RequestInfo,
) -> Result<User, ApiError> {
    let Some(mut wanted) = wanted(&parts.headers)? else {
        return Ok(real);
    };
    for question in questions(&wanted) {
        let attributes = Attributes {
            user: real.clone(),
            info: question.clone(),
        };
        if !matches!(server.authorizer.authorize(&attributes).await, Decision::Allow { .. }) {
            return Err(chain::refusal(&real, &question, ""));
        }
    }
    complete(&mut wanted);
    Ok(wanted)
}

/// `None` without impersonation headers; 400 for a group or extra without a user.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let name = headers.get(USER).map(text).unwrap_or_default();
    let mut user = User {
        name,
        uid: headers.get(UID).map(text).unwrap_or_default(),
        ..User::default()
    };
    user.groups = headers.get_all(GROUP).iter().map(text).collect();
    user.extra = extra(headers);
    let anything = !user.groups.is_empty() || !user.extra.is_empty() || !user.uid.is_empty();
    match (user.name.is_empty(), anything) {
        (true, false) => Ok(None),
        (true, true) => Err(ApiError::bad_request(
            "requested attributes to impersonate without impersonating a user",
        )),
        (false, _) => Ok(Some(user)),
    }
}

fn extra(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra
                .entry(percent_decoded(key))
                .or_default()
                .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    extra
}

fn percent_decoded(text: &str) -> String {
    crate::endpoints::query::percent_decode(text, false)
}

fn questions(user: &User) -> Vec<RequestInfo> {
    let mut questions = Vec::new();
    let mut ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        questions.push(RequestInfo {
            verb: "impersonate",
            is_resource: true,
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..RequestInfo::default()
        });
    };
    match user
        .name
        .strip_prefix(SERVICE_ACCOUNT)
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
        None => ask("", "users", "", "", &user.name),
    }
    for group in &user.groups {
        ask("", "groups", "", "", group);
    }
    if !user.uid.is_empty() {
        ask("authentication.k8s.io", "uids", "", "", &user.uid);
    }
    for (key, values) in &user.extra {
        for value in values {
            ask("authentication.k8s.io", "userextras", key, "", value);
        }
    }
    questions
}

/// Adds the groups that authentication would have added.
fn complete(user: &mut User) {
    if user.name == crate::identity::ANONYMOUS {
        user.groups.push(UNAUTHENTICATED.into());
        return;
    }
    if user.groups.is_empty()
        && let Some((namespace, _)) = user
            .name
            .strip_prefix(SERVICE_ACCOUNT)
            .and_then(|rest| rest.split_once(':'))
    {
        user.groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
        user.groups.push(AUTHENTICATED.into());
    }
}
