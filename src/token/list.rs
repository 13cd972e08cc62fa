//! Showing the tokens of a cluster.

use std::collections::BTreeMap;

use anyhow::Context;
use api::bootstrap_tokens::{self, BootstrapToken, NAMESPACE, SECRET_TYPE};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AdminArgs, SECRETS, Token, connect};
use crate::commands::Output;
use crate::duration;
use crate::operate::show;

#[derive(Deserialize)]
struct Secret {
    metadata: client::Meta,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

pub async fn run(output: Output, admin: &AdminArgs) -> anyhow::Result<()> {
    let client = connect(&admin.kubeconfig)?;
    let query = format!("fieldSelector=type%3D{}", SECRET_TYPE.replace('/', "%2F"));
    let list = client.list::<Secret>(&SECRETS, Some(NAMESPACE), &query).await;
    let secrets = list.context("cannot list the tokens")?.items;
    let now = Timestamp::now();
    let lines: Vec<Line> = secrets.iter().filter_map(|secret| Line::of(secret, now)).collect();
    if output == Output::Json {
        return show::json(&json!({ "tokens": lines.iter().map(Line::document).collect::<Vec<_>>() }));
    }
    let rows: Vec<Vec<String>> = lines.iter().map(Line::row).collect();
    show::table(
        &["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"],
        &rows,
    );
    Ok(())
}

struct Line {
    token: Token,
    ttl: String,
    expires: Option<String>,
    usages: Vec<&'static str>,
    description: String,
    groups: Vec<String>,
}

impl Line {
    fn of(secret: &Secret, now: Timestamp) -> Option<Line> {
        let token = BootstrapToken::read(&secret.metadata.name, &secret.kind, &secret.data)?;
        let text = |key: &str| {
            let bytes = secret.data.get(key).and_then(|value| STANDARD.decode(value).ok());
            bytes.and_then(|bytes| String::from_utf8(bytes).ok())
        };
        let usages = [(token.authenticates, "authentication"), (token.signs, "signing")];
        let ttl = match token.remaining(now) {
            None => "<forever>".into(),
            Some(left) if left.is_zero() => "<expired>".into(),
            Some(left) => duration::shown(left),
        };
        // The group that every one has is not an extra one.
        let groups = token.groups().unwrap_or_default().into_iter();
        Some(Line {
            ttl,
            expires: text("expiration"),
            usages: usages.iter().filter(|(has, _)| *has).map(|(_, usage)| *usage).collect(),
            description: text("description").unwrap_or_default(),
            groups: groups.filter(|group| group != bootstrap_tokens::GROUP).collect(),
            token: Token::parse(&format!("{}.{}", token.id, token.secret)).ok()?,
        })
    }

    fn row(&self) -> Vec<String> {
        let or = |text: &str, other: &str| {
            if text.is_empty() {
                other.to_owned()
            } else {
                text.to_owned()
            }
        };
        vec![
            self.token.reveal(),
            self.ttl.clone(),
            self.expires.clone().unwrap_or_else(|| "<never>".into()),
            or(&self.usages.join(","), "<none>"),
            or(&self.description, "<none>"),
            or(&self.groups.join(","), "<none>"),
        ]
    }

    fn document(&self) -> Value {
        json!({
            "token": self.token.reveal(),
            "expires": self.expires,
            "usages": self.usages,
            "description": self.description,
            "groups": self.groups,
        })
    }
}
