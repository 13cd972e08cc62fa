//! `proreus token`: bootstrap tokens, by which machines that have no identity yet join the cluster. Formats and flags are
//! kubeadm's.

mod list;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use api::bootstrap_tokens::{self, NAME_PREFIX, NAMESPACE, SECRET_TYPE};
use clap::{Args, Subcommand};
use client::{Client, DeleteOptions, Key, RemoteOptions, Resource};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use pki::pin::Pin;
use serde_json::{Value, json};

use crate::commands::Output;
use crate::duration;
use crate::operate::block_on;
use crate::output::{say, word};

pub const SECRETS: Resource = Resource::namespaced("", "v1", "Secret", "secrets");
/// Whoever comes with a token is in this group unless told otherwise: nodes get their certificate by it.
pub const NODES_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// How long a token is good unless told otherwise.
pub const TTL: &str = "24h";
const ADMIN: &str = "/etc/kubernetes/admin.conf";
const USAGES: [&str; 2] = ["signing", "authentication"];

#[derive(Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it
    Create {
        /// The token, of the form `abcdef.0123456789abcdef`; made up if none is given
        #[arg(value_parser = Token::parse)]
        token: Option<Token>,
        /// How long it is good; 0 means until it is deleted
        #[arg(long, default_value = TTL, value_parser = duration::parse)]
        ttl: Duration,
        /// What it is good for
        #[arg(long, value_delimiter = ',', default_values = USAGES, value_parser = USAGES)]
        usages: Vec<String>,
        /// Groups that whoever shows it is in; they begin with `system:bootstrappers:`
        #[arg(long, value_delimiter = ',', default_value = NODES_GROUP)]
        groups: Vec<String>,
        /// For people
        #[arg(long, default_value = "")]
        description: String,
        /// Print the command that joins a machine with it
        #[arg(long)]
        print_join_command: bool,
        /// With --print-join-command: print the one that joins a master, whose certificates were uploaded under this key
        #[arg(long, value_name = "KEY", requires = "print_join_command", hide_env_values = true)]
        certificate_key: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Show the tokens
    List {
        /// Output format
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Delete tokens, named by their id or in full
    Delete {
        /// Tokens or their ids
        #[arg(required = true)]
        tokens: Vec<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Print a token that nobody knows yet
    Generate,
}

/// Where the cluster is, and who asks.
#[derive(Args, Clone)]
pub struct AdminArgs {
    /// The kubeconfig file of an administrator
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", default_value = ADMIN)]
    pub kubeconfig: PathBuf,
}

/// A bootstrap token.
#[derive(Clone)]
pub struct Token {
    pub id: String,
    secret: String,
}

impl Token {
    /// Reads a token. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Token, String> {
        let parts = bootstrap_tokens::parse(text);
        let (id, secret) = parts.ok_or("a token is six characters, a dot and sixteen characters, of a-z and 0-9")?;
        Ok(Token {
            id: id.into(),
            secret: secret.into(),
        })
    }

    /// A token that nobody knows yet.
    pub fn generate() -> Token {
        Token {
            id: random_word(6),
            secret: random_word(16),
        }
    }

    /// The whole of it, which whoever reads it can use.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// Whether `signature` over `content` is this token's.
    pub fn has_signed(&self, signature: &str, content: &str) -> bool {
        pki::jws::verify(signature, content, &self.id, &self.secret)
    }

    pub fn secret_name(&self) -> String {
        format!("{NAME_PREFIX}{}", self.id)
    }
}

fn random_word(length: usize) -> String {
    const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let character = |_| CHARACTERS[rand::random_range(0..CHARACTERS.len())] as char;
    (0..length).map(character).collect()
}

/// A token that is to be made.
pub struct NewToken {
    pub token: Token,
    /// How long it is good; zero means until it is deleted.
    pub ttl: Duration,
    pub usages: Vec<String>,
    pub groups: Vec<String>,
    pub description: String,
}

impl NewToken {
    /// A token for joining machines.
    pub fn joining(token: Token, ttl: Duration, description: &str) -> NewToken {
        NewToken {
            token,
            ttl,
            usages: USAGES.map(String::from).to_vec(),
            groups: vec![NODES_GROUP.into()],
            description: description.into(),
        }
    }

    /// The Secret that makes the cluster know it.
    pub fn object(&self, now: Timestamp) -> anyhow::Result<Value> {
        let mut data = json!({ "token-id": self.token.id, "token-secret": self.token.secret });
        for usage in &self.usages {
            data[format!("usage-bootstrap-{usage}")] = json!("true");
        }
        if !self.groups.is_empty() {
            data["auth-extra-groups"] = json!(self.groups.join(","));
        }
        if !self.description.is_empty() {
            data["description"] = json!(self.description);
        }
        if !self.ttl.is_zero() {
            let ttl = SignedDuration::try_from(self.ttl).context("--ttl: too long")?;
            let end = now.checked_add(ttl).context("--ttl: too long")?;
            data["expiration"] = json!(end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        Ok(json!({
            "metadata": { "name": self.token.secret_name(), "namespace": NAMESPACE },
            "type": SECRET_TYPE,
            "stringData": data,
        }))
    }

    /// Makes it, and gives back its Secret's uid.
    pub async fn create(&self, client: &Client) -> anyhow::Result<String> {
        let object = self.object(Timestamp::now())?;
        let created = client.create::<Value>(&SECRETS, Some(NAMESPACE), &object).await;
        match created {
            Err(error) if error.is_already_exists() => bail!("there is a token with the id {} already", self.token.id),
            created => {
                let created = created.context("cannot make the token")?;
                Ok(created["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
            }
        }
    }
}

pub fn run(args: TokenArgs) -> anyhow::Result<()> {
    match args.command {
        TokenCommand::Generate => {
            say!("{}", Token::generate().reveal());
            Ok(())
        }
        TokenCommand::List { output, admin } => block_on(list::run(output, &admin)),
        TokenCommand::Delete { tokens, admin } => block_on(delete(&tokens, &admin)),
        TokenCommand::Create {
            token,
            ttl,
            usages,
            groups,
            description,
            print_join_command,
            certificate_key,
            admin,
        } => {
            check_groups(&groups)?;
            let new = NewToken {
                token: token.unwrap_or_else(Token::generate),
                ttl,
                usages,
                groups,
                description,
            };
            block_on(async {
                new.create(&connect(&admin.kubeconfig)?).await?;
                if print_join_command {
                    let to = JoinTo::of(&admin.kubeconfig)?;
                    say!("{}", to.command(&new.token, certificate_key.as_deref()));
                } else {
                    say!("{}", new.token.reveal());
                }
                Ok(())
            })
        }
    }
}

/// A client for an administrator's kubeconfig file.
pub fn connect(kubeconfig: &Path) -> anyhow::Result<Client> {
    let client = Client::from_kubeconfig(kubeconfig);
    client.context("--kubeconfig: name the file of an administrator; on a master it is /etc/kubernetes/admin.conf")
}

fn check_groups(groups: &[String]) -> anyhow::Result<()> {
    let prefix = format!("{}:", bootstrap_tokens::GROUP);
    for group in groups {
        ensure!(
            group.strip_prefix(&prefix).is_some_and(|rest| !rest.is_empty()),
            "--groups: {group:?} does not begin with {prefix}"
        );
    }
    Ok(())
}

async fn delete(tokens: &[String], admin: &AdminArgs) -> anyhow::Result<()> {
    let client = connect(&admin.kubeconfig)?;
    for named in tokens {
        // Whoever has the whole token at hand need not cut it.
        let id = named.split('.').next().unwrap_or_default();
        ensure!(
            id.len() == 6 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
            "a token's id is six characters of a-z and 0-9"
        );
        let key = Key::new(NAMESPACE, format!("{NAME_PREFIX}{id}"));
        match client.delete(&SECRETS, &key, &DeleteOptions::default()).await {
            Err(error) if error.is_not_found() => bail!("there is no token with the id {id}"),
            deleted => drop(deleted.context("cannot delete the token")?),
        }
        say!("token {id} deleted");
    }
    Ok(())
}

/// What a machine that joins is told of the cluster.
pub struct JoinTo {
    /// `host:port` of the API.
    address: String,
    pin: Pin,
}

impl JoinTo {
    /// The cluster of a kubeconfig file.
    pub fn of(kubeconfig: &Path) -> anyhow::Result<JoinTo> {
        let options = RemoteOptions::from_kubeconfig(kubeconfig)?;
        let server = options.servers.first().context("the kubeconfig names no server")?;
        let ca = match options.ca {
            client::Pem::Inline(bytes) => bytes,
            client::Pem::Path(path) => {
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
            }
        };
        let pin = Pin::of(&String::from_utf8_lossy(&ca));
        Ok(JoinTo {
            address: server.trim_start_matches("https://").trim_end_matches('/').to_owned(),
            pin: pin.map_err(|reason| anyhow::anyhow!("{}: authority: {reason}", kubeconfig.display()))?,
        })
    }

    /// The command that joins a node or, with the key of the uploaded certificates, a master.
    pub fn command(&self, token: &Token, certificate_key: Option<&str>) -> String {
        let program = std::env::current_exe().unwrap_or_else(|_| "proreus".into());
        let master = certificate_key.map(|key| format!(" --control-plane --certificate-key {key}"));
        format!(
            "{} join {} --token {} --discovery-token-ca-cert-hash {}{}",
            word(&program),
            self.address,
            token.reveal(),
            self.pin,
            master.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_made_up_is_a_token_and_never_the_same() {
        let (one, other) = (Token::generate(), Token::generate());
        assert!(Token::parse(&one.reveal()).is_ok());
        assert_ne!(one.reveal(), other.reveal());
        let error = Token::parse("abcdef.SECRET").err().unwrap();
        assert!(!error.contains("SECRET"));
    }

    #[test]
    fn the_secret_of_a_token_is_understood_by_the_cluster() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let new = NewToken::joining(Token::generate(), Duration::from_secs(60), "x");
        let object = new.object(now).unwrap();
        let data: BTreeMap<String, String> = object["stringData"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), STANDARD.encode(value.as_str().unwrap())))
            .collect();
        let name = object["metadata"]["name"].as_str().unwrap();
        let read = bootstrap_tokens::BootstrapToken::read(name, SECRET_TYPE, &data).unwrap();
        assert!(read.authenticates && read.signs);
        assert_eq!(read.remaining(now), Some(Duration::from_secs(60)));
        assert_eq!(read.groups().unwrap(), ["system:bootstrappers", NODES_GROUP]);
        let forever = NewToken::joining(Token::generate(), Duration::ZERO, "");
        assert!(forever.object(now).unwrap()["stringData"].get("expiration").is_none());
    }

    #[test]
    fn groups_are_those_of_bootstrappers() {
        check_groups(&["system:bootstrappers:a".into()]).unwrap();
        for wrong in ["system:masters", "system:bootstrappers:", "system:bootstrappers"] {
            let error = check_groups(&[wrong.into()]).unwrap_err().to_string();
            assert!(error.contains("--groups"), "{error}");
        }
    }
}
