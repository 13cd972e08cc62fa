//! etcd's flags: every one, and what becomes of it here.

use std::collections::BTreeMap;

use super::StandaloneError;

/// What a flag is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Honoured. A word or number follows.
    Value,
    /// Honoured; true if nothing follows.
    Switch,
    /// Only these values, which ask for what happens anyway; else the reason.
    Only(&'static [&'static str], &'static str),
    /// As [`Fate::Only`], true if nothing follows.
    OnlySwitch(&'static str, &'static str),
}

use Fate::{Only, OnlySwitch, Switch, Value};

const MEMBERS: &str = "members are given with --initial-cluster; discovery is not supported";
const RENEW: &str = "certificates are made by whoever runs the cluster; give --cert-file and --key-file";
const CRL: &str = "certificates are not checked against lists of revoked ones; use short-lived certificates";
const NAMES: &str = "peers are told apart by their certificate authority alone";
const LOGS: &str = "logs go to standard error as text; let the service manager route them";
const FIXED: &str = "this is not configurable; connections and streams have fixed bounds";
const OLD: &str = "the v2 API is not supported";
const KEEPALIVE: &str = "connections are checked every minute and given up after 20 s without an answer";
const CHECK: &str = "replicas are not compared yet";
const LEARNERS: &str = "one learner at a time waits for its promotion";

/// All flags, sorted by what they are about.
const FLAGS: [(&str, Fate); 75] = [
    ("name", Value),
    ("data-dir", Value),
    ("listen-peer-urls", Value),
    ("listen-client-urls", Value),
    ("listen-metrics-urls", Value),
    ("initial-advertise-peer-urls", Value),
    ("initial-cluster", Value),
    ("initial-cluster-state", Value),
    ("initial-cluster-token", Value),
    ("advertise-client-urls", Value),
    ("heartbeat-interval", Value),
    ("election-timeout", Value),
    ("snapshot-count", Value),
    ("quota-backend-bytes", Value),
    ("auto-compaction-mode", Value),
    ("auto-compaction-retention", Value),
    ("max-request-bytes", Value),
    ("max-txn-ops", Value),
    ("log-level", Value),
    ("cert-file", Value),
    ("key-file", Value),
    ("client-cert-auth", Switch),
    ("trusted-ca-file", Value),
    ("peer-cert-file", Value),
    ("peer-key-file", Value),
    ("peer-client-cert-auth", Switch),
    ("peer-trusted-ca-file", Value),
    ("auth-token", Value),
    ("auth-token-ttl", Value),
    ("bcrypt-cost", Value),
    ("watch-progress-notify-interval", Value),
    ("experimental-watch-progress-notify-interval", Value),
    ("metrics", Only(&["basic", "extensive"], "it is basic or extensive")),
    (
        "pre-vote",
        OnlySwitch("true", "members always ask before they stand for election"),
    ),
    (
        "strict-reconfig-check",
        OnlySwitch("true", "a change that would lose the quorum is always refused"),
    ),
    (
        "initial-election-tick-advance",
        OnlySwitch("true", "members start at once"),
    ),
    ("enable-v2", OnlySwitch("false", OLD)),
    ("v2-deprecation", Only(&["gone", "write-only-drop-data"], OLD)),
    (
        "enable-grpc-gateway",
        OnlySwitch("true", "the JSON gateway is always there"),
    ),
    ("logger", Only(&["zap"], LOGS)),
    ("log-outputs", Only(&["default", "stderr"], LOGS)),
    ("log-format", Only(&["console"], LOGS)),
    ("enable-log-rotation", OnlySwitch("false", LOGS)),
    ("log-rotation-config-json", Only(&[], LOGS)),
    ("debug", OnlySwitch("false", "use --log-level=debug")),
    ("enable-pprof", OnlySwitch("false", "there is no Go profile; use perf")),
    (
        "wal-dir",
        Only(&[""], "the log is inside --data-dir; mount another disk there"),
    ),
    ("max-snapshots", Only(&["5"], "there are no snapshot files to count")),
    ("max-wals", Only(&["5"], "the log is purged by --snapshot-count")),
    (
        "unsafe-no-fsync",
        OnlySwitch("false", "what is acknowledged is on disk, always"),
    ),
    (
        "force-new-cluster",
        OnlySwitch("false", "it could bring back a cluster beside the one that goes on"),
    ),
    ("cors", Only(&["*"], "no browser is to talk to the store")),
    ("host-whitelist", Only(&["*"], "no browser is to talk to the store")),
    ("discovery", Only(&[""], MEMBERS)),
    ("discovery-srv", Only(&[""], MEMBERS)),
    ("discovery-srv-name", Only(&[""], MEMBERS)),
    ("discovery-fallback", Only(&["exit"], MEMBERS)),
    ("discovery-proxy", Only(&[""], MEMBERS)),
    ("auto-tls", OnlySwitch("false", RENEW)),
    ("peer-auto-tls", OnlySwitch("false", RENEW)),
    ("self-signed-cert-validity", Only(&["1"], RENEW)),
    ("client-crl-file", Only(&[""], CRL)),
    ("peer-crl-file", Only(&[""], CRL)),
    (
        "client-cert-file",
        Only(&[""], "the door calls nobody, so it needs no certificate of a client"),
    ),
    (
        "client-key-file",
        Only(&[""], "the door calls nobody, so it needs no certificate of a client"),
    ),
    ("peer-cert-allowed-cn", Only(&[""], NAMES)),
    ("peer-cert-allowed-hostname", Only(&[""], NAMES)),
    (
        "cipher-suites",
        Only(&[""], "TLS 1.2 and 1.3 are spoken with the suites of the library"),
    ),
    ("tls-min-version", Only(&["TLS1.2"], "TLS 1.2 and 1.3 are spoken")),
    ("max-concurrent-streams", Only(&[], FIXED)),
    ("grpc-keepalive-min-time", Only(&[], KEEPALIVE)),
    ("grpc-keepalive-interval", Only(&[], KEEPALIVE)),
    ("grpc-keepalive-timeout", Only(&["20s"], KEEPALIVE)),
    ("experimental-initial-corrupt-check", OnlySwitch("false", CHECK)),
    ("experimental-max-learners", Only(&["1"], LEARNERS)),
];

/// Before the names of variables.
const VARIABLE_PREFIX: &str = "ETCD_";
/// Variables that etcd's other tools read, and those of its packages.
const NO_FLAGS: [&str; 2] = ["ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY"];

/// What was given, by flag; honoured ones only.
pub(super) type Given = BTreeMap<&'static str, String>;

pub(super) fn refuse(flag: &str, reason: impl Into<String>) -> StandaloneError {
    StandaloneError::Flag {
        flag: format!("--{flag}"),
        reason: reason.into(),
    }
}

/// Reads a command line and the environment. What is on the command line goes before a variable.
pub(super) fn read(
    arguments: impl IntoIterator<Item = String>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Given, StandaloneError> {
    let mut given = Given::new();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else {
            continue;
        };
        if NO_FLAGS.contains(&variable.as_str()) {
            continue;
        }
        let flag = name.to_ascii_lowercase().replace('_', "-");
        take(&mut given, &flag, value).map_err(|error| match error {
            StandaloneError::Flag { reason, .. } => StandaloneError::Flag { flag: variable, reason },
            other => other,
        })?;
    }
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
        let name = name.ok_or_else(|| refuse(&argument, "only flags are taken, of the form --name=value"))?;
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        if value.is_none() && !is_switch(name) && fate(name).is_some() {
            value = arguments.next();
        }
        let value = value.or_else(|| is_switch(name).then(|| "true".to_owned()));
        let value = match value {
            None if fate(name).is_some() => return Err(refuse(name, "a value is missing")),
            // Refused as unknown, whatever its value is.
            other => other.unwrap_or_default(),
        };
        take(&mut given, name, value)?;
    }
    Ok(given)
}

fn fate(flag: &str) -> Option<(&'static str, Fate)> {
    FLAGS.iter().find(|(name, _)| *name == flag).copied()
}

fn is_switch(flag: &str) -> bool {
    matches!(fate(flag), Some((_, Switch | OnlySwitch(..))))
}

fn take(given: &mut Given, flag: &str, value: String) -> Result<(), StandaloneError> {
    let Some((name, fate)) = fate(flag) else {
        let reason = if flag.starts_with("experimental-") || flag == "feature-gates" {
            "etcd's experiments are not taken over"
        } else if flag == "config-file" {
            "give flags, or variables named ETCD_..."
        } else {
            "there is no such flag"
        };
        return Err(refuse(flag, reason));
    };
    match fate {
        Value | Switch => drop(given.insert(name, value)),
        Only(values, _) if values.contains(&value.as_str()) => {}
        OnlySwitch(only, _) if value == only => {}
        Only(_, reason) | OnlySwitch(_, reason) => {
            return Err(refuse(flag, format!("{value:?} is not supported: {reason}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let arguments = line.split_whitespace().map(str::to_owned);
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let given = read(arguments, variables).map_err(|error| error.to_string())?;
        let one = |(name, value): (&&str, &String)| format!("{name}={value}");
        Ok(given.iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn flags_are_taken_in_all_forms_and_go_before_variables() {
        let line = "--name=a -data-dir /d --client-cert-auth --peer-client-cert-auth=false --pre-vote --logger zap";
        let variables = [
            ("ETCD_NAME", "b"),
            ("ETCD_LOG_LEVEL", "warn"),
            ("HOME", "/"),
            ("ETCDCTL_API", "3"),
        ];
        assert_eq!(
            given(line, &variables).unwrap(),
            "client-cert-auth=true data-dir=/d log-level=warn name=a peer-client-cert-auth=false"
        );
    }

    #[test]
    fn what_is_not_honoured_is_refused_with_a_reason() {
        for (line, expected) in [
            ("--name", "--name: a value is missing"),
            ("name", "--name: only flags"),
            ("--nonsense=1", "--nonsense: there is no such flag"),
            ("--experimental-x", "--experimental-x: etcd's experiments"),
            (
                "--unsafe-no-fsync",
                "--unsafe-no-fsync: \"true\" is not supported: what is acknowledged",
            ),
            (
                "--wal-dir=/w",
                "--wal-dir: \"/w\" is not supported: the log is inside --data-dir",
            ),
            ("--config-file=x", "--config-file: give flags"),
        ] {
            let error = given(line, &[]).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
        let error = given("", &[("ETCD_DISCOVERY", "x")]).unwrap_err();
        assert!(
            error.starts_with("ETCD_DISCOVERY: \"x\" is not supported: members are given"),
            "{error}"
        );
    }

    #[test]
    fn no_flag_is_listed_twice() {
        let names: std::collections::BTreeSet<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), FLAGS.len());
    }
}
