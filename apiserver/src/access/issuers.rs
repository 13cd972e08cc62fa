//! The field `jwt` of an AuthenticationConfiguration: issuers of tokens outside of the cluster.

use crate::authn::oidc::{Issuer, Keys, Mapped, Rules};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Issuers, at most.
const ISSUERS_MAX: usize = 64;
/// What the field `certificateAuthority` falls back to: whom this host trusts.
const HOST_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Jwt {
    issuer: IssuerField,
    #[serde(default)]
    claim_validation_rules: Vec<ClaimRule>,
    claim_mappings: Mappings,
    #[serde(default)]
    user_validation_rules: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssuerField {
    url: String,
    #[serde(rename = "discoveryURL", default)]
    discovery_url: String,
    #[serde(default)]
    certificate_authority: String,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    audience_match_policy: String,
    #[serde(default)]
    egress_selector_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct ClaimRule {
    claim: String,
    required_value: String,
    expression: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mappings {
    username: Mapping,
    groups: Option<Mapping>,
    uid: Option<Mapping>,
    #[serde(default)]
    extra: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct Mapping {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

/// The issuers of a file. `own`: the issuer of the cluster's own tokens, which nobody else may be. The error begins with the field.
pub(super) fn issuers(fields: Vec<Jwt>, own: &str) -> Result<Vec<Arc<Issuer>>, String> {
    if fields.len() > ISSUERS_MAX {
        return Err(format!("jwt: must have at most {ISSUERS_MAX} items"));
    }
    let mut urls = BTreeSet::new();
    let mut issuers = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = |problem: String| format!("jwt[{index}].{problem}");
        if field.issuer.url == own {
            return Err(at(
                "issuer.url: is the issuer of this cluster's service-account tokens".into()
            ));
        }
        for url in [&field.issuer.url, &field.issuer.discovery_url] {
            if !url.is_empty() && !urls.insert(url.clone()) {
                return Err(at(format!("issuer: {url:?} is named twice")));
            }
        }
        issuers.push(Arc::new(field.issuer().map_err(at)?));
    }
    Ok(issuers)
}

fn cel(field: &str) -> String {
    format!("{field}: is a CEL expression, which this version does not evaluate")
}

impl Jwt {
    fn issuer(&self) -> Result<Issuer, String> {
        let rules = self.rules()?;
        let field = &self.issuer;
        let discovery = match field.discovery_url.as_str() {
            "" => format!("{}/.well-known/openid-configuration", field.url.trim_end_matches('/')),
            url => {
                clean("issuer.discoveryURL", url)?;
                url.to_owned()
            }
        };
        let ca = match field.certificate_authority.as_str() {
            "" => std::fs::read(HOST_CAS).map_err(|error| {
                format!("issuer.certificateAuthority: is not set, and {HOST_CAS} cannot be read: {error}")
            })?,
            pem => pem.as_bytes().to_vec(),
        };
        let keys = Keys::new(&field.url, &discovery, &ca).map_err(|problem| format!("issuer: {problem}"))?;
        Ok(Issuer { rules, keys })
    }

    fn rules(&self) -> Result<Rules, String> {
        let field = &self.issuer;
        clean("issuer.url", &field.url)?;
        if !field.egress_selector_type.is_empty() {
            return Err("issuer.egressSelectorType: is not supported".into());
        }
        if !self.user_validation_rules.is_empty() {
            return Err(cel("userValidationRules"));
        }
        if !self.claim_mappings.extra.is_empty() {
            return Err(cel("claimMappings.extra"));
        }
        let mappings = &self.claim_mappings;
        let mut required = Vec::new();
        for (index, rule) in self.claim_validation_rules.iter().enumerate() {
            required.push(rule.read(&format!("claimValidationRules[{index}]"))?);
        }
        let groups = mappings.groups.as_ref();
        Ok(Rules {
            url: field.url.clone(),
            audiences: field.audiences()?,
            username: mappings.username.read("claimMappings.username")?,
            groups: groups.map(|mapping| mapping.read("claimMappings.groups")).transpose()?,
            uid: mappings.uid.as_ref().map(Mapping::uid).transpose()?,
            required,
        })
    }
}

impl IssuerField {
    fn audiences(&self) -> Result<Vec<String>, String> {
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err("issuer.audiences: at least one is needed, and none may be empty".into());
        }
        match (self.audiences.len(), self.audience_match_policy.as_str()) {
            (_, "MatchAny") | (1, "") => Ok(self.audiences.clone()),
            (_, "") => Err("issuer.audienceMatchPolicy: must be MatchAny where there are several audiences".into()),
            (_, other) => Err(format!("issuer.audienceMatchPolicy: must be MatchAny, not {other:?}")),
        }
    }
}

impl ClaimRule {
    fn read(&self, at: &str) -> Result<(String, String), String> {
        if !self.expression.is_empty() {
            return Err(cel(&format!("{at}.expression")));
        }
        match (self.claim.is_empty(), self.message.is_empty()) {
            (true, _) => Err(format!("{at}.claim: is needed")),
            (_, false) => Err(format!("{at}.message: is for expressions")),
            _ => Ok((self.claim.clone(), self.required_value.clone())),
        }
    }
}

impl Mapping {
    fn read(&self, at: &str) -> Result<Mapped, String> {
        if !self.expression.is_empty() {
            return Err(cel(&format!("{at}.expression")));
        }
        if self.claim.is_empty() {
            return Err(format!("{at}.claim: is needed"));
        }
        let prefix = self.prefix.clone();
        // Its absence could be taken for a prefix by default; there is none.
        let prefix = prefix.ok_or_else(|| format!("{at}.prefix: is needed, if only as \"\""))?;
        Ok(Mapped {
            claim: self.claim.clone(),
            prefix,
        })
    }

    fn uid(&self) -> Result<String, String> {
        const AT: &str = "claimMappings.uid";
        match (self.expression.is_empty(), self.claim.is_empty(), &self.prefix) {
            (false, ..) => Err(cel(&format!("{AT}.expression"))),
            (_, true, _) => Err(format!("{AT}.claim: is needed")),
            (_, _, Some(_)) => Err(format!("{AT}.prefix: is not known")),
            _ => Ok(self.claim.clone()),
        }
    }
}

/// An https URL without user, query and fragment.
fn clean(field: &str, url: &str) -> Result<(), String> {
    let good = url
        .strip_prefix("https://")
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '?', '#']));
    match good {
        true => Ok(()),
        false => Err(format!(
            "{field}: must be an https URL without user, query and fragment, not {url:?}"
        )),
    }
}
