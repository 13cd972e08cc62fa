//! What a service-account token says. Pure: no keys, no clock, no store.

use crate::User;
use crate::registry::fields::text;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The user names of service accounts begin with this.
pub const USER_PREFIX: &str = "system:serviceaccount:";
const GROUP: &str = "system:serviceaccounts";
const EXTRA: &str = "authentication.kubernetes.io/";

/// The body of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    #[serde(default)]
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    pub nbf: i64,
    pub sub: String,
}

/// What the token is bound to. It is good only as long as all of it exists under these uids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    pub serviceaccount: Reference,
}

/// An object by name and uid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    #[serde(default)]
    pub uid: String,
}

impl Reference {
    /// Points at `object`.
    pub fn to(object: &Value) -> Reference {
        Reference {
            name: text(object, "metadata.name").to_owned(),
            uid: text(object, "metadata.uid").to_owned(),
        }
    }

    /// Whether `object` is still the one that was meant, not another of the same name.
    pub fn is(&self, object: &Value) -> bool {
        !self.uid.is_empty() && self.uid == text(object, "metadata.uid")
    }
}

impl Claims {
    /// The identity the token stands for.
    pub fn user(&self) -> User {
        let bound = &self.kubernetes;
        let mut extra = BTreeMap::new();
        let mut tell = |key: &str, value: String| extra.insert(format!("{EXTRA}{key}"), vec![value]);
        if !self.jti.is_empty() {
            tell("credential-id", format!("JTI={}", self.jti));
        }
        for (kind, reference) in [("node", &bound.node), ("pod", &bound.pod)] {
            if let Some(reference) = reference {
                tell(&format!("{kind}-name"), reference.name.clone());
                tell(&format!("{kind}-uid"), reference.uid.clone());
            }
        }
        User {
            uid: bound.serviceaccount.uid.clone(),
            extra,
            ..user(&bound.namespace, &bound.serviceaccount.name)
        }
    }
}

/// The identity of a service account, without what only a token knows.
pub fn user(namespace: &str, name: &str) -> User {
    User::new(
        format!("{USER_PREFIX}{namespace}:{name}"),
        &[GROUP, &format!("{GROUP}:{namespace}")],
    )
}

/// Namespace and name out of a service account's user name.
pub fn split(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(USER_PREFIX)?.split_once(':')
}

/// JWT allows an audience to be one string instead of a list.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}
