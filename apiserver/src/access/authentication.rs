//! The file of the option `authenticationConfig`: an AuthenticationConfiguration of `apiserver.config.k8s.io`.

use super::AccessError;
use super::error::read;
use crate::authn::anonymous::Anonymous;
use serde::Deserialize;
use std::path::Path;

const OPTION: &str = "authenticationConfig";
const VERSIONS: &[&str] = &["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthenticationConfiguration";
/// Paths that may be open to anybody.
const PATHS_MAX: usize = 64;

/// What the file says, checked.
pub(super) struct Structured {
    /// `None` where it does not speak of anonymous requests.
    pub anonymous: Option<Anonymous>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<serde_json::Value>,
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

pub(super) fn load(path: &Path) -> Result<Structured, AccessError> {
    let text = read(OPTION, path, super::FILE_BYTES_MAX)?;
    parse(&text).map_err(|problem| AccessError::File {
        option: OPTION,
        path: path.into(),
        problem,
    })
}

fn parse(text: &str) -> Result<Structured, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    if !VERSIONS.contains(&file.api_version.as_str()) {
        return Err(format!(
            "apiVersion: must be one of {VERSIONS:?}, not {:?}",
            file.api_version
        ));
    }
    if file.kind != KIND {
        return Err(format!("kind: must be {KIND}, not {:?}", file.kind));
    }
    if !file.jwt.is_empty() {
        return Err("jwt: is not supported by this version".into());
    }
    Ok(Structured {
        anonymous: file.anonymous.map(anonymous).transpose()?,
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

    fn read(rest: &str) -> Result<Option<Anonymous>, String> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
        parse(&format!("{head}{rest}")).map(|file| file.anonymous)
    }

    #[test]
    fn anonymous_requests_are_open_as_the_file_says() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("anonymous: {enabled: false}").unwrap(), Some(Anonymous::Nowhere));
        assert_eq!(read("anonymous: {enabled: true}").unwrap(), Some(Anonymous::Everywhere));
        let paths = read("anonymous: {enabled: true, conditions: [{path: /livez}]}").unwrap();
        assert_eq!(paths, Some(Anonymous::At(vec!["/livez".into()])));
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
        let other = parse("apiVersion: apiserver.config.k8s.io/v9\nkind: AuthenticationConfiguration");
        assert!(other.err().unwrap().starts_with("apiVersion"));
        let other = parse("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration");
        assert!(other.err().unwrap().starts_with("kind"));
    }
}
