//! Front proxies: whoever shows a certificate of their CA, under one of the names that are allowed, says in headers who sends the
//! request. From anybody else the same headers mean nothing, and no header of this kind gets past authentication.

use super::Authenticator;
use super::x509::common_name;
use crate::endpoints::query::percent_decode;
use crate::identity::PeerCertificates;
use crate::{ApiError, User};
use http::{HeaderMap, HeaderName};
use pki::tls::ClientVerifier;
use std::collections::BTreeMap;

/// See the module.
pub struct FrontProxy {
    pub verifier: ClientVerifier,
    /// Any name, when empty.
    pub allowed_names: Vec<String>,
    pub headers: Headers,
}

/// The headers a proxy speaks in, in the order they are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    username: Vec<HeaderName>,
    uid: Vec<HeaderName>,
    group: Vec<HeaderName>,
    /// Lower case; never empty strings.
    extra_prefixes: Vec<String>,
}

/// Headers of each kind, at most.
const HEADERS_MAX: usize = 16;

impl Headers {
    /// Headers by name; the usual ones for lists that are empty. The error names the option.
    pub fn new(
        username: &[String],
        uid: &[String],
        group: &[String],
        extra_prefixes: &[String],
    ) -> Result<Headers, (&'static str, String)> {
        Ok(Headers {
            username: names("requestheaderUsernameHeaders", username, "x-remote-user")?,
            uid: names("requestheaderUidHeaders", uid, "x-remote-uid")?,
            group: names("requestheaderGroupHeaders", group, "x-remote-group")?,
            extra_prefixes: names("requestheaderExtraHeadersPrefix", extra_prefixes, "x-remote-extra-")?
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
        })
    }

    /// Whether a header is one of them.
    pub fn contain(&self, name: &HeaderName) -> bool {
        [&self.username, &self.uid, &self.group]
            .iter()
            .any(|kind| kind.contains(name))
            || self
                .extra_prefixes
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
    }

    /// The user they name, if they name one.
    fn user(&self, headers: &HeaderMap) -> Result<Option<User>, ApiError> {
        let Some(name) = first(headers, &self.username)? else {
            return Ok(None);
        };
        let mut groups = Vec::new();
        for value in self.group.iter().flat_map(|name| headers.get_all(name)) {
            groups.push(text(value)?);
        }
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            let key = |prefix: &String| name.as_str().strip_prefix(prefix.as_str());
            if let Some(key) = self.extra_prefixes.iter().find_map(key).filter(|key| !key.is_empty()) {
                extra.entry(percent_decode(key, false)).or_default().push(text(value)?);
            }
        }
        Ok(Some(User {
            name,
            uid: first(headers, &self.uid)?.unwrap_or_default(),
            groups: groups.into_iter().filter(|group| !group.is_empty()).collect(),
            extra,
        }))
    }
}

impl Default for Headers {
    fn default() -> Headers {
        Headers {
            username: vec![HeaderName::from_static("x-remote-user")],
            uid: vec![HeaderName::from_static("x-remote-uid")],
            group: vec![HeaderName::from_static("x-remote-group")],
            extra_prefixes: vec!["x-remote-extra-".into()],
        }
    }
}

fn names(
    option: &'static str,
    given: &[String],
    usual: &'static str,
) -> Result<Vec<HeaderName>, (&'static str, String)> {
    if given.len() > HEADERS_MAX {
        return Err((option, format!("must have at most {HEADERS_MAX} items")));
    }
    if given.is_empty() {
        return Ok(vec![HeaderName::from_static(usual)]);
    }
    let name = |text: &String| {
        let name = HeaderName::try_from(text.as_str());
        name.map_err(|_| (option, format!("{text:?} is not the name of a header")))
    };
    given.iter().map(name).collect()
}

/// The first value that says something.
fn first(headers: &HeaderMap, names: &[HeaderName]) -> Result<Option<String>, ApiError> {
    for value in names.iter().filter_map(|name| headers.get(name)) {
        let text = text(value)?;
        if !text.is_empty() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Names are text. Whatever is not might be read as another name elsewhere.
fn text(value: &http::HeaderValue) -> Result<String, ApiError> {
    String::from_utf8(value.as_bytes().to_vec()).map_err(|_| ApiError::unauthorized())
}

#[async_trait::async_trait]
impl Authenticator for FrontProxy {
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError> {
        let Some(chain) = request.extensions.get::<PeerCertificates>() else {
            return Ok(None);
        };
        let Some(leaf) = chain.0.first() else {
            return Ok(None);
        };
        // Somebody else's certificate: its own authenticator judges it.
        if !self.verifier.accepts(&chain.0) {
            return Ok(None);
        }
        let allowed =
            self.allowed_names.is_empty() || common_name(leaf).is_some_and(|name| self.allowed_names.contains(&name));
        match allowed {
            true => self.headers.user(&request.headers),
            false => Err(ApiError::unauthorized()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (k.parse::<HeaderName>().unwrap(), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn headers_name_user_groups_uid_and_extra() {
        let given = headers(&[
            ("x-remote-user", "anna"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "devs"),
            ("x-remote-group", "ops"),
            ("x-remote-extra-acme.com%2fteam", "blue"),
        ]);
        let user = Headers::default().user(&given).unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("anna", "7"));
        assert_eq!(user.groups, ["devs", "ops"]);
        assert_eq!(user.extra["acme.com/team"], ["blue"]);
        assert_eq!(
            Headers::default()
                .user(&headers(&[("x-remote-group", "devs")]))
                .unwrap(),
            None
        );
        assert_eq!(
            Headers::default().user(&headers(&[("x-remote-user", "")])).unwrap(),
            None
        );
    }

    #[test]
    fn a_name_that_is_no_text_is_refused() {
        let mut given = HeaderMap::new();
        given.insert("x-remote-user", http::HeaderValue::from_bytes(b"ann\xff").unwrap());
        assert!(Headers::default().user(&given).is_err());
    }

    #[test]
    fn other_headers_can_be_agreed_on() {
        let list = |name: &str| vec![name.to_owned()];
        let own = Headers::new(&list("X-User"), &[], &list("X-Groups"), &list("X-More-")).unwrap();
        let user = own.user(&headers(&[
            ("x-user", "anna"),
            ("x-groups", "devs"),
            ("x-remote-group", "ops"),
        ]));
        assert_eq!(user.unwrap().unwrap().groups, ["devs"]);
        assert!(own.contain(&HeaderName::from_static("x-more-a")));
        assert!(!own.contain(&HeaderName::from_static("x-remote-user")));
        let bad = Headers::new(&list("not a header"), &[], &[], &[]).unwrap_err();
        assert_eq!(bad.0, "requestheaderUsernameHeaders");
    }
}
