//! Bootstrap tokens: Secrets by which a machine that has no identity yet joins the cluster. Format and meaning are kubeadm's.
//!
//! A token is `<id>.<secret>`. Its Secret is `kube-system/bootstrap-token-<id>`; what it may be used for, until when, and in
//! which groups whoever shows it is, stand in the Secret's data.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// Where the Secrets are.
pub const NAMESPACE: &str = "kube-system";
/// The type of the Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// What a Secret's name has before the id.
pub const NAME_PREFIX: &str = "bootstrap-token-";
/// What the user's name has before the id.
pub const USER_PREFIX: &str = "system:bootstrap:";
/// The group of all who came with a token.
pub const GROUP: &str = "system:bootstrappers";

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
/// The longest name of a further group, behind `system:bootstrappers:`.
const EXTRA_GROUP_LENGTH_MAX: usize = 256;

/// Splits a token into its id and its secret; `None` if it has another form.
pub fn parse(token: &str) -> Option<(&str, &str)> {
    let word = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    token
        .split_once('.')
        .filter(|(id, secret)| word(id, ID_LENGTH) && word(secret, SECRET_LENGTH))
}

/// What the Secret of a token says.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    pub id: String,
    pub secret: String,
    /// Whether it is good for signing in.
    pub authenticates: bool,
    /// Whether `cluster-info` is signed with it.
    pub signs: bool,
    ends: Ends,
    extra_groups: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Never,
    At(Timestamp),
    /// What stands there is no time: it counts as over.
    Unreadable,
}

impl BootstrapToken {
    /// Reads a Secret's name, type and data (values in base64). `None` if it is not the Secret of a token whose id is in
    /// its name.
    pub fn read(name: &str, secret_type: &str, data: &BTreeMap<String, String>) -> Option<BootstrapToken> {
        let text = |key: &str| {
            let bytes = data.get(key).and_then(|value| STANDARD.decode(value).ok());
            bytes
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default()
        };
        let (id, secret) = (text("token-id"), text("token-secret"));
        let named = name.strip_prefix(NAME_PREFIX) == Some(&id);
        // A short secret could be guessed from what it signs.
        if secret_type != SECRET_TYPE || parse(&format!("{id}.{secret}")).is_none() || !named {
            return None;
        }
        Some(BootstrapToken {
            id,
            secret,
            authenticates: text("usage-bootstrap-authentication") == "true",
            signs: text("usage-bootstrap-signing") == "true",
            ends: ends(&text("expiration")),
            extra_groups: text("auth-extra-groups"),
        })
    }

    /// How long it is still good: nothing once it has expired, `None` if it never does.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        remaining(self.ends, now)
    }

    /// Whether it is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.remaining(now) == Some(Duration::ZERO)
    }

    /// The name of the user who shows it.
    pub fn user(&self) -> String {
        format!("{USER_PREFIX}{}", self.id)
    }

    /// The groups of that user, sorted. The error names a group that a token may not give.
    pub fn groups(&self) -> Result<Vec<String>, String> {
        let mut groups = BTreeSet::from([GROUP.to_owned()]);
        for group in self.extra_groups.split(',').filter(|_| !self.extra_groups.is_empty()) {
            if !may_give(group) {
                return Err(format!("bootstrap group {group:?} is invalid: must be {GROUP}:<name>"));
            }
            groups.insert(group.to_owned());
        }
        Ok(groups.into_iter().collect())
    }
}

/// How long the Secret of a token is still good, whatever else it says; see [`BootstrapToken::remaining`].
pub fn secret_remaining(data: &BTreeMap<String, String>, now: Timestamp) -> Option<Duration> {
    let bytes = data.get("expiration").and_then(|value| STANDARD.decode(value).ok());
    remaining(ends(&String::from_utf8_lossy(&bytes.unwrap_or_default())), now)
}

fn ends(text: &str) -> Ends {
    match text.parse() {
        _ if text.is_empty() => Ends::Never,
        Ok(at) => Ends::At(at),
        Err(_) => Ends::Unreadable,
    }
}

fn remaining(ends: Ends, now: Timestamp) -> Option<Duration> {
    match ends {
        Ends::Never => None,
        Ends::At(at) => Some(at.duration_since(now).try_into().unwrap_or(Duration::ZERO)),
        Ends::Unreadable => Some(Duration::ZERO),
    }
}

/// No token may put anybody into a group outside those of bootstrappers.
fn may_give(group: &str) -> bool {
    let name = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':'));
    name.is_some_and(|name| {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b':' | b'-');
        (1..=EXTRA_GROUP_LENGTH_MAX).contains(&name.len())
            && name.bytes().all(known)
            && name.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = [("token-id", "abcdef"), ("token-secret", "0123456789abcdef")];
        let all = all.iter().chain(more);
        all.map(|(key, value)| (key.to_string(), STANDARD.encode(value)))
            .collect()
    }

    fn token(more: &[(&str, &str)]) -> BootstrapToken {
        BootstrapToken::read("bootstrap-token-abcdef", SECRET_TYPE, &data(more)).unwrap()
    }

    #[test]
    fn a_token_has_one_form() {
        assert_eq!(parse("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for other in [
            "",
            "abcdef",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcde",
            "abcde.0123456789abcdef",
            "a.b.c",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_secret_of_its_name_is_a_tokens() {
        let read = |name: &str, kind: &str| BootstrapToken::read(name, kind, &data(&[])).is_some();
        assert!(read("bootstrap-token-abcdef", SECRET_TYPE));
        assert!(!read("bootstrap-token-fedcba", SECRET_TYPE));
        assert!(!read("abcdef", SECRET_TYPE));
        assert!(!read("bootstrap-token-abcdef", "Opaque"));
    }

    #[test]
    fn a_token_is_good_for_what_it_says_and_no_longer() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let plain = token(&[]);
        assert!(!plain.authenticates && !plain.signs);
        assert_eq!(plain.remaining(now), None);
        let used = token(&[
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "yes"),
        ]);
        assert!(used.authenticates && !used.signs);
        for (text, left) in [
            ("2026-01-01T00:01:00Z", 60),
            ("2026-01-01T01:00:00+01:00", 0),
            ("2025-12-31T23:59:59Z", 0),
            ("tomorrow", 0),
        ] {
            let token = token(&[("expiration", text)]);
            assert_eq!(token.remaining(now), Some(Duration::from_secs(left)), "{text}");
            assert_eq!(token.has_expired(now), left == 0);
            assert_eq!(
                secret_remaining(&data(&[("expiration", text)]), now),
                Some(Duration::from_secs(left))
            );
        }
    }

    #[test]
    fn groups_stay_among_bootstrappers() {
        let groups = |text: &str| token(&[("auth-extra-groups", text)]).groups();
        assert_eq!(groups("").unwrap(), [GROUP]);
        let given = groups("system:bootstrappers:kubeadm:default-node-token").unwrap();
        assert_eq!(given, [GROUP, "system:bootstrappers:kubeadm:default-node-token"]);
        for other in [
            "system:masters",
            "system:bootstrappers:",
            "system:bootstrappers:a,",
            "system:bootstrappers:A",
        ] {
            assert!(groups(other).is_err(), "{other}");
        }
    }
}
