//! A way into the store: the first endpoint that answers, with the operator's certificate and token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use etcd::services::etcdserverpb::auth_client::AuthClient;
use etcd::services::etcdserverpb::cluster_client::ClusterClient;
use etcd::services::etcdserverpb::kv_client::KvClient;
use etcd::services::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcd::etcdserverpb::{AuthenticateRequest, Member, MemberListRequest, StatusRequest, StatusResponse};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::args::DoorArgs;
use crate::up::layout::Layout;

/// An endpoint that takes no connection in this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Service = InterceptedService<Channel, Token>;

/// What is shown with every request, if anything.
#[derive(Clone, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// An open way into the store.
pub struct Door {
    channel: Channel,
    token: Token,
    /// Where it leads.
    pub url: String,
    how: How,
}

/// How endpoints are reached.
#[derive(Clone)]
struct How {
    tls: Option<ClientTlsConfig>,
    timeout: Duration,
}

impl Door {
    /// Opens the door that the flags name.
    pub async fn open(args: &DoorArgs) -> anyhow::Result<Door> {
        let args = &with_cluster(args)?;
        let how = How {
            tls: tls(args)?,
            timeout: Duration::from_secs(args.timeout),
        };
        let mut door = how.first(&args.endpoints).await?;
        if let Some(user) = &args.user {
            door.token = door.authenticate(user, args.password.as_deref()).await?;
        }
        Ok(door)
    }

    /// The same for another endpoint of the same cluster.
    pub async fn at(&self, endpoints: &[String]) -> anyhow::Result<Door> {
        let door = self.how.first(endpoints).await?;
        Ok(Door {
            token: self.token.clone(),
            ..door
        })
    }

    pub fn cluster(&self) -> ClusterClient<Service> {
        ClusterClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    pub fn keys(&self) -> KvClient<Service> {
        KvClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    pub fn maintenance(&self) -> MaintenanceClient<Service> {
        MaintenanceClient::with_interceptor(self.channel.clone(), self.token.clone())
    }

    /// The members, as the leader has them.
    pub async fn members(&self) -> anyhow::Result<Vec<Member>> {
        let request = MemberListRequest { linearizable: true };
        let list = self.cluster().member_list(request).await;
        Ok(list
            .map_err(|status| self.failed("list the members", &status))?
            .into_inner()
            .members)
    }

    /// What the member behind the door says of itself.
    pub async fn status(&self) -> anyhow::Result<StatusResponse> {
        let status = self.maintenance().status(StatusRequest {}).await;
        Ok(status
            .map_err(|status| self.failed("ask for the status", &status))?
            .into_inner())
    }

    /// The member that somebody names by its id or its name.
    pub async fn member(&self, named: &str) -> anyhow::Result<Member> {
        find(self.members().await?, named)
    }

    /// An error that says what failed, where, and what came back.
    pub fn failed(&self, what: &str, status: &Status) -> anyhow::Error {
        let hint = match status.code() {
            tonic::Code::DeadlineExceeded => "; it may have been done: look before you repeat it",
            tonic::Code::Unauthenticated => "; name a user with --user",
            _ => "",
        };
        anyhow::anyhow!("{}: cannot {what}: {}{hint}", self.url, reason(status))
    }

    async fn authenticate(&self, user: &str, password: Option<&str>) -> anyhow::Result<Token> {
        let (name, password) = match (user.split_once(':'), password) {
            (Some((name, password)), None) => (name, password),
            (None, Some(password)) => (user, password),
            (Some(_), Some(_)) => bail!("--password: --user carries a password already"),
            (None, None) => bail!("--user: a password is missing: give NAME:PASSWORD or --password"),
        };
        let request = AuthenticateRequest {
            name: name.into(),
            password: password.into(),
        };
        let answer = AuthClient::new(self.channel.clone()).authenticate(request).await;
        let token = answer
            .map_err(|status| self.failed("log in", &status))?
            .into_inner()
            .token;
        let token = token.parse().context("the store's token is not usable")?;
        Ok(Token(Some(token)))
    }
}

/// What lies behind a failed call: of a broken connection the outermost text says nothing.
fn reason(status: &Status) -> String {
    let mut innermost = std::error::Error::source(status);
    while let Some(next) = innermost.and_then(std::error::Error::source) {
        innermost = Some(next);
    }
    innermost.map_or_else(|| status.message().to_owned(), ToString::to_string)
}

/// Finds a member by its id or, if none has it, by its name.
fn find(members: Vec<Member>, named: &str) -> anyhow::Result<Member> {
    let id = u64::from_str_radix(named.trim_start_matches("0x"), 16).ok();
    let by_id = members.iter().position(|member| Some(member.id) == id);
    let by_name = || {
        let mut found = members.iter().enumerate().filter(|(_, member)| member.name == named);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    };
    let known = || {
        let shown = members
            .iter()
            .map(|member| format!("{:x} ({})", member.id, member.name));
        shown.collect::<Vec<_>>().join(", ")
    };
    let at = match (by_id, by_name()) {
        (Some(id), Some(name)) if id != name => bail!(
            "{named:?} is the id of one member and the name of another; name it by its id with 0x before it, or by the \
             other's id: there are {}",
            known()
        ),
        (id, name) => id.or(name),
    };
    let at = at.with_context(|| format!("no one member has the id or name {named:?}; there are {}", known()))?;
    Ok(members.into_iter().nth(at).expect("a position in it"))
}

impl How {
    async fn first(&self, endpoints: &[String]) -> anyhow::Result<Door> {
        let mut failures = Vec::new();
        for endpoint in endpoints {
            let url = match self.url(endpoint) {
                Ok(url) => url,
                Err(error) => {
                    failures.push(format!("{error:#}"));
                    continue;
                }
            };
            match self.connect(&url).await {
                Ok(channel) => {
                    return Ok(Door {
                        channel,
                        token: Token::default(),
                        url,
                        how: self.clone(),
                    });
                }
                Err(error) => failures.push(format!("{url}: {error:#}")),
            }
        }
        bail!("--endpoints: no member can be reached: {}", failures.join("; "))
    }

    /// An endpoint may be `host:port`; the scheme is then the one that goes with the certificates.
    fn url(&self, endpoint: &str) -> anyhow::Result<String> {
        let endpoint = endpoint.trim().trim_end_matches('/');
        let url = match endpoint.split_once("://") {
            None if self.tls.is_some() => format!("https://{endpoint}"),
            None => format!("http://{endpoint}"),
            Some(("http" | "https", _)) => endpoint.to_owned(),
            Some(_) => bail!("--endpoints: {endpoint:?} is not of the form http://HOST:PORT or https://HOST:PORT"),
        };
        ensure!(
            !url.starts_with("https://") || self.tls.is_some(),
            "--cacert: {url} needs the authority that its certificate is checked against"
        );
        Ok(url)
    }

    async fn connect(&self, url: &str) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(url.to_owned())?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.timeout);
        if let Some(tls) = self.tls.clone().filter(|_| url.starts_with("https://")) {
            endpoint = endpoint.tls_config(tls)?;
        }
        Ok(endpoint.connect().await?)
    }
}

fn tls(args: &DoorArgs) -> anyhow::Result<Option<ClientTlsConfig>> {
    let Some(ca) = &args.cacert else {
        ensure!(
            args.cert.is_none(),
            "--cacert: a certificate is shown only to members that are checked too"
        );
        return Ok(None);
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("cacert", ca)?));
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        config = config.identity(Identity::from_pem(read("cert", cert)?, read("key", key)?));
    }
    Ok(Some(config))
}

fn read(flag: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("--{flag}: cannot read {}", path.display()))
}

/// The flags for the cluster of a data directory, if one is given.
fn with_cluster(args: &DoorArgs) -> anyhow::Result<DoorArgs> {
    let Some(directory) = &args.data_dir else {
        return Ok(args.clone());
    };
    let layout = Layout::of(directory)?;
    let file = |name: &str| -> Option<PathBuf> { Some(directory.join("pki/etcd").join(name)) };
    Ok(DoorArgs {
        endpoints: layout
            .masters
            .iter()
            .map(|master| format!("https://{}", master.client()))
            .collect(),
        cacert: file("ca.crt"),
        cert: file("client.crt"),
        key: file("client.key"),
        // Its certificate says who asks.
        user: None,
        password: None,
        ..args.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_named_by_id_or_by_name() {
        let member = |id, name: &str| Member {
            id,
            name: name.into(),
            ..Default::default()
        };
        let members = || {
            vec![
                member(0xab, "one"),
                member(2, "ab"),
                member(3, "twin"),
                member(4, "twin"),
            ]
        };
        let found = |named| find(members(), named).map(|member| member.id);
        assert_eq!(found("one").unwrap(), 0xab);
        assert!(found("ab").is_err(), "an id and a name");
        assert_eq!(found("0xab").unwrap(), 0xab);
        assert_eq!(found("0x2").unwrap(), 2);
        assert!(found("twin").is_err(), "which one?");
        assert!(found("three").unwrap_err().to_string().contains("ab (one)"));
    }

    #[test]
    fn an_endpoint_without_a_scheme_takes_the_one_of_the_certificates() {
        let how = |tls| How {
            tls,
            timeout: CONNECT_TIMEOUT,
        };
        let (plain, secure) = (how(None), how(Some(ClientTlsConfig::new())));
        assert_eq!(plain.url("h:1").unwrap(), "http://h:1");
        assert_eq!(secure.url("h:1/").unwrap(), "https://h:1");
        assert_eq!(secure.url("http://h:1").unwrap(), "http://h:1");
        assert!(
            plain
                .url("https://h:1")
                .unwrap_err()
                .to_string()
                .starts_with("--cacert: ")
        );
        assert!(plain.url("unix://x").is_err());
    }
}
