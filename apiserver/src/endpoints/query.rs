//! The query string, parsed once, and the typed options of each verb.

use crate::registry::{DeleteOptions, dry_run};
use crate::{ApiError, FieldError};
use api::FieldValidation;
use serde_json::Value;

/// Decoded key-value pairs, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(raw: Option<&str>) -> Query {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        });
        Query { pairs: pairs.collect() }
    }

    /// The first value of a key, or the empty string.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.pairs.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(k, _)| k == key)
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean as Go reads it; present without a value is true.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ApiError> {
        if !self.has(key) {
            return Ok(None);
        }
        match self.text(key) {
            "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Some(false)),
            other => Err(ApiError::bad_request(format!("{key}: {other:?} is not a boolean"))),
        }
    }

    /// A whole number, not below zero.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, ApiError> {
        match self.text(key) {
            "" => Ok(None),
            text => match text.parse::<i64>() {
                Ok(number) if number >= 0 => Ok(Some(number)),
                _ => Err(ApiError::bad_request(format!(
                    "{key}: {text:?} is not a number that is 0 or more"
                ))),
            },
        }
    }
}

/// Decodes `%41`, and `+` as a space in query strings. Broken escapes stay as they are; broken UTF-8 is replaced.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |byte: Option<&u8>| byte.and_then(|b| (*b as char).to_digit(16));
        match bytes[at] {
            b'%' => match (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The options every write has.
#[derive(Clone, Debug)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    pub field_manager: String,
}

impl WriteOptions {
    pub(crate) fn parse(query: &Query, options_kind: &str) -> Result<WriteOptions, ApiError> {
        let invalid = |problem| ApiError::invalid(&format!("{options_kind}.meta.k8s.io"), "", vec![problem]);
        let validation = query.text("fieldValidation");
        let field_validation = FieldValidation::parse(validation).ok_or_else(|| {
            let supported = ["Ignore", "Warn", "Strict"];
            invalid(FieldError::not_supported(
                "fieldValidation",
                &validation.into(),
                &supported,
            ))
        })?;
        let field_manager = query.text("fieldManager");
        const MANAGER_MAX: usize = 128;
        if field_manager.len() > MANAGER_MAX {
            return Err(invalid(FieldError::too_long("fieldManager", MANAGER_MAX)));
        }
        let dry_run = dry_run(query.all("dryRun")).map_err(invalid)?;
        Ok(WriteOptions {
            dry_run,
            field_validation,
            field_manager: field_manager.to_string(),
        })
    }
}

const UNSAFE_DELETE: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

/// A delete's options: the body wins, the query fills in. Returns them with `dryRun`.
pub(crate) fn delete_options(query: &Query, body: Option<&Value>) -> Result<(DeleteOptions, bool), ApiError> {
    let invalid = |problem| ApiError::invalid("DeleteOptions.meta.k8s.io", "", vec![problem]);
    let text = |pointer: &str| {
        body.and_then(|b| b.pointer(pointer))
            .and_then(Value::as_str)
            .map(str::to_string)
    };
    let given = |key: &str| {
        Some(query.text(key))
            .filter(|text| !text.is_empty())
            .map(str::to_string)
    };
    let orphan = match body.and_then(|b| b.get("orphanDependents")).and_then(Value::as_bool) {
        Some(orphan) => Some(orphan),
        None => query.flag("orphanDependents")?,
    };
    let policy = text("/propagationPolicy").or_else(|| given("propagationPolicy"));
    if policy.is_some() && orphan.is_some() {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        return Err(invalid(FieldError::invalid(
            "propagationPolicy",
            &policy.into(),
            detail,
        )));
    }
    let policy = policy.or(orphan.map(|orphan| if orphan { "Orphan".into() } else { "Background".into() }));
    let grace = body.and_then(|b| b.get("gracePeriodSeconds")).and_then(Value::as_i64);
    let options = DeleteOptions {
        grace_period_seconds: match grace {
            Some(grace) => Some(grace),
            None => query.number("gracePeriodSeconds")?,
        },
        propagation_policy: policy,
        precondition_uid: text("/preconditions/uid"),
        precondition_resource_version: text("/preconditions/resourceVersion"),
        ignore_store_read_error: match body.and_then(|b| b.get(UNSAFE_DELETE)).and_then(Value::as_bool) {
            Some(ignore) => ignore,
            None => query.flag(UNSAFE_DELETE)?.unwrap_or(false),
        },
    };
    let in_body = body
        .and_then(|b| b.get("dryRun"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let in_body = in_body.filter_map(Value::as_str);
    let dry = dry_run(in_body.chain(query.all("dryRun"))).map_err(invalid)?;
    Ok((options, dry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("a=1%2C2&b=x+y&flag&c=%zz&a=3"));
        assert_eq!(query.text("a"), "1,2");
        assert_eq!(query.text("b"), "x y");
        assert_eq!(query.text("c"), "%zz");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1,2", "3"]);
        assert_eq!(query.flag("flag").unwrap(), Some(true));
        assert_eq!(query.flag("none").unwrap(), None);
        assert!(query.flag("b").is_err());
    }

    #[test]
    fn dry_run_is_all_or_an_error() {
        let options = |raw| WriteOptions::parse(&Query::parse(Some(raw)), "CreateOptions");
        assert!(options("dryRun=All").unwrap().dry_run);
        assert!(!options("").unwrap().dry_run);
        let error = options("dryRun=Some").unwrap_err();
        assert_eq!(error.code, 422);
        assert!(
            error
                .message
                .contains("dryRun: Unsupported value: \"Some\": supported values: \"All\""),
            "{error}"
        );
    }

    #[test]
    fn a_delete_takes_its_options_from_body_and_query() {
        let query = Query::parse(Some("gracePeriodSeconds=5&propagationPolicy=Orphan"));
        let body = serde_json::json!({"gracePeriodSeconds": 1, "preconditions": {"uid": "u"}, "dryRun": ["All"]});
        let (options, dry) = delete_options(&query, Some(&body)).unwrap();
        assert_eq!(options.grace_period_seconds, Some(1));
        assert_eq!(options.propagation_policy.as_deref(), Some("Orphan"));
        assert_eq!((options.precondition_uid.as_deref(), dry), (Some("u"), true));
    }
}
