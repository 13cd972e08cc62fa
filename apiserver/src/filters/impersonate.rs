//! `Impersonate-*` headers: act as somebody else, if the real user may.
//!
//! Each thing that is claimed is a question of its own for the real user: the verb `impersonate` on `users` or `serviceaccounts`, on
//! each of `groups`, on `uids`, and on `userextras/<key>` with the value for a name. `system:masters` is a group like any other:
//! whoever may impersonate it may do everything, so a role has to name it or `*`.

use crate::authn::claims;
use crate::authz::{Attributes, Decision};
use crate::identity::{ANONYMOUS, UNAUTHENTICATED};
use crate::registry::names;
use crate::{ApiError, RequestInfo, Server, User, chain};
use http::{HeaderMap, HeaderValue};
use std::collections::BTreeMap;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
/// Each claim costs a decision.
const CLAIMS_MAX: usize = 256;

/// The user that the rest of the chain sees. Every impersonated attribute is authorized separately, for the real user.
pub(crate) async fn effective(server: &Server, parts: &http::request::Parts, real: User) -> Result<User, ApiError> {
    let Some(wanted) = wanted(&parts.headers)? else {
        return Ok(real);
    };
    for question in questions(&wanted) {
        let attributes = Attributes {
            user: real.clone(),
            info: question.clone(),
        };
        match server.authorizer.authorize(&attributes).await {
            Decision::Allow { .. } => {}
            Decision::Deny { reason } | Decision::NoOpinion { reason } => {
                return Err(chain::refusal(&real, &question, &reason));
            }
        }
    }
    Ok(complete(wanted))
}

/// `None` without impersonation headers; 400 for anything else without a user.
fn wanted(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let claims = headers.keys().filter(|name| name.as_str().starts_with("impersonate-"));
    let claims: usize = claims.map(|name| headers.get_all(name).iter().count()).sum();
    if claims == 0 {
        return Ok(None);
    }
    if claims > CLAIMS_MAX {
        return Err(ApiError::bad_request(format!(
            "at most {CLAIMS_MAX} impersonation headers are read"
        )));
    }
    let first = |name: &str| headers.get(name).map(text).transpose();
    let groups: Result<Vec<String>, ApiError> = headers.get_all(GROUP).iter().map(text).collect();
    let user = User {
        name: first(USER)?.unwrap_or_default(),
        uid: first(UID)?.unwrap_or_default(),
        groups: groups?,
        extra: extra(headers)?,
    };
    let anything = !user.groups.is_empty() || !user.extra.is_empty() || !user.uid.is_empty();
    match (user.name.is_empty(), anything) {
        (true, false) => Ok(None),
        (true, true) => Err(ApiError::bad_request(format!(
            "requested {} without impersonating a user",
            claimed(&user)
        ))),
        (false, _) => Ok(Some(user)),
    }
}

fn claimed(user: &User) -> String {
    let mut parts = Vec::new();
    if !user.groups.is_empty() {
        parts.push(format!("groups {:?}", user.groups));
    }
    if !user.extra.is_empty() {
        parts.push(format!("extra {:?}", user.extra));
    }
    if !user.uid.is_empty() {
        parts.push(format!("uid {:?}", user.uid));
    }
    parts.join(" and ")
}

/// What is no text might be read as another name elsewhere.
fn text(value: &HeaderValue) -> Result<String, ApiError> {
    let text = String::from_utf8(value.as_bytes().to_vec());
    text.map_err(|_| ApiError::bad_request("an impersonation header is not UTF-8"))
}

fn extra(headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, ApiError> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        match name.as_str().strip_prefix(EXTRA) {
            None => {}
            // It would be asked about without its key, as if it were all keys.
            Some("") => return Err(ApiError::bad_request("an Impersonate-Extra- header has no key")),
            Some(key) => extra.entry(decoded(key)).or_default().push(text(value)?),
        }
    }
    Ok(extra)
}

/// `acme.com%2fproject` names `acme.com/project`.
fn decoded(key: &str) -> String {
    crate::endpoints::query::percent_decode(key, false)
}

/// Namespace and name of a service account, if the name of the user can be one's.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = claims::split(user)?;
    let good = names::dns_label(namespace).is_none() && names::dns_subdomain(name).is_none();
    good.then_some((namespace, name))
}

fn questions(user: &User) -> Vec<RequestInfo> {
    let mut questions = Vec::new();
    let mut ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        questions.push(RequestInfo {
            verb: "impersonate".into(),
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
    match account(&user.name) {
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
fn complete(mut user: User) -> User {
    if user.name == ANONYMOUS {
        if !user.is_in(UNAUTHENTICATED) {
            user.groups.push(UNAUTHENTICATED.into());
        }
        return user;
    }
    if user.groups.is_empty()
        && let Some((namespace, name)) = account(&user.name)
    {
        user.groups = claims::user(namespace, name).groups;
    }
    user.authenticated()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse::<http::HeaderName>().unwrap(), v.parse().unwrap()))
            .collect()
    }

    fn asked(pairs: &[(&str, &str)]) -> Vec<String> {
        let user = wanted(&headers(pairs)).unwrap().unwrap();
        let shown = |i: &RequestInfo| {
            format!(
                "{}/{}/{} {}/{}",
                i.group, i.resource, i.subresource, i.namespace, i.name
            )
        };
        questions(&user).iter().map(shown).collect()
    }

    #[test]
    fn everything_that_is_claimed_is_asked_about() {
        let claims = [
            ("impersonate-user", "anna"),
            ("impersonate-group", "devs"),
            ("impersonate-group", "system:masters"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fteam", "blue"),
            ("impersonate-extra-acme.com%2Fteam", "red"),
        ];
        let expected = [
            "/users/ /anna",
            "/groups/ /devs",
            "/groups/ /system:masters",
            "authentication.k8s.io/uids/ /7",
            "authentication.k8s.io/userextras/acme.com/team /blue",
            "authentication.k8s.io/userextras/acme.com/team /red",
        ];
        assert_eq!(asked(&claims), expected);
    }

    #[test]
    fn only_a_name_that_an_account_can_have_is_an_accounts() {
        assert_eq!(
            asked(&[("impersonate-user", "system:serviceaccount:a:bot")]),
            ["/serviceaccounts/ a/bot"]
        );
        for name in [
            "system:serviceaccount:a",
            "system:serviceaccount::bot",
            "system:serviceaccount:a:",
            "system:serviceaccount:a:b:c",
            "system:serviceaccount:A_:bot",
        ] {
            assert_eq!(asked(&[("impersonate-user", name)]), [format!("/users/ /{name}")]);
        }
    }

    #[test]
    fn nothing_is_claimed_without_a_user() {
        assert_eq!(wanted(&headers(&[])), Ok(None));
        for claim in [
            ("impersonate-group", "system:masters"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-a", "b"),
        ] {
            let refused = wanted(&headers(&[claim])).unwrap_err();
            assert_eq!(refused.code, 400);
            assert!(refused.message.ends_with("without impersonating a user"), "{refused}");
            assert_eq!(
                wanted(&headers(&[claim, ("impersonate-user", "")])).unwrap_err().code,
                400
            );
        }
        let keyless = [("impersonate-user", "a"), ("impersonate-extra-", "b")];
        assert_eq!(wanted(&headers(&keyless)).unwrap_err().code, 400);
        let mut bytes = headers(&[]);
        bytes.insert(USER, HeaderValue::from_bytes(b"ann\xff").unwrap());
        assert_eq!(wanted(&bytes).unwrap_err().code, 400);
    }

    #[test]
    fn groups_are_completed_as_authentication_would() {
        let groups = |name: &str, groups: &[&str]| complete(User::new(name, groups)).groups;
        assert_eq!(groups("anna", &["devs"]), ["devs", "system:authenticated"]);
        assert_eq!(groups("anna", &["system:unauthenticated"]), ["system:unauthenticated"]);
        assert_eq!(groups("system:anonymous", &[]), ["system:unauthenticated"]);
        assert_eq!(
            groups("system:serviceaccount:a:bot", &[]),
            [
                "system:serviceaccounts",
                "system:serviceaccounts:a",
                "system:authenticated"
            ]
        );
        assert_eq!(
            groups("system:serviceaccount:a:bot", &["x"]),
            ["x", "system:authenticated"]
        );
    }
}
