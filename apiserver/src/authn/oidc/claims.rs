//! What the claims of a token mean, once its signature is good. Pure: no keys, no clock.

use crate::User;
use serde_json::Value;

/// How far the clocks of issuer and server may differ, for tokens that are not valid yet.
const LEEWAY_SECONDS: f64 = 60.0;
/// Names that begin so are the cluster's own.
const RESERVED: &str = "system:";
const GROUPS_MAX: usize = 1024;

/// What a token of an issuer has to say, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The issuer, as its tokens spell it.
    pub url: String,
    /// It has to be for one of these. Never empty.
    pub audiences: Vec<String>,
    pub username: Mapped,
    pub groups: Option<Mapped>,
    /// The claim that is the user's uid.
    pub uid: Option<String>,
    /// Claims with the values they must have.
    pub required: Vec<(String, String)>,
}

/// A claim, and what is put before its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub claim: String,
    pub prefix: String,
}

impl Rules {
    /// The user that the claims describe at `now` (seconds). The error says what is missing; it shows no claim's value.
    pub fn user(&self, claims: &Value, now: i64) -> Result<User, String> {
        self.check(claims, now)?;
        let name = format!("{}{}", self.username.prefix, self.name(claims)?);
        let groups = match &self.groups {
            Some(mapped) => groups(claims, mapped)?,
            None => Vec::new(),
        };
        let uid = match &self.uid {
            Some(claim) => text(claims, claim)?.to_owned(),
            None => String::new(),
        };
        if groups.iter().chain([&name]).any(|name| name.starts_with(RESERVED)) {
            return Err(format!(
                "its name or one of its groups begins with {RESERVED}, which is the cluster's own"
            ));
        }
        Ok(User {
            name,
            uid,
            groups,
            ..User::default()
        })
    }

    fn check(&self, claims: &Value, now: i64) -> Result<(), String> {
        if claims["iss"] != self.url.as_str() {
            return Err("it is of another issuer".into());
        }
        let ours = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|text| self.audiences.iter().any(|a| a == text))
        };
        let meant = match &claims["aud"] {
            Value::Array(all) => all.iter().any(ours),
            one => ours(one),
        };
        if !meant {
            return Err("it is for other audiences".into());
        }
        let now = now as f64;
        match claims["exp"].as_f64() {
            Some(end) if now < end => {}
            Some(_) => return Err("it has expired".into()),
            None => return Err("it does not say when it expires".into()),
        }
        match &claims["nbf"] {
            Value::Null => {}
            start if start.as_f64().is_some_and(|start| start <= now + LEEWAY_SECONDS) => {}
            _ => return Err("it is not valid yet".into()),
        }
        for (claim, value) in &self.required {
            if claims.get(claim).and_then(Value::as_str) != Some(value) {
                return Err(format!("its claim {claim:?} is not what it has to be"));
            }
        }
        Ok(())
    }

    fn name<'a>(&self, claims: &'a Value) -> Result<&'a str, String> {
        let name = text(claims, &self.username.claim)?;
        // Whoever has not shown that a mailbox is theirs may write any address.
        let verified = claims.get("email_verified").is_none_or(|verified| *verified == true);
        match self.username.claim == "email" && !verified {
            true => Err("its email is not verified".into()),
            false => Ok(name),
        }
    }
}

fn text<'a>(claims: &'a Value, claim: &str) -> Result<&'a str, String> {
    let text = claims
        .get(claim)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty());
    text.ok_or_else(|| format!("it has no text in the claim {claim:?}"))
}

fn groups(claims: &Value, mapped: &Mapped) -> Result<Vec<String>, String> {
    let unreadable = || format!("its claim {:?} is neither a text nor a list of texts", mapped.claim);
    let names: Vec<&str> = match claims.get(&mapped.claim) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => {
            let names: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
            names.ok_or_else(unreadable)?
        }
        Some(_) => return Err(unreadable()),
    };
    match names.len() > GROUPS_MAX {
        true => Err(format!("it has more than {GROUPS_MAX} groups")),
        false => Ok(names.iter().map(|name| format!("{}{name}", mapped.prefix)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_000_000;

    fn rules() -> Rules {
        let mapped = |claim: &str, prefix: &str| Mapped {
            claim: claim.into(),
            prefix: prefix.into(),
        };
        Rules {
            url: "https://issuer".into(),
            audiences: vec!["cluster".into(), "other".into()],
            username: mapped("sub", "oidc:"),
            groups: Some(mapped("groups", "oidc:")),
            uid: Some("id".into()),
            required: vec![("hd".into(), "example.com".into())],
        }
    }

    fn claims(change: Value) -> Value {
        let mut claims = json!({"iss": "https://issuer", "aud": "cluster", "exp": NOW + 60, "sub": "anna", "id": "7",
            "groups": ["devs"], "hd": "example.com"});
        for (key, value) in change.as_object().unwrap() {
            claims[key] = value.clone();
        }
        claims
    }

    fn user(change: Value) -> Result<User, String> {
        rules().user(&claims(change), NOW)
    }

    #[test]
    fn claims_become_a_user() {
        let anna = user(json!({})).unwrap();
        assert_eq!((anna.name.as_str(), anna.uid.as_str()), ("oidc:anna", "7"));
        assert_eq!(anna.groups, ["oidc:devs"]);
        assert_eq!(user(json!({"groups": "ops"})).unwrap().groups, ["oidc:ops"]);
        assert!(user(json!({"groups": null})).unwrap().groups.is_empty());
        assert!(user(json!({"aud": ["x", "other"], "nbf": NOW + 30})).is_ok());
    }

    #[test]
    fn anything_amiss_is_a_refusal() {
        for change in [
            json!({"iss": "https://issuer/"}),
            json!({"iss": ["https://issuer"]}),
            json!({"aud": "clusters"}),
            json!({"aud": []}),
            json!({"aud": null}),
            json!({"exp": NOW}),
            json!({"exp": null}),
            json!({"exp": "2000000"}),
            json!({"nbf": NOW + 3600}),
            json!({"nbf": "soon"}),
            json!({"hd": "example.org"}),
            json!({"hd": null}),
            json!({"hd": ["example.com"]}),
            json!({"sub": ""}),
            json!({"sub": null}),
            json!({"sub": 7}),
            json!({"id": null}),
            json!({"groups": [1]}),
            json!({"groups": {"a": "b"}}),
        ] {
            assert!(user(change.clone()).is_err(), "{change}");
        }
    }

    #[test]
    fn nobody_is_the_clusters_own_by_a_token() {
        let mut bare = rules();
        bare.username.prefix.clear();
        bare.groups.as_mut().unwrap().prefix.clear();
        assert!(bare.user(&claims(json!({})), NOW).is_ok());
        for change in [
            json!({"sub": "system:kube-controller-manager"}),
            json!({"groups": ["devs", "system:masters"]}),
            json!({"groups": "system:masters"}),
        ] {
            assert!(bare.user(&claims(change.clone()), NOW).is_err(), "{change}");
        }
        bare.username.prefix = "system:".into();
        assert!(bare.user(&claims(json!({})), NOW).is_err());
    }

    #[test]
    fn an_address_counts_once_it_is_verified() {
        let mut by_mail = rules();
        by_mail.username.claim = "email".into();
        let mail = |verified: Value| {
            let claims = claims(json!({"email": "anna@example.com", "email_verified": verified}));
            by_mail.user(&claims, NOW).is_ok()
        };
        assert!(mail(json!(true)) && !mail(json!(false)) && !mail(json!("true")) && !mail(json!(null)));
        assert!(by_mail.user(&claims(json!({"email": "a@b.c"})), NOW).is_ok());
    }
}
