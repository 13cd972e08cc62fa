//! Who permits what: the options `authorizationMode` and its companions, or the file of `authorizationConfig`, an
//! AuthorizationConfiguration of `apiserver.config.k8s.io`. Either way the outcome is an ordered list of modes.

use super::error::read;
use super::{AccessError, FILE_BYTES_MAX, Options};
use crate::authz::abac::Policies;
use crate::authz::chain::{Mode, Modes};
use crate::authz::webhook::{Settings, Webhook};
use crate::outbound::remote::Remote;
use crate::registry::names;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const CONFIG: &str = "authorizationConfig";
const MODE: &str = "authorizationMode";
const POLICY_FILE: &str = "authorizationPolicyFile";
const WEBHOOK_FILE: &str = "authorizationWebhookConfigFile";
const VERSIONS: &[&str] = &["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
const KIND: &str = "AuthorizationConfiguration";
/// Authorizers in a chain, at most: each may cost every request a question.
const AUTHORIZERS_MAX: usize = 16;
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How long answers may be remembered at most.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
const ALLOWED_FOR: Duration = Duration::from_secs(5 * 60);
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// What asking a webhook that is configured by options may take.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    authorizers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    webhook: Option<WebhookEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookEntry {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: Option<String>,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: Option<String>,
    cache_unauthorized_requests: Option<bool>,
    #[serde(default)]
    timeout: String,
    #[serde(default)]
    subject_access_review_version: String,
    #[serde(default)]
    match_condition_subject_access_review_version: String,
    #[serde(default)]
    failure_policy: String,
    connection_info: Option<ConnectionInfo>,
    #[serde(default)]
    match_conditions: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectionInfo {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<PathBuf>,
}

pub(super) fn load(options: &Options) -> Result<Modes, AccessError> {
    let Some(path) = &options.authorization_config else {
        return by_options(options);
    };
    let others = [
        (MODE, !options.authorization_mode.is_empty()),
        (WEBHOOK_FILE, options.authorization_webhook_config_file.is_some()),
        (
            "authorizationWebhookCacheAuthorizedTtl",
            options.authorization_webhook_cache_authorized_ttl.is_some(),
        ),
        (
            "authorizationWebhookCacheUnauthorizedTtl",
            options.authorization_webhook_cache_unauthorized_ttl.is_some(),
        ),
    ];
    if let Some((option, _)) = others.into_iter().find(|(_, given)| *given) {
        return Err(wrong(option, "must not be set together with authorizationConfig"));
    }
    let text = read(CONFIG, path, FILE_BYTES_MAX)?;
    of_file(&text, path, options)
}

fn wrong(option: &'static str, problem: impl Into<String>) -> AccessError {
    AccessError::Option {
        option,
        problem: problem.into(),
    }
}

/// Which of the modes have been named; all but webhooks are named once.
#[derive(Default)]
struct Named(BTreeSet<String>);

impl Named {
    fn add(&mut self, mode: &str) -> Result<(), String> {
        match self.0.insert(mode.to_owned()) || mode == "Webhook" {
            true => Ok(()),
            false => Err(format!("{mode} is named twice")),
        }
    }

    fn has(&self, mode: &str) -> bool {
        self.0.contains(mode)
    }
}

const KNOWN: &[&str] = &["AlwaysAllow", "AlwaysDeny", "ABAC", "Node", "RBAC", "Webhook"];

fn unknown(mode: &str) -> String {
    format!("{mode:?} is none of {KNOWN:?}")
}

fn by_options(options: &Options) -> Result<Modes, AccessError> {
    let mut named = Named::default();
    let mut modes = Vec::new();
    for mode in &options.authorization_mode {
        named.add(mode).map_err(|problem| wrong(MODE, problem))?;
        modes.push(match mode.as_str() {
            "Webhook" => match named.0.len() == modes.len() + 1 {
                true => webhook_of_options(options)?,
                false => return Err(wrong(MODE, "Webhook is named twice")),
            },
            other => simple(other, options)?.ok_or_else(|| wrong(MODE, unknown(other)))?,
        });
    }
    if options.authorization_webhook_config_file.is_some() && !named.has("Webhook") {
        return Err(wrong(WEBHOOK_FILE, "is of no use unless authorizationMode has Webhook"));
    }
    check_policy_file(options, &named)?;
    match modes.is_empty() {
        true => Ok(Modes::default()),
        false => Ok(Modes(modes)),
    }
}

/// A file that nobody asks is a mistake: somebody believes that it grants something.
fn check_policy_file(options: &Options, named: &Named) -> Result<(), AccessError> {
    match options.authorization_policy_file.is_some() && !named.has("ABAC") {
        true => Err(wrong(POLICY_FILE, "is of no use unless ABAC is among the modes")),
        false => Ok(()),
    }
}

/// A mode that needs no settings of its own.
fn simple(mode: &str, options: &Options) -> Result<Option<Mode>, AccessError> {
    Ok(match mode {
        "AlwaysAllow" => Some(Mode::AlwaysAllow),
        "AlwaysDeny" => Some(Mode::AlwaysDeny),
        "Node" => Some(Mode::Node),
        "RBAC" => Some(Mode::Rbac),
        "ABAC" => Some(Mode::Abac(policies(options)?)),
        _ => None,
    })
}

fn policies(options: &Options) -> Result<Arc<Policies>, AccessError> {
    let path = options.authorization_policy_file.as_ref();
    let path = path.ok_or_else(|| wrong(POLICY_FILE, "is needed by the mode ABAC"))?;
    let text = read(POLICY_FILE, path, FILE_BYTES_MAX)?;
    let policies = Policies::parse(&text).map_err(|(line, problem)| AccessError::Line {
        option: POLICY_FILE,
        path: path.clone(),
        line,
        problem,
    });
    policies.map(Arc::new)
}

fn webhook_of_options(options: &Options) -> Result<Mode, AccessError> {
    let path = options.authorization_webhook_config_file.as_ref();
    let path = path.ok_or_else(|| wrong(WEBHOOK_FILE, "is needed by the mode Webhook"))?;
    let lifetime = |option, text: &Option<String>, usual| {
        let text = text.as_deref();
        text.map_or(Ok(usual), lifetime)
            .map_err(|problem| wrong(option, problem))
    };
    let settings = Settings {
        name: "webhook".into(),
        timeout: TIMEOUT,
        allowed_for: lifetime(
            "authorizationWebhookCacheAuthorizedTtl",
            &options.authorization_webhook_cache_authorized_ttl,
            ALLOWED_FOR,
        )?,
        refused_for: lifetime(
            "authorizationWebhookCacheUnauthorizedTtl",
            &options.authorization_webhook_cache_unauthorized_ttl,
            REFUSED_FOR,
        )?,
        failure_denies: false,
    };
    Ok(Mode::Webhook(Arc::new(Webhook::new(
        remote(WEBHOOK_FILE, path)?,
        settings,
    ))))
}

/// The service that a kubeconfig names.
pub(super) fn remote(option: &'static str, path: &Path) -> Result<Remote, AccessError> {
    let text = read(option, path, FILE_BYTES_MAX)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    Remote::of_kubeconfig(&text, directory).map_err(|problem| AccessError::File {
        option,
        path: path.into(),
        problem,
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = api::duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{text:?} is not a duration such as 30s"))
}

/// How long something is remembered.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        long if long > LIFETIME_MAX => Err(format!("{text:?} is longer than {} h", LIFETIME_MAX.as_secs() / 3600)),
        lifetime => Ok(lifetime),
    }
}

fn of_file(text: &str, path: &Path, options: &Options) -> Result<Modes, AccessError> {
    let wrong = |problem: String| AccessError::File {
        option: CONFIG,
        path: path.into(),
        problem,
    };
    let file: File = serde_saphyr::from_str(text).map_err(|error| wrong(error.without_snippet().to_string()))?;
    head(&file).map_err(wrong)?;
    let (mut named, mut names, mut modes) = (Named::default(), BTreeSet::new(), Vec::new());
    for (index, entry) in file.authorizers.iter().enumerate() {
        let at = |problem: String| wrong(format!("authorizers[{index}].{problem}"));
        if let Some(problem) = names::dns_subdomain(&entry.name) {
            return Err(at(format!("name: {problem}")));
        }
        if !names.insert(&entry.name) {
            return Err(at(format!("name: {:?} is the name of another one", entry.name)));
        }
        named
            .add(&entry.kind)
            .map_err(|problem| at(format!("type: {problem}")))?;
        modes.push(match (entry.kind.as_str(), &entry.webhook) {
            ("Webhook", Some(webhook)) => {
                let (settings, file) = webhook
                    .read(&entry.name)
                    .map_err(|problem| at(format!("webhook.{problem}")))?;
                Mode::Webhook(Arc::new(Webhook::new(remote(CONFIG, &file)?, settings)))
            }
            ("Webhook", None) => return Err(at("webhook: is needed where the type is Webhook".into())),
            (_, Some(_)) => return Err(at("webhook: must not be set unless the type is Webhook".into())),
            (kind, None) => simple(kind, options)?.ok_or_else(|| at(format!("type: {}", unknown(kind))))?,
        });
    }
    check_policy_file(options, &named)?;
    Ok(Modes(modes))
}

fn head(file: &File) -> Result<(), String> {
    if !VERSIONS.contains(&file.api_version.as_str()) {
        return Err(format!(
            "apiVersion: must be one of {VERSIONS:?}, not {:?}",
            file.api_version
        ));
    }
    if file.kind != KIND {
        return Err(format!("kind: must be {KIND}, not {:?}", file.kind));
    }
    if file.authorizers.is_empty() {
        return Err("authorizers: at least one is needed".into());
    }
    match file.authorizers.len() > AUTHORIZERS_MAX {
        true => Err(format!("authorizers: must have at most {AUTHORIZERS_MAX} items")),
        false => Ok(()),
    }
}

impl WebhookEntry {
    /// The settings, and the kubeconfig that says where it is. The error begins with the field.
    fn read(&self, name: &str) -> Result<(Settings, PathBuf), String> {
        // Without them the webhook would be asked, and might permit, what it was never meant for.
        if !self.match_conditions.is_empty() {
            return Err("matchConditions: are CEL expressions, which this version does not evaluate".into());
        }
        if self.subject_access_review_version != "v1" {
            let given = &self.subject_access_review_version;
            return Err(format!("subjectAccessReviewVersion: must be v1, not {given:?}"));
        }
        if !matches!(self.match_condition_subject_access_review_version.as_str(), "" | "v1") {
            return Err("matchConditionSubjectAccessReviewVersion: must be v1".into());
        }
        let timeout = match self.timeout.as_str() {
            "" => return Err("timeout: is needed".into()),
            text => duration(text).map_err(|problem| format!("timeout: {problem}"))?,
        };
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(format!(
                "timeout: must be above 0 and at most {} s",
                TIMEOUT_MAX.as_secs()
            ));
        }
        let failure_denies = match self.failure_policy.as_str() {
            "Deny" => true,
            "NoOpinion" => false,
            other => return Err(format!("failurePolicy: must be NoOpinion or Deny, not {other:?}")),
        };
        let kept = |field: &str, text: &Option<String>, cached: Option<bool>, usual| {
            let lifetime = text.as_deref().map_or(Ok(usual), lifetime);
            let lifetime = lifetime.map_err(|problem| format!("{field}: {problem}"))?;
            Ok::<_, String>(if cached == Some(false) {
                Duration::ZERO
            } else {
                lifetime
            })
        };
        let settings = Settings {
            name: name.into(),
            timeout,
            allowed_for: kept(
                "authorizedTTL",
                &self.authorized_ttl,
                self.cache_authorized_requests,
                ALLOWED_FOR,
            )?,
            refused_for: kept(
                "unauthorizedTTL",
                &self.unauthorized_ttl,
                self.cache_unauthorized_requests,
                REFUSED_FOR,
            )?,
            failure_denies,
        };
        Ok((settings, self.kubeconfig()?))
    }

    fn kubeconfig(&self) -> Result<PathBuf, String> {
        let info = self.connection_info.as_ref().ok_or("connectionInfo: is needed")?;
        if info.kind != "KubeConfigFile" {
            return Err(format!(
                "connectionInfo.type: must be KubeConfigFile, not {:?}",
                info.kind
            ));
        }
        let file = info.kube_config_file.clone();
        let file = file.ok_or("connectionInfo.kubeConfigFile: is needed")?;
        match file.is_absolute() {
            true => Ok(file),
            false => Err("connectionInfo.kubeConfigFile: must be an absolute path".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Files {
            let files = Files(tempfile::tempdir().unwrap());
            let ca = pki::Ca::generate("test").unwrap();
            ca.write(&files.at("ca.crt"), &files.at("ca.key")).unwrap();
            let kubeconfig = "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n\
                clusters: [{name: k, cluster: {server: 'https://localhost:1', certificate-authority: ca.crt}}]\n";
            std::fs::write(files.at("webhook.conf"), kubeconfig).unwrap();
            let policy = r#"{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "a"}}"#;
            std::fs::write(files.at("policies"), policy).unwrap();
            files
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn file(&self, authorizers: &str) -> Options {
            let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n";
            std::fs::write(self.at("authorization.yaml"), format!("{head}{authorizers}")).unwrap();
            Options {
                authorization_config: Some(self.at("authorization.yaml")),
                ..Options::default()
            }
        }

        fn webhook(&self, change: impl Fn(String) -> String) -> Options {
            let text = format!(
                "- type: Webhook\n  name: w\n  webhook:\n    timeout: 3s\n    authorizedTTL: 1m\n    unauthorizedTTL: 0s\n    \
                 subjectAccessReviewVersion: v1\n    failurePolicy: Deny\n    connectionInfo:\n      type: KubeConfigFile\n      \
                 kubeConfigFile: {}\n",
                self.at("webhook.conf").display()
            );
            self.file(&change(text))
        }
    }

    fn shown(modes: &Modes) -> Vec<&'static str> {
        let shown = modes.0.iter().map(|mode| match mode {
            Mode::AlwaysAllow => "AlwaysAllow",
            Mode::AlwaysDeny => "AlwaysDeny",
            Mode::Node => "Node",
            Mode::Rbac => "RBAC",
            Mode::Abac(_) => "ABAC",
            Mode::Webhook(_) => "Webhook",
        });
        shown.collect()
    }

    fn modes(list: &[&str]) -> Options {
        Options {
            authorization_mode: list.iter().map(|mode| mode.to_string()).collect(),
            ..Options::default()
        }
    }

    fn refusal(options: &Options) -> String {
        load(options).err().expect("it was accepted").to_string()
    }

    #[test]
    fn modes_stand_in_the_order_in_which_they_are_named() {
        assert_eq!(shown(&load(&Options::default()).unwrap()), ["Node", "RBAC"]);
        assert_eq!(
            shown(&load(&modes(&["RBAC", "AlwaysDeny"])).unwrap()),
            ["RBAC", "AlwaysDeny"]
        );
        let files = Files::new();
        let mut all = modes(&["Node", "ABAC", "Webhook", "RBAC"]);
        all.authorization_policy_file = Some(files.at("policies"));
        all.authorization_webhook_config_file = Some(files.at("webhook.conf"));
        assert_eq!(shown(&load(&all).unwrap()), ["Node", "ABAC", "Webhook", "RBAC"]);
        let file = files.file("- {type: RBAC, name: rbac}\n- {type: Node, name: node}\n");
        assert_eq!(shown(&load(&file).unwrap()), ["RBAC", "Node"]);
        assert_eq!(shown(&load(&files.webhook(|text| text)).unwrap()), ["Webhook"]);
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let files = Files::new();
        assert!(refusal(&modes(&["RBAC", "Magic"])).contains("Magic"));
        assert!(refusal(&modes(&["RBAC", "RBAC"])).contains("twice"));
        assert!(refusal(&modes(&["ABAC"])).starts_with("authorizationPolicyFile"));
        assert!(refusal(&modes(&["Webhook"])).starts_with("authorizationWebhookConfigFile"));
        let mut unused = modes(&["RBAC"]);
        unused.authorization_policy_file = Some(files.at("policies"));
        assert!(refusal(&unused).contains("no use"));
        let mut both = files.file("- {type: RBAC, name: rbac}\n");
        both.authorization_mode = vec!["AlwaysAllow".into()];
        assert!(refusal(&both).starts_with("authorizationMode"));
    }

    #[test]
    fn a_file_that_cannot_be_honoured_is_refused_naming_the_field() {
        let files = Files::new();
        for (authorizers, named) in [
            (" []", "authorizers: at least one"),
            ("- {type: Magic, name: m}", "authorizers[0].type"),
            (
                "- {type: RBAC, name: a}\n- {type: RBAC, name: b}",
                "authorizers[1].type",
            ),
            (
                "- {type: RBAC, name: a}\n- {type: Node, name: a}",
                "authorizers[1].name",
            ),
            ("- {type: RBAC, name: A_}", "authorizers[0].name"),
            ("- {type: RBAC, name: a, webhook: {}}", "authorizers[0].webhook"),
            ("- {type: Webhook, name: a}", "authorizers[0].webhook"),
            ("- {type: RBAC, name: a, colour: red}", "colour"),
        ] {
            let refusal = refusal(&files.file(authorizers));
            assert!(refusal.contains(named), "{authorizers}: {refusal}");
        }
        for (old, new, named) in [
            ("timeout: 3s", "timeout: 31s", "webhook.timeout"),
            ("timeout: 3s", "timeout: 0s", "webhook.timeout"),
            ("    timeout: 3s\n", "", "webhook.timeout"),
            ("authorizedTTL: 1m", "authorizedTTL: 48h", "webhook.authorizedTTL"),
            ("Version: v1", "Version: v1beta1", "webhook.subjectAccessReviewVersion"),
            ("failurePolicy: Deny", "failurePolicy: Allow", "webhook.failurePolicy"),
            ("    failurePolicy: Deny\n", "", "webhook.failurePolicy"),
            (
                "type: KubeConfigFile",
                "type: InClusterConfig",
                "webhook.connectionInfo.type",
            ),
            (
                "failurePolicy: Deny",
                "failurePolicy: Deny\n    matchConditions: [{expression: 'true'}]",
                "webhook.matchConditions: are CEL",
            ),
        ] {
            let refusal = refusal(&files.webhook(|text| text.replace(old, new)));
            assert!(refusal.contains(named), "{new}: {refusal}");
        }
    }
}
