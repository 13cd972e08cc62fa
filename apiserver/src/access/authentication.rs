//! The file of the option `authenticationConfig`: an AuthenticationConfiguration of `apiserver.config.k8s.io`.

use super::AccessError;
use super::error::read;
use super::issuers::{Jwt, issuers};
use crate::authn::anonymous::Anonymous;
use crate::authn::oidc::Issuer;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

const OPTION: &str = "authenticationConfig";
const VERSIONS: &[&str] = &["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthenticationConfiguration";
/// Paths that may be open to anybody.
const PATHS_MAX: usize = 64;

/// What the file says, checked.
pub(super) struct Structured {
    /// `None` where it does not speak of anonymous requests.
    pub anonymous: Option<Anonymous>,
    pub issuers: Vec<Arc<Issuer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<Jwt>,
    anonymous: Option<AnonymousField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnonymousField {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    path: String,
}

pub(super) fn load(path: &Path, own_issuer: &str) -> Result<Structured, AccessError> {
    let text = read(OPTION, path, super::FILE_BYTES_MAX)?;
    parse(&text, own_issuer).map_err(|problem| AccessError::File {
        option: OPTION,
        path: path.into(),
        problem,
    })
}

fn parse(text: &str, own_issuer: &str) -> Result<Structured, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?;
    if !VERSIONS.contains(&file.api_version.as_str()) {
        return Err(format!(
            "apiVersion: must be one of {VERSIONS:?}, not {:?}",
            file.api_version
        ));
    }
    if file.kind != KIND {
        return Err(format!("kind: must be {KIND}, not {:?}", file.kind));
    }
    Ok(Structured {
        anonymous: file.anonymous.map(anonymous).transpose()?,
        issuers: issuers(file.jwt, own_issuer)?,
    })
}

fn anonymous(field: AnonymousField) -> Result<Anonymous, String> {
    let conditions = field.conditions;
    if conditions.len() > PATHS_MAX {
        return Err(format!("anonymous.conditions: must have at most {PATHS_MAX} items"));
    }
    match (field.enabled, conditions.is_empty()) {
        (false, true) => Ok(Anonymous::Nowhere),
        (false, false) => Err("anonymous.conditions: must not be set when anonymous is not enabled".into()),
        (true, true) => Ok(Anonymous::Everywhere),
        (true, false) => {
            let checked =
                conditions
                    .into_iter()
                    .enumerate()
                    .map(|(index, condition)| match condition.path.starts_with('/') {
                        true => Ok(condition.path),
                        false => Err(format!("anonymous.conditions[{index}].path: must begin with /")),
                    });
            Ok(Anonymous::At(checked.collect::<Result<_, _>>()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://kubernetes.default.svc";

    fn read(rest: &str) -> Result<Option<Anonymous>, String> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
        parse(&format!("{head}{rest}"), OWN).map(|file| file.anonymous)
    }

    #[test]
    fn anonymous_requests_are_open_as_the_file_says() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("anonymous: {enabled: false}").unwrap(), Some(Anonymous::Nowhere));
        assert_eq!(read("anonymous: {enabled: true}").unwrap(), Some(Anonymous::Everywhere));
        let paths = read("anonymous: {enabled: true, conditions: [{path: /livez}]}").unwrap();
        assert_eq!(paths, Some(Anonymous::At(vec!["/livez".into()])));
    }

    /// An issuer as a file has it; `change` is applied to its JSON.
    fn jwt(change: impl Fn(&mut serde_json::Value)) -> String {
        let ca = pki::Ca::generate("test").unwrap();
        let here = tempfile::tempdir().unwrap();
        ca.write(&here.path().join("ca.crt"), &here.path().join("ca.key"))
            .unwrap();
        let ca = std::fs::read_to_string(here.path().join("ca.crt")).unwrap();
        let mut jwt = serde_json::json!({"issuer": {"url": "https://id.example.com", "audiences": ["a"], "certificateAuthority": ca},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}}});
        change(&mut jwt);
        format!("jwt: [{jwt}]")
    }

    #[test]
    fn an_issuer_is_read_whole_or_not_at_all() {
        use serde_json::json;
        read(&jwt(|_| ())).unwrap();
        for (path, value, named) in [
            ("/issuer/url", json!("http://id.example.com"), "jwt[0].issuer.url"),
            ("/issuer/url", json!("https://id.example.com?x"), "jwt[0].issuer.url"),
            ("/issuer/url", json!(OWN), "jwt[0].issuer.url"),
            ("/issuer/audiences", json!([]), "jwt[0].issuer.audiences"),
            (
                "/issuer/audiences",
                json!(["a", "b"]),
                "jwt[0].issuer.audienceMatchPolicy",
            ),
            ("/issuer/certificateAuthority", json!("none"), "CA certificate"),
            (
                "/issuer/egressSelectorType",
                json!("cluster"),
                "jwt[0].issuer.egressSelectorType",
            ),
            ("/issuer/discoveryURL", json!("http://x"), "jwt[0].issuer.discoveryURL"),
            (
                "/claimMappings/username",
                json!({"claim": "sub"}),
                "jwt[0].claimMappings.username.prefix",
            ),
            (
                "/claimMappings/username",
                json!({"expression": "claims.sub"}),
                "jwt[0].claimMappings.username.expression: is a CEL",
            ),
            (
                "/claimMappings/groups",
                json!({"expression": "claims.g"}),
                "jwt[0].claimMappings.groups.expression: is a CEL",
            ),
            (
                "/claimMappings/uid",
                json!({"expression": "claims.g"}),
                "jwt[0].claimMappings.uid.expression: is a CEL",
            ),
            (
                "/claimMappings/extra",
                json!([{"key": "a"}]),
                "jwt[0].claimMappings.extra: is a CEL",
            ),
            (
                "/claimValidationRules",
                json!([{"expression": "true"}]),
                "jwt[0].claimValidationRules[0].expression: is a CEL",
            ),
            (
                "/userValidationRules",
                json!([{"expression": "true"}]),
                "jwt[0].userValidationRules: is a CEL",
            ),
            ("/surprise", json!(1), "surprise"),
        ] {
            let (parent, field) = path.rsplit_once('/').unwrap();
            let text = jwt(|jwt| jwt.pointer_mut(parent).unwrap()[field] = value.clone());
            let problem = read(&text).err().unwrap_or_else(|| panic!("{path} was accepted"));
            assert!(problem.contains(named), "{named}: {problem}");
        }
        let one = jwt(|_| ());
        let twice = one.replace("jwt: [", "").replace("}]", "}");
        let problem = read(&format!("jwt: [{twice}, {twice}]"));
        assert!(problem.is_err(), "an issuer is named once");
    }

    #[test]
    fn a_file_that_cannot_be_honoured_is_refused_naming_the_field() {
        for (rest, named) in [
            (
                "anonymous: {enabled: false, conditions: [{path: /livez}]}",
                "anonymous.conditions",
            ),
            (
                "anonymous: {enabled: true, conditions: [{path: livez}]}",
                "conditions[0].path",
            ),
            ("anonymous: {}", "enabled"),
            ("surprise: 1", "surprise"),
        ] {
            let problem = read(rest).unwrap_err();
            assert!(problem.contains(named), "{rest}: {problem}");
        }
        let other = parse(
            "apiVersion: apiserver.config.k8s.io/v9\nkind: AuthenticationConfiguration",
            OWN,
        );
        assert!(other.err().unwrap().starts_with("apiVersion"));
        let other = parse(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration",
            OWN,
        );
        assert!(other.err().unwrap().starts_with("kind"));
    }
}
