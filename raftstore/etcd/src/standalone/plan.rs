//! From flags to what is to be run. Reads no file but those that [`Plan::setup`] and [`Plan::client_tls`] are for.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use pki::tls::{self, ClientAuth};
use raftstore::{Listen, Member, Options, Owner, Setup, Timing, Tls, member_id};
use rustls::ServerConfig;

use super::{
    AutoCompaction, StandaloneError,
    flags::{self, Given, refuse},
};
use crate::{EtcdConfig, limits};

type Result<T> = std::result::Result<T, StandaloneError>;

/// Where something listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub secure: bool,
}

/// Files of one side's TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    /// Whether the other side needs a certificate.
    auth: bool,
}

/// A member to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// Where everything is that the member writes.
    pub data_directory: PathBuf,
    /// Doors for clients.
    pub listen_client: Vec<Endpoint>,
    /// Doors for health and metrics alone.
    pub listen_metrics: Vec<Endpoint>,
    /// How the doors behave.
    pub door: EtcdConfig,
    /// What is forgotten by itself.
    pub auto_compaction: AutoCompaction,
    listen_peer: Endpoint,
    options: Options,
    /// It was said that the cluster exists.
    existing: bool,
    client_files: Files,
    peer_files: Files,
}

impl Plan {
    /// Reads a command line, without the program's name, and the environment.
    pub fn read(
        arguments: impl IntoIterator<Item = String>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let given = Reader(flags::read(arguments, variables)?);
        let name = given.text("name", "default");
        let listen_peer = given.endpoints("listen-peer-urls", "http://localhost:2380")?;
        let [listen_peer] = listen_peer[..] else {
            return Err(refuse("listen-peer-urls", "peers are listened for on one address"));
        };
        let mut listen_metrics = Vec::new();
        if given.0.contains_key("listen-metrics-urls") {
            listen_metrics = given.endpoints("listen-metrics-urls", "")?;
        }
        let (options, existing) = given.options(&name)?;
        Ok(Self {
            log_level: given.log_level()?,
            data_directory: given.text("data-dir", &format!("{name}.etcd")).into(),
            listen_client: given.endpoints("listen-client-urls", "http://localhost:2379")?,
            listen_metrics,
            door: given.door(&name, &options.timing)?,
            auto_compaction: given.auto_compaction()?,
            listen_peer,
            options,
            existing,
            client_files: given.files("", "client-cert-auth"),
            peer_files: given.files("peer-", "peer-client-cert-auth"),
        })
    }

    /// The member as its peers know it.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The member's store, but for its tables, and whether it is still to be found out which member it is.
    pub fn setup(&self) -> Result<(Setup, bool)> {
        let mut options = self.options.clone();
        // A data directory says whose it is; then nothing is founded or joined any more, whatever the flags say.
        let owner = Owner::read(&self.data_directory)?;
        owner.iter().for_each(|owner| options.belong_to(owner));
        let joins = self.existing && owner.is_none();
        let secure = self.listen_peer.secure;
        let files = &self.peer_files;
        let tls = secure.then(|| -> Result<Tls> {
            let (cert, key) = pair(files, "peer-cert-file", "peer-key-file")?;
            let ca = files.ca.as_ref();
            let ca = ca.ok_or_else(|| refuse("peer-trusted-ca-file", "peers over https need an authority to trust"))?;
            let tls_error = |source| StandaloneError::Tls {
                flag: "peer-cert-file",
                source,
            };
            let auth = if files.auth {
                ClientAuth::Required
            } else {
                ClientAuth::Optional
            };
            Ok(Tls {
                server: tls::server_config(cert, key, Some(ca), auth).map_err(tls_error)?,
                client: tls::client_config(ca, Some((cert, key))).map_err(tls_error)?,
            })
        });
        let setup = Setup {
            options,
            data_directory: self.data_directory.clone(),
            listen: Listen::Address(self.listen_peer.address),
            tls: tls.transpose()?,
        };
        Ok((setup, joins))
    }

    /// What doors for clients speak, if one of them speaks TLS.
    pub fn client_tls(&self) -> Result<Option<Arc<ServerConfig>>> {
        let mut endpoints = self.listen_client.iter().chain(&self.listen_metrics);
        if !endpoints.any(|endpoint| endpoint.secure) {
            return Ok(None);
        }
        let files = &self.client_files;
        let (cert, key) = pair(files, "cert-file", "key-file")?;
        if files.auth && files.ca.is_none() {
            return Err(refuse(
                "trusted-ca-file",
                "--client-cert-auth needs an authority to trust",
            ));
        }
        // As in etcd, to name an authority is to ask for certificates.
        let auth = if files.ca.is_some() {
            ClientAuth::Required
        } else {
            ClientAuth::None
        };
        let config = tls::server_config(cert, key, files.ca.as_deref(), auth);
        config.map(Some).map_err(|source| StandaloneError::Tls {
            flag: "cert-file",
            source,
        })
    }
}

fn pair<'a>(files: &'a Files, cert: &str, key: &str) -> Result<(&'a PathBuf, &'a PathBuf)> {
    let missing = |flag| move || refuse(flag, "a URL says https, which needs it");
    let certificate = files.cert.as_ref().ok_or_else(missing(cert))?;
    Ok((certificate, files.key.as_ref().ok_or_else(missing(key))?))
}

/// What was given, as values.
struct Reader(Given);

impl Reader {
    fn text(&self, flag: &str, otherwise: &str) -> String {
        self.0.get(flag).cloned().unwrap_or_else(|| otherwise.to_owned())
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&self, flag: &str) -> Result<Option<T>> {
        let Some(text) = self.0.get(flag) else { return Ok(None) };
        let parsed = text
            .parse()
            .map_err(|error| refuse(flag, format!("{text:?} is not usable: {error}")));
        parsed.map(Some)
    }

    fn switch(&self, flag: &str) -> bool {
        self.0.get(flag).is_some_and(|value| value == "true")
    }

    /// A number of milliseconds.
    fn milliseconds(&self, flag: &str, otherwise: u64) -> Result<Duration> {
        Ok(Duration::from_millis(self.parse(flag)?.unwrap_or(otherwise)))
    }

    fn urls(&self, flag: &str, otherwise: &str) -> Vec<String> {
        let text = self.text(flag, otherwise);
        let urls = text.split(',').map(|url| url.trim_end_matches('/').to_owned());
        urls.filter(|url| !url.is_empty()).collect()
    }

    fn endpoints(&self, flag: &str, otherwise: &str) -> Result<Vec<Endpoint>> {
        let urls = self.urls(flag, otherwise);
        if urls.is_empty() {
            return Err(refuse(flag, "at least one URL is needed"));
        }
        urls.iter().map(|url| endpoint(flag, url)).collect()
    }

    fn files(&self, prefix: &str, auth: &str) -> Files {
        let file = |name: &str| {
            let given = self.0.get(format!("{prefix}{name}").as_str());
            given.filter(|path| !path.is_empty()).map(PathBuf::from)
        };
        Files {
            cert: file("cert-file"),
            key: file("key-file"),
            ca: file("trusted-ca-file"),
            auth: self.switch(auth),
        }
    }

    fn log_level(&self) -> Result<String> {
        Ok(match self.text("log-level", "info").as_str() {
            level @ ("debug" | "info" | "warn" | "error") => level.to_owned(),
            "dpanic" | "panic" | "fatal" => "error".into(),
            other => {
                return Err(refuse(
                    "log-level",
                    format!("{other:?} is none of debug, info, warn, error"),
                ));
            }
        })
    }

    /// The member as its peers know it, and whether its cluster is there already.
    fn options(&self, name: &str) -> Result<(Options, bool)> {
        let token = self.text("initial-cluster-token", "etcd-cluster");
        let advertised = self.urls("initial-advertise-peer-urls", "http://localhost:2380");
        let alone = advertised
            .iter()
            .map(|url| format!("{name}={url}"))
            .collect::<Vec<_>>()
            .join(",");
        let cluster = members(&self.text("initial-cluster", &alone))?;
        let Some(own) = cluster.get(name) else {
            let reason = format!("{name:?}, which is --name, is not among the members");
            return Err(refuse("initial-cluster", reason));
        };
        let sorted = |urls: &[String]| {
            let mut urls = urls.to_vec();
            urls.sort();
            urls
        };
        if sorted(own) != sorted(&advertised) {
            let reason = format!("{advertised:?} is not what --initial-cluster says of {name}: {own:?}");
            return Err(refuse("initial-advertise-peer-urls", reason));
        }
        let member = |(member, peer_urls): (&String, &Vec<String>)| Member {
            id: member_id(&token, member),
            name: member.clone(),
            peer_urls: peer_urls.clone(),
            client_urls: if member == name {
                self.advertised_clients()
            } else {
                Vec::new()
            },
            learner: false,
        };
        let members = cluster.iter().map(member).collect();
        let mut options = Options::new(member_id(&token, name), token, members);
        options.timing = self.timing()?;
        if let Some(entries) = self.parse::<u64>("snapshot-count")? {
            options.retention.entries = entries.max(1);
        }
        match self.parse::<i64>("quota-backend-bytes")? {
            None | Some(0) => {}
            Some(bytes) => options.space.quota_bytes = u64::try_from(bytes).unwrap_or(u64::MAX),
        }
        let existing = match self.text("initial-cluster-state", "new").as_str() {
            "new" => false,
            "existing" => true,
            other => {
                return Err(refuse(
                    "initial-cluster-state",
                    format!("{other:?} is neither new nor existing"),
                ));
            }
        };
        options.founds = !existing;
        Ok((options, existing))
    }

    fn advertised_clients(&self) -> Vec<String> {
        self.urls("advertise-client-urls", "http://localhost:2379")
    }

    fn timing(&self) -> Result<Timing> {
        if !self.0.contains_key("heartbeat-interval") && !self.0.contains_key("election-timeout") {
            return Ok(Timing::default());
        }
        let heartbeat = self.milliseconds("heartbeat-interval", 100)?;
        let election_max = self.milliseconds("election-timeout", 1_000)?;
        if heartbeat.is_zero() || election_max < 5 * heartbeat {
            return Err(refuse(
                "election-timeout",
                "it should be at least 5 times --heartbeat-interval",
            ));
        }
        if election_max > limits::ELECTION_TIMEOUT_MAX {
            return Err(refuse("election-timeout", "it is too long, at most 50000 ms"));
        }
        Ok(Timing {
            heartbeat,
            election_min: election_max / 2,
            election_max,
            ..Timing::default()
        })
    }

    fn door(&self, name: &str, timing: &Timing) -> Result<EtcdConfig> {
        if self.0.contains_key("listen-client-urls") && !self.0.contains_key("advertise-client-urls") {
            let reason = "it is required when --listen-client-urls is set explicitly";
            return Err(refuse("advertise-client-urls", reason));
        }
        let mut door = EtcdConfig::new(name, self.advertised_clients());
        door.election_timeout = timing.election_max;
        door.spool_directory = self.text("data-dir", &format!("{name}.etcd")).into();
        door.client_cert_auth = self.switch("client-cert-auth");
        if !matches!(self.text("auth-token", "simple").as_str(), "simple" | "") {
            return Err(refuse(
                "auth-token",
                "tokens are simple; they are signed and known to all members",
            ));
        }
        if let Some(seconds) = self.parse("auth-token-ttl")? {
            door.token_ttl = Duration::from_secs(seconds);
        }
        if let Some(cost) = self.parse("bcrypt-cost")? {
            if !(4..=31).contains(&cost) {
                return Err(refuse("bcrypt-cost", "it has to be from 4 to 31"));
            }
            door.bcrypt_cost = cost;
        }
        for flag in [
            "watch-progress-notify-interval",
            "experimental-watch-progress-notify-interval",
        ] {
            if let Some(text) = self.0.get(flag) {
                door.watch_progress_interval = duration(text).ok_or_else(|| refuse(flag, "give a time such as 10m"))?;
            }
        }
        door.request_bytes_max = self.at_most("max-request-bytes", limits::REQUEST_BYTES_MAX)?;
        door.txn_operations_max = self.at_most("max-txn-ops", limits::TXN_OPERATIONS_MAX)?;
        Ok(door)
    }

    fn at_most(&self, flag: &str, limit: usize) -> Result<usize> {
        match self.parse(flag)? {
            None => Ok(limit),
            Some(value) if value <= limit => Ok(value),
            Some(value) => Err(refuse(
                flag,
                format!("{value} is more than the limit, which is {limit}"),
            )),
        }
    }

    fn auto_compaction(&self) -> Result<AutoCompaction> {
        let retention = self.text("auto-compaction-retention", "0");
        let unusable = || refuse("auto-compaction-retention", format!("{retention:?} is not usable"));
        if retention == "0" {
            return Ok(AutoCompaction::Off);
        }
        match self.text("auto-compaction-mode", "periodic").as_str() {
            "periodic" => {
                let hours = retention
                    .parse()
                    .ok()
                    .map(|hours: u64| Duration::from_secs(3_600 * hours));
                let age = hours.or_else(|| duration(&retention)).filter(|age| !age.is_zero());
                Ok(AutoCompaction::Periodic(age.ok_or_else(unusable)?))
            }
            "revision" => {
                let count = retention.parse().ok().filter(|count| *count > 0);
                Ok(AutoCompaction::Revisions(count.ok_or_else(unusable)?))
            }
            other => Err(refuse(
                "auto-compaction-mode",
                format!("{other:?} is neither periodic nor revision"),
            )),
        }
    }
}

/// Members by name, from `NAME=URL,...`; a member with several URLs is there several times.
fn members(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut members = BTreeMap::<String, Vec<String>>::new();
    for one in text.split(',').filter(|one| !one.is_empty()) {
        let parts = one
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && url.contains("://"));
        let (name, url) =
            parts.ok_or_else(|| refuse("initial-cluster", format!("{one:?} is not of the form NAME=URL")))?;
        members
            .entry(name.into())
            .or_default()
            .push(url.trim_end_matches('/').into());
    }
    Ok(members)
}

fn endpoint(flag: &str, url: &str) -> Result<Endpoint> {
    let unusable = || {
        refuse(
            flag,
            format!("{url:?} is not of the form http://ADDRESS:PORT or https://ADDRESS:PORT"),
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(unusable)?;
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(unusable()),
    };
    let (host, port) = rest.rsplit_once(':').ok_or_else(unusable)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| unusable())?,
    };
    let address = (ip, port.parse().map_err(|_| unusable())?).into();
    Ok(Endpoint { address, secure })
}

/// A time as Go writes it: `1h30m`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += match &rest[..unit] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            _ => return None,
        };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> std::result::Result<Plan, String> {
        Plan::read(line.split_whitespace().map(str::to_owned), []).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_it_is_etcds_default_member() {
        let plan = plan("").unwrap();
        assert_eq!(plan.data_directory, PathBuf::from("default.etcd"));
        let local = |port| Endpoint {
            address: ([127, 0, 0, 1], port).into(),
            secure: false,
        };
        assert_eq!(
            (&plan.listen_client[..], plan.listen_peer),
            (&[local(2379)][..], local(2380))
        );
        assert_eq!(plan.options.members.len(), 1);
        assert_eq!(plan.options.id, plan.options.members[0].id);
        assert_eq!(plan.auto_compaction, AutoCompaction::Off);
        assert!(plan.client_tls().unwrap().is_none() && plan.setup().unwrap().0.tls.is_none());
    }

    #[test]
    fn every_member_of_a_cluster_derives_the_same_ids() {
        let cluster = "--initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380/ \
                       --initial-cluster-token=t";
        let of = |name: &str, at: u8| {
            plan(&format!(
                "--name={name} --initial-advertise-peer-urls=http://10.0.0.{at}:2380 {cluster}"
            ))
            .unwrap()
            .options
        };
        let (one, two) = (of("a", 1), of("c", 3));
        let ids = |options: &Options| options.members.iter().map(|member| member.id).collect::<Vec<_>>();
        assert_eq!(ids(&one), ids(&two));
        assert_eq!(one.cluster_id(), two.cluster_id());
        assert_ne!(one.id, two.id);
        assert_eq!(two.members[2].peer_urls, ["http://10.0.0.3:2380"]);
    }

    #[test]
    fn values_reach_what_they_are_for() {
        let plan = plan(
            "--heartbeat-interval=50 --election-timeout=600 --quota-backend-bytes=1000000 --snapshot-count=5000 \
             --auto-compaction-retention=90m --max-txn-ops=10 --max-request-bytes=1000 --log-level=panic \
             --auth-token-ttl=10 --bcrypt-cost=5 --watch-progress-notify-interval=5s --client-cert-auth \
             --listen-metrics-urls=http://127.0.0.1:2381,http://[::1]:2381",
        )
        .unwrap();
        let Timing {
            heartbeat,
            election_min,
            election_max,
            ..
        } = plan.options.timing;
        assert_eq!(
            [heartbeat, election_min, election_max].map(|time| time.as_millis()),
            [50, 300, 600]
        );
        assert_eq!(
            (plan.options.space.quota_bytes, plan.options.retention.entries),
            (1_000_000, 5_000)
        );
        assert_eq!(
            plan.auto_compaction,
            AutoCompaction::Periodic(Duration::from_secs(5_400))
        );
        let door = &plan.door;
        assert_eq!(
            (door.txn_operations_max, door.request_bytes_max, door.bcrypt_cost),
            (10, 1_000, 5)
        );
        assert_eq!(
            (door.token_ttl.as_secs(), door.watch_progress_interval.as_secs()),
            (10, 5)
        );
        assert!(door.client_cert_auth && plan.log_level == "error" && plan.listen_metrics.len() == 2);
        let compaction = |line: &str| super::tests::plan(line).unwrap().auto_compaction;
        assert_eq!(
            compaction("--auto-compaction-mode=revision --auto-compaction-retention=1000"),
            AutoCompaction::Revisions(1_000)
        );
        assert_eq!(
            compaction("--auto-compaction-retention=8"),
            AutoCompaction::Periodic(Duration::from_secs(8 * 3_600))
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused_naming_the_flag() {
        for (line, flag, words) in [
            (
                "--name=x --initial-cluster=y=http://h:1",
                "initial-cluster",
                "is not among the members",
            ),
            ("--initial-cluster=nonsense", "initial-cluster", "NAME=URL"),
            (
                "--initial-advertise-peer-urls=http://a:1 --initial-cluster=default=http://b:1",
                "initial-advertise-peer-urls",
                "is not what --initial-cluster says",
            ),
            (
                "--listen-client-urls=http://0.0.0.0:2379",
                "advertise-client-urls",
                "is required when",
            ),
            (
                "--listen-client-urls=unix://x --advertise-client-urls=http://h:1",
                "listen-client-urls",
                "http://ADDRESS",
            ),
            (
                "--listen-peer-urls=http://example.com:1",
                "listen-peer-urls",
                "http://ADDRESS",
            ),
            (
                "--listen-peer-urls=http://127.0.0.1:1,http://127.0.0.2:1",
                "listen-peer-urls",
                "one address",
            ),
            ("--heartbeat-interval=300", "election-timeout", "at least 5 times"),
            (
                "--initial-cluster-state=old",
                "initial-cluster-state",
                "neither new nor existing",
            ),
            ("--auth-token=jwt,pub-key=x", "auth-token", "tokens are simple"),
            (
                "--auto-compaction-retention=soon",
                "auto-compaction-retention",
                "not usable",
            ),
            ("--max-txn-ops=1000", "max-txn-ops", "more than the limit"),
            ("--quota-backend-bytes=many", "quota-backend-bytes", "not usable"),
            ("--log-level=loud", "log-level", "none of debug"),
        ] {
            let error = plan(line).unwrap_err();
            assert!(
                error.starts_with(&format!("--{flag}: ")) && error.contains(words),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn https_needs_files_and_only_a_member_without_data_joins() {
        let secure = plan("--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://h:1").unwrap();
        assert!(
            secure
                .client_tls()
                .unwrap_err()
                .to_string()
                .starts_with("--cert-file: ")
        );
        let peers = plan("--listen-peer-urls=https://127.0.0.1:1").unwrap();
        assert!(
            peers
                .setup()
                .map(drop)
                .unwrap_err()
                .to_string()
                .starts_with("--peer-cert-file: ")
        );
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().display();
        let existing = plan(&format!("--initial-cluster-state=existing --data-dir={data}")).unwrap();
        assert!(existing.setup().unwrap().1, "it joins");
        std::fs::write(directory.path().join("member"), "cluster 0a\nmember 0b\n").unwrap();
        let (setup, joins) = existing.setup().unwrap();
        assert!(!joins, "it has its data");
        assert_eq!((setup.options.cluster_id(), setup.options.id), (10, 11));
    }
}
